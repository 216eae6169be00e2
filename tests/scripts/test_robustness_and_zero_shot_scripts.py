"""run_robustness.py, run_zero_shot.py and --leave_one_dataset_out, as a user runs them."""

import json
import shutil
from pathlib import Path

import pytest

from tests.foreign_pairs import write_foreign_pairs
from tests.moving_clips import write_moving_corpus

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "hub_configs" / "recipes" / "demo.yaml"
QUICK = ("--set", "gate_fitting=joint", "--no-controls", "--quiet")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("place")


@pytest.fixture
def trained(run, place):
    """A corpus of tiny clips, its pairs and a run, made once."""
    if not (place / "run" / "model").is_dir():
        write_moving_corpus(place / "moving")
        corpus = ("--corpus", "folder", "--data_dir", place / "moving")
        pairs = ("--output_dir", place / "pairs", "--image_size", 64, "--num_proc", 1)
        code, _, errors = run("prepare_dataset.py", *corpus, *pairs)
        assert code == 0, errors
        own = ("--dataset", place / "pairs", "--output_dir", place / "run")
        own += ("--set", "min_steps=20")
        code, _, errors = run("train_loso.py", "--recipe", DEMO, *own, *QUICK)
        assert code == 0, errors
    return place


@pytest.mark.slow
def test_robustness_from_a_finished_run_to_curves(run, trained):
    corpus = ("--corpus", "folder", "--data_dir", trained / "moving", "--num_proc", 1, "--quiet")
    asked = ("--levels", "noise=30", "apex_off=-2", "--output_dir", trained / "robust")
    code, printed, errors = run("run_robustness.py", "--run", trained / "run", *corpus, *asked)
    assert code == 0, errors
    assert "Undisturbed, every answer is the run's own." in printed
    assert "| -2 | 18, by 2.0 frames |" in printed
    content = json.loads((trained / "robust" / "robustness.json").read_text())
    metrics = json.loads((trained / "run" / "metrics.json").read_text())
    own = content["undisturbed"]
    assert own["HCP_MER"]["uf1"] == pytest.approx(metrics["metrics"]["uf1"])
    peer = "flow_logistic_regression"
    assert own[peer]["uf1"] == pytest.approx(metrics["baselines"][peer]["uf1"])
    assert [row["level"] for row in content["disturbances"]["noise"]["levels"]] == [30]
    assert (trained / "robust" / "figures" / "robustness.png").is_file()
    # Another level joins those that are there.
    before = (trained / "robust" / "levels" / "noise 30.parquet").stat().st_mtime_ns
    more = ("--levels", "noise=30,60", "--output_dir", trained / "robust")
    assert run("run_robustness.py", "--run", trained / "run", *corpus, *more)[0] == 0
    assert (trained / "robust" / "levels" / "noise 30.parquet").stat().st_mtime_ns == before


@pytest.mark.slow
def test_zero_shot_from_a_finished_run(run, trained):
    asked = ("--hold_out_class", "surprise", "--action_units", "--quiet")
    code, printed, errors = run("run_zero_shot.py", "--run", trained / "run", *asked)
    assert code == 0, errors
    assert "## surprise (6 clips)" in printed
    assert "| 4 brow lowerer | 6 | 3 |" in printed
    assert {path.name for path in (trained / "run" / "zero_shot").iterdir()} == {
        *("action_units.json", "action_units.md", "action_units.parquet"),
        *("unseen_classes.json", "unseen_classes.md"),
        *(f"surprise.{s}.parquet" for s in ("unseen", "untrained", "trained_on_it")),
    }


@pytest.mark.slow
def test_leaving_one_dataset_out(run, tmp_path):
    places = [tmp_path / name for name in ("alpha", "beta")]
    for seed, place in enumerate(places):
        write_foreign_pairs(place, ("s01", "s02", "s03"), clips_per_class=2, seed=seed)
    own = ("--dataset", *places, "--leave_one_dataset_out", "--output_dir", tmp_path / "run")
    code, printed, errors = run("train_loso.py", "--recipe", DEMO, *own, *QUICK)
    assert code == 0, errors
    assert "leave one dataset out" in printed
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["protocol"] == "leave_one_dataset_out"
    assert set(metrics["per_dataset"]) == {"alpha", "beta"}
    # Flow looks alike in both corpora.
    assert metrics["branches"]["componential"]["uf1"] > 0.9


def fails(run, script, *arguments):
    code, _, errors = run(script, *arguments)
    assert code == 2
    assert len(errors.strip().splitlines()) == 1, errors
    return errors


@pytest.mark.slow
def test_mistakes_about_a_finished_run_end_in_one_line(run, trained, tmp_path):
    robust = ("run_robustness.py", "--run", trained / "run", "--output_dir", tmp_path / "out")
    nowhere = ("--corpus", "folder", "--data_dir", tmp_path / "nothing")
    assert "nothing" in fails(run, *robust, *nowhere)
    other = ("--corpus", "casme2", "--data_dir", trained / "moving")
    assert "CASME" in fails(run, *robust, *other)
    assert not (tmp_path / "out").exists()
    zero = ("run_zero_shot.py", "--run", trained / "run")
    assert "got 'joy'" in fails(run, *zero, "--hold_out_class", "joy")
    shutil.copytree(trained / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "folds")
    unfinished = ("run_zero_shot.py", "--run", tmp_path / "run", "--action_units")
    assert "is not finished" in fails(run, *unfinished)


def test_mistakes_on_the_command_line_end_in_one_line(run, tmp_path):
    robust = ("run_robustness.py", "--run", tmp_path, "--corpus", "folder", "--data_dir", tmp_path)
    output = ("--output_dir", tmp_path / "out")
    assert "holds no run" in fails(run, *robust, *output)
    assert "Did you mean 'noise'" in fails(run, *robust, *output, "--disturbances", "nois")
    assert "equally often" in fails(run, *robust, tmp_path, *output)
    assert "--num_proc must be at least 1" in fails(run, *robust, *output, "--num_proc", 0)
    zero = ("run_zero_shot.py", "--run", tmp_path)
    assert "nothing is asked" in fails(run, *zero)
    assert "holds no run" in fails(run, *zero, "--action_units")
    write_foreign_pairs(tmp_path / "alone", ("s01", "s02"), clips_per_class=1, size=32)
    alone = ("--recipe", DEMO, "--dataset", tmp_path / "alone", "--leave_one_dataset_out")
    said = fails(run, "train_loso.py", *alone, *output)
    assert "leaving one dataset out needs at least two corpora; got alone alone" in said
