"""The model as a whole: what it trains, what it answers, what it saves."""

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from hcp_mer.model.configuration_hcp_mer import HcpMerConfig
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from tests.conftest import make_tiny_clip

LABELS = torch.tensor([0, 1, 2, 0, 1])


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(5, 3, 32, 32), torch.randn(5, 3, 32, 32)


def trained_names(model):
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


SWITCHES = [
    {},
    {"use_holistic": False},
    {"use_componential": False},
    {"use_adapter": False},
    {"use_consistency": False},
    {"use_focal": False},
    {"contrastive_reading": "literal"},
    {"contrastive_reading": "class+branch"},
    {"contrastive_reading": "in_batch"},
    {"consistency_reading": "jensen_shannon"},
    {"consistency_reading": "mutual"},
    {"gate_reading": "literal"},
    {"gate_reading": "convex"},
    {"gate_reading": "fixed"},
    {"response_reading": "probabilities"},
    {"context_scope": "per_class"},
    {"au_set_reduction": "max"},
    {"adapter_depth": 2, "adapter_batchnorm": False, "adapter_zero_init": False},
]


@pytest.mark.parametrize("options", SWITCHES, ids=str)
def test_gradient_reaches_every_trained_parameter_and_no_other(make_model, images, options):
    model = make_model(**options).train()
    optimiser = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.1)
    for _ in range(2):  # zero-initialised up-projections let gradient through from step 2 on
        optimiser.zero_grad()
        model(*images, labels=LABELS).loss.backward()
        optimiser.step()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert reached == trained_names(model)
    assert not any(name.startswith("clip.") for name in reached)


def test_switched_off_parts_are_not_there(make_model):
    assert not any("adapter" in n for n in trained_names(make_model(use_adapter=False)))
    alone = trained_names(make_model(use_holistic=False))
    assert alone
    assert not any("gate" in name or "holistic" in name for name in alone)


def test_one_branch_is_the_answer_itself(make_model, images):
    output = make_model(use_holistic=False)(None, images[1], labels=LABELS)
    assert torch.equal(output.logits, output.componential_logits)
    assert output.holistic_logits is None
    assert output.gate_weights is None
    # L_con and focal on one branch; L_JS drops out: no consistency weight can change the loss.
    heavy = make_model(use_holistic=False, consistency_weight=1e3)(None, images[1], labels=LABELS)
    assert torch.equal(output.loss, heavy.loss)


def test_total_loss_adds_up(make_model, images):
    """Eq. 6 from three models that differ in one weight each: the terms are additive."""
    base = {"consistency_weight": 0.0, "focal_weight": 0.0}
    contrast = make_model(**base)(*images, labels=LABELS).loss
    with_js = make_model(**{**base, "consistency_weight": 1.0})(*images, labels=LABELS).loss
    with_focal = make_model(**{**base, "focal_weight": 1.0})(*images, labels=LABELS).loss
    full = make_model(consistency_weight=0.3, focal_weight=0.7)(*images, labels=LABELS).loss
    expected = contrast + 0.3 * (with_js - contrast) + 0.7 * (with_focal - contrast)
    assert torch.isclose(full, expected, atol=1e-5)


def test_cross_entropy_takes_the_place_of_focal(make_model, images):
    model = make_model(use_focal=False, consistency_weight=0.0, focal_weight=2.0)
    output = model(*images, labels=LABELS)
    nothing = make_model(use_focal=False, without_focal="nothing", consistency_weight=0.0)
    contrast = nothing(*images, labels=LABELS).loss
    cross_entropy = torch.nn.functional.cross_entropy(output.logits, LABELS)
    assert torch.isclose(output.loss, contrast + 2 * cross_entropy, atol=1e-5)


def test_untrained_answer_is_the_sum_of_clips_cosines(make_model, tokenizer, images):
    """Zero-shot, gate ½/½, one set per class: exactly what a bare CLIPModel says (Eq. 1)."""
    groups = [
        {"label": "a", "emotion": "happiness", "action_units": [[6, 12]]},
        {"label": "b", "emotion": "surprise", "action_units": [[1, 2]]},
    ]
    model = make_model(groups)
    clip = model.clip
    sentences = [
        ["a micro-expression happiness photo of", "a micro-expression surprise photo of"],
        [
            "a micro-expression cheek raiser, lip corner puller photo of",
            "a micro-expression inner brow raiser, outer brow raiser photo of",
        ],
    ]
    expected = 0
    with torch.no_grad():
        for pixels, texts in zip(images, sentences):
            tokens = tokenizer(texts, padding=True, return_tensors="pt")
            seen = clip.get_image_features(pixel_values=pixels).pooler_output
            said = clip.get_text_features(**tokens).pooler_output
            expected = expected + torch.cosine_similarity(seen[:, None], said[None], dim=-1)
        logits = model(*images).logits
    scale = clip.logit_scale.exp()
    assert torch.allclose(logits, 0.5 * scale * expected, atol=1e-4)


def test_several_action_unit_sets_are_combined_by_logsumexp(make_model, images):
    model = make_model(similarity_scale=7.0)
    with torch.no_grad():
        output = model(*images)
        cosines = output.flow_embeds @ output.text_embeds[3:].T  # (5, 6): sets of 3, 1 and 2
    parts = torch.split(7.0 * cosines, [3, 1, 2], dim=1)
    expected = torch.stack([part.exp().sum(1).log() for part in parts], dim=1)
    assert torch.allclose(output.componential_logits, expected, atol=1e-4)
    with torch.no_grad():
        largest = make_model(similarity_scale=7.0, au_set_reduction="max")(*images)
    expected = torch.stack([part.amax(1) for part in parts], dim=1)
    assert torch.allclose(largest.componential_logits, expected, atol=1e-4)


