"""Adapters that read patch tokens: by hand, from transformers' own layers, through a checkpoint."""

import json

import numpy as np
import pytest
import torch
from transformers import CLIPConfig

from hcp_mer.model.adapter_hcp_mer import HcpAdapter
from hcp_mer.model.configuration_hcp_mer import HcpMerConfig
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.model.pipeline_hcp_mer import MicroExpressionPipeline
from hcp_mer.training.checkpoint import save_checkpoint
from tests.conftest import make_tiny_clip
from tests.model.test_checkpoint import assert_same, change_config
from tests.model.test_remote_code import EVERYTHING, run_elsewhere

PIXELS_OF_PATCH, TOKEN, POOLED, PATCHES = 16, 32, 24, 4  # the tiny CLIP of tests/conftest.py


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(5, 3, 32, 32), torch.randn(5, 3, 32, 32)


def stir(model, seed=2):
    """Every trained tensor at random, running statistics too."""
    torch.manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    for name, buffer in model.head.named_buffers():
        torch.nn.init.uniform_(buffer, *((0.5, 2) if "var" in name else (-1, 1)))
    return model.eval()


@pytest.mark.parametrize(
    "reads", ["patches", {"holistic": "pooled", "componential": "patches"}], ids=str
)
def test_untrained_patches_change_no_answer(make_model, images, reads):
    pooled, patches = make_model(adapter_input="pooled"), make_model(adapter_input=reads)
    with torch.no_grad():
        torch.testing.assert_close(patches(*images).logits, pooled(*images).logits)


def test_the_adapter_by_hand(make_model, images):
    model = stir(make_model(adapter_input="patches", adapter_patch_hidden=6))
    with torch.no_grad():
        features = model.encode_view("componential", images[1])
        found = model.head.adapters["componential"](features).numpy()
    (layer,) = model.head.adapters["componential"].layers
    pooled, tokens = np.split(features.numpy().astype(float), [POOLED], axis=1)
    down, up, shift = (
        parameter.detach().numpy().astype(float)
        for parameter in (layer.down.weight, layer.up.weight, layer.up.bias)
    )
    weight, bias = (p.detach().numpy() for p in (layer.norm.weight, layer.norm.bias))
    hidden = tokens @ down.T  # (5, 6)
    spread = np.sqrt(layer.norm.running_var.numpy() + 1e-5)
    hidden = (hidden - layer.norm.running_mean.numpy()) / spread * weight + bias
    expected = pooled + np.maximum(hidden, 0) @ up.T + shift
    assert down.shape == (6, PATCHES * TOKEN)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_deeper_layers_read_what_the_first_one_made(make_model):
    config = make_model(adapter_input="patches", adapter_depth=2).config
    first, second = HcpAdapter(config, "holistic").layers
    assert first.down.in_features == PATCHES * TOKEN
    assert second.down.in_features == first.up.out_features == second.up.out_features == POOLED


@pytest.mark.parametrize(("layer", "index"), [(0, 0), (1, 1), (2, 2), (-1, 2), (-2, 1), (-3, 0)])
def test_tokens_are_those_of_transformers_own_layer(make_model, tiny_clip, images, layer, index):
    model = make_model(adapter_input="patches", adapter_layer=layer)
    with torch.no_grad():
        features = model.encode_view("componential", images[1]).numpy()
        vision = tiny_clip.vision_model(pixel_values=images[1], output_hidden_states=True)
        pooled = tiny_clip.visual_projection(vision.pooler_output).numpy()
    tokens = vision.hidden_states[index][:, 1:].numpy().astype(float)  # without the class token
    centred = tokens - tokens.mean(-1, keepdims=True)
    normalised = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(features[:, :POOLED], pooled, atol=1e-6)
    np.testing.assert_allclose(features[:, POOLED:], normalised.reshape(5, -1), atol=1e-4)


def test_each_branch_may_read_its_own_layer(make_model, images):
    layers = {"holistic": 1, "componential": 2}
    mixed = make_model(adapter_input="patches", adapter_layer=layers)
    for branch, layer in layers.items():
        alone = make_model(adapter_input="patches", adapter_layer=layer)
        with torch.no_grad():
            expected = alone.encode_view(branch, images[0])
            assert torch.equal(mixed.encode_view(branch, images[0]), expected)


