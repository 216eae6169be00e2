"""A run's models asked about disturbed clips: undisturbed they give the run's own answers."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from sklearn.metrics import accuracy_score, f1_score

from hcp_mer.baselines.flow_logistic_regression import FlowLogisticRegression
from hcp_mer.baselines.protocol import run_peer
from hcp_mer.data.builders import prepare_pairs
from hcp_mer.data.corpora import read_corpus
from hcp_mer.data.pairs import load_pairs
from hcp_mer.errors import UserError
from hcp_mer.motion.pair import PairSettings
from hcp_mer.robustness.clips import find_clips, measure, pair_settings_from, processes
from hcp_mer.robustness.curves import score_level, write_curves
from hcp_mer.robustness.levels import PEER, Levels
from hcp_mer.training.checkpoint import apply_trained_part
from hcp_mer.training.loso import open_run, train_folds
from hcp_mer.training.reopen import reopen
from hcp_mer.training.run_folder import RunFolder
from tests.foreign_pairs import write_foreign_pairs
from tests.moving_clips import APEX, LAST, ONSET, write_moving_corpus

CLASSES = ("negative", "positive", "surprise")
SETTINGS = PairSettings(64)


@pytest.fixture(scope="module")
def run(moving):
    return reopen(moving / "run")


@pytest.fixture(scope="module")
def found(moving, run):
    return find_clips(run, [("folder", moving / "corpus", "moving")], {})


@pytest.fixture(scope="module")
def levels(run, found, tmp_path_factory):
    levels = Levels(run, found, tmp_path_factory.mktemp("out") / "robust" / "levels")
    levels.claim()
    return levels


def test_undisturbed_every_answer_is_the_runs_own_bit_for_bit(levels, moving):
    table = levels.undisturbed()
    own = pandas.read_parquet(moving / "run" / "predictions.parquet")
    pandas.testing.assert_frame_equal(table[own.columns], own, check_exact=True)
    assert levels.num_other_pairs() == 0
    assert len(own) == 18


def test_a_disturbed_clip_is_asked_of_the_model_that_never_saw_its_subject(levels, run, moving):
    table = levels.disturbed("noise", 20)
    assert table["disturbed"].all()
    clip = next(iter(levels.found.clips.values()))
    subject, clip_id = clip.name.split("/")[1:]
    (views,) = measure([clip], SETTINGS, "noise", 20)
    model = load_fold_of(run, subject)
    pixels = [
        torch.from_numpy(run.processor.to_pixels(image))[None]
        for image in (views.magnified, views.flow)
    ]
    with torch.inference_mode():
        expected = model(*pixels).logits.softmax(-1)[0].numpy()
    row = table[(table["subject"] == subject) & (table["clip_id"] == clip_id)].iloc[0]
    assert row[[f"prob_{name}" for name in CLASSES]].to_numpy(float) == pytest.approx(
        expected, abs=1e-5
    )


def load_fold_of(run, subject):
    """By another way than levels take: the fold's own file on the whole model."""
    model = copy.deepcopy(run.model)
    apply_trained_part(model, load_file(run.folder.trained_file(subject)))
    return model.eval()


def test_a_shift_beyond_the_clip_changes_nothing_and_keeps_the_answers(levels):
    before, after = levels.undisturbed(), levels.disturbed("onset_off", -3)
    assert not after["disturbed"].any()  # the clips begin with their onset
    pandas.testing.assert_frame_equal(after, before, check_exact=True)
    late = levels.disturbed("apex_off", 2)
    assert late["disturbed"].all()
    assert not late["prob_negative"].equals(before["prob_negative"])


def test_another_key_frame_is_what_an_annotation_of_that_frame_would_give(levels):
    clip = next(iter(levels.found.clips.values()))
    (off,) = measure([clip], SETTINGS, "apex_off", LAST - APEX)
    (there,) = measure([clip._replace(apex=LAST)], SETTINGS, "undisturbed", 0)
    assert (off.flow == there.flow).all()
    assert (off.magnified == there.magnified).all()
    (as_it_is,) = measure([clip], SETTINGS, "undisturbed", 0)
    assert (off.flow != as_it_is.flow).any()


def test_finished_levels_are_read_from_disk_and_processes_change_nothing(levels, run, found):
    table = levels.disturbed("blur", 1.0)

    def refuse(*args):
        raise AssertionError("measured again")

    again = Levels(run, found, levels.folder, refuse)
    again.claim()
    pandas.testing.assert_frame_equal(again.disturbed("blur", 1.0), table)
    (levels.folder / "blur 1.parquet").unlink()
    with pytest.raises(AssertionError, match="measured again"):
        again.disturbed("blur", 1.0)
    pandas.testing.assert_frame_equal(levels.disturbed("blur", 1.0), table, check_exact=True)


def test_another_runs_folder_is_refused(levels, run, found, tmp_path):
    with pytest.raises(UserError, match="robustness of another run, or of other clips"):
        Levels(run, found, levels.folder, with_peer=False).claim()
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(UserError, match="is not empty"):
        Levels(run, found, tmp_path / "levels").claim()


