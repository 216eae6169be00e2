"""Frozen backbones on unseen domains: rows, means and marks by hand, closed domains kept closed."""

import json
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
import yaml

from hcp_mer.benchmark import backbone as benchmark
from hcp_mer.benchmark.backbone import run_backbone
from hcp_mer.benchmark.tables import backbone_summary, backbone_table
from hcp_mer.data.tasks import TASKS
from hcp_mer.errors import UserError
from hcp_mer.training.recipe import Recipe
from tests.foreign_pairs import write_foreign_pairs

ROOT = Path(__file__).parents[2]
CLASSES = TASKS["3-class"].classes
ROWS_OF_A_BACKBONE = ["zero-shot", "pooled", "patches", "patches, random tower"]
PEERS = ["SVM on flow", "logistic regression on flow"]


@pytest.fixture
def recipe(tiny_backbone):
    return Recipe(
        task="3-class",
        prompts=str(ROOT / "hub_configs" / "prompts" / "facs-3class.yaml"),
        backbone=str(tiny_backbone),
        epochs=1,
        seeds=(0, 1),
        batch_size=4,
    )


@pytest.fixture
def domains(monkeypatch):
    """Two open domains and a closed one, of foreign pairs; → the calls of `write_domain`."""
    calls = []
    closed = {"near": False, "far": False, "last": True}
    fakes = {name: SimpleNamespace(closed=value) for name, value in closed.items()}

    def write(name, folder, num_subjects, clips_per_subject):
        calls.append((name, num_subjects, clips_per_subject))
        subjects = [f"{number:03d}" for number in range(num_subjects)]
        per_class = clips_per_subject // len(CLASSES)
        if not folder.exists():
            write_foreign_pairs(folder, subjects, per_class, size=32, seed=len(name))
        return folder

    monkeypatch.setattr(benchmark, "DOMAINS", fakes)
    monkeypatch.setattr(benchmark, "write_domain", write)
    return calls


def test_a_tiny_run_has_every_row_and_means_over_domains(domains, recipe, tiny_backbone):
    told = []
    result = run_backbone(recipe, {"tiny": str(tiny_backbone)}, False, 3, 3, on_domain=told.append)
    assert domains == [("near", 3, 3), ("far", 3, 3)]
    assert told == ["near", "far"]
    json.dumps(result, allow_nan=False)
    rows = {(row["backbone"], row["name"]): row for row in result["rows"]}
    expected = [("tiny", name) for name in ROWS_OF_A_BACKBONE] + [(None, peer) for peer in PEERS]
    assert sorted(rows, key=str) == sorted(expected, key=str)
    for key, row in rows.items():
        assert list(row["domains"]) == ["near", "far"]
        near, far = (row["domains"][name] for name in ("near", "far"))
        assert row["mean"] == pytest.approx((near["uf1"] + far["uf1"]) / 2)
        assert row["worst"] == min(near["uf1"], far["uf1"])
        for domain, entry in row["domains"].items():
            low, high = entry["interval"]
            assert 0 <= low <= high <= 1
            svm = rows[None, "SVM on flow"]["domains"][domain]["uf1"]
            if key == (None, "SVM on flow"):
                assert entry["minus_svm"] is None
            else:
                assert entry["minus_svm"]["uf1"] == pytest.approx(entry["uf1"] - svm)
    # Where the flow is bright tells the class: the pixels alone do.
    assert rows[None, "SVM on flow"]["mean"] > 0.9
    settings = result["settings"]
    assert (settings["subjects"], settings["clips_per_subject"]) == (3, 3)
    assert settings["closed"] is False
    header, cells = backbone_table(result)
    assert header == ["UF1, by domain", "1", "2", "mean", "worst"]
    assert {len(row) for row in cells} == {5}
    svm = rows[None, "SVM on flow"]
    assert svm["minus_svm"] is None
    for row in result["rows"]:
        if row is not svm:
            assert row["minus_svm"]["uf1"] == pytest.approx(row["mean"] - svm["mean"])


def only_names(monkeypatch):
    """Which domains and backbones would be measured, without measuring."""
    measured = []

    def tables(recipe, backbones, pairs, place):
        measured.append((pairs.name, list(backbones)))
        table = answers([2, 2])
        return {("tiny", "zero-shot"): answers([1, 1]), (None, "SVM on flow"): table}

    monkeypatch.setattr(benchmark, "_tables", tables)
    return measured


