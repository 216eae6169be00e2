"""train_loso.py with several corpora, as a user runs it."""

import json
from pathlib import Path

import pandas
import pytest

from tests.foreign_pairs import write_foreign_pairs

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "hub_configs" / "recipes" / "demo.yaml"
NAMES = ("alpha", "beta", "gamma")


@pytest.fixture
def corpora(tmp_path):
    for seed, name in enumerate(NAMES):
        write_foreign_pairs(tmp_path / name, ("s01", "s02", "s03"), clips_per_class=2, seed=seed)
    return tmp_path


@pytest.mark.slow
def test_a_composite_database_and_its_report(run, corpora):
    output, recipe = (
        corpora / "run",
        ("--recipe", DEMO, "--set", "gate_fitting=joint", "--no-controls"),
    )
    arguments = (*recipe, "--dataset", *(corpora / name for name in NAMES), "--output_dir", output)
    code, printed, errors = run("train_loso.py", *arguments)
    assert code == 0, errors
    assert "54 clips, 9 subjects, LOSO" in printed
    assert "each corpus by itself" in printed
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics["per_dataset"]) == set(NAMES)
    assert set(metrics["per_dataset_baselines"]["beta"]) == set(metrics["baselines"])
    before = (output / "report.html").read_bytes()
    assert b"data:image/png" in before
    code, printed, _ = run("make_report.py", "--run", output)
    assert code == 0
    assert "each corpus by itself" in printed
    assert (output / "report.html").read_bytes() == before  # pictures of all corpora, too
    code, _, errors = run("train_loso.py", *arguments[:-3], "--output_dir", output)
    assert code == 2
    assert "other dataset" in errors.splitlines()[-1]


@pytest.mark.slow
def test_training_on_one_corpus_and_testing_on_others(run, corpora):
    output, recipe = (
        corpora / "run",
        ("--recipe", DEMO, "--set", "gate_fitting=joint", "--no-controls"),
    )
    tested = ("--test_dataset", corpora / "gamma", corpora / "beta")
    arguments = ("--dataset", corpora / "alpha", *tested, "--output_dir", output)
    code, printed, errors = run("train_loso.py", *recipe, *arguments)
    assert code == 0, errors
    words = " ".join(printed.split())
    assert "36 clips, 6 subjects, trained on alpha, tested on beta and gamma, last step" in words
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["protocol"] == "cross_corpus"
    assert metrics["branches"]["componential"]["uf1"] > 0.9  # flow looks alike in all corpora
    table = pandas.read_parquet(output / "predictions.parquet")
    assert set(zip(table["dataset"], table["subject"])) == {
        (name, f"s0{number}") for name in ("beta", "gamma") for number in (1, 2, 3)
    }
    card = (output / "model" / "README.md").read_text()
    assert "- alpha: 18 clips of 3 subjects" in card
    before = (output / "report.html").read_bytes()
    assert run("make_report.py", "--run", output)[0] == 0
    assert (output / "report.html").read_bytes() == before


def test_a_corpus_on_both_sides_ends_in_one_line(run, corpora):
    sides = ("--dataset", corpora / "alpha", "--test_dataset", corpora / "alpha")
    code, _, errors = run(
        "train_loso.py", "--recipe", DEMO, *sides, "--output_dir", corpora / "run"
    )
    assert code == 2
    assert "corpus alpha is on both sides" in errors
    assert len(errors.strip().splitlines()) == 1
    assert not (corpora / "run" / "recipe.yaml").exists()
