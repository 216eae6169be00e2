"""A backbone that is missing, spoilt, another one or of random weights is found out."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hcp_mer.doctor import zero_shot
from hcp_mer.doctor.findings import run_check


def states(backbone):
    names = ("place", "sizes", "weights", "tokenizer")
    return {name: run_check(name, getattr(backbone, f"check_{name}")).state for name in names}


def knowledge(backbone):
    return run_check("knowledge", lambda: zero_shot.check_knowledge(backbone)).state


def change_weights(folder, **changes):
    """Replace tensors of a safetensors file; dots in names are written as double underscores."""
    weights = load_file(folder / "model.safetensors")
    for name, change in changes.items():
        key = name.replace("__", ".")
        weights[key] = change(weights[key])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_the_embedded_backbone_is_what_it_should_be(backbone_of):
    """Its hash stands in the package: a change of the file must be a change there too."""
    backbone = backbone_of()
    assert set(states(backbone).values()) == {"ok"}
    assert knowledge(backbone) == "ok"


def test_weights_that_were_saved_again_are_worth_a_look(backbone_of, embedded):
    change_weights(embedded, visual_projection__weight=lambda value: value * 1.001)
    found = states(backbone_of(embedded))
    assert found == {"place": "ok", "sizes": "ok", "weights": "look", "tokenizer": "ok"}


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("visual_projection__weight", torch.zeros_like, "carry nothing"),
        ("text_projection__weight", lambda v: v * torch.nan, "carry nothing"),
        ("logit_scale", lambda v: v + 1, "scale 10.00 expected"),
        ("text_projection__weight", lambda v: v[:, :100].contiguous(), "weights"),
    ],
)
def test_weights_that_cannot_be_right_are_wrong(backbone_of, embedded, name, change, words):
    change_weights(embedded, **{name: change})
    verdict = backbone_of(embedded).check_weights()
    assert verdict.state == "wrong"
    assert words in verdict.found


def test_a_file_cut_short_is_wrong(backbone_of, embedded):
    file = embedded / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])
    backbone = backbone_of(embedded)
    assert states(backbone)["weights"] == "wrong"
    assert knowledge(backbone) == "wrong"


def test_random_weights_have_the_right_shape_and_are_wrong_all_the_same(backbone_of, embedded):
    torch.manual_seed(0)
    dead = ("logit_scale", "norm", "bias", "position_ids")
    weights = load_file(embedded / "model.safetensors")
    changes = {
        name.replace(".", "__"): lambda v: torch.randn(v.shape).mul(0.05).to(v.dtype)
        for name in weights
        if not any(part in name for part in dead)
    }
    change_weights(embedded, **changes)
    backbone = backbone_of(embedded)
    found = states(backbone)
    assert found == {"place": "ok", "sizes": "ok", "weights": "look", "tokenizer": "ok"}
    assert knowledge(backbone) == "wrong"


def test_another_model_under_clips_name_is_wrong(backbone_of, tiny_backbone, tmp_path):
    folder = Path(shutil.copytree(tiny_backbone, tmp_path / "clip-vit-base-patch32"))
    backbone = backbone_of(folder)
    assert "text.vocab_size 49408 expected, 827 found" in backbone.check_sizes().found
    found = states(backbone)
    assert (found["sizes"], found["weights"]) == ("wrong", "wrong")


def test_of_an_unknown_backbone_nothing_is_claimed(backbone_of, tiny_backbone, monkeypatch):
    monkeypatch.setattr(zero_shot, "CLIPS_PER_CLASS", 1)
    backbone = backbone_of(tiny_backbone)
    found = states(backbone)
    assert found == {"place": "ok", "sizes": "look", "weights": "look", "tokenizer": "ok"}
    assert knowledge(backbone) == "look"


def test_pixels_scaled_otherwise_are_wrong(backbone_of, embedded):
    file = embedded / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"image_mean": [0.4, 0.4, 0.4]}))
    assert "image_mean (0.5, 0.5, 0.5) expected" in backbone_of(embedded).check_sizes().found
    file.unlink()  # CLIP's own would be taken then
    assert backbone_of(embedded).check_sizes().state == "wrong"


def test_what_is_no_clip_is_wrong(backbone_of, embedded):
    (embedded / "config.json").write_text('{"model_type": "bert"}')
    finding = run_check("sizes", backbone_of(embedded).check_sizes)
    assert finding.state == "wrong"
    assert "bert" in finding.found


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_folder_without_a_whole_model_is_wrong(backbone_of, embedded, file):
    (embedded / file).unlink()
    verdict = backbone_of(embedded).check_place()
    assert verdict.state == "wrong"
    assert file in verdict.found


def test_a_backbone_out_of_reach_names_the_ways_out(backbone_of):
    verdict = backbone_of("openai/clip-vit-base-patch32").check_place()
    assert verdict.state == "wrong"
    assert "HF_HUB_OFFLINE" in verdict.found
    assert "605 MB" in verdict.advice
    assert "--backbone hub_configs/face-motion-clip" in verdict.advice
    assert "no folder /no/such/place" in backbone_of("/no/such/place").check_place().found
