"""A class that is held out reaches no training, and is told from its texts alone."""

import json

import numpy as np
import pandas
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from sklearn.metrics import recall_score, roc_auc_score

from hcp_mer.errors import UserError
from hcp_mer.training.recipe import FROM_ANNOTATIONS
from hcp_mer.training.reopen import reopen
from hcp_mer.transfer.from_texts import write_unseen_classes
from hcp_mer.transfer.unseen_class import (
    answer_unseen,
    classes_to_hold_out,
    hold_out_class,
    similarities,
)
from hcp_mer.transfer.unseen_scores import score_unseen, verdict
from tests.annotated_pairs import write_annotated_pairs
from tests.conftest import GROUPS
from tests.foreign_pairs import write_foreign_pairs

CLASSES = ("negative", "positive", "surprise")
PEOPLE = ("006", "007", "a b")


@pytest.fixture
def run(run_loso, tmp_path):
    write_foreign_pairs(tmp_path / "pairs", PEOPLE, clips_per_class=2, size=32)
    return run_loso(tmp_path / "pairs", tmp_path / "run")[0]


def test_training_has_neither_clips_nor_prompts_nor_weights_of_the_class(run):
    unseen = hold_out_class(run, "positive").run
    positive = CLASSES.index("positive")
    assert [g["label"] for g in unseen.model.config.prompt_groups] == ["negative", "surprise"]
    assert unseen.model.head.gate.weight.shape == (2, 4)
    for fold, original in zip(unseen.folds, run.folds):
        assert set(run.labels[fold.train].tolist()) == {0, 2}
        assert set(original.train) - set(fold.train) == {
            index for index in original.train if run.labels[index] == positive
        }
        training_set = unseen.training_set(fold, 0)
        assert set(training_set.labels.tolist()) == {0, 1}
        # Surprise is the second of two classes now.
        assert (training_set.labels == 1).tolist() == (run.labels[fold.train] == 2).tolist()
    with pytest.raises(RuntimeError):  # its label would end any training that had one
        unseen.labels.bincount()


@pytest.mark.slow
def test_other_pixels_for_its_clips_train_the_same_weights(run_loso, tmp_path):
    """And other subjects' answers to other classes' clips stay, to the last bit."""
    tables = []
    for name in ("one", "other"):
        folder = tmp_path / name / "pairs"  # the same dataset name
        rows = write_foreign_pairs(folder, PEOPLE, clips_per_class=2, size=32)
        if name == "other":
            noise = (folder / "magnified" / "006_000n.png").read_bytes()
            for row in rows:
                if row["emotion"] == "positive":
                    (folder / row["magnified_file_name"]).write_bytes(noise)
                    (folder / row["flow_file_name"]).write_bytes(noise)
        run = run_loso(folder, tmp_path / name / "run")[0]
        tables.append(answer_unseen(run, "positive")["unseen"])
    one, other = (table[table["label"] != "positive"] for table in tables)
    pandas.testing.assert_frame_equal(one, other, check_exact=True)
    columns = [f"similarity_{name}" for name in CLASSES]
    changed = [table.loc[table["label"] == "positive", columns].to_numpy() for table in tables]
    assert (changed[0] != changed[1]).any()


def test_similarities_are_sums_of_cosines_with_the_texts_of_all_groups(run):
    """Eq. 1 by hand, for a part with contexts and adapters of its own."""
    part = load_file(run.folder.trained_file("006"))
    features = {branch: values[:4] for branch, values in run.features.items()}
    model, expected = run.model, 0
    with torch.inference_mode():
        found = similarities(model, features, part)
        texts = F.normalize(model.encode_prompts(part["prompts.context"]), dim=-1)
        rows = {"holistic": [[0], [1], [2]], "componential": [[3, 4, 5], [6], [7, 8]]}
        scale = model.config.similarity_scale
        for branch, own in rows.items():
            down, up = (part[f"head.adapters.{branch}.layers.0.{n}.weight"] for n in ("down", "up"))
            norm = f"head.adapters.{branch}.layers.0.norm."
            hidden = features[branch] @ down.T
            hidden = (hidden - part[norm + "running_mean"]) / (
                part[norm + "running_var"] + 1e-5
            ).sqrt()
            hidden = (hidden * part[norm + "weight"] + part[norm + "bias"]).relu()
            bias = part[f"head.adapters.{branch}.layers.0.up.bias"]
            seen = F.normalize(features[branch] + hidden @ up.T + bias, dim=-1)
            cosines = [(scale * seen @ texts[r].T).logsumexp(-1) / scale for r in own]
            expected = expected + torch.stack(cosines, -1)
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_the_answer_is_among_all_classes_and_a_second_call_reads_it(run, monkeypatch):
    tables = answer_unseen(run, "surprise")
    for system, table in tables.items():
        assert len(table) == 18, system
        scores = table[[f"similarity_{name}" for name in CLASSES]].to_numpy()
        assert (np.array(CLASSES)[scores.argmax(1)] == table["prediction"]).all()
    assert not tables["unseen"].equals(tables["trained_on_it"])
    folder = run.folder.root / "zero_shot"
    assert {path.name for path in folder.iterdir()} == {f"surprise.{s}.parquet" for s in tables}

    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr("hcp_mer.transfer.unseen_class.train_sets", refuse)
    again = answer_unseen(run, "surprise")
    assert all(again[system].equals(table) for system, table in tables.items())
    (folder / "surprise.unseen.parquet").unlink()
    with pytest.raises(AssertionError, match="trained again"):
        answer_unseen(run, "surprise")


