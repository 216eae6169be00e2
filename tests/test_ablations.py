"""Ablations and readings: one thing changed, everything else the same, nothing trained twice."""

import numpy as np
import pandas
import pytest
import yaml

from hcp_mer import ablations
from hcp_mer.ablations import (
    ABLATIONS,
    ablations_of,
    plan_ablations,
    readings_of,
    recipes_for_tasks,
    run_ablations,
)
from hcp_mer.errors import UserError
from hcp_mer.files import read_json
from hcp_mer.training.recipe import make_recipe
from hcp_mer.training.variants import Variant, train_variant
from tests.conftest import GROUPS
from tests.foreign_pairs import write_foreign_pairs

ROOT = __file__.rsplit("/", 2)[0]
CLIP = ["dataset", "subject", "clip_id", "seed"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with pairs of three people, nine clips."""
    folder = tmp_path_factory.mktemp("ablations")
    people = ("006", "007", "a b")
    write_foreign_pairs(folder / "pairs", subjects=people, clips_per_class=1, size=32)
    prompts = {group["label"]: group for group in GROUPS}
    (folder / "prompts.yaml").write_text(yaml.safe_dump(prompts))
    return folder


@pytest.fixture(scope="module")
def make(place, tiny_backbone):
    """make(**settings) → a recipe of two epochs on the tiny CLIP."""

    def make(**settings):
        base = {"task": "3-class", "prompts": str(place / "prompts.yaml"), "epochs": 2}
        base |= {"backbone": str(tiny_backbone), "batch_size": 4, "learning_rate": 5e-3}
        return make_recipe({**base, **settings})

    return make


@pytest.fixture(scope="module", autouse=True)
def unreported():
    """The report of each task's full model is others' business, and takes longer than training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hcp_mer.reporting.publish.publish", lambda *args: None)
        yield


@pytest.fixture(scope="module")
def ablated(place, make):
    """A finished folder of ablations, and what was said of it."""
    return place / "whole", run_ablations([make()], place / "pairs", place / "whole")


def answers(folder, name):
    return pandas.read_parquet(folder / "3-class" / name)


def test_every_ablation_answers_for_the_same_clips_and_seeds(ablated):
    folder, content = ablated
    full = answers(folder, "predictions.parquet")
    rows = content["tasks"]["3-class"]["ablations"]
    assert [row["name"] for row in rows] == ["full", *ABLATIONS]
    for name in ABLATIONS:
        own = answers(folder, f"ablations/{name}.parquet")
        assert own[CLIP].to_numpy().tolist() == full[CLIP].to_numpy().tolist()
        features = answers(folder, f"ablations/{name}.embeddings.parquet")
        assert len(features) == len(full)


def test_a_branch_that_is_gone_answers_nothing(ablated):
    folder, _ = ablated
    without = answers(folder, "ablations/without_componential.parquet")
    assert without["componential_prediction"].isna().all()
    assert without["gate_holistic"].isna().all()
    # One branch alone is the answer, and its losses are its own: Eq. 3 to 5 drop out.
    assert (without["holistic_prediction"] == without["prediction"]).all()


def test_what_is_there_is_not_trained_again(ablated, place, make, monkeypatch):
    folder, content = ablated
    for module in ("training.loso", "training.variants"):
        monkeypatch.setattr(f"hcp_mer.{module}.train_sets", None)
    assert run_ablations([make()], place / "pairs", folder) == content


def test_a_run_that_was_stopped_goes_on_and_ends_as_if_it_had_not(
    ablated, place, make, monkeypatch
):
    folder, content = ablated
    stopped, trained = place / "stopped", []

    def stop_at_the_third(variant, *args, **options):
        trained.append(variant.name)
        if len(trained) == 3:
            raise KeyboardInterrupt
        train_variant(variant, *args, **options)

    monkeypatch.setattr(ablations, "train_variant", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run_ablations([make()], place / "pairs", stopped)
    assert not (stopped / "ablations.json").exists()
    assert len(list((stopped / "3-class" / "ablations").glob("*[a-z].parquet"))) == 4
    assert run_ablations([make()], place / "pairs", stopped) == content
    for name in ABLATIONS:
        both = [answers(where, f"ablations/{name}.parquet") for where in (folder, stopped)]
        pandas.testing.assert_frame_equal(*both)


def test_the_plan_trains_and_writes_nothing_and_knows_what_is_there(ablated, place, make):
    lines = plan_ablations([make()], place / "pairs", place / "new", readings=True)
    assert not (place / "new").exists()
    by_name = {line.name: line for line in lines}
    assert set(by_name) >= {"full", *ABLATIONS, "gate_fitting=held_out_subjects"}
    assert all((line.seconds > 0) == (line.state == "to train") for line in lines)
    idle = by_name["without_focal=nothing"]
    assert (idle.state, idle.seconds) == ("the focal loss is on: nothing stands in for it", 0)
    again = plan_ablations([make()], place / "pairs", ablated[0])
    assert {(line.state, line.seconds) for line in again} == {("there", 0)}


ONE_SET = [{**group, "action_units": group["action_units"][:1]} for group in GROUPS]
IDLE = [
    ({}, "without_focal=nothing"),
    ({"model": {"use_consistency": False}}, "consistency_scale=100"),
    ({"model": {"use_consistency": False}}, "consistency_reading=mutual"),
    ({"model": {"use_holistic": False}}, "gate_reading=convex"),
    ({"model": {"use_holistic": False}}, "response_reading=probabilities"),
    ({"model": {"use_holistic": False}}, "gate_fitting=held_out_subjects"),
    ({"model": {"use_holistic": False}}, "without_consistency"),
    ({"model": {"use_componential": False}}, "au_text=codes"),
    ({"model": {"use_componential": False}}, "au_set_reduction=max"),
    ({"model": {"gate_reading": "fixed"}}, "gate_fitting=held_out_subjects"),
    ({"model": {"use_focal": False, "without_focal": "nothing"}}, "gate_reading=literal"),
    (
        {"model": {"use_focal": False, "without_focal": "nothing"}},
        "gate_fitting=held_out_subjects",
    ),
    ({"groups": ONE_SET}, "au_set_reduction=max"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "name"), IDLE)
def test_what_is_said_to_change_nothing_trains_the_very_same_model(
    settings, name, place, make, open_tiny
):
    run = open_tiny(make, **settings)
    (change,) = [c for c in (*ablations_of(run), *readings_of(run)) if c.name == name]
    assert change.idle
    train_variant(Variant("same", lambda run: run), run, "same.parquet")
    train_variant(Variant("other", change.apply), run, "other.parquet")
    same, other = (pandas.read_parquet(run.folder.root / f"{n}.parquet") for n in ("same", "other"))
    columns = [f"prob_{label}" for label in run.classes]
    np.testing.assert_allclose(other[columns], same[columns], rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["consistency_scale=100", "num_contexts=4", "without_adapter"])
def test_what_is_said_to_change_something_does(name, place, make, open_tiny):
    run = open_tiny(make)
    (change,) = [c for c in (*ablations_of(run), *readings_of(run)) if c.name == name]
    assert not change.idle
    train_variant(Variant("same", lambda run: run), run, "same.parquet")
    train_variant(Variant("other", change.apply), run, "other.parquet")
    same, other = (pandas.read_parquet(run.folder.root / f"{n}.parquet") for n in ("same", "other"))
    column = f"prob_{run.classes[0]}"
    assert np.abs(other[column] - same[column]).max() > 1e-5


@pytest.fixture
def open_tiny(place, tmp_path):
    """open_tiny(make, **settings) → a run of a recipe, nothing trained. `groups`: its prompts."""
    from accelerate import Accelerator

    from hcp_mer.data.pairs import load_pairs
    from hcp_mer.training.loso import open_run
    from hcp_mer.training.run_folder import RunFolder

    def open_tiny(make, groups=None, **settings):
        if groups:
            prompts = tmp_path / "prompts.yaml"
            prompts.write_text(yaml.safe_dump({group["label"]: group for group in groups}))
            settings["prompts"] = str(prompts)
        pairs, folder = load_pairs(place / "pairs"), RunFolder(tmp_path / "run")
        return open_run(make(**settings), pairs, folder, Accelerator(cpu=True))

    return open_tiny


def test_readings_name_every_other_value_once(make, open_tiny):
    names = [change.name for change in readings_of(open_tiny(make))]
    assert len(names) == len(set(names))
    wanted = {"gate_reading=literal", "gate_reading=convex", "gate_reading=fixed"}
    wanted |= {"consistency_scale=30", "consistency_scale=100", "num_contexts=16"}
    assert wanted <= set(names)
    # What the run has already: k = 3, and the first reading of each equation.
    assert not {"num_contexts=3", "gate_reading=independent", "consistency_scale=10"} & set(names)


def test_a_recipe_that_lacks_a_part_has_no_ablation_of_it(make, open_tiny):
    run = open_tiny(make, model={"use_adapter": False, "use_holistic": False})
    idle = {change.name: change.idle for change in ablations_of(run) if change.idle}
    assert idle["without_adapter"] == idle["without_holistic"] == "the recipe has it so already"
    assert "nothing would be left to answer" in idle["without_componential"]
    assert "no consistency constraint" in idle["without_consistency"]
    assert "without_focal" not in idle


def test_prompts_follow_the_task_unless_they_are_named():
    path = f"{ROOT}/hub_configs/recipes/casme3-7class.yaml"
    recipes = recipes_for_tasks(path, ["3", "4", "7"], ["epochs=5"])
    assert [recipe.task for recipe in recipes] == ["3-class", "4-class", "7-class"]
    prompts = [recipe.prompts.rpartition("/")[2] for recipe in recipes]
    assert prompts == ["facs-3class.yaml", "facs-4class.yaml", "facs-7class.yaml"]
    assert {(recipe.epochs, recipe.model["adapter_depth"]) for recipe in recipes} == {(5, 2)}
    counted = recipes_for_tasks(path, [3, 7], ["prompts=from_annotations"])
    assert {recipe.prompts for recipe in counted} == {"from_annotations"}
    (own,) = recipes_for_tasks(path, None)
    assert own.task == "7-class"


@pytest.mark.parametrize(
    ("tasks", "overrides", "message"),
    [
        ([3, "3-class"], [], "every task once"),
        ([5], [], "unknown task 5"),
        ([3, 7], ["prompts=hub_configs/prompts/facs-3class.yaml"], "one group for each class of 7"),
    ],
)
def test_tasks_that_cannot_be_are_refused_before_anything_is_read(tasks, overrides, message):
    with pytest.raises(UserError, match=message):
        recipes_for_tasks(f"{ROOT}/hub_configs/recipes/demo.yaml", tasks, overrides)


def test_a_tower_that_is_trained_has_no_features_to_share(place, make):
    with pytest.raises(UserError, match="vision_lora"):
        run_ablations([make(vision_lora={"r": 2})], place / "pairs", place / "lora")
    with pytest.raises(UserError, match="cannot be estimated"):
        plan_ablations([make(vision_lora={"r": 2})], place / "pairs", place / "lora")
    assert not (place / "lora").exists()


@pytest.mark.slow
def test_where_the_flow_alone_shows_the_class_the_componential_branch_is_what_counts(tmp_path):
    """Pairs whose magnified frame is noise: without the flow's branch nothing is left."""
    write_foreign_pairs(tmp_path / "pairs")
    # The recipe's own number of steps: at 40 the flow's branch is still on its way (.83, not 1).
    overrides = ["epochs=2", "gate_fitting=joint"]
    (recipe,) = recipes_for_tasks(f"{ROOT}/hub_configs/recipes/demo.yaml", None, overrides)
    content = run_ablations([recipe], tmp_path / "pairs", tmp_path / "out")
    rows = {row["name"]: row for row in content["tasks"]["3-class"]["ablations"]}
    low, high = rows["without_componential"]["interval_95"]["uar"]
    assert low <= 1 / 3 <= high
    assert rows["without_componential"]["scores"]["uf1"] < 0.45
    assert rows["without_holistic"]["scores"]["uf1"] > 0.9
    assert rows["without_componential"]["sentence"].startswith("Worse than the full model")
    assert read_json(tmp_path / "out" / "ablations.json") == content
