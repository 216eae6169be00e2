"""The scripts as a user runs them: the whole path, then every mistake that users make."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas
import pytest
import yaml

from hcp_mer.baselines.controls import CONTROLS
from tests.conftest import GROUPS
from tests.foreign_pairs import write_foreign_pairs

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
TRAIN = (SCRIPTS / "train_loso.py", "--no-controls")
DEMO = ROOT / "hub_configs" / "recipes" / "demo.yaml"


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


def last_line(text):
    return text.strip().splitlines()[-1]


@pytest.mark.slow
def test_from_corpus_to_checkpoint(run, tmp_path, tiny_recipe):
    corpus, pairs, output = tmp_path / "corpus", tmp_path / "pairs", tmp_path / "run"
    size = ("--num_subjects", 3, "--clips", 10, "--size", 64, "--num_proc", 1)
    code, printed, _ = run("write_procedural_corpus.py", "--output_dir", corpus, *size)
    assert code == 0
    prepare = ("prepare_dataset.py", "--corpus", "casme2", "--name", "procedural")
    prepare += ("--data_dir", corpus, "--output_dir", pairs, "--image_size", 64, "--num_proc", 1)
    code, printed, _ = run(*prepare)
    assert code == 0
    assert "wrote 30 pairs" in printed
    assert "reused 30 pairs" in run(*prepare)[1]

    train = ("train_loso.py", "--recipe", tiny_recipe, "--dataset", pairs, "--output_dir", output)
    code, printed, errors = run(*train)
    assert code == 0, errors
    assert "synthetic" in printed
    for row in ("HCP_MER", "chance", "zero shot", "flow logistic"):
        assert row in printed
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics["metrics"]) == {"accuracy", "uf1", "uar"}
    peers = {"chance", "flow_logistic_regression", "flow_svm", "zero_shot"}
    assert set(metrics["baselines"]) == peers | set(CONTROLS)
    assert metrics["selection"] == "last_step"
    assert metrics["num_subjects"] == 3
    predictions = pandas.read_parquet(output / "predictions.parquet")
    assert metrics["num_clips"] == len(predictions)
    page = (output / "report.html").read_text()
    assert "data:image/png;base64" in page
    card = (output / "model" / "README.md").read_text()
    assert "model-index" in card
    assert "**Synthetic.**" in card

    usage = printed.split("use it:\n")[1].splitlines()
    assert len(usage) == 4
    program = "\n".join(line.strip() for line in usage)
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert answer.stdout.strip() in ("negative", "positive", "surprise")
    assert "arning" not in answer.stderr

    before = (output / "metrics.json").read_bytes()
    weights = (output / "model" / "model.safetensors").stat().st_mtime_ns
    code, printed, errors = run(*train)
    assert code == 0
    assert "3 folds" not in errors  # no bar: nothing was trained again
    assert (output / "metrics.json").read_bytes() == before
    assert (output / "model" / "model.safetensors").stat().st_mtime_ns == weights
    code, printed, _ = run("make_report.py", "--run", output)
    assert code == 0
    assert (output / "metrics.json").read_bytes() == before


@pytest.mark.slow
def test_foreign_pairs_with_a_useless_magnified_column(run, tmp_path):
    """The demo's own recipe on pairs of somebody else: noise for faces must not sink the flow."""
    pairs, output = tmp_path / "mine", tmp_path / "run"
    write_foreign_pairs(pairs)
    code, _, errors = run(
        *("train_loso.py", "--recipe", DEMO, "--dataset", pairs, "--output_dir", output),
        "--no-controls",
    )
    assert code == 0, errors
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["metrics"]["uf1"] > 0.9
    assert metrics["branches"]["holistic"]["uf1"] < 0.55
    assert metrics["baselines"]["chance"]["uf1"] < 0.6  # labels shuffled within training
    predictions = pandas.read_parquet(output / "predictions.parquet")
    assert set(predictions["subject"]) == {"006", "007", "011", "012", "013"}
    assert set(predictions["dataset"]) == {"mine"}


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path, tiny_recipe):
    pairs = tmp_path / "pairs"
    write_foreign_pairs(pairs, clips_per_class=2, size=32)
    settings = ["--set", "fold_group=1", "--set", "epochs=40"]

    def command(output):
        arguments = ["--recipe", tiny_recipe, "--dataset", pairs, "--output_dir", output, *settings]
        return [sys.executable, *TRAIN, *arguments]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    process = subprocess.Popen(
        command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    folds = tmp_path / "killed" / "folds" / "pairs"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(list(folds.glob("[!.]*"))) < 2:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert 2 <= len(list(folds.glob("[!.]*"))) < 5  # it was really cut off in the middle
    assert not (tmp_path / "killed" / "metrics.json").exists()
    subprocess.run(command(tmp_path / "killed"), check=True, capture_output=True)
    one, other = (tmp_path / name / "predictions.parquet" for name in ("whole", "killed"))
    pandas.testing.assert_frame_equal(
        pandas.read_parquet(one), pandas.read_parquet(other), atol=1e-6
    )


def hear_ctrl_c():
    """A shell starts what it puts into the background deaf to it, and so what that starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_ctrl_c_in_the_middle_of_a_group_saves_it_and_says_how_to_go_on(tmp_path, tiny_recipe):
    pairs = tmp_path / "pairs"
    write_foreign_pairs(pairs, clips_per_class=2, size=32)

    def command(output):
        arguments = ["--recipe", tiny_recipe, "--dataset", pairs, "--output_dir", output]
        return [sys.executable, *TRAIN, *arguments, "--set", "epochs=300"]

    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    stopped = tmp_path / "stopped"
    process = subprocess.Popen(
        command(stopped), stderr=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (stopped / "processes" / "0.json").exists():
        time.sleep(0.02)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert last_line(errors).startswith("interrupted: finished parts are kept; run the same comm")
    assert len(list((stopped / "unfinished").glob("*.safetensors"))) == 1
    assert not list(stopped.glob("folds/*/*"))  # in the middle of its only group
    subprocess.run(command(stopped), check=True, capture_output=True)
    assert not (stopped / "unfinished").exists()
    one, other = (tmp_path / name / "predictions.parquet" for name in ("whole", "stopped"))
    pandas.testing.assert_frame_equal(pandas.read_parquet(one), pandas.read_parquet(other))


@pytest.mark.slow
def test_a_process_that_dies_is_named_and_only_its_folds_are_trained_again(tmp_path, tiny_recipe):
    pairs, output = tmp_path / "pairs", tmp_path / "run"
    write_foreign_pairs(pairs, clips_per_class=2, size=32)
    settings = ["--set", "fold_group=1", "--set", "epochs=150"]
    arguments = ["--recipe", tiny_recipe, "--dataset", pairs, "--output_dir", output, *settings]
    script = [*TRAIN, *arguments]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"]
    process = subprocess.Popen(
        [*launcher, *script],
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    second = output / "processes" / "1.json"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not second.exists():
        time.sleep(0.02)
    share = json.loads(second.read_text())
    os.kill(int(share["host"].rpartition(" ")[2]), signal.SIGKILL)
    assert process.wait(timeout=120) != 0
    kept = {path: path.stat().st_mtime_ns for path in output.glob("folds/pairs/[!.]*/*.parquet")}
    assert len(kept) < 2 * 5  # predictions and control of five subjects
    again = subprocess.run([sys.executable, *script], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"(process 1 on {share['host']})" in again.stderr
    assert any(name in again.stderr for name in share["folds"])
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(pandas.read_parquet(output / "predictions.parquet")) == 5 * 3 * 2


@pytest.mark.slow
def test_accelerate_launch_on_cpu_says_that_it_is_alone_and_goes_on(tmp_path, tiny_recipe):
    pairs = tmp_path / "pairs"
    write_foreign_pairs(pairs, ("1", "2"), clips_per_class=1, size=32)
    launcher = ["-m", "accelerate.commands.accelerate_cli", "launch", "--cpu", "--num_processes=2"]
    arguments = ["--recipe", tiny_recipe, "--dataset", pairs, "--output_dir", tmp_path / "run"]
    done = subprocess.run(
        [sys.executable, *launcher, *TRAIN, *arguments, "--quiet"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2" in done.stderr
    assert "fold-step" not in done.stderr  # quiet: no bar
    assert (tmp_path / "run" / "metrics.json").is_file()


@pytest.mark.slow
def test_two_processes_share_the_folds_and_agree_with_one(tmp_path, tiny_recipe):
    pairs = tmp_path / "pairs"
    write_foreign_pairs(pairs, clips_per_class=2, size=32)
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    launchers = {
        "one": [sys.executable],
        "two": [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2"],
    }
    for name, launcher in launchers.items():
        arguments = ["--recipe", tiny_recipe, "--dataset", pairs, "--output_dir", tmp_path / name]
        done = subprocess.run(
            [*launcher, *TRAIN, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    one, two = (pandas.read_parquet(tmp_path / name / "predictions.parquet") for name in launchers)
    pandas.testing.assert_frame_equal(one, two, atol=1e-5)


def test_the_papers_recipe_without_its_backbone_names_the_way_out(run, tmp_path):
    pairs = tmp_path / "pairs"
    write_foreign_pairs(pairs, ("1", "2"), clips_per_class=1, size=32)
    recipe = ROOT / "hub_configs" / "recipes" / "casme2-3class.yaml"
    arguments = ("--dataset", pairs, "--output_dir", tmp_path / "run", "--set", "scheme=smic")
    code, _, errors = run("train_loso.py", "--no-controls", "--recipe", recipe, *arguments)
    assert code == 2
    assert "--set backbone=hub_configs/face-motion-clip" in last_line(errors)
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--recipe", "no.yaml", "--dataset", "x", "--output_dir", "y"],
            "there is no file no.yaml",
        ),
        (
            ["--recipe", DEMO, "--dataset", "/nowhere", "--output_dir", "y"],
            "no pairs at /nowhere",
        ),
        (
            ["--recipe", DEMO, "--dataset", "x", "--output_dir", "y", "--set", "epcohs=3"],
            "Did you mean 'epochs'?",
        ),
        (
            ["--recipe", DEMO, "--dataset", "x", "--output_dir", "y", "--set", "model.gate=3"],
            "unknown model option 'gate'",
        ),
    ],
)
def test_mistakes_in_training_end_in_one_line(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, errors = run("train_loso.py", *arguments)
    assert code == 2
    assert message in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (tmp_path / "y").exists()


def test_mistakes_in_preparation_end_in_one_line(run, tmp_path):
    def prepare(data_dir, *more):
        arguments = ("--corpus", "casme2", "--data_dir", data_dir, "--output_dir", tmp_path / "out")
        return run("prepare_dataset.py", *arguments, *more)

    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "gone", tmp_path / "empty"):
        code, _, errors = prepare(folder)
        assert code == 2
        assert errors.startswith("error: ")
        assert len(errors.strip().splitlines()) == 1
    code, _, errors = prepare(tmp_path / "empty", "--image_size", 5)
    assert code == 2
    assert "image_size must be at least 32" in errors
    code, _, errors = prepare(tmp_path / "empty", "--alpha", 0.5)
    assert code == 2
    assert "alpha" in errors


def test_debug_shows_the_traceback(run, tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        run("train_loso.py", *["--recipe", "no", "--dataset", "x", "--output_dir", "y", "--debug"])


def test_a_subject_with_one_clip_is_a_fold_like_any_other(run, tmp_path, tiny_recipe):
    from tests.foreign_pairs import write_metadata

    pairs = tmp_path / "pairs"
    rows = write_foreign_pairs(pairs, ("1", "2", "3"), clips_per_class=2, size=32)
    write_metadata(pairs, [row for row in rows if row["subject"] != "3"] + [rows[-1]])
    arguments = ("--recipe", tiny_recipe, "--dataset", pairs, "--output_dir", tmp_path / "run")
    code, _, errors = run("train_loso.py", *arguments)
    assert code == 0, errors
    predictions = pandas.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert (predictions["subject"] == "3").sum() == 1
    assert np.isfinite(predictions["prob_negative"]).all()