@pytest.mark.slow
def test_prompts_that_are_counted_on_the_unseen_class_are_refused(run_loso, tmp_path):
    pairs = write_annotated_pairs(tmp_path / "pairs")
    run = run_loso(pairs, tmp_path / "run", prompts=FROM_ANNOTATIONS, epochs=1)[0]
    with pytest.raises(UserError, match="counted on its clips, which an unseen class does not"):
        hold_out_class(run, "surprise")
    groups = [dict(group) for group in GROUPS]
    groups[2] |= {"action_units": FROM_ANNOTATIONS, "otherwise": [[26]]}
    groups[0]["action_units"] = FROM_ANNOTATIONS
    groups[0]["otherwise"] = [[9]]
    run = run_loso(pairs, tmp_path / "other", groups=groups, epochs=1)[0]
    unseen = hold_out_class(run, "surprise")
    model = unseen.models.of(unseen.run.folds[0].train)
    sets = {g["label"]: g["action_units"] for g in model.config.prompt_groups}
    # The class's own are those under `otherwise`, nothing counted; negative is, on the others.
    assert sets == {"negative": [[4]], "positive": [[6, 12]], "surprise": [[26]]}


@pytest.mark.slow
def test_mistakes_end_in_one_line(run, run_loso, tmp_path):
    with pytest.raises(UserError, match=r"got 'suprise'\. Did you mean 'surprise'\?"):
        classes_to_hold_out(run, ["suprise"])
    assert classes_to_hold_out(run, ["all"]) == list(CLASSES)
    assert classes_to_hold_out(run, ["surprise", "surprise"]) == ["surprise"]
    own = run_loso(
        tmp_path / "pairs", tmp_path / "own", epochs=1, model={"context_scope": "per_class"}
    )[0]
    with pytest.raises(UserError, match="an unseen class has no context of its own"):
        classes_to_hold_out(own, ["surprise"])


def answers(labels, predictions, leads):
    """Answers of subjects a and b in turn; `leads` is surprise's similarity, others' are 0."""
    similarity = {f"similarity_{name}": 0.0 for name in CLASSES[:2]}
    return pandas.DataFrame(
        {
            "dataset": "d",
            "subject": ["a", "b"] * (len(labels) // 2),
            "clip_id": [str(index) for index in range(len(labels))],
            "label": labels,
            "prediction": predictions,
            **similarity,
            "similarity_surprise": leads,
            "seed": 0,
        }
    )


def test_scores_are_those_of_scikit_learn_and_the_harmonic_mean_by_hand():
    labels = ["surprise", "surprise", "negative", "negative", "positive", "positive"]
    predictions = ["surprise", "negative", "negative", "negative", "positive", "surprise"]
    leads = [0.9, 0.1, 0.2, -0.3, 0.0, 0.5]
    scores = score_unseen(answers(labels, predictions, leads), "surprise", CLASSES)
    recalls = recall_score(labels, predictions, average=None, labels=list(CLASSES))
    assert scores["recall_of_class"] == recalls[2] == 0.5
    assert scores["recall_of_others"] == pytest.approx(recalls[:2].mean())
    assert scores["harmonic_mean"] == pytest.approx(2 * 0.5 * 0.75 / 1.25)
    truth = [name == "surprise" for name in labels]
    assert scores["auc"] == scores["auc_of_margin"] == roc_auc_score(truth, leads)
    low, high = scores["recall_of_class_interval_95"]
    assert (low, high) == (0, 1)  # a has a hit, b a miss


def test_a_class_that_is_never_answered_has_a_harmonic_mean_of_nothing():
    labels = ["surprise", "surprise", "negative", "positive"]
    table = answers(labels, ["negative", "negative", "negative", "positive"], [0.2, 0.2, 0.1, 0.1])
    scores = score_unseen(table, "surprise", CLASSES)
    assert scores["harmonic_mean"] == 0
    assert scores["auc"] == 1
    words = verdict("surprise", dict.fromkeys(("unseen", "untrained", "trained_on_it"), scores), 3)
    assert "its text ranks its clips above others (AUC of its lead 1.00" in words
    assert "the answer for 0.00 of its clips (guessing 0.33" in words


@pytest.mark.slow
def test_a_finished_run_is_asked_and_its_report_says_what_chance_is(run):
    text = write_unseen_classes(reopen(run.folder.root), ["surprise"])
    content = json.loads((run.folder.root / "zero_shot" / "unseen_classes.json").read_text())
    own = content["classes"]["surprise"]
    assert own["num_clips"] == 6
    assert set(own["systems"]) == {"unseen", "untrained", "trained_on_it", "chance"}
    assert own["systems"]["chance"]["recall_of_class"] == pytest.approx(1 / 3)
    assert "| guessing | 0.33 | 0.33 | 0.33 | 0.50 | 0.50 |" in text
    text = write_unseen_classes(run, ["positive"])
    assert text.index("## surprise (6 clips)") < text.index("## positive (6 clips)")