def test_closed_domains_are_opened_only_when_asked(domains, recipe, monkeypatch):
    measured = only_names(monkeypatch)
    result = run_backbone(recipe, {"tiny": "x"}, False, 2, 3)
    assert [name for name, _ in measured] == [call[0] for call in domains] == ["near", "far"]
    assert list(result["rows"][0]["domains"]) == ["near", "far"]
    measured.clear()
    domains.clear()
    result = run_backbone(recipe, {"tiny": "x"}, True, 2, 3)
    assert [name for name, _ in measured] == [call[0] for call in domains]
    assert list(result["rows"][0]["domains"]) == ["near", "far", "last"]
    assert result["settings"]["closed"] is True


def test_rendered_domains_are_kept_where_asked_and_nowhere_else(
    domains, recipe, monkeypatch, tmp_path
):
    only_names(monkeypatch)
    run_backbone(recipe, {"tiny": "x"}, False, 2, 3, domains_dir=tmp_path / "kept")
    assert sorted(folder.name for folder in (tmp_path / "kept").iterdir()) == ["far", "near"]


def answers(right, seeds=(0,)):
    """Held-out answers: of each subject's three clips, one of each class, the first so many."""
    rows = [
        [f"s{number}", f"c{clip}", CLASSES[clip], CLASSES[(clip + (clip >= count)) % 3], seed]
        for seed in seeds
        for number, count in enumerate(right)
        for clip in range(3)
    ]
    columns = ["subject", "clip_id", "label", "prediction", "seed"]
    return pandas.DataFrame(rows, columns=columns).assign(dataset="procedural")


def test_scores_and_differences_by_hand():
    """All subjects are alike, so that no draw of them changes a score."""
    perfect, two_of_three = answers([3, 3, 3]), answers([2, 2, 2], seeds=(0, 1))
    found = benchmark._scored({"a": two_of_three, "b": perfect}, {"a": perfect, "b": perfect},
                              CLASSES)  # fmt: skip
    # Classes 0 and 1 are right; class 2 is always called 0: F1 2/3, 1, 0.
    uf1 = (2 / 3 + 1 + 0) / 3
    of_a = found["domains"]["a"]
    assert of_a["uf1"] == pytest.approx(uf1)
    assert of_a["interval"] == pytest.approx([uf1, uf1])
    assert of_a["minus_svm"]["uf1"] == pytest.approx(uf1 - 1)
    assert of_a["minus_svm"]["interval"] == pytest.approx([uf1 - 1, uf1 - 1])
    assert found["domains"]["b"]["minus_svm"] is None  # it is the SVM's own table
    assert found["mean"] == pytest.approx((uf1 + 1) / 2)
    assert found["worst"] == pytest.approx(uf1)
    assert found["minus_svm"]["uf1"] == pytest.approx((uf1 + 1) / 2 - 1)


def test_the_interval_of_the_mean_draws_subjects_of_all_domains():
    """In one domain one subject of two is wrong throughout: how often it is drawn decides."""
    perfect, half = answers([3, 3]), answers([3, 0])
    alone = benchmark._scored({"a": half}, {"a": perfect}, CLASSES)
    assert alone["minus_svm"] == alone["domains"]["a"]["minus_svm"]
    three = benchmark._scored(dict.fromkeys("abc", half), dict.fromkeys("abc", perfect), CLASSES)
    assert three["minus_svm"]["uf1"] == pytest.approx(-0.5)
    low, high = alone["minus_svm"]["interval"]
    assert (low, high) == (-1, 0)
    narrower_low, narrower_high = three["minus_svm"]["interval"]
    assert low < narrower_low < -0.5 < narrower_high < high


def test_seeds_are_averaged_and_never_pooled():
    one, other = answers([3, 3]), answers([0, 0]).assign(seed=1)
    table = pandas.concat([one, other])
    svm = answers([3, 3])
    found = benchmark._scored({"a": table}, {"a": svm}, CLASSES)
    assert found["domains"]["a"]["uf1"] == pytest.approx(0.5)  # 1 and 0
    assert found["domains"]["a"]["minus_svm"]["uf1"] == pytest.approx(-0.5)


