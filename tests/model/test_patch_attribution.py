"""Where a branch looks: the rule by hand, one informative patch, and a model left as it was."""

import numpy as np
import pytest
import torch

from hcp_mer.model.attention_hcp_mer import attention_rollout, attribute_patches

POSITIVE, SURPRISE = 1, 2  # of the groups in tests/conftest.py
ROW_OF_POSITIVE = 6  # of 9 texts: three holistic, then three, one and two sets of action units


def layer(*heads):
    return torch.tensor([heads], dtype=torch.float32)  # (1, heads, tokens, tokens)


def test_one_layer_of_one_head_by_hand():
    attention = layer([[0.5, 0.5], [0.25, 0.75]])
    gradient = layer([[2.0, -1.0], [4.0, 0.0]])
    # A⊙∇A = [[1, −½], [1, 0]]; negative parts do not count; R = I + that.
    assert attention_rollout([attention], [gradient]).tolist() == [[[2.0, 0.0], [1.0, 1.0]]]


def test_negative_parts_go_before_heads_are_averaged_and_layers_multiply_from_the_left():
    first = layer([[1.0, 0.0], [1.0, 0.0]], [[0.5, 0.5], [0.5, 0.5]])
    gradient = layer([[0.0, 0.0], [2.0, 0.0]], [[0.0, -6.0], [0.0, 0.0]])
    second = layer([[0.0, 1.0], [0.0, 1.0]])
    # Layer 1: ½([[0, 0], [2, 0]] + 0), R = [[1, 0], [1, 1]]. Layer 2: Ā = [[0, 3], [0, 0]].
    relevance = attention_rollout([first, second.expand(1, 2, 2, 2)], [gradient, layer(
        [[0.0, 3.0], [0.0, 0.0]], [[0.0, 3.0], [0.0, 0.0]]
    )])  # fmt: skip
    assert relevance.tolist() == [[[4.0, 3.0], [1.0, 1.0]]]


@pytest.fixture
def seeing_model(make_model, tiny_clip):
    """A tower in which a black patch says nothing: no places, no biases, one layer that counts."""
    tower = tiny_clip.vision_model
    with torch.no_grad():
        tower.embeddings.position_embedding.weight.zero_()
        for name, parameter in tower.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
        last = tower.encoder.layers[1]
        last.self_attn.out_proj.weight.zero_()
        last.mlp.fc2.weight.zero_()
    return make_model(clip=tiny_clip)


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_all_of_it_lies_on_the_only_patch_that_says_anything(seeing_model, row, column):
    image = torch.zeros(1, 3, 32, 32)  # two by two patches
    pattern = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(5))
    image[0, :, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16] = 3 * pattern
    with torch.no_grad():
        seen, unseen = (seeing_model.encode_images(x).pooled[0] for x in (image, 0 * image))
    texts = (unseen - seen).repeat(9, 1)
    texts[ROW_OF_POSITIVE] = seen - unseen

    def attribution(class_index):
        classes = torch.tensor([class_index])
        return attribute_patches(seeing_model, image, "componential", classes, text_embeds=texts)[0]

    speaks_for = attribution(POSITIVE)
    assert speaks_for[row, column] > 0
    assert speaks_for.sum() == speaks_for[row, column]
    assert attribution(SURPRISE).sum() == 0  # the patch speaks against it, and nothing for it


def test_it_is_the_published_rule_for_the_cosine_that_the_branch_answers_with(make_model):
    """The same by another way: the logit written out, `backward`, loops in numpy."""
    model = make_model()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([2, 0, 1])
    ours = attribute_patches(model, images, "holistic", classes)

    model.set_attn_implementation("eager")
    view = model.encode_images(images.requires_grad_(), output_attentions=True)
    for attention in view.attentions:
        attention.retain_grad()
    texts = model.encode_prompts().detach()[:3]  # the holistic ones; the adapter starts as nothing
    cosines = torch.cosine_similarity(view.pooled[:, None], texts[None], dim=-1)
    (model.config.similarity_scale * cosines)[torch.arange(3), classes].sum().backward()
    for clip in range(3):
        relevance = np.eye(5)
        for attention in view.attentions:
            weighted = (attention * attention.grad)[clip].detach().numpy().astype(float)
            relevance = relevance + np.maximum(weighted, 0).mean(axis=0) @ relevance
        expected = relevance[0, 1:].reshape(2, 2)
        assert ours[clip].numpy() == pytest.approx(expected, rel=1e-4, abs=1e-9)
        assert expected.max() > 1e-4


@pytest.fixture
def reading_patches(make_model):
    """A model whose adapters read the first layer's patches, with weights at random."""
    model = make_model(adapter_input="patches", adapter_layer=1)
    torch.manual_seed(3)
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    for name, buffer in model.head.named_buffers():
        torch.nn.init.uniform_(buffer, *((0.5, 2) if "var" in name else (-1, 1)))
    return model.eval()


