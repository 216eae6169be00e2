"""scripts/doctor.py as a user runs it: every line is printed, and none of them a secret."""

import runpy
import sys
from pathlib import Path

import pytest

from hcp_mer.doctor import zero_shot
from hcp_mer.doctor.findings import run_check
from tests.foreign_pairs import write_foreign_pairs

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "hub_configs" / "recipes" / "demo.yaml"
EMBEDDED = ROOT / "hub_configs" / "face-motion-clip"


def test_a_check_that_breaks_is_wrong_and_keeps_none_from_running():
    def broken():
        raise KeyError("surprise")

    finding = run_check("x", broken)
    assert finding.state == "wrong"
    assert "KeyError" in finding.found


@pytest.fixture
def doctor(monkeypatch, capsys):
    """doctor(*arguments) → (exit code, stdout, stderr) of the script, in this process."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["doctor.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(ROOT / "scripts" / "doctor.py"), run_name="__main__")
        return end.value.code, *capsys.readouterr()

    return run


def lines_of(printed):
    """The check of each line that is one, and its state."""
    rows = (line.split() for line in printed.splitlines() if not line.startswith(" "))
    return {row[0]: row[1] for row in rows if len(row) > 1 and row[1] in ("ok", "look", "wrong")}


def test_the_script_says_ok_of_the_demo(doctor, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_marker_of_a_secret")
    monkeypatch.setattr(zero_shot, "CLIPS_PER_CLASS", 2)
    write_foreign_pairs(tmp_path / "mine", clips_per_class=2, size=32)
    code, printed, errors = doctor("--recipe", DEMO, "--dataset", tmp_path / "mine")
    assert code == 0, printed
    assert "wrong" not in lines_of(printed).values()
    assert list(lines_of(printed)) == [
        *("python", "packages", "opencv", "threads", "gpu", "cache", "hub"),
        *("backbone", "sizes", "weights", "tokenizer", "knowledge"),
        *("pairs", "classes", "flow", "zero-shot"),
    ]
    assert "hf_marker" not in printed + errors
    assert max(map(len, printed.splitlines())) <= 100


def test_the_script_goes_on_when_the_backbone_is_out_of_reach(doctor, tmp_path):
    write_foreign_pairs(tmp_path / "mine", clips_per_class=2, size=32)
    arguments = ("--dataset", tmp_path / "mine", "--corpus", "casme2", "--data_dir", tmp_path)
    code, printed, _ = doctor(*arguments)  # the paper's recipe
    assert code == 1
    found = lines_of(printed)
    assert (found["backbone"], found["weights"], found["flow"]) == ("wrong", "look", "ok")
    assert found["casme2"] == "wrong"  # no such corpus there
    assert max(map(len, printed.splitlines())) <= 100


def test_another_backbone_drops_the_recipes_revision(doctor, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "hcp_mer.doctor.examine", lambda recipe, *_, **__: asked.append(recipe) or []
    )
    for name in ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch16", EMBEDDED):
        doctor("--backbone", name)
    revisions = [recipe.backbone_revision for recipe in asked]
    assert revisions == ["3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268", None, None]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--corpus", "casme2"), "belong together"),
        (("--recipe", "nowhere.yaml"), "there is no file nowhere.yaml"),
    ],
)
def test_mistakes_end_in_one_line(doctor, arguments, words):
    code, _, errors = doctor(*arguments)
    assert code == 2
    assert words in errors
    assert len(errors.strip().splitlines()) == 1