def row(name, intervals, backbone="b"):
    """One row of a result; per domain the interval of its difference from the SVM."""
    domains = {
        f"d{index}": {
            "uf1": 0.5 + index / 10,
            "interval": [0.4, 0.6],
            "minus_svm": interval and {"uf1": float(np.mean(interval)), "interval": interval},
        }
        for index, interval in enumerate(intervals)
    }
    scores = [entry["uf1"] for entry in domains.values()]
    mean = float(np.mean(scores))
    return {
        "backbone": backbone,
        "name": name,
        "domains": domains,
        "mean": mean,
        "worst": min(scores),
        "minus_svm": backbone and {"uf1": 0.0123, "interval": [-0.01, 0.04]},
    }


def test_a_star_marks_what_lies_wholly_on_one_side_of_zero():
    result = {
        "rows": [
            row("patches", [[0.01, 0.2], [-0.1, 0.1], [-0.3, -0.02]]),
            row("pooled", [[0.0, 0.2], [-0.2, 0.0], [0.0, 0.0]]),
            row("SVM on flow", [None, None, None], backbone=None),
        ],
        "settings": {"subjects": 20, "clips_per_subject": 10},
    }
    header, cells = backbone_table(result)
    assert header == ["UF1, by domain", "1", "2", "3", "mean", "worst"]
    assert cells == [
        ["b patches", "0.500*", "0.600 ", "0.700*", "0.600", "0.500"],
        ["b pooled", "0.500 ", "0.600 ", "0.700 ", "0.600", "0.500"],
        ["SVM on flow", "0.500 ", "0.600 ", "0.700 ", "0.600", "0.500"],
    ]
    assert "1 d0, 2 d1, 3 d2" in backbone_summary(result)
    difference = "+0.012 [-0.010, +0.040]"
    expected = f"less the SVM's: b patches {difference}; b pooled {difference}\n"
    assert expected in backbone_summary(result)
    assert "20 subjects with 10 clips" in backbone_summary(result)


def test_a_recipe_that_trains_the_tower_is_refused_before_anything_is_rendered(domains, recipe):
    trains = Recipe(**{**recipe.to_dict(), "vision_lora": {"r": 2}})
    with pytest.raises(UserError, match="leave vision_lora out of the recipe") as caught:
        run_backbone(trains, {"tiny": "x"})
    assert "\n" not in str(caught.value)
    assert domains == []


@pytest.fixture
def script(monkeypatch, capsys):
    """script(*arguments) → (exit code, stdout, stderr) of `scripts/benchmark.py backbone`."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmark.py", "backbone", *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(ROOT / "scripts" / "benchmark.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return call


def test_the_script_measures_the_folders_that_are_named(
    script, domains, recipe, monkeypatch, tmp_path
):
    measured = only_names(monkeypatch)
    path = tmp_path / "recipe.yaml"
    settings = ("task", "prompts", "backbone", "epochs")
    path.write_text(yaml.safe_dump({name: getattr(recipe, name) for name in settings}))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    arguments = ["--recipe", path, "--subjects", 2, "--clips", 3, "--json", tmp_path / "out.json"]
    folders = ["--backbone", tmp_path / "one", tmp_path / "two"]
    code, printed, errors = script(*arguments, *folders)
    assert code == 0, errors
    assert measured == [("near", ["one", "two"]), ("far", ["one", "two"])]
    assert domains == [("near", 2, 3), ("far", 2, 3)]
    assert "tiny zero-shot" in printed
    stored = json.loads((tmp_path / "out.json").read_text())
    assert stored["settings"]["backbones"] == {n: str(tmp_path / n) for n in ("one", "two")}
    measured.clear()
    code, _, errors = script(*arguments, "--closed")
    assert code == 0, errors
    assert [name for name, _ in measured] == ["near", "far", "last"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--recipe", "nowhere.yaml"], "there is no file nowhere.yaml"),
        (["--json", "nowhere/out.json"], "the folder of --json nowhere/out.json does not exist"),
        (["--subjects", 0], "num_subjects must be at least 1, got 0"),
        (["--subjects", 1, "--clips", 10], "needs at least two subjects; got 1"),
        (["--clips", 0], "clips_per_subject must be at least 1, got 0"),
        (["--backbone", "nowhere", "--clips", 5], "the backbone 'nowhere' is no folder here"),
    ],
)
def test_a_mistake_ends_in_one_line(script, arguments, message):
    code, _, errors = script("--subjects", 2, "--clips", 1, *arguments)  # the last one counts
    assert code == 2, errors
    assert message in errors
    assert errors.count("\n") == 1
