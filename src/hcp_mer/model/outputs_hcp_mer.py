"""What the model hands out: of the vision tower, and as its answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor
from transformers.utils import ModelOutput


class ImageFeatures(NamedTuple):
    """What the frozen vision tower says of images."""

    pooled: Tensor  # (batch, projection_dim): in the space shared with text, not normalised
    patches: Tensor  # (batch, num_patches, hidden_size): of one layer, without the class token
    hidden_states: tuple[Tensor, ...] | None = None  # if asked for: see HcpMerOutput
    attentions: tuple[Tensor, ...] | None = None

    def split(self, lengths: list[int]) -> list[ImageFeatures]:
        """The features of several batches that went through the tower as one."""

        def by_batch(layers: tuple[Tensor, ...] | None) -> list:
            if not layers:
                return [layers] * len(lengths)
            return list(zip(*(layer.split(lengths) for layer in layers)))

        states, attentions = by_batch(self.hidden_states), by_batch(self.attentions)
        rows = zip(self.pooled.split(lengths), self.patches.split(lengths), states, attentions)
        return [ImageFeatures(*parts) for parts in rows]


@dataclass
class HcpMerOutput(ModelOutput):
    """Output of HcpMerModel.

    Args:
        loss: scalar, Eq. 6; with labels only.
        logits: (batch, num_classes), Res_f of Eq. 5.
        holistic_logits, componential_logits: (batch, num_classes), Res_h and Res_c.
        gate_weights: (batch, 2), α_h and β_c of Eq. 4.
        image_embeds, flow_embeds: (batch, projection_dim), adapted, unit norm: V^h and V^c.
        text_embeds: (num_prompts, projection_dim), unit norm: T^h, then T^c.
        image_hidden_states, flow_hidden_states: with `output_hidden_states=True`, per layer of the
            vision tower (batch, 1 + num_patches, hidden_size), its input first.
        image_attentions, flow_attentions: with `output_attentions=True` (and
            attn_implementation="eager", as everywhere in transformers), per layer (batch, heads,
            1 + num_patches, 1 + num_patches); token 0 is the class token.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    holistic_logits: Tensor | None = None
    componential_logits: Tensor | None = None
    gate_weights: Tensor | None = None
    image_embeds: Tensor | None = None
    flow_embeds: Tensor | None = None
    text_embeds: Tensor | None = None
    image_hidden_states: tuple[Tensor, ...] | None = None
    flow_hidden_states: tuple[Tensor, ...] | None = None
    image_attentions: tuple[Tensor, ...] | None = None
    flow_attentions: tuple[Tensor, ...] | None = None


@dataclass
class ZeroShotOutput(ModelOutput):
    """Output of `HcpMerModel.zero_shot`.

    Args:
        logits: (batch, classes), `class_evidence` over the backbone's temperature, or scaled
            similarities.
        action_unit_log_odds: (batch, len(MAIN_ACTION_UNITS)), see `action_unit_log_odds`; None of a
            backbone without calibration.
    """

    logits: Tensor | None = None
    action_unit_log_odds: Tensor | None = None
