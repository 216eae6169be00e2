"""LoRA on the vision tower: PEFT's own, loadable onto a bare CLIP, nothing else moved."""

import json

import pytest
import torch
from transformers import CLIPModel

from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from tests.conftest import make_tiny_clip
from tests.model.test_checkpoint import assert_same


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(5, 3, 32, 32), torch.randn(5, 3, 32, 32)


def stir_lora(model):
    torch.manual_seed(4)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)


@pytest.fixture
def adapted(make_model):
    model = make_model(vision_lora={"r": 4, "lora_alpha": 8, "lora_dropout": 0.5})
    stir_lora(model)
    return model


def test_untrained_lora_changes_no_answer(make_model, images):
    plain, adapted = make_model(), make_model(vision_lora={"r": 4})
    with torch.no_grad():
        assert torch.equal(plain(*images).logits, adapted(*images).logits)


def test_a_rank_of_zero_adds_nothing(make_model):
    plain, adapted = make_model(), make_model(vision_lora={"r": 0})
    assert plain.state_dict().keys() == adapted.state_dict().keys()
    assert adapted.config.vision_lora is None


def test_only_queries_and_values_of_the_vision_tower_are_adapted(adapted):
    trained = {n for n, p in adapted.clip.named_parameters() if p.requires_grad}
    # 2 layers, 2 projections, A (4 × 32) and B (32 × 4) each.
    assert len(trained) == 2 * 2 * 2
    assert all(n.startswith("vision_model.") for n in trained)
    assert {n.split(".self_attn.")[1].split(".")[0] for n in trained} == {"q_proj", "v_proj"}
    assert sum(p.numel() for p in adapted.clip.parameters() if p.requires_grad) == 4 * 2 * 4 * 32


def test_the_answer_is_that_of_clip_with_the_product_added(adapted, make_model, images):
    """W + (alpha / r) B A, by hand, on a CLIP without LoRA."""
    plain = make_model(clip=make_tiny_clip())
    state = adapted.state_dict()
    with torch.no_grad():
        for layer in (0, 1):
            for projection in ("q_proj", "v_proj"):
                place = f"vision_model.encoder.layers.{layer}.self_attn.{projection}"
                a, b = (state[f"clip.{place}.lora_{x}.default.weight"] for x in "AB")
                plain.clip.get_submodule(place).weight.add_(8 / 4 * b @ a)
        expected, answer = plain(*images).logits, adapted(*images).logits
    assert torch.allclose(answer, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_save_and_load_give_back_everything(adapted, images, tmp_path, dtype):
    model = adapted.to(dtype)
    model.save_pretrained(tmp_path)
    loaded = HcpMerModel.from_pretrained(tmp_path)
    assert_same(loaded, model)
    with torch.no_grad():
        views = [view.to(dtype) for view in images]
        assert torch.equal(loaded(*views).logits, model(*views).logits)


def test_dropout_is_on_in_training_alone(adapted):
    dropouts = [m for n, m in adapted.clip.named_modules() if n.endswith("lora_dropout.default")]
    assert len(dropouts) == 4
    assert all(m.training for m in adapted.train().modules() if m in dropouts)
    assert not any(m.training for m in adapted.eval().modules())
    assert not adapted.train().clip.vision_model.encoder.training


# PEFT 0.21 reads a property that transformers 5.23 has renamed.
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_peft_loads_the_adapter_onto_a_bare_clip(adapted, images, tmp_path):
    from peft import PeftModel

    adapted.config.backbone = "someone/clip"
    adapted.save_pretrained(tmp_path / "checkpoint")
    folder = tmp_path / "checkpoint" / "vision_lora"
    assert {f.name for f in folder.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    settings = json.loads((folder / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "someone/clip"
    make_tiny_clip().save_pretrained(tmp_path / "clip")
    clip = CLIPModel.from_pretrained(tmp_path / "clip")
    features = adapted.encode_images(images[0]).pooled
    with_peft = PeftModel.from_pretrained(clip, folder).base_model.model.eval()
    pooled = with_peft.vision_model(pixel_values=images[0]).pooler_output
    assert torch.allclose(with_peft.visual_projection(pooled), features, atol=1e-6)


def test_the_backbones_weights_are_stored_without_lora(adapted, make_model, tmp_path):
    from safetensors.torch import load_file

    adapted.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors").keys() == make_model().state_dict().keys()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs a rank"),
        ({"r": -1}, "needs a rank"),
        ({"r": 2, "alpha": 3}, "does not take alpha; it takes r, lora_alpha"),
        ({"r": 2, "target_modules": "q_proj"}, "must be a list of layer names"),
        ({"r": 2, "target_modules": ["query"]}, "does not fit this CLIP"),
        ({"r": 2, "bias": "all"}, "does not take bias"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make_model, settings, message):
    with pytest.raises(ValueError, match=message):
        make_model().add_vision_lora(settings)


def test_lora_is_added_once(adapted):
    with pytest.raises(ValueError, match="has LoRA on its vision tower already"):
        adapted.add_vision_lora({"r": 2})
