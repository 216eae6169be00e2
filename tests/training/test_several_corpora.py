"""Several corpora: folds of a composite database, and training on some to test on others."""

import numpy as np
import pandas
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from hcp_mer.baselines.flow_logistic_regression import FlowLogisticRegression
from hcp_mer.baselines.protocol import run_peer
from hcp_mer.data.pairs import load_pairs
from hcp_mer.errors import UserError
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.reporting.scores import write_metrics
from hcp_mer.training.checkpoint import load_fold
from hcp_mer.training.final import train_final
from hcp_mer.training.loso import open_run, train_folds, train_one_set
from hcp_mer.training.run_folder import RunFolder
from tests.foreign_pairs import write_foreign_pairs, write_metadata
from tests.prepared_pairs import write_prepared_pairs

NAMES = ("alpha", "beta", "gamma")
PEOPLE = ("s01", "s02")  # the same ids in every corpus
COLUMNS = ("dataset", "subject", "clip_id")


def write_corpora(folder):
    for seed, name in enumerate(NAMES):
        write_foreign_pairs(folder / name, PEOPLE, clips_per_class=1 + seed % 2, size=32, seed=seed)


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    write_corpora(folder)
    return folder


@pytest.fixture
def train(make_tiny_recipe):
    """train(folder of corpora, output_dir, trained on, tested on, **recipe) → LosoRun."""

    def train(folder, output_dir, on, test=(), **settings):
        accelerator = Accelerator(cpu=True)
        pairs = load_pairs(*(folder / name for name in on))
        testing = load_pairs(*(folder / name for name in test)) if test else None
        recipe = make_tiny_recipe(**settings)
        run = open_run(recipe, pairs, RunFolder(output_dir), accelerator, testing)
        train_folds(run, accelerator)
        return run

    return train


def people_of(run, indices):
    columns = [run.pairs.column(name) for name in ("dataset", "subject")]
    return {tuple(column[run.labelled.rows[i]] for column in columns) for i in indices}


def scores_by_scikit_learn(table):
    from sklearn.metrics import accuracy_score, f1_score, recall_score

    truth, answers = table["label"], table["prediction"]
    return {
        "accuracy": accuracy_score(truth, answers),
        "uf1": f1_score(truth, answers, average="macro"),
        "uar": recall_score(truth, answers, average="macro"),
    }


def test_one_subject_of_one_corpus_is_left_out_and_its_namesakes_train(corpora, tmp_path, train):
    run = train(corpora, tmp_path / "run", NAMES, epochs=1)
    everybody = {(name, subject) for name in NAMES for subject in PEOPLE}
    assert [fold.name for fold in run.folds] == sorted(map("/".join, everybody))
    for fold in run.folds:
        assert people_of(run, fold.test) == {(fold.dataset, fold.subject)}
        assert people_of(run, fold.train) == everybody - {(fold.dataset, fold.subject)}
        assert sorted([*fold.train, *fold.test]) == list(range(24))  # 6, 12 and 6 clips


def test_scores_come_for_each_corpus_and_pooled(corpora, tmp_path, train):
    run = train(corpora, tmp_path / "run", NAMES, seeds=[1, 2])
    run_peer(FlowLogisticRegression(), run)
    metrics = write_metrics(tmp_path / "run")
    table = pandas.read_parquet(tmp_path / "run" / "predictions.parquet")
    peer = pandas.read_parquet(tmp_path / "run" / "baselines" / "flow_logistic_regression.parquet")

    def expected(rows):
        seeds = [scores_by_scikit_learn(own) for _, own in rows.groupby("seed")]
        return {key: np.mean([scores[key] for scores in seeds]) for key in seeds[0]}

    assert metrics["metrics"] == pytest.approx(expected(table))
    assert set(metrics["per_dataset"]) == set(NAMES)
    for name in NAMES:
        own = expected(table[table["dataset"] == name])
        assert metrics["per_dataset"][name] == pytest.approx(own)
        theirs = metrics["per_dataset_baselines"][name]["flow_logistic_regression"]
        assert theirs == pytest.approx(expected(peer[peer["dataset"] == name]))
        for key, (low, high) in metrics["per_dataset_interval_95"][name].items():
            assert low <= own[key] + 1e-9
            assert high >= own[key] - 1e-9
    assert metrics["protocol"] == "leave_one_subject_out"
    assert metrics["trained_on"] == list(NAMES)
    assert metrics["training_data"]["beta"] == {"num_clips": 12, "num_subjects": 2}


