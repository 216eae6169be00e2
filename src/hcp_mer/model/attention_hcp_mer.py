"""Where a branch looks: what its answer owes to each patch of its view, Fig. 5.

Where the adapter reads the pooled feature, relevance by gradient-weighted attention rollout
(Chefer, Gur and Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and
Encoder-Decoder Transformers", ICCV 2021, Eq. 5–6): an attention counts as far as more of it would
raise the answer. Where it reads patch tokens, how far each token differs from that of an empty view
(zeros: no flow, mean grey), times the answer's gradient, as far as this speaks for the answer
(Ancona et al., "Towards better understanding of gradient-based attribution methods for deep neural
networks", ICLR 2018). Both explain the model, not the face, and say nothing of what would happen if
a patch were covered.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def attribute_patches(
    model: nn.Module,
    pixel_values: Tensor,
    branch: str,
    classes: Tensor,
    *,
    text_embeds: Tensor | None = None,
    head: nn.Module | None = None,
) -> Tensor:
    """What one branch's logit of a class owes to each patch of its view.

    A pooled feature is that of the class token: the patches' share is what reaches this token. Of
    an adapter that reads patches, the pooled feature beside them is left out of account.

    Args:
        model: an HcpMerModel. Nothing of it is changed: no gradient is kept, and the attention
            implementation (which must be "eager" meanwhile) and training mode are put back.
        pixel_values: (batch, 3, size, size), the view that the branch reads.
        branch: "holistic" or "componential".
        classes: (batch,) index of the class whose logit is explained, for each clip.
        text_embeds: (num_prompts, projection_dim) from `encode_prompts`; head: an HcpMerHead in
            eval mode: both of the model itself by default, or those of a fold.
    Returns: (batch, side, side) ≥ 0 in float32, row by row from the upper left; all 0 where
        nothing speaks for the class.
    Raises:
        ValueError: the model has no such branch, or not a class for each clip.
    """
    if branch not in model.config.branches:
        raise ValueError(
            f"branch must be one of {', '.join(model.config.branches)}, got {branch!r}."
        )
    if classes.shape != pixel_values.shape[:1]:
        raise ValueError(
            f"classes must have one index for each of the {len(pixel_values)} clips, "
            f"got shape {tuple(classes.shape)}."
        )
    head = model.head if head is None else head
    # Explaining needs gradients, also for a caller that predicts without.
    with torch.inference_mode(False), torch.enable_grad(), _explainable(model):
        # Clones: what was made under inference_mode takes no part in gradients.
        pixels = pixel_values.to(model.device, model.dtype).detach().clone().requires_grad_()
        chosen = classes.to(model.device).clone()[:, None]
        if text_embeds is None:
            with torch.no_grad():
                text_embeds = model.encode_prompts()
        view = model.encode_images(pixels, output_attentions=True, output_hidden_states=True)
        own = model.branch_features(branch, view)
        output = head(_beside(model, branch, own), text_embeds.detach().clone())
        logits = output.branch_logits[model.config.branches.index(branch)]
        # A sum over clips, since no clip's logit depends on another's attention.
        answer = logits.gather(1, chosen).sum()
        if model.config.reads_patches(branch):
            size = model.config.clip_config.projection_dim
            with torch.no_grad():
                nothing = model.encode_view(branch, torch.zeros_like(pixels[:1]))
            by_token = ((own - nothing) * torch.autograd.grad(answer, own)[0])[:, size:]
            by_patch = by_token.unflatten(1, (model.config.num_patches, -1)).sum(-1)
            patches = by_patch.detach().float().clamp_min(0)
        else:
            gradients = torch.autograd.grad(answer, view.attentions)
            relevance = attention_rollout([layer.detach() for layer in view.attentions], gradients)
            patches = relevance[:, 0, 1:]  # what the class token, which is pooled, has of each
    side = round(patches.shape[1] ** 0.5)
    return patches.reshape(-1, side, side)


def _beside(model: nn.Module, branch: str, own: Tensor) -> dict[str, Tensor]:
    """Features for all branches: a branch's logits depend on its own view alone."""
    return {
        name: own if name == branch else own.new_zeros(len(own), model.config.feature_size(name))
        for name in model.config.branches
    }


def attention_rollout(attentions: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Relevance of each token for each other: R ← R + Ā·R from R = I, Ā = mean_heads (∇A ⊙ A)⁺.

    Args: of each layer, the first first, attentions A and the gradients ∇A of an answer, each
        (batch, heads, tokens, tokens).
    Returns: (batch, tokens, tokens) ≥ 0 in float32: row i says what token i has of the others.
    """
    batch, _, tokens, _ = attentions[0].shape
    relevance = torch.eye(tokens, device=attentions[0].device).expand(batch, tokens, tokens)
    for attention, gradient in zip(attentions, gradients):
        weighted = (gradient.float() * attention.float()).clamp_min(0).mean(dim=1)
        relevance = relevance + weighted @ relevance
    return relevance


@contextmanager
def _explainable(model: nn.Module) -> Iterator[None]:
    """In eval mode, and with a vision tower that hands its attention weights out."""
    tower, training = model.clip.vision_model, model.training
    before = tower.config._attn_implementation
    try:
        tower.set_attn_implementation("eager")
        model.eval()
        yield
    finally:
        tower.set_attn_implementation(before)
        model.train(training)
