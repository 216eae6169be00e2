"""Clips tell their class by what they say, and fusion is compared with the better branch."""

import json
import runpy
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas
import pytest
from scipy.stats import chi2_contingency

from hcp_mer.benchmark.branch_clips import (
    FIRST_IDENTITY,
    KINDS,
    pairs_of,
    plan_clips,
    render_planned,
)
from hcp_mer.benchmark.branches import (
    COMPONENTIAL,
    FLOW_IN_BOTH,
    FULL,
    HOLISTIC,
    changes_of,
    compare,
    run_branches,
)
from hcp_mer.benchmark.plots import branches_figure
from hcp_mer.benchmark.tables import branches_summary, branches_tables
from hcp_mer.data.synthetic.actions import COMBINATIONS
from hcp_mer.data.tasks import TASKS, label_of
from hcp_mer.errors import UserError
from hcp_mer.training.recipe import Recipe, load_recipe

ROOT = Path(__file__).parents[2]
TASK = TASKS["3-class"]
RECIPE = load_recipe(ROOT / "hub_configs" / "recipes" / "demo.yaml")


def agreement(plans, cue):
    """Share of clips whose look or motion is of the clip's own class."""
    own = [label_of(getattr(plan, cue), TASK, "procedural") == plan.label for plan in plans]
    return np.mean(own)


@pytest.fixture(scope="module")
def many():
    return {kind: plan_clips(kind, TASK, 100, 30) for kind in KINDS}


@pytest.mark.parametrize(
    ("kind", "told", "withheld"), [("face", "look", "motion"), ("motion", "motion", "look")]
)
def test_the_cue_that_a_kind_withholds_is_independent_of_the_label(many, kind, told, withheld):
    assert agreement(many[kind], told) == 1
    # 3000 draws: three standard errors are 0.026
    assert agreement(many[kind], withheld) == pytest.approx(1 / 3, abs=0.026)


def test_in_both_each_cue_follows_the_label(many):
    assert agreement(many["both"], "look") == agreement(many["both"], "motion") == 1


def test_action_units_are_the_motions_and_say_nothing_of_the_label_in_face(many):
    for plan in many["face"]:
        assert plan.action_units in COMBINATIONS[plan.motion]
    units = pandas.Series([str(plan.action_units) for plan in many["face"]])
    table = pandas.crosstab(units, pandas.Series([plan.label for plan in many["face"]]))
    assert chi2_contingency(table).pvalue > 0.001


def test_every_subject_shows_each_class_as_often(many):
    counts = Counter((plan.subject, plan.label) for plan in many["face"])
    assert set(counts.values()) == {10}


def test_a_plan_is_the_same_every_time_and_another_with_another_seed():
    assert plan_clips("face", TASK, 3, 6) == plan_clips("face", TASK, 3, 6)
    assert plan_clips("face", TASK, 3, 6) != plan_clips("face", TASK, 3, 6, seed=1)


def test_people_are_in_no_corpus_and_no_pretraining():
    from hcp_mer.pretraining.samples import FIRST_IDENTITY as PRETRAINED

    assert FIRST_IDENTITY > PRETRAINED + 2**31


def test_the_look_is_at_rest_and_the_motion_is_none_of_its_business():
    """The same clip with another look: other pixels, the very same true flow."""
    plan = plan_clips("both", TASK, 3, 3)[0]
    style = KINDS["both"].style
    clip = render_planned(plan, style)
    other = render_planned(replace(plan, look="surprise"), style)
    assert plan.look != "surprise"
    assert np.array_equal(clip.flow_px, other.flow_px)
    assert np.abs(clip.frames[0].astype(int) - other.frames[0]).max() > 50


def test_pairs_are_registered_and_know_their_action_units():
    plans = plan_clips("motion", TASK, 3, 3)[:2]
    pairs = pairs_of("motion", plans)
    assert pairs.settings["motion"]["register"] is True
    assert pairs.column("emotion") == [plan.label for plan in plans]
    assert [tuple(map(int, units)) for units in pairs.column("action_units")] == [
        plan.action_units for plan in plans
    ]
    assert pairs.image(0, "magnified").shape == pairs.image(0, "flow").shape == (224, 224, 3)


def answers(right, gates=None):
    """A table of held-out answers, right for the first clips of each of four subjects."""
    rows = []
    for subject in "abcd":
        for clip in range(6):
            label = TASK.classes[clip % 3]
            prediction = label if clip < right else TASK.classes[(clip + 1) % 3]
            rows.append([subject, f"{clip}", label, prediction, prediction, prediction])
    columns = ["subject", "clip_id", "label", "prediction"]
    columns += ["holistic_prediction", "componential_prediction"]
    table = pandas.DataFrame(rows, columns=columns)
    weights = dict(zip(("gate_holistic", "gate_componential"), gates or (None, None)))
    return table.assign(dataset="procedural", seed=0, **weights)


def test_fusion_is_worse_where_the_whole_interval_is_below_the_better_branch():
    tables = {FULL: answers(3, (0.25, 0.75)), HOLISTIC: answers(0), COMPONENTIAL: answers(6)}
    found = compare(tables, TASK.classes)
    assert found["better"] == COMPONENTIAL
    assert found["verdict"] == "worse"
    full, _, better = found["variants"]
    assert full["uf1"] == pytest.approx(0.5)
    assert full["difference"] == pytest.approx(-0.5)
    assert full["difference_interval"] == pytest.approx([-0.5, -0.5])  # no subject says otherwise
    assert full["gates"] == {"holistic": 0.25, "componential": 0.75}
    assert full["within"]["componential"] == pytest.approx(0.5)
    assert better["difference"] is None
    assert better["gates"] == {}