def test_the_model_answers_from_the_features_that_are_cached(make_model, images):
    """Training encodes views once and keeps them: the head on those is the whole model."""
    model = stir(make_model(adapter_input={"holistic": "pooled", "componential": "patches"}))
    with torch.no_grad():
        views = dict(zip(model.config.branches, images))
        features = {branch: model.encode_view(branch, view) for branch, view in views.items()}
        sizes = {branch: values.shape[1] for branch, values in features.items()}
        assert sizes == {"holistic": 24, "componential": 24 + 4 * 32}
        expected = model(*images).logits
        torch.testing.assert_close(model.head(features, model.encode_prompts()).logits, expected)


def test_what_is_read_in_a_patch_is_that_patchs(make_model):
    """Before any attention, another lower left corner changes the third patch's token alone."""
    model = make_model(adapter_input="patches", adapter_layer=0)
    image = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    other = image.clone()
    other[..., PIXELS_OF_PATCH:, :PIXELS_OF_PATCH] += 1
    with torch.no_grad():
        tokens = [
            model.encode_view("holistic", x)[0, POOLED:].unflatten(0, (PATCHES, TOKEN))
            for x in (image, other)
        ]
    changed = (tokens[0] - tokens[1]).abs().amax(-1) > 1e-6
    assert changed.tolist() == [False, False, True, False]


def seen_by_down(adapter, features, **how):
    """What the adapter's first linear layer is given: (batch, num_patches, hidden_size)."""
    seen = []
    handle = adapter.layers[0].down.register_forward_hook(lambda _, given, __: seen.append(given))
    adapter(features, **how)
    handle.remove()
    return seen[0][0].detach().unflatten(1, (PATCHES, TOKEN))


def test_dropout_takes_whole_patches_and_makes_up_for_them(make_model):
    model = make_model(adapter_input="patches", adapter_dropout=0.25)
    adapter = model.head.adapters["holistic"].train()
    torch.manual_seed(0)
    features = torch.rand(2000, POOLED + PATCHES * TOKEN) + 0.5
    tokens = features[:, POOLED:].unflatten(1, (PATCHES, TOKEN))
    seen = seen_by_down(adapter, features)
    kept = seen[..., 0] != 0
    assert kept.float().mean() == pytest.approx(0.75, abs=0.02)  # 8000 draws: 4 standard errors
    torch.testing.assert_close(seen[kept], tokens[kept] / 0.75)
    assert (seen[~kept] == 0).all()
    assert not torch.equal(kept[:, 0], kept[:, 1])
    again = seen_by_down(adapter, features)
    assert not torch.equal(again, seen)


def test_no_patch_is_dropped_in_eval_mode_or_without_dropout(make_model):
    features = torch.rand(50, POOLED + PATCHES * TOKEN)
    tokens = features[:, POOLED:].unflatten(1, (PATCHES, TOKEN))
    some = make_model(adapter_input="patches", adapter_dropout=0.9)
    none = make_model(adapter_input="patches")
    assert torch.equal(seen_by_down(some.head.adapters["holistic"].eval(), features), tokens)
    assert torch.equal(seen_by_down(none.head.adapters["holistic"].train(), features), tokens)


def test_patches_that_are_named_are_the_ones_kept(make_model):
    model = make_model(adapter_input="patches", adapter_dropout=0.5)
    features = torch.rand(2, POOLED + PATCHES * TOKEN)
    kept = torch.tensor([[True, False, False, True], [False, False, True, False]])
    seen = seen_by_down(model.head.adapters["holistic"].train(), features, kept=kept)
    tokens = features[:, POOLED:].unflatten(1, (PATCHES, TOKEN))
    torch.testing.assert_close(seen[kept], 2 * tokens[kept])
    assert (seen[~kept] == 0).all()


def test_the_pooled_feature_is_never_dropped(make_model):
    model = make_model(adapter_input="patches", adapter_dropout=0.9)
    features = torch.randn(8, POOLED + PATCHES * TOKEN)
    adapter = model.head.adapters["holistic"].train()  # its up-projection is still zero
    assert torch.equal(adapter(features), features[:, :POOLED])


def test_sizes_at_vit_b_32():
    """49 patches of 768 in, hidden 32, 512 out: 37632 · 32 + 2 · 32 + 32 · 512 + 512."""
    config = HcpMerConfig(clip_config=CLIPConfig(), adapter_input="patches")
    assert config.feature_size("componential") == 512 + 37_632
    adapter = HcpAdapter(config, "componential")
    assert sum(parameter.numel() for parameter in adapter.parameters()) == 1_221_184
    pooled = HcpAdapter(HcpMerConfig(clip_config=CLIPConfig()), "componential")
    # 512 · 128 + 2 · 128 + 128 · 512 + 512: the paper's
    assert sum(parameter.numel() for parameter in pooled.parameters()) == 131_840