def test_where_patches_are_read_it_is_difference_from_nothing_times_gradient(reading_patches):
    """The same by another way: CLIP's own layers, the adapter and the logit written out."""
    model = reading_patches
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([2, 0, 1])
    ours = attribute_patches(model, images, "holistic", classes)

    with torch.no_grad():
        nothing = torch.zeros_like(images[:1])
        vision = model.clip.vision_model(
            pixel_values=torch.cat([images, nothing]), output_hidden_states=True
        )
        pooled = model.clip.visual_projection(vision.pooler_output)[:3]
        states = vision.hidden_states[1][:, 1:]
        tokens, empty = (
            (states - states.mean(-1, keepdim=True)) / states.std(-1, keepdim=True, unbiased=False)
        ).split([3, 1])
        texts = model.encode_prompts()[:3]
    tokens = tokens.clone().requires_grad_()
    (layer,) = model.head.adapters["holistic"].layers
    hidden = torch.nn.functional.batch_norm(
        tokens.reshape(3, -1) @ layer.down.weight.T,
        *(layer.norm.running_mean, layer.norm.running_var, layer.norm.weight, layer.norm.bias),
    )
    adapted = pooled + hidden.relu() @ layer.up.weight.T + layer.up.bias
    cosines = torch.cosine_similarity(adapted[:, None], texts[None], dim=-1)
    (model.config.similarity_scale * cosines)[torch.arange(3), classes].sum().backward()
    owed = ((tokens - empty) * tokens.grad).sum(-1).detach().reshape(3, 2, 2)
    torch.testing.assert_close(ours, owed.clamp_min(0), atol=1e-4, rtol=1e-3)
    assert (owed < -1e-3).any()
    assert (owed > 1e-3).any()


def test_a_patch_that_no_weight_reads_has_no_share(reading_patches):
    for layer in reading_patches.head.adapters["componential"].layers:
        layer.down.weight.data[:, 2 * 32 : 3 * 32] = 0  # the third patch, lower left
    images = torch.randn(20, 3, 32, 32, generator=torch.Generator().manual_seed(4))
    maps = attribute_patches(reading_patches, images, "componential", torch.arange(20) % 3)
    assert maps[:, 1, 0].abs().max() == 0
    assert (maps.amax(0) > 0).tolist() == [[True, True], [False, True]]


def test_of_an_untrained_adapter_patches_have_no_share(make_model):
    """Its up-projection is zero: the answer is that of the pooled feature alone."""
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    model = make_model(adapter_input="patches")
    assert attribute_patches(model, images, "holistic", torch.tensor([0, 2])).abs().max() == 0


def test_where_one_branch_reads_patches_the_other_is_rolled_out(make_model):
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    classes = torch.tensor([0, 2])
    mixed = make_model(adapter_input={"holistic": "pooled", "componential": "patches"})
    expected = attribute_patches(make_model(), images, "holistic", classes)
    torch.testing.assert_close(attribute_patches(mixed, images, "holistic", classes), expected)


@pytest.mark.parametrize("reads", ["pooled", "patches"])
@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_left_as_it_was_also_by_who_predicts_without_gradients(
    make_model, training, reads
):
    model = make_model(adapter_input=reads, adapter_dropout=0.5).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    with torch.inference_mode():
        images = torch.randn(4, 3, 32, 32)
        maps = attribute_patches(model, images, "componential", torch.tensor([0, 1, 2, 0]))
    assert maps.shape == (4, 2, 2)
    assert not maps.requires_grad
    assert {name: p.requires_grad for name, p in model.named_parameters()} == trained
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.clip.vision_model.config._attn_implementation == "sdpa"
    assert model.training is training
    assert not model.clip.training


def test_the_implementation_is_put_back_after_a_mistake_too(make_model):
    model = make_model()
    with pytest.raises(RuntimeError, match="out of bounds"):
        attribute_patches(model, torch.zeros(1, 3, 32, 32), "holistic", torch.tensor([9]))
    assert model.clip.vision_model.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("level", [-2.0, 0.0, 2.0])
def test_images_without_any_content_give_finite_numbers(make_model, level):
    images = torch.full((2, 3, 32, 32), level)
    maps = attribute_patches(make_model(), images, "holistic", torch.tensor([0, 1]))
    assert torch.isfinite(maps).all()
    assert (maps >= 0).all()


def test_a_clip_is_explained_alike_alone_and_in_a_batch(make_model):
    model = make_model()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    classes = torch.tensor([1, 1, 0])
    together = attribute_patches(model, images, "holistic", classes)
    for index in range(3):
        one = slice(index, index + 1)
        alone = attribute_patches(model, images[one], "holistic", classes[one])
        torch.testing.assert_close(alone, together[one])


def test_what_cannot_be_explained_is_named(make_model):
    one_branch = make_model(use_holistic=False)
    images = torch.zeros(2, 3, 32, 32)
    with pytest.raises(ValueError, match="one of componential, got 'holistic'"):
        attribute_patches(one_branch, images, "holistic", torch.tensor([0, 0]))
    with pytest.raises(ValueError, match=r"each of the 2 clips, got shape \(1,\)"):
        attribute_patches(one_branch, images, "componential", torch.tensor([0]))


def test_an_empty_view_owes_nothing_to_any_patch(reading_patches):
    nothing = torch.zeros(1, 3, 32, 32)
    maps = attribute_patches(reading_patches, nothing, "componential", torch.tensor([1]))
    assert maps.abs().max() < 1e-5