def test_namesakes_have_folds_and_models_of_their_own(corpora, tmp_path, train):
    run = train(corpora, tmp_path / "run", NAMES)
    train_final(run)
    with pytest.raises(UserError, match="is in alpha, beta, gamma: give dataset too"):
        load_fold(tmp_path / "run", "s01")
    first, second = (load_fold(tmp_path / "run", "s01", dataset=name) for name in NAMES[:2])
    assert not torch.equal(first.prompts.context, second.prompts.context)


def test_training_sees_nothing_of_the_test_corpus(tmp_path, train):
    """Other labels, pixels and people there: what is trained stays the same, bit for bit."""
    for name in ("one", "other"):
        write_corpora(tmp_path / name)
    changed = tmp_path / "other" / "gamma"
    noise = (changed / "magnified" / "s01_000n.png").read_bytes()
    rows = []
    for picture in changed.glob("flow/*.png"):
        picture.write_bytes(noise)
    for label in ("surprise", "negative", "positive"):
        for subject in PEOPLE:
            stem = f"{subject}_000{label[0]}.png"
            row = {"emotion": "positive", "subject": f"new-{subject}", "clip_id": label}
            rows.append(row | {f"{v}_file_name": f"{v}/{stem}" for v in ("magnified", "flow")})
    write_metadata(changed, rows)
    settings = {"gate_fitting": "held_out_subjects", "min_steps": 6}
    for name in ("one", "other"):
        run = train(
            tmp_path / name, tmp_path / f"{name}-run", ("alpha", "beta"), ("gamma",), **settings
        )
        assert set(run.subjects[run.folds[0].train]) == {
            f"{corpus}/{subject}" for corpus in ("alpha", "beta") for subject in PEOPLE
        }
        train_final(run)
    for file in ("folds/gamma/all/trained-seed0.safetensors", "model/model.safetensors"):
        one, other = (load_file(tmp_path / f"{name}-run" / file) for name in ("one", "other"))
        assert one.keys() == other.keys()
        for key, value in one.items():
            assert torch.equal(value, other[key]), key


def test_predictions_name_each_clip_and_its_own_subject(corpora, tmp_path, train):
    run = train(corpora, tmp_path / "run", ("alpha",), ("gamma", "beta"), seeds=[0, 1])
    run_peer(FlowLogisticRegression(), run)
    expected = {
        tuple(row)
        for name in ("beta", "gamma")
        for row in zip(*(load_pairs(corpora / name).column(key) for key in (*COLUMNS, "emotion")))
    }
    for file, seeds in (
        ("predictions.parquet", 2),
        ("baselines/chance.parquet", 1),
        ("baselines/flow_logistic_regression.parquet", 1),
    ):
        table = pandas.read_parquet(tmp_path / "run" / file)
        assert {tuple(row) for row in table[[*COLUMNS, "label"]].to_numpy()} == expected
        assert len(table) == seeds * 18
    metrics = write_metrics(tmp_path / "run")
    assert metrics["num_subjects"] == 4  # people to draw again, not two corpora
    assert metrics["protocol"] == "cross_corpus"
    assert metrics["trained_on"] == ["alpha"]
    assert metrics["training_data"] == {"alpha": {"num_clips": 6, "num_subjects": 2}}
    assert set(metrics["per_dataset"]) == {"beta", "gamma"}


def test_every_test_corpus_meets_the_model_that_is_saved(corpora, tmp_path, train):
    run = train(corpora, tmp_path / "run", ("alpha", "beta"), ("gamma",), seeds=[3, 4])
    train_final(run)
    saved = HcpMerModel.from_pretrained(tmp_path / "run" / "model").state_dict()
    tested = load_fold(tmp_path / "run", "all").state_dict()
    assert all(torch.equal(value, tested[name]) for name, value in saved.items())
    # Trained once more on the training corpora alone, it comes out the same.
    anew = train_one_set(run, run.training_set(run.final_fold(), 3), "again")
    assert run.final_fold().train.tolist() == run.folds[0].train.tolist()
    assert all(torch.allclose(value, saved[name], atol=1e-5) for name, value in anew.items())


