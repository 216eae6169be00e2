"""Every corpus is tested by a model of all the others, which its clips cannot reach."""

from pathlib import Path

import pandas
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from sklearn.metrics import f1_score

import hcp_mer
from hcp_mer.data.pairs import load_pairs
from hcp_mer.errors import UserError
from hcp_mer.hub.staging import folds_to_publish, open_finished_run
from hcp_mer.reporting.card import eval_results, render_fold_card
from hcp_mer.training.folds import final_fold, fold_seed, leave_one_dataset_out
from hcp_mer.training.loso import open_run, train_folds
from hcp_mer.training.reopen import reopen
from hcp_mer.training.run_folder import RunFolder
from tests.foreign_pairs import write_foreign_pairs, write_metadata

NAMES = ("alpha", "beta", "gamma")
PEOPLE = ("s01", "s02")  # the same ids in every corpus
CLASSES = ("negative", "positive", "surprise")


def write_corpora(folder):
    for seed, name in enumerate(NAMES):
        write_foreign_pairs(folder / name, PEOPLE, clips_per_class=1, size=32, seed=seed)
    return folder


@pytest.fixture
def train(make_tiny_recipe):
    def train(folder, output_dir, names=NAMES, **settings):
        accelerator, pairs = Accelerator(cpu=True), load_pairs(*(folder / n for n in names))
        recipe, place = make_tiny_recipe(**settings), RunFolder(output_dir)
        run = open_run(recipe, pairs, place, accelerator, leave_out="dataset")
        train_folds(run, accelerator)
        return run

    return train


def test_a_corpus_is_tested_and_the_others_train():
    people = [("b", "1"), ("a", "1"), ("c", "1"), ("a", "2"), ("b", "1"), ("c", "2")]
    labels = ["x", "x", "x", "y", "y", "y"]
    folds = leave_one_dataset_out(people, labels, ("x", "y"))
    assert [fold.name for fold in folds] == ["a/all", "b/all", "c/all"]
    assert [fold.test.tolist() for fold in folds] == [[1, 3], [0, 4], [2, 5]]
    for fold in folds:
        assert sorted([*fold.train, *fold.test]) == list(range(6))
        assert fold.seed(7) == fold_seed(7, fold.dataset, "all")  # a model of its own
    assert final_fold(folds).train.tolist() == list(range(6))


@pytest.mark.parametrize(
    ("people", "said"),
    [
        ([("a", "1"), ("a", "2"), ("a", "3"), ("a", "4")], "at least two corpora; got a alone"),
        ([("a", "1"), ("a", "2"), ("b", "3"), ("b", "4")], "only 2 clips of the corpora other"),
        ([("a", "1")] * 2 + [("b", "1")] * 3, "no clip of class y in the corpora other than a"),
    ],
)
def test_corpora_that_cannot_be_left_out_are_refused(people, said):
    labels = ["x", "y", "x", "x", "x"][: len(people)]
    with pytest.raises(UserError, match=said):
        leave_one_dataset_out(people, labels, ("x", "y"))


def test_nothing_of_the_held_corpus_reaches_its_fold(tmp_path, train):
    """Other pixels, labels and people in gamma leave the weights of its fold as they are."""
    states = []
    for name in ("one", "other"):
        folder = write_corpora(tmp_path / name)
        if name == "other":
            noise = (folder / "gamma" / "magnified" / "s01_000n.png").read_bytes()
            for picture in (folder / "gamma").glob("flow/*.png"):
                picture.write_bytes(noise)
            rows = [
                {"emotion": label, "subject": f"new-{subject}", "clip_id": label}
                | {
                    f"{view}_file_name": f"{view}/{subject}_000{stem}.png"
                    for view in ("magnified", "flow")
                }
                for subject in PEOPLE
                for label, stem in zip(CLASSES, "psn")
            ]
            write_metadata(folder / "gamma", rows)
        run = train(folder, tmp_path / f"{name}-run", gate_fitting="held_out_subjects")
        assert [fold.name for fold in run.folds] == ["alpha/all", "beta/all", "gamma/all"]
        trained = set(run.subjects[run.folds[2].train])
        assert trained == {f"{corpus}/{who}" for corpus in NAMES[:2] for who in PEOPLE}
        states.append(
            {fold: load_file(run.folder.trained_file("all", fold)) for fold in ("alpha", "gamma")}
        )
    for key, value in states[0]["gamma"].items():
        assert torch.equal(value, states[1]["gamma"][key]), key
    # The folds that train on gamma do change.
    assert any((v != states[1]["alpha"][k]).any() for k, v in states[0]["alpha"].items())


@pytest.mark.slow
def test_another_protocol_is_another_run(tmp_path, train, make_tiny_recipe):
    folder = write_corpora(tmp_path)
    train(folder, tmp_path / "run", epochs=1)
    pairs = load_pairs(*(folder / name for name in NAMES))
    place, accelerator = RunFolder(tmp_path / "run"), Accelerator(cpu=True)
    with pytest.raises(UserError, match="other protocol"):
        open_run(make_tiny_recipe(epochs=1), pairs, place, accelerator)
    assert reopen(tmp_path / "run").leaves_out == "dataset"
    assert [fold.subject for fold in reopen(tmp_path / "run").folds] == ["all"] * 3


@pytest.mark.slow
def test_scores_come_pooled_and_for_each_corpus_and_words_say_how(tmp_path, make_tiny_recipe):
    folder = write_corpora(tmp_path)
    recipe, places = make_tiny_recipe(), [folder / name for name in NAMES]
    metrics = hcp_mer.run_loso(
        recipe, places, tmp_path / "run", leave_one_dataset_out=True, controls=False
    )
    table = pandas.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert len(table) == 18

    def uf1(rows):
        return f1_score(rows["label"], rows["prediction"], average="macro")

    assert metrics["protocol"] == "leave_one_dataset_out"
    assert metrics["num_subjects"] == 6
    assert metrics["metrics"]["uf1"] == pytest.approx(uf1(table))
    for name, rows in table.groupby("dataset"):
        assert metrics["per_dataset"][name]["uf1"] == pytest.approx(uf1(rows))
    assert "leave one dataset out" in (tmp_path / "run" / "report.html").read_text()
    card = (tmp_path / "run" / "model" / "README.md").read_text()
    assert "what leave-one-dataset-out says" in card
    protocols = {r.dataset_args["protocol"] for r in eval_results(metrics)}
    assert protocols == {"leave-one-dataset-out"}
    finished = open_finished_run(tmp_path / "run")
    folds = folds_to_publish(finished)
    assert [fold.branch for fold in folds] == [f"fold-{name}-all" for name in NAMES]
    own = render_fold_card(
        {**folds[0].row, "seed": 0}, metrics, finished.config, model="o/n", revision="r"
    )
    assert "without alpha\n" in own
    assert "Trained on beta and gamma alone" in own


def test_both_kinds_of_other_corpora_at_once_are_refused(tmp_path):
    with pytest.raises(UserError, match="give one of them"):
        hcp_mer.run_loso(
            Path(__file__).parents[2] / "hub_configs" / "recipes" / "demo.yaml",
            tmp_path,
            tmp_path / "run",
            test_dataset=tmp_path,
            leave_one_dataset_out=True,
        )
    assert not (tmp_path / "run").exists()