def test_without_adapter_nobody_reads_patches(make_model, images):
    model = make_model(adapter_input="patches", use_adapter=False)
    assert model.encode_view("holistic", images[0]).shape == (5, POOLED)
    with torch.no_grad():
        expected = make_model(use_adapter=False)(*images).logits
        assert torch.equal(model(*images).logits, expected)


def test_what_a_backbone_asks_for_holds_unless_the_caller_says_otherwise(make_model):
    def clip():
        made = make_tiny_clip()
        made.config.hcp_mer = {"adapter_input": "patches", "adapter_layer": 1}
        return made

    asked = make_model(clip=clip()).config
    assert (asked.adapter_input, asked.adapter_layer) == ("patches", 1)
    told = make_model(clip=clip(), adapter_input="pooled", adapter_layer=2).config
    assert (told.adapter_input, told.adapter_layer) == ("pooled", 2)
    assert make_model().config.adapter_input == "pooled"


@pytest.mark.parametrize(
    "options",
    [
        {"adapter_input": "patches", "adapter_dropout": 0.3, "adapter_layer": 1},
        {"adapter_input": {"holistic": "pooled", "componential": "patches"}, "adapter_depth": 2},
        {"adapter_input": "patches", "holistic_input": "flow"},
        {
            "adapter_input": "patches",
            "adapter_layer": {"holistic": 0, "componential": -1},
            "action_unit_calibration": {"scale": 9.5, "offset": {"4": 0.5, "12": -1.0}},
        },
    ],
    ids=str,
)
def test_save_and_load_give_back_everything(make_model, images, tmp_path, options):
    model = stir(make_model(**options))
    model.save_pretrained(tmp_path)
    loaded = HcpMerModel.from_pretrained(tmp_path)
    assert_same(loaded, model)
    for name, value in options.items():
        assert getattr(loaded.config, name) == value
    with torch.no_grad():
        assert torch.equal(loaded(*images).logits, model(*images).logits)
        assert torch.equal(loaded.zero_shot(*images).logits, model.zero_shot(*images).logits)


@pytest.mark.slow
def test_a_process_without_hcp_mer_answers_the_same(make_model, tmp_path):
    model = stir(make_model(adapter_input="patches", adapter_layer=1))
    processor = HcpMerImageProcessor(
        image_size=32, motion_size=64, flow_normalisation="standardised"
    )
    folder = tmp_path / "checkpoint"
    save_checkpoint(model, processor, folder)
    rng = np.random.default_rng(0)
    names = ("magnified", "flow", "onset", "apex")
    arrays = {name: rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for name in names}
    np.savez(tmp_path / "arrays.npz", **arrays)
    places = {"arrays": str(tmp_path / "arrays.npz"), "answers": str(tmp_path / "answers.npz")}
    run_elsewhere(EVERYTHING.format(folder=str(folder), **places), tmp_path, blocked=["hcp_mer"])
    views = {name: arrays[name] for name in ("magnified", "flow")}
    frames = {name: arrays[name] for name in ("onset", "apex")}
    with torch.no_grad():
        expected = [
            model(**processor(**given, return_tensors="pt")).logits.numpy()
            for given in (views, frames)
        ]
    for answers in np.load(tmp_path / "answers.npz")["logits"]:
        assert np.abs(answers - np.array(expected)).max() <= 1e-6


def test_a_checkpoint_of_another_patch_grid_is_refused(make_model, tmp_path):
    make_model(adapter_input="patches").save_pretrained(tmp_path)
    sizes = json.loads((tmp_path / "config.json").read_text())["clip_config"]
    sizes["vision_config"]["patch_size"] = 8  # 16 patches in place of 4
    change_config(tmp_path, clip_config=sizes)
    with pytest.raises(OSError, match=r"does not belong to this config\.json") as caught:
        HcpMerModel.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_backbone_of_another_patch_grid_is_refused(tiny_backbone, groups, tmp_path):
    model = HcpMerModel.from_backbone(str(tiny_backbone), groups, adapter_input="patches")
    model.config.save_backbone = False
    clip = make_tiny_clip()
    clip.config.vision_config.patch_size = 8
    type(clip)(clip.config).save_pretrained(tmp_path / "finer")
    model.config.backbone = str(tmp_path / "finer")
    model.save_pretrained(tmp_path / "checkpoint")
    with pytest.raises(ValueError, match=r"its vision_config has patch_size 8, was 16") as caught:
        HcpMerModel.from_pretrained(tmp_path / "checkpoint")
    assert "\n" not in str(caught.value)