def test_several_test_corpora_meet_one_model(corpora, tmp_path, train):
    run = train(corpora, tmp_path / "run", ("alpha",), ("beta", "gamma"), fold_group=1)
    assert [fold.name for fold in run.folds] == ["beta/all", "gamma/all"]
    train_final(run)
    models = [load_fold(tmp_path / "run", "all", dataset=name) for name in ("beta", "gamma")]
    for (name, one), other in zip(models[0].state_dict().items(), models[1].state_dict().values()):
        assert torch.allclose(one, other, atol=1e-6), name
    with pytest.raises(UserError, match="subject 'all' is in beta, gamma: give dataset too"):
        load_fold(tmp_path / "run", "all")


def test_other_corpora_on_either_side_are_another_run(corpora, tmp_path, train):
    folder = tmp_path / "run"
    train(corpora, folder, ("alpha", "beta"), ("gamma",), epochs=1)
    for on, test, said in (
        (("alpha",), ("beta", "gamma"), "other test corpora"),  # the same pairs, in the same order
        (NAMES, (), "other test corpora"),
        (("alpha", "beta"), (), "other dataset"),
    ):
        with pytest.raises(UserError, match=said):
            train(corpora, folder, on, test, epochs=1)
    train(corpora, folder, ("alpha", "beta"), ("gamma",), epochs=1)


def write_corpus_of(folder, classes):
    """A corpus that shows some classes only."""
    rows = write_foreign_pairs(folder, PEOPLE, clips_per_class=2, size=32, seed=9)
    write_metadata(folder, [row for row in rows if row["emotion"] in classes])


def test_a_class_that_only_the_test_corpus_shows_is_refused(tmp_path, train):
    write_corpora(tmp_path)
    write_corpus_of(tmp_path / "few", ("negative", "surprise"))
    with pytest.raises(UserError, match="no clip of class positive in the training corpora"):
        train(tmp_path, tmp_path / "run", ("few",), ("alpha",))
    assert not (tmp_path / "run").exists()


def test_a_class_that_the_test_corpus_lacks_breaks_no_score(tmp_path, train):
    write_corpora(tmp_path)
    write_corpus_of(tmp_path / "few", ("negative", "surprise"))
    train(tmp_path, tmp_path / "run", ("alpha", "beta"), ("few",))
    metrics = write_metrics(tmp_path / "run")
    table = pandas.read_parquet(tmp_path / "run" / "predictions.parquet")
    hits = (table["label"] == table["prediction"]).groupby(table["label"]).mean()
    assert set(hits.index) == {"negative", "surprise"}
    assert metrics["metrics"]["uar"] == pytest.approx(hits.mean())  # over the classes that occur
    assert metrics["per_class"]["positive"]["recall"] is None


def test_a_test_corpus_that_the_task_leaves_empty_is_named(tmp_path, train):
    write_corpora(tmp_path)
    others = {"emotion_of": lambda label: "others", "extra_columns": {"dataset": "casme2"}}
    write_foreign_pairs(tmp_path / "none", ("s01",), 1, size=32, seed=9, **others)
    with pytest.raises(UserError, match="no clip of the test corpus casme2 has a class"):
        train(tmp_path, tmp_path / "run", ("alpha",), ("none",))


def test_annotations_of_the_test_corpus_reach_no_prompt(tmp_path, train):
    """Prompts counted from annotations: those of the training corpora, also in the saved model."""
    ours, theirs = [["4"], ["12"], ["1", "2"]] * 2, [["9"], ["6"], ["26"]] * 2
    write_prepared_pairs(tmp_path / "a", "a", PEOPLE, columns={"action_units": ours})
    write_prepared_pairs(tmp_path / "b", "b", PEOPLE, columns={"action_units": theirs})
    run = train(tmp_path, tmp_path / "run", ("a",), ("b",), prompts="from_annotations")
    train_final(run)
    for model in (
        load_fold(tmp_path / "run", "all"),
        HcpMerModel.from_pretrained(tmp_path / "run" / "model"),
    ):
        sets = [group["action_units"] for group in model.config.prompt_groups]
        assert sets == [[[4]], [[12]], [[1, 2]]]
