"""run_baselines.py as a user runs it, and the mistakes that users make."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas
import pytest
import yaml

from tests.conftest import GROUPS
from tests.foreign_pairs import write_foreign_pairs

SCRIPT = Path(__file__).parents[2] / "scripts" / "run_baselines.py"


@pytest.fixture
def tiny_recipe(tmp_path, tiny_backbone):
    (tmp_path / "prompts.yaml").write_text(yaml.safe_dump({g["label"]: g for g in GROUPS}))
    recipe = {
        "task": "3-class",
        "prompts": "prompts.yaml",
        "backbone": str(tiny_backbone),
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 5e-3,
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


@pytest.fixture
def pairs(tmp_path):
    folder = tmp_path / "pairs"
    write_foreign_pairs(folder, subjects=("006", "007", "a b"), clips_per_class=2, size=32)
    return folder


@pytest.fixture
def baselines(run, tmp_path, tiny_recipe, pairs):
    """baselines(*further arguments) → (exit code, stdout, stderr), in tmp_path/run."""
    given = ("--recipe", tiny_recipe, "--dataset", pairs, "--output_dir", tmp_path / "run")
    return lambda *further: run("run_baselines.py", *given, *further)


def test_the_list_says_what_each_method_costs_and_needs(run):
    code, printed, _ = run("run_baselines.py", "--list")
    assert code == 0
    for words in ("flow_svm", "light", "htnet", "heavy", "Wang et al. 2024", "--corpus_dir"):
        assert words in printed


@pytest.mark.parametrize(
    ("further", "words"),
    [
        (("--methods", "flow_svn"), "Did you mean 'flow_svm'?"),
        (("--methods", "majority", "--limit_folds", "3"), "--limit_folds must be from 1 to 2"),
        (("--methods", "majority", "--limit_folds", "0"), "this run has 3 folds"),
        (("--methods", "lbp_top", "--corpus_dir", "/nowhere"), "CORPUS=FOLDER"),
        (("--seeds", "1", "1"), "--seeds must be different"),
        (("--set", "epocs=3"), "Did you mean 'epochs'?"),
    ],
)
def test_a_mistake_is_one_line(baselines, further, words):
    code, _, errors = baselines("--quiet", *further)
    assert code == 2
    assert words in errors.splitlines()[-1]
    assert "Traceback" not in errors


def test_what_is_missing_is_named(run, tiny_recipe):
    code, _, errors = run("run_baselines.py", "--recipe", tiny_recipe)
    assert code == 2
    assert "--dataset and --output_dir must be given" in errors


def test_one_subject_cannot_be_left_out(run, tmp_path, tiny_recipe):
    write_foreign_pairs(tmp_path / "one", subjects=("006",), clips_per_class=3, size=32)
    given = ("--recipe", tiny_recipe, "--dataset", tmp_path / "one", "--output_dir", tmp_path / "r")
    code, _, errors = run("run_baselines.py", *given, "--methods", "majority")
    assert code == 2
    assert "at least two subjects" in errors


def test_a_folder_of_peers_only_grows_and_refuses_another_recipe(baselines, tmp_path):
    root = tmp_path / "run"
    code, printed, errors = baselines("--quiet", "--methods", "majority")
    assert code == 0, errors
    assert "majority" in printed
    code, printed, errors = baselines("--quiet", "--methods", "flow_svm")
    assert code == 0, errors
    found = json.loads((root / "baselines.json").read_text())
    assert list(found["systems"]) == ["majority", "flow_svm"]
    assert found["systems"]["flow_svm"]["metrics"]["uf1"] > 0.9  # the flow shows the class
    assert found["systems"]["majority"]["metrics"]["uf1"] == pytest.approx(1 / 6)
    assert found["systems"]["flow_svm"]["num_parameters"] == 3 * (28 * 28 * 3 + 1)
    assert "| flow svm |" in (root / "baselines.md").read_text()
    assert not (root / "report.html").exists()
    code, _, errors = baselines("--quiet", "--methods", "majority", "--set", "epochs=4")
    assert code == 2
    assert "other settings (epochs was 3, now 4)" in errors


def test_a_trial_leaves_no_result(baselines, tmp_path):
    code, printed, errors = baselines("--quiet", "--methods", "flow_svm", "--limit_folds", "2")
    assert code == 0, errors
    assert "A TRIAL on 2 of 3 folds" in printed
    assert "written" not in printed
    root = tmp_path / "run"
    assert not list(root.glob("baselines*.json"))
    assert not list((root / "baselines").glob("*.parquet"))


def test_a_peer_that_lacks_something_is_said_and_the_others_run(baselines, tmp_path):
    code, printed, _ = baselines("--quiet", "--methods", "majority", "lbp_top")
    assert code == 2  # somebody asked for it by name
    assert "not run: lbp_top" in printed
    assert (tmp_path / "run" / "baselines" / "majority.parquet").is_file()


def test_other_seeds_than_the_recipes(baselines, tmp_path):
    code, printed, errors = baselines("--quiet", "--methods", "mer_clip", "--seeds", "4", "5")
    assert code == 0, errors
    assert "Means of 2 seeds: mer clip." in printed
    table = pandas.read_parquet(tmp_path / "run" / "baselines" / "mer_clip.parquet")
    assert set(table["seed"]) == {4, 5}


@pytest.mark.slow
def test_a_finished_run_gets_the_rows_and_its_report(run, baselines, tmp_path, tiny_recipe, pairs):
    root = tmp_path / "run"
    train = ("--recipe", tiny_recipe, "--dataset", pairs, "--output_dir", root)
    code, _, errors = run("train_loso.py", *train)
    assert code == 0, errors
    predictions = (root / "predictions.parquet").read_bytes()
    code, printed, errors = baselines("--methods", "majority", "mer_clip")
    assert code == 0, errors
    for row in ("HCP_MER", "chance", "majority", "mer clip", "report.html"):
        assert row in printed
    metrics = json.loads((root / "metrics.json").read_text())
    assert {"majority", "mer_clip", "chance", "zero_shot"} <= set(metrics["baselines"])
    page = (root / "report.html").read_text()
    assert "mer clip" in page
    assert (root / "predictions.parquet").read_bytes() == predictions
    assert "HCP_MER does not clearly beat" in printed  # three epochs teach it nothing
    listed = json.loads((root / "baselines.json").read_text())["systems"]
    assert listed["HCP_MER"]["metrics"] == pytest.approx(metrics["metrics"])
    assert listed["mer_clip"]["metrics"] == pytest.approx(metrics["baselines"]["mer_clip"])


@pytest.mark.slow
def test_killed_in_the_middle_it_ends_as_if_it_had_not_been(tmp_path, tiny_recipe):
    pairs = tmp_path / "pairs"
    write_foreign_pairs(pairs, clips_per_class=2, size=32)

    methods = ("flow_logistic_regression", "mer_clip")

    def command(output):
        given = ("--recipe", tiny_recipe, "--dataset", pairs, "--output_dir", output)
        return [sys.executable, SCRIPT, *given, "--methods", *methods]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    process = subprocess.Popen(
        command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    folds = tmp_path / "killed" / "baselines"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(folds.glob(".*/*.json"))) < 1:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folds / "flow_logistic_regression.parquet").exists()  # it was cut off in the middle
    subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True)
    for name in methods:
        one, other = (
            tmp_path / run / "baselines" / f"{name}.parquet" for run in ("whole", "killed")
        )
        pandas.testing.assert_frame_equal(pandas.read_parquet(one), pandas.read_parquet(other))
