"""Recipes are typed and strict: a slip of the pen is one line, never another run than meant."""

import pytest
import yaml

from hcp_mer.errors import UserError
from hcp_mer.training.recipe import load_recipe, make_recipe, seen_from

PROMPTS = {
    name: {"emotion": name, "action_units": [[4]]} for name in ("surprise", "negative", "positive")
}


@pytest.fixture
def write(tmp_path):
    (tmp_path / "hub_configs" / "recipes").mkdir(parents=True)
    (tmp_path / "hub_configs" / "prompts.yaml").write_text(yaml.safe_dump(PROMPTS))

    def write(**settings):
        base = {"task": "3-class", "prompts": "hub_configs/prompts.yaml", "backbone": "hub_configs"}
        path = tmp_path / "hub_configs" / "recipes" / "test.yaml"
        path.write_text(yaml.safe_dump({**base, **settings}))
        return path

    return write


def test_paths_start_at_the_repository_whatever_the_working_directory(write, monkeypatch, tmp_path):
    recipe_path = write()
    monkeypatch.chdir("/")
    recipe = load_recipe(recipe_path)
    assert recipe.backbone_location() == str(tmp_path / "hub_configs")
    assert [g["label"] for g in recipe.prompt_groups()] == ["negative", "positive", "surprise"]


def test_what_is_no_folder_is_a_hub_id(write):
    assert load_recipe(write(backbone="openai/clip")).backbone_location() == "openai/clip"


def test_overrides_reach_inside(write):
    overrides = ["epochs=7", "model.use_adapter=false", "learning_rate=1e-4", "seeds=[3, 4]"]
    recipe = load_recipe(write(model={"au_text": "codes"}), overrides)
    assert recipe.epochs == 7
    assert recipe.model == {"au_text": "codes", "use_adapter": False}
    assert recipe.learning_rate == 1e-4
    assert recipe.seeds == [3, 4]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "unknown recipe key 'epoch'. Did you mean 'epochs'"),
        ({"model": {"use_adaptor": 1}}, "unknown model option 'use_adaptor'. Did you mean 'use_ad"),
        ({"model": {"prompt_groups": []}}, "unknown model option 'prompt_groups'"),
        ({"epochs": "many"}, "epochs must be a whole number, got 'many'"),
        ({"epochs": True}, "epochs must be a whole number, got True"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"batch_size": 2}, "batch_size must be at least 3, got 2"),
        ({"learning_rate": "fast"}, "learning_rate must be a number, got 'fast'"),
        ({"learning_rate": -1}, "learning_rate must be positive"),
        ({"seeds": [1, 1]}, "seeds must be different whole numbers"),
        ({"task": "5-class"}, "unknown task '5-class'"),
        ({"model": 3}, "model must be keys and values, got 3"),
        ({"model": {"focal_gamma": "high"}}, "model.focal_gamma must be a number"),
        ({"model": {"adapter_depth": 2.5}}, "model.adapter_depth must be a whole number"),
        ({"model": {"use_adapter": "maybe"}}, "model.use_adapter must be true or false"),
        ({"seeds": [[1]]}, "seeds must be different whole numbers"),
        ({"gate_fitting": "best"}, "gate_fitting must be one of joint, held_out_subjects"),
    ],
)
def test_slips_are_named(write, settings, message):
    with pytest.raises(UserError, match=message):
        load_recipe(write(**settings))