@pytest.mark.slow
def test_the_peer_is_fitted_on_clean_clips_of_others_and_asked_about_disturbed_ones(levels, moving):
    table = levels.undisturbed()
    assert set(table[PEER]) <= set(CLASSES)
    # The undisturbed answers are those of the peer as a run has it.
    run_peer(FlowLogisticRegression(), levels.run)
    own = pandas.read_parquet(moving / "run" / "baselines" / f"{PEER}.parquet")
    assert (own["prediction"] == table[PEER]).all()
    assert accuracy_score(own["label"], own["prediction"]) > 0.9
    # A blur that leaves no texture leaves no motion to see.
    blurred = levels.disturbed("blur", 20)
    assert accuracy_score(blurred["label"], blurred[PEER]) < 0.7


@pytest.mark.slow
def test_curves_are_pooled_scores_with_paired_differences(levels, tmp_path):
    content = write_curves(levels, {"noise": [20.0], "onset_off": [-3.0]}, tmp_path / "out")
    row = content["disturbances"]["noise"]["levels"][0]
    table, before = levels.disturbed("noise", 20), levels.undisturbed()
    uf1 = [f1_score(t["label"], t["prediction"], average="macro") for t in (table, before)]
    assert row["HCP_MER"]["uf1"] == pytest.approx(uf1[0])
    assert row["HCP_MER"]["uf1_difference"] == pytest.approx(uf1[0] - uf1[1])
    assert (row["num_clips"], row["num_clips_changed"]) == (18, 18)
    nothing = content["disturbances"]["onset_off"]["levels"][0]
    assert nothing["num_clips_changed"] == 0
    assert nothing["HCP_MER"]["uf1_difference_95"] == [0, 0]
    assert content["equals_the_run"]
    assert json.loads((tmp_path / "out" / "robustness.json").read_text()) == content
    assert "| 20 | 18 |" in (tmp_path / "out" / "robustness.md").read_text()
    for name in ("robustness.png", "robustness.svg"):
        assert (tmp_path / "out" / "figures" / name).stat().st_size > 1000


def test_a_clip_left_out_is_left_out_on_both_sides():
    """By hand: of three clips of two people one is not there after disturbance."""
    clips = {"dataset": "d", "subject": ["a", "a", "b"], "clip_id": ["1", "2", "1"], "seed": 0}
    labels = ["negative", "positive", "positive"]
    before = pandas.DataFrame({**clips, "label": labels, "prediction": labels})
    table = before[:2].assign(prediction=["negative", "negative"])
    scores = score_level(table, before, CLASSES, "prediction")
    # negative: one hit, one false alarm: F1 ⅔; positive: 0; surprise does not exist.
    assert scores["uf1"] == pytest.approx(1 / 3)
    assert scores["uf1_difference"] == pytest.approx(1 / 3 - 1)
    assert scores["uf1_interval_95"] is None  # one subject is left


@pytest.mark.slow
def test_clips_whose_frames_are_gone_are_named_and_the_rest_goes_on(moving, run, tmp_path):
    corpus = tmp_path / "corpus"
    shutil.copytree(moving / "corpus", corpus)
    (corpus / "clips" / "s01" / "n0" / f"img{APEX}.png").unlink()
    (corpus / "clips" / "s02" / "p1" / f"img{ONSET}.png").write_bytes(b"no image")
    found = find_clips(run, [("folder", corpus, "moving")], {})
    assert "14" in found.problems["moving/s01/n0"]
    levels = Levels(run, found, tmp_path / "out" / "levels", with_peer=False)
    levels.claim()
    table = levels.undisturbed()
    assert len(table) == 16
    assert "is not an image" in levels.problems()["moving/s02/p1"]
    own = pandas.read_parquet(moving / "run" / "predictions.parquet")
    same = own.merge(table[["subject", "clip_id"]], on=["subject", "clip_id"])
    pandas.testing.assert_frame_equal(table[own.columns], same, check_exact=True)
    content = write_curves(levels, {"noise": [5.0]}, tmp_path / "out")
    assert content["num_clips"] == 16
    assert set(content["left_out"]) == {"moving/s01/n0", "moving/s02/p1"}
    assert "- moving/s02/p1: " in (tmp_path / "out" / "robustness.md").read_text()


def test_a_corpus_of_another_name_or_with_other_people_is_refused(moving, run, tmp_path):
    with pytest.raises(UserError, match="has clips of else, and the run is about moving"):
        find_clips(run, [("folder", moving / "corpus", "else")], {})
    corpus = tmp_path / "corpus"
    shutil.copytree(moving / "corpus", corpus)
    table = (corpus / "metadata.csv").read_text()
    (corpus / "metadata.csv").write_text(table.replace("\ns", "\nx"))
    with pytest.raises(UserError, match="none of the run's clips of moving can be measured again"):
        find_clips(run, [("folder", corpus, "moving")], {})
    with pytest.raises(UserError, match=r"is not a folder|does not exist|no folder"):
        find_clips(run, [("folder", tmp_path / "nothing", "moving")], {})


