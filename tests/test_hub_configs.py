"""What lies in hub_configs/: recipes and prompts that fit together, a backbone that is whole."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, CLIPModel

from hcp_mer.pretraining.captions import make_tokenizer
from hcp_mer.pretraining.samples import PretrainingSettings
from hcp_mer.training.recipe import load_recipe, make_recipe

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "hub_configs"
BACKBONE = CONFIGS / "face-motion-clip"


@pytest.mark.parametrize("path", sorted((CONFIGS / "recipes").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_recipe_loads_and_finds_its_prompts(path):
    recipe = load_recipe(path)
    assert [g["label"] for g in recipe.prompt_groups()] == list(recipe.label_task.classes)


def test_the_papers_setting_is_the_papers():
    recipe = load_recipe(CONFIGS / "recipes" / "casme2-3class.yaml")
    assert recipe.backbone == "openai/clip-vit-base-patch32"
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (300, 16, 1e-4)
    assert recipe.model["consistency_weight"] == recipe.model["focal_weight"] == 0.5
    assert recipe.gate_fitting == "joint"


@pytest.mark.parametrize("task", ["3-class", "4-class", "7-class"])
def test_prompts_exist_for_every_task(task):
    prompts = CONFIGS / "prompts" / f"facs-{task.replace('-', '')}.yaml"
    recipe = make_recipe({"task": task, "prompts": str(prompts), "backbone": "x"})
    assert len(recipe.prompt_groups()) == len(recipe.label_task.classes)


@pytest.mark.parametrize("task", ["3-class", "4-class"])
def test_a_merged_class_has_the_sets_of_its_members(task):
    def sets(name):
        path = CONFIGS / "prompts" / f"facs-{name.replace('-', '')}.yaml"
        recipe = make_recipe({"task": name, "prompts": str(path), "backbone": "x"})
        return {group["label"]: group["action_units"] for group in recipe.prompt_groups()}

    members, merged = sets("7-class"), sets(task)
    for name, of in (
        ("negative", ("disgust", "fear", "anger", "sadness")),
        ("positive", ("happiness",)),
        ("surprise", ("surprise",)),
    ):
        expected = [units for member in of for units in members[member]]
        assert merged[name] == [u for i, u in enumerate(expected) if u not in expected[:i]]


def test_the_embedded_backbone_is_a_small_clip_of_fp16_values():
    assert (BACKBONE / "model.safetensors").stat().st_size <= 5_000_000
    stored = load_file(BACKBONE / "model.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.float16}
    model = CLIPModel.from_pretrained(BACKBONE)
    assert model.dtype == torch.float32
    for name, value in model.state_dict().items():
        assert torch.equal(value, stored[name].float()), name
    assert model.logit_scale.exp().item() == pytest.approx(10, rel=1e-3)


def test_its_tokenizer_is_the_one_that_the_code_writes():
    loaded, written = AutoTokenizer.from_pretrained(BACKBONE), make_tokenizer()
    assert loaded.get_vocab() == written.get_vocab()
    text = "a micro-expression brow lowerer, dimpler photo of AU12 something else"
    assert loaded(text)["input_ids"] == written(text)["input_ids"]
    ids = loaded("a micro-expression brow lowerer photo of")["input_ids"]
    assert len(ids) == 2 + 8  # every word of the captions is one token


def test_its_record_and_card_say_how_it_was_made():
    record = json.loads((BACKBONE / "pretraining.json").read_text())
    assert PretrainingSettings(**record["settings"]) == PretrainingSettings()
    card = (BACKBONE / "README.md").read_text()
    assert "What it is not" in card
    assert f"{record['unseen_people']['action_unit_auc']:.2f}" in card