def test_a_missing_key_a_missing_file_and_broken_yaml(write, tmp_path):
    (tmp_path / "a.yaml").write_text("task: 3-class\n")
    with pytest.raises(UserError, match="the recipe lacks prompts, backbone"):
        load_recipe(tmp_path / "a.yaml")
    with pytest.raises(UserError, match=r"there is no file .*b\.yaml"):
        load_recipe(tmp_path / "b.yaml")
    (tmp_path / "c.yaml").write_text("task: [")
    with pytest.raises(UserError, match="not valid YAML"):
        load_recipe(tmp_path / "c.yaml")
    (tmp_path / "d.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match="must hold keys and values"):
        load_recipe(tmp_path / "d.yaml")
    for override, message in (
        ("epochs", "--set takes key=value, got 'epochs'"),
        ("epochs=[", "--set epochs=.: the value is not valid YAML"),
        ("backbone.x=3", "backbone has no parts"),
    ):
        with pytest.raises(UserError, match=message):
            load_recipe(write(), [override])
    assert load_recipe(write(), ["model.consistency_weight=5e-1"]).model == {
        "consistency_weight": 0.5
    }


def test_prompts_may_be_left_to_be_counted(write, tmp_path):
    recipe = load_recipe(write(), ["prompts=from_annotations"])
    assert recipe.prompt_groups()[0] == {
        "label": "negative",
        "emotion": "negative",
        "action_units": "from_annotations",
    }
    counted = {"emotion": "fear", "action_units": "from_annotations", "otherwise": [[20]]}
    path = tmp_path / "hub_configs" / "prompts.yaml"
    path.write_text(yaml.safe_dump({**PROMPTS, "negative": counted}))
    assert load_recipe(write()).prompt_groups()[0] == {"label": "negative", **counted}


@pytest.mark.parametrize(
    ("group", "message"),
    [
        (
            {"action_units": "from_annotation"},
            "or the word from_annotations; got 'from_annotation'",
        ),
        ({"otherwise": [[4]]}, "has exactly label, emotion and action_units"),
        ({"action_units": "from_annotations", "otherwise": [4]}, "list of non-empty sets of num"),
        ({"action_units": "from_annotations", "otherwise": []}, "list of non-empty sets of num"),
        ({"action_units": "from_annotations", "sets": []}, "has exactly label, emotion and"),
        ({"action_units": "from_annotations", "emotion": 3}, "must be text; got 3"),
    ],
)
def test_slips_in_counted_groups_are_named(write, tmp_path, group, message):
    negative = {**PROMPTS["negative"], **group}
    path = tmp_path / "hub_configs" / "prompts.yaml"
    path.write_text(yaml.safe_dump({**PROMPTS, "negative": negative}))
    with pytest.raises(ValueError, match=message):
        load_recipe(write()).prompt_groups()


def test_a_misspelt_word_for_counting_is_no_file(write):
    message = r"prompts must be a YAML file or the word from_annotations; there is no file .*counts"
    with pytest.raises(UserError, match=message):
        load_recipe(write(), ["prompts=counts"]).prompt_groups()


def test_prompt_groups_must_be_the_tasks(write, tmp_path):
    (tmp_path / "hub_configs" / "prompts.yaml").write_text("negative: {}\n")
    with pytest.raises(UserError, match="one group for each class of 3-class"):
        load_recipe(write()).prompt_groups()
    broken = {**PROMPTS, "negative": {"emotion": "negative", "action_units": []}}
    (tmp_path / "hub_configs" / "prompts.yaml").write_text(yaml.safe_dump(broken))
    with pytest.raises(ValueError, match="action_units of 'negative' must be a list"):
        load_recipe(write()).prompt_groups()


def test_a_file_that_is_here_is_named_as_the_recipe_sees_it(write, monkeypatch, tmp_path):
    recipe, elsewhere = write(), tmp_path.parent / f"{tmp_path.name}-elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.yaml").write_text("negative: {}\n")
    monkeypatch.chdir(elsewhere)
    assert seen_from(recipe, "mine.yaml") == str(elsewhere / "mine.yaml")
    assert seen_from(recipe, "hub_configs/prompts.yaml") == "hub_configs/prompts.yaml"
    assert seen_from(recipe, "from_annotations") == "from_annotations"
    monkeypatch.chdir(tmp_path / "hub_configs")
    assert seen_from(recipe, "prompts.yaml") == "hub_configs/prompts.yaml"


def test_what_adapters_read_may_be_said_for_each_branch():
    per_branch = {"holistic": 0, "componential": 1}
    settings = {"task": "3-class", "prompts": "p.yaml", "backbone": "b"}
    model = {"adapter_input": "patches", "adapter_layer": per_branch}
    assert make_recipe({**settings, "model": model}).model == model
    assert make_recipe({**settings, "model": {"adapter_layer": 2}}).model == {"adapter_layer": 2}
    with pytest.raises(UserError, match="adapter_layer must be a whole number, got 'last'"):
        make_recipe({**settings, "model": {"adapter_layer": "last"}})


@pytest.mark.parametrize("size", ["auto", 4])
def test_the_size_of_groups_is_a_number_or_left_to_the_machine(size):
    settings = {"task": "3-class", "prompts": "p.yaml", "backbone": "b", "fold_group": size}
    assert make_recipe(settings).fold_group == size
