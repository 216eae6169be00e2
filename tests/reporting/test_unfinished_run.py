"""A run that has not ended: what is missing is named, and a part is never taken for the whole."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import yaml

from hcp_mer.data.pairs import load_pairs
from tests.foreign_pairs import write_foreign_pairs
from tests.reporting.runs_on_disk import clips_of, make_quick, table, write_run

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_report.py"
SUBJECTS = ("006", "007", "011")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    make_quick(monkeypatch)


@pytest.fixture
def make_report(monkeypatch, capsys):
    """make_report(*arguments) → (exit code, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def half(tmp_path):
    """Three subjects, of whom the folds of two have ended."""
    pairs = tmp_path / "mine"
    write_foreign_pairs(pairs, SUBJECTS, clips_per_class=1, size=16)
    run = tmp_path / "run"
    for subject in SUBJECTS[:2]:
        fold = run / "folds" / "mine" / subject
        fold.mkdir(parents=True)
        own = table(*(f"mine/{subject}/000{c} {c} {c}" for c in "nps"))
        own.to_parquet(fold / "predictions.parquet")
        own.assign(prediction="negative").to_parquet(fold / "chance.parquet")
    settings = {
        "recipe": {"task": "3-class", "scheme": None},
        "dataset": str(pairs),
        "dataset_fingerprint": load_pairs(pairs).fingerprint(),
    }
    (run / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return run


def test_it_is_refused_with_what_is_missing_and_how_to_go_on(half, make_report):
    code, _, error = make_report("--run", half)
    assert code == 2
    assert "is not finished, 1 of 3 folds have no result (mine/011)" in error
    assert "give the same train_loso command again, finished folds are kept" in error
    assert "--partial" in error
    assert error.count("\n") == 1
    assert not (half / "metrics.json").exists()


def test_without_its_pairs_the_folds_that_processes_had_taken_are_named(half, make_report):
    settings = yaml.safe_load((half / "recipe.yaml").read_text())
    (half / "recipe.yaml").write_text(yaml.safe_dump(settings | {"dataset": "gone"}))
    (half / "processes").mkdir()
    share = {"host": "here, pid 1", "folds": ["mine/007", "mine/011", "mine/012"]}
    (half / "processes" / "0.json").write_text(json.dumps(share))
    error = make_report("--run", half)[2]
    assert "at least 2 of 4 folds have no result (mine/011, mine/012)" in error


def test_a_part_is_scored_apart_and_says_so_everywhere(half, make_report):
    code, printed, _ = make_report("--run", half, "--partial")
    assert code == 0
    assert "PARTIAL (2 of 3 folds), 3-class, 6 clips, 2 subjects" in " ".join(printed.split())
    # Whoever publishes or quotes the run reads metrics.json in its folder: there is none.
    assert not (half / "metrics.json").exists()
    metrics = json.loads((half / "partial" / "metrics.json").read_text())
    assert metrics["partial"] == {"num_finished": 2, "num_folds": 3, "missing": ["mine/011"]}
    assert metrics["metrics"]["uf1"] == 1
    page = (half / "partial" / "report.html").read_text(encoding="utf-8")
    assert "<title>PARTIAL (2 of 3 folds): 3-class on mine" in page
    assert "<h1>PARTIAL (2 of 3 folds)" in page
    assert "PARTIAL (2 of 3 folds). Pooled over" in page  # the table's own caption
    assert "This is no result: the folds mine/011 are missing" in page
    # Scored again by its own folder, it still is a part.
    make_report("--run", half / "partial")
    again = json.loads((half / "partial" / "metrics.json").read_text())
    assert again["partial"] == metrics["partial"]


def test_a_part_in_latex_says_so(half, make_report, tmp_path):
    assert make_report("--run", half, "--latex", tmp_path / "t.tex")[0] == 2
    assert make_report("--run", half, "--latex", tmp_path / "t.tex", "--partial")[0] == 0
    assert "mine, 3-class, PARTIAL (2 of 3 folds)" in (tmp_path / "t.tex").read_text()


def test_it_is_not_compared(half, make_report, tmp_path):
    other = write_run(tmp_path / "other", table(*clips_of("006", "007")))
    code, _, error = make_report("--compare", half, other)
    assert code == 2
    assert "1 of 3 folds have no result" in error
    assert "--partial" not in error


def test_a_run_without_any_finished_fold_has_no_part_to_score(half, make_report):
    for fold in (half / "folds" / "mine").iterdir():
        fold.rename(fold.with_name(f".{fold.name}.partial"))
    code, _, error = make_report("--run", half, "--partial")
    assert code == 2
    assert "has no finished fold to score" in error


def test_the_report_on_a_part_goes_when_the_run_has_ended(half, make_report):
    make_report("--run", half, "--partial")
    clips = [f"mine/{subject}/000{c} {c} {c}" for subject in SUBJECTS for c in "nps"]
    write_run(half, table(*clips), recipe=(half / "recipe.yaml").read_text())
    assert make_report("--run", half)[0] == 0
    assert (half / "metrics.json").is_file()
    assert not (half / "partial").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--run", "x", "--json", "y"), "--json goes with --compare"),
        (("--compare", "x", "y", "--latex", "z"), "go with --run"),
        (("--run", "none"), "none holds no run: there is no recipe.yaml"),
        (("--compare", "none", "none2"), "none holds no run: there is no recipe.yaml"),
    ],
)
def test_options_that_do_not_go_together_end_in_one_line(make_report, arguments, message):
    code, _, error = make_report(*arguments)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1


def test_the_comparison_is_printed_and_written(make_report, tmp_path):
    a = write_run(tmp_path / "a", table(*clips_of("1", "2", "3")))
    b = write_run(tmp_path / "b", table(*clips_of("1", "2", "3", answers="nnn")))
    code, printed, _ = make_report("--compare", a, b, "--json", tmp_path / "d.json")
    assert code == 0
    assert "A is better than B on these 3 subjects" in printed
    written = json.loads((tmp_path / "d.json").read_text())
    assert written["clips"]["only_a"] == 6


def test_tables_of_several_runs_are_written_and_no_report(make_report, tmp_path):
    a = write_run(tmp_path / "a", table(*clips_of("1", "2")))
    b = write_run(tmp_path / "b", table(*clips_of("1", "2", dataset="samm")))
    code, printed, _ = make_report("--run", a, "--run", b, "--latex", tmp_path / "t.tex")
    assert code == 0
    assert "booktabs" in printed
    text = (tmp_path / "t.tex").read_text(encoding="utf-8")
    assert text.count("LBP-TOP") == 1  # both are columns of one table
    assert "CASME II: 6 clips were measured here, 147 are in the paper." in text
    assert not (a / "report.html").exists()