def test_weights_behind_patches_do_not_fit_a_pooled_adapter(make_model, tmp_path):
    make_model(adapter_input="patches").save_pretrained(tmp_path)
    change_config(tmp_path, adapter_input="pooled")
    with pytest.raises(OSError, match=r"down\.weight: 32×128, not 6×24, …\): it") as caught:
        HcpMerModel.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adapter_input": "pixel"}, "adapter_input must be pooled or patches, or one for each"),
        (
            {"adapter_input": {"holistic": "patches"}},
            r"one for each of holistic and componential; got \{'holistic': 'patches'\}",
        ),
        (
            {"adapter_input": {"holistic": "patches", "componential": 1}},
            "must be pooled or patches",
        ),
        ({"adapter_layer": 99}, r"adapter_layer must be a layer from 0 to 2, or −1, .*got 99"),
        ({"adapter_layer": -4}, "a layer from 0 to 2, or −1, .*got -4"),
        ({"adapter_layer": True}, "a layer from 0 to 2, .*got True"),
        ({"adapter_layer": {"holistic": 0, "componential": 3}}, "a layer from 0 to 2"),
        ({"adapter_dropout": 1.0}, r"adapter_dropout must lie in \[0, 1\); got 1\.0"),
        ({"adapter_dropout": -0.1}, r"adapter_dropout must lie in \[0, 1\); got -0\.1"),
        ({"adapter_patch_hidden": 0}, "adapter_patch_hidden must be at least 1; got 0"),
        ({"holistic_input": "apex"}, "holistic_input must be magnified or flow; got 'apex'"),
    ],
)
def test_wrong_settings_are_named_in_one_line(make_model, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        make_model(**options)
    assert "\n" not in str(caught.value)


def test_flow_in_both_branches_needs_no_magnified_image(make_model, images):
    model = stir(make_model(holistic_input="flow", adapter_input="patches"))
    papers = stir(make_model(adapter_input="patches"))
    flow = images[1]
    with torch.no_grad():
        output, expected = model(flow_pixel_values=flow), papers(flow, flow)
    torch.testing.assert_close(output.logits, expected.logits)
    torch.testing.assert_close(output.holistic_logits, expected.holistic_logits)
    with torch.no_grad():  # a magnified image is not looked at
        assert torch.equal(model(images[0], flow).logits, output.logits)
    with pytest.raises(ValueError, match="the holistic branch needs flow_pixel_values"):
        model(images[0])


def test_the_pipeline_of_such_a_model_asks_for_the_flow_alone(make_model):
    model = make_model(holistic_input="flow")
    pipe = MicroExpressionPipeline(model, HcpMerImageProcessor(image_size=32, motion_size=64))
    flow = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    alone = pipe(flow=flow)
    assert alone == pipe(magnified=flow[::-1], flow=flow)
    with pytest.raises(ValueError, match="this model reads flow of such a clip; flow is missing"):
        pipe(magnified=flow)


def test_lora_and_patches_work_together(make_model, images, tmp_path):
    """LoRA below the layer whose tokens are read: W + (alpha / r) B A there, by hand."""
    reading = {"adapter_input": "patches", "adapter_layer": 1}
    model = stir(make_model(**reading, vision_lora={"r": 2, "lora_alpha": 6}))
    by_hand = make_model(clip=make_tiny_clip(), **reading)
    state = model.state_dict()
    with torch.no_grad():
        before = by_hand.encode_view("componential", images[1])
        for place in ("q_proj", "v_proj"):
            for layer in (0, 1):
                name = f"vision_model.encoder.layers.{layer}.self_attn.{place}"
                a, b = (state[f"clip.{name}.lora_{x}.default.weight"] for x in "AB")
                by_hand.clip.get_submodule(name).weight.add_(6 / 2 * b @ a)
        expected = by_hand.encode_view("componential", images[1])
        found = model.encode_view("componential", images[1])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert (found - before).abs().max() > 0.01

    model.save_pretrained(tmp_path)
    loaded = HcpMerModel.from_pretrained(tmp_path)
    assert_same(loaded, model)
    loaded.train()
    loaded(*images, labels=torch.tensor([0, 1, 2, 0, 1])).loss.backward()
    of_lora = {n: p.grad for n, p in loaded.named_parameters() if "lora_B" in n}
    assert len(of_lora) == 4
    assert all(gradient.abs().max() > 0 for gradient in of_lora.values())