@pytest.mark.parametrize(("right", "words"), [(4, "at least as good:"), (6, "good, and better:")])
def test_fusion_is_as_good_where_the_interval_reaches_zero(right, words):
    tables = {FULL: answers(right, (0.5, 0.5)), HOLISTIC: answers(4), COMPONENTIAL: answers(2)}
    found = compare(tables, TASK.classes)
    assert found["better"] == HOLISTIC
    assert found["verdict"] == "at least as good"
    assert words in found["sentence"]


def test_readings_are_those_that_the_recipe_has_not():
    four = [FULL, HOLISTIC, COMPONENTIAL, FLOW_IN_BOTH]
    assert list(changes_of(RECIPE, readings=False)) == four
    assert list(changes_of(RECIPE))[4:] == ["gate joint", "consistency mutual", "no consistency"]
    mutual = replace(RECIPE, gate_fitting="joint", model={"consistency_reading": "mutual"})
    assert list(changes_of(mutual))[4:6] == ["gate held out subjects", "consistency symmetric kl"]
    without = replace(RECIPE, model={"use_consistency": False})
    assert list(changes_of(without))[4:] == ["gate joint", "with consistency"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kinds": ["voice"]}, "unknown kind of clips 'voice'"),
        ({"num_subjects": 2}, "at least 3 subjects, got 2"),
        ({"clips_per_subject": 2}, "at least 3; got 2"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"recipe": replace(RECIPE, model={"use_holistic": False})}, "needs both branches"),
        ({"recipe": replace(RECIPE, vision_lora={"r": 2})}, "vision_lora"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is_rendered(arguments, message, monkeypatch):
    monkeypatch.setattr("hcp_mer.benchmark.branches.pairs_of", None)
    with pytest.raises(UserError, match=message):
        run_branches(**{"recipe": RECIPE, **arguments})


def test_a_tiny_run_has_every_key_and_is_shown(tiny_backbone):
    recipe = Recipe(
        task="3-class",
        prompts=str(ROOT / "hub_configs" / "prompts" / "facs-3class.yaml"),
        backbone=str(tiny_backbone),
        epochs=1,
        gate_fitting="held_out_subjects",
    )
    result = run_branches(recipe, 3, 3, kinds=["face"], readings=False)
    json.dumps(result)
    entry = result["kinds"]["face"]
    assert entry["num_clips"] == 9
    assert entry["verdict"] in ("worse", "at least as good")
    assert entry["better"] in (HOLISTIC, COMPONENTIAL)
    for variant in entry["variants"]:
        low, high = variant["interval"]
        assert 0 <= low <= variant["uf1"] <= high <= 1
        assert set(variant["gates"]) == set(variant["within"])
        assert bool(variant["gates"]) == (variant["name"] in (FULL, FLOW_IN_BOTH))
    ((header, rows),) = branches_tables(result)
    assert [row[0] for row in rows] == [FULL, HOLISTIC, COMPONENTIAL, FLOW_IN_BOTH]
    assert {len(row) for row in rows} == {len(header)}
    assert entry["sentence"] in branches_summary(result)
    labels = [text.get_text() for text in branches_figure(result).axes[0].get_yticklabels()]
    assert labels == [row[0] for row in rows]


@pytest.fixture
def script(monkeypatch):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmark.py", "branches", *map(str, arguments)])
        runpy.run_path(str(ROOT / "scripts" / "benchmark.py"), run_name="__main__")

    return call


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--recipe", "nowhere.yaml"], "there is no file nowhere.yaml"),
        (["--subjects", 1], "at least 3 subjects, got 1"),
        (["--plot", "figure.pdf"], "--plot writes a PNG"),
    ],
)
def test_a_mistake_ends_in_one_line(script, capsys, arguments, words):
    with pytest.raises(SystemExit) as end:
        script(*arguments)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


@pytest.mark.slow
def test_the_script_writes_result_and_figure(script, tmp_path, capsys):
    recipe = (ROOT / "hub_configs" / "recipes" / "demo.yaml").read_text()
    recipe = recipe.replace("hub_configs/", f"{ROOT}/hub_configs/")
    recipe = recipe.replace("epochs: 15", "epochs: 1").replace("min_steps: 100", "min_steps: 2")
    (tmp_path / "quick.yaml").write_text(recipe)
    sizes = ["--subjects", 3, "--clips", 3]
    script("--recipe", tmp_path / "quick.yaml", *sizes, "--json", tmp_path / "fusion.json",
           "--plot", tmp_path / "fusion.png")  # fmt: skip
    result = json.loads((tmp_path / "fusion.json").read_text())
    assert set(result["kinds"]) == set(KINDS)
    assert (tmp_path / "fusion.png").stat().st_size > 10_000
    shown = capsys.readouterr().out
    for kind, entry in result["kinds"].items():
        assert len(entry["variants"]) == 7
        assert f"{kind}: fusion is {entry['verdict']}" in shown