def test_a_clip_that_is_annotated_otherwise_now_is_not_measured(moving, run, tmp_path):
    corpus = tmp_path / "corpus"
    shutil.copytree(moving / "corpus", corpus)
    lines = (corpus / "metadata.csv").read_text().splitlines()
    lines[1] = lines[1].replace(f",{APEX},", f",{APEX + 1},")
    (corpus / "metadata.csv").write_text("\n".join(lines))
    found = find_clips(run, [("folder", corpus, "moving")], {})
    assert len(found.clips) == 17
    assert "annotated otherwise than when its pair was made" in found.problems["moving/s01/n0"]


def test_settings_come_from_the_pairs_and_ready_made_pairs_are_refused(moving, run, tmp_path):
    made = PairSettings(48, magnifier="eulerian", estimator="dis")
    assert pair_settings_from(made.to_dict(), {}) == made
    older = {k: v for k, v in made.to_dict().items() if "weights" not in k and k != "face"}
    assert pair_settings_from(older, {}) == made
    write_foreign_pairs(tmp_path / "moving", ("s01", "s02"), clips_per_class=1, size=32)
    ready_made = replace(run, pairs=load_pairs(tmp_path / "moving"))
    with pytest.raises(UserError, match=r"ready-made \(pairs.json is not there\)"):
        find_clips(ready_made, [("folder", moving / "corpus", "moving")], {})


def test_weights_that_pairs_need_are_asked_for_and_compared(tmp_path):
    record = {"file": "net.pth", "sha256": "0" * 64, "variant": "magnet"}
    made = {**PairSettings(48).to_dict(), "magnifier": "magnet", "magnifier_weights": record}
    with pytest.raises(UserError, match=r"magnifier magnet read net.pth .* --magnifier_weights"):
        pair_settings_from(made, {})
    face = {"detector": "yunet", "weights": "yunet.onnx", "centre_crop": False}
    with pytest.raises(UserError, match="faces were found with yunet"):
        pair_settings_from({**made, "face": face}, {})


def test_moved_pairs_and_other_pairs_than_the_runs_are_told_apart(moving, tmp_path):
    shutil.copytree(moving / "pairs", tmp_path / "moved")
    shutil.copytree(moving / "run", tmp_path / "run")
    recipe = (tmp_path / "run" / "recipe.yaml").read_text()
    gone = recipe.replace(str(moving / "pairs"), str(tmp_path / "gone"))
    (tmp_path / "run" / "recipe.yaml").write_text(gone)
    with pytest.raises(UserError, match="say where to"):
        reopen(tmp_path / "run")
    assert len(reopen(tmp_path / "run", [tmp_path / "moved"]).folds) == 3
    write_foreign_pairs(tmp_path / "other", ("s01", "s02"), clips_per_class=1, size=32)
    with pytest.raises(UserError, match=r"trained on something else .*other dataset"):
        reopen(tmp_path / "run", [tmp_path / "other"])
    shutil.rmtree(tmp_path / "run" / "folds" / "moving" / "s01")
    with pytest.raises(UserError, match="is not finished: moving/s01 is missing"):
        reopen(tmp_path / "run", [tmp_path / "moved"])
    with pytest.raises(UserError, match="holds no run"):
        reopen(tmp_path / "moved")


@pytest.mark.slow
def test_one_process_and_two_measure_alike(found):
    clips = list(found.clips.values())[:4]
    settings = [SETTINGS] * 2
    halves = [clips[:2], clips[2:]]
    with processes(2) as mapper:
        two = list(mapper(measure, halves, settings, ["noise"] * 2, [5] * 2))
    one = [measure(half, settings[0], "noise", 5) for half in halves]
    for here, there in zip([*one[0], *one[1]], [*two[0], *two[1]]):
        assert np.array_equal(here.flow, there.flow)
        assert np.array_equal(here.magnified, there.magnified)


@pytest.mark.slow
def test_of_a_composite_run_the_corpora_that_are_given_are_asked(moving, tmp_path):
    """Two corpora were trained on together; frames of one are there, cropped as they were."""
    corpora = {"alpha": moving / "corpus", "beta": tmp_path / "beta"}
    write_moving_corpus(corpora["beta"], subjects=("s01", "s09"), seed=1)
    for name, corpus in corpora.items():
        prepare_pairs(read_corpus("folder", corpus, name), tmp_path / f"pairs-{name}", SETTINGS)
    accelerator, pairs = Accelerator(cpu=True), load_pairs(*sorted(tmp_path.glob("pairs-*")))
    recipe = reopen(moving / "run").recipe
    run = open_run(recipe, pairs, RunFolder(tmp_path / "run"), accelerator)
    train_folds(run, accelerator)
    run = reopen(tmp_path / "run")
    found = find_clips(run, [("folder", corpora["beta"], "beta")], {})
    assert {clip.dataset for clip in found.clips.values()} == {"beta"}
    assert not found.problems
    levels = Levels(run, found, tmp_path / "out" / "levels", with_peer=False)
    levels.claim()
    table = levels.undisturbed()
    own = pandas.read_parquet(tmp_path / "run" / "predictions.parquet")
    own = own[own["dataset"] == "beta"].reset_index(drop=True)
    pandas.testing.assert_frame_equal(table[own.columns], own, check_exact=True)