def test_permuting_the_class_texts_permutes_the_zero_shot_answer(make_model, groups, images):
    order = [2, 0, 1]
    with torch.no_grad():
        straight = make_model(groups)(*images).logits
        permuted = make_model([groups[i] for i in order])(*images).logits
    assert torch.allclose(permuted, straight[:, order], atol=1e-5)
    assert not torch.allclose(permuted, straight, atol=1e-3)


def test_text_embeds_can_be_given(make_model, images):
    model = make_model()
    with torch.no_grad():
        texts = model.encode_prompts()
        given = model(*images, text_embeds=texts).logits
        assert torch.equal(given, model(*images).logits)


def test_output_shapes_are_those_of_the_docstring(make_model, images):
    output = make_model()(*images)
    shapes = {name: tuple(value.shape) for name, value in output.items()}
    assert shapes == {
        "logits": (5, 3),
        "holistic_logits": (5, 3),
        "componential_logits": (5, 3),
        "gate_weights": (5, 2),
        "image_embeds": (5, 24),
        "flow_embeds": (5, 24),
        "text_embeds": (9, 24),
    }
    assert isinstance(make_model()(*images, return_dict=False), tuple)


def test_patch_features_are_within_reach(make_model, images):
    features = make_model().encode_images(images[0])
    assert features.pooled.shape == (5, 24)
    assert features.patches.shape == (5, 4, 32)


def test_backbone_stays_frozen_and_in_eval_mode(make_model):
    model = make_model().train()
    assert model.head.training
    assert not model.clip.training
    assert not any(p.requires_grad for p in model.clip.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate_reading": "sharp"}, "gate_reading must be one of independent, literal"),
        ({"use_holistic": False, "use_componential": False}, "nothing is left to answer"),
        ({"adapter_depth": 0}, "adapter_depth must be at least 1"),
        ({"focal_gamma": -1.0}, "focal_gamma must not be negative"),
        ({"similarity_scale": 0.0}, "similarity_scale must be positive"),
        (
            {"use_holistic": False, "contrastive_reading": "literal"},
            "contrasts both branches' texts",
        ),
        (
            {"prompt_groups": [{"label": "x", "emotion": "y", "action_units": [["4"]]}]},
            "sets of numbers",
        ),
        (
            {"prompt_groups": [{"label": "x", "emotion": "y"}]},
            "exactly label, emotion",
        ),
        (
            {"prompt_groups": [{"label": "x", "emotion": "y", "action_units": [[]]}]},
            "non-empty sets",
        ),
    ],
)
def test_config_refuses_what_it_cannot_mean(options, message):
    with pytest.raises(ValueError, match=message):
        HcpMerConfig(**options)


def test_a_missing_view_is_named(make_model, images):
    with pytest.raises(ValueError, match="componential branch needs flow_pixel_values"):
        make_model()(images[0])


@pytest.mark.slow
def test_clip_of_true_size_trains_at_scale_100(tokenizer, groups):
    """Random ViT-B/32 at logit scale 100: no NaN, and no saturated gate, over 10 steps."""
    torch.manual_seed(0)
    clip = CLIPModel(CLIPConfig()).eval()
    model = HcpMerModel.from_backbone(clip, groups, tokenizer=tokenizer, similarity_scale=100.0)
    model.train()
    features = {b: torch.randn(16, 512) for b in model.config.branches}
    labels = torch.arange(16) % 3
    parameters = [p for p in model.parameters() if p.requires_grad]
    assert sum(p.numel() for p in parameters) < 0.7e6
    optimiser = torch.optim.AdamW(parameters, lr=1e-3)
    from hcp_mer.model.losses_hcp_mer import total_loss

    losses = []
    for _ in range(10):
        output = model.head(features, model.encode_prompts())
        loss = total_loss(output, labels, model.focal_alpha, model.config)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(parameter.isfinite().all() for parameter in parameters)
    assert losses[-1] < losses[0]
    assert ((output.gate_weights > 0.05) & (output.gate_weights < 0.95)).all()


def test_tiny_clips_differ_by_seed():
    """Guards the fixtures: a backbone that ignores its seed would hide load failures."""
    one, other = make_tiny_clip(0), make_tiny_clip(1)
    assert not torch.equal(one.visual_projection.weight, other.visual_projection.weight)


def test_a_model_that_was_asked_can_still_be_trained(make_model, images):
    model = make_model()
    with torch.inference_mode():
        model(*images)
    model.train()(*images, labels=LABELS).loss.backward()
    assert model.prompts.context.grad is not None


def test_a_backbone_with_holes_is_refused(tiny_backbone, groups, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    folder = tmp_path / "holes"
    shutil.copytree(tiny_backbone, folder)
    weights = load_file(folder / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "vision_model.encoder" not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks \d+ weights \(vision_model\.encoder"):
        HcpMerModel.from_backbone(str(folder), groups)


def test_a_backbone_whose_config_is_of_another_model_is_refused(tiny_backbone, groups, tmp_path):
    import json
    import shutil

    folder = tmp_path / "mixed"
    shutil.copytree(tiny_backbone, folder)
    config = json.loads((folder / "config.json").read_text())
    config["vision_config"]["intermediate_size"] = 128
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"lacks \d+ weights .*incomplete or of another model"):
        HcpMerModel.from_backbone(str(folder), groups)


def test_a_checkpoint_of_ours_is_no_backbone(make_model, groups, tmp_path):
    make_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a hcp_mer, not a CLIP"):
        HcpMerModel.from_backbone(str(tmp_path), groups)


def test_a_single_class_is_no_choice(make_model, groups):
    with pytest.raises(ValueError, match="must name two or more classes"):
        make_model(groups[:1])
