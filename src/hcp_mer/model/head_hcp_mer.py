"""Everything after the frozen towers: adapters, similarities to the prompt groups, gate."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adapter_hcp_mer import HcpAdapter
from .configuration_hcp_mer import HcpMerConfig
from .fusion_hcp_mer import GatedFusion, fuse


class HeadOutput(NamedTuple):
    """What the head says of a batch; lists have one entry per active branch, holistic first."""

    logits: Tensor  # (batch, num_classes): Res_f
    branch_logits: list[Tensor]  # each (batch, num_classes): scaled similarities
    branch_responses: list[Tensor]  # each (batch, num_classes): the same unscaled, bounded
    branch_embeds: list[Tensor]  # each (batch, projection_dim): adapted, unit norm
    cross_logits: list[Tensor]  # images against the other branch's texts; empty unless Eq. 2 asks
    gate_weights: Tensor | None  # (batch, 2): α_h, β_c; None with one branch


class HcpMerHead(nn.Module):
    """Everything after the frozen towers: adapters, similarities, gate.

    It knows nothing of images and tokens, so that training can cache the first, share the second
    between folds and stack this module.
    """

    def __init__(self, config: HcpMerConfig):
        super().__init__()
        self.config = config
        self.branches = config.branches
        if config.use_adapter:
            self.adapters = nn.ModuleDict(
                {branch: HcpAdapter(config, branch) for branch in self.branches}
            )
        if len(self.branches) == 2:
            self.gate = GatedFusion(config.num_classes, config.gate_reading)
        # Per branch and class: which rows of text_embeds are its prompts, padded with −1.
        self.prompt_rows = self._number_prompts(config)
        self._index_cache: dict = {}

    def forward(
        self,
        features: dict[str, Tensor],
        text_embeds: Tensor,
        valid: Tensor | None = None,
        kept: Tensor | None = None,
    ) -> HeadOutput:
        """Answer from frozen features.

        Args:
            features: per active branch ("holistic", "componential") (batch, feature_size).
            text_embeds: (num_prompts, projection_dim), as `encode_prompts` orders them.
            valid: (batch,) bool, rows that count in batch statistics; None for all.
            kept: (batch, num_patches) bool, the patches that adapters see; see HcpAdapter.
        """
        texts = F.normalize(text_embeds, dim=-1)
        embeds = [self._embed(branch, features[branch], valid, kept) for branch in self.branches]
        responses = [
            self.respond(branch, embed, texts) for branch, embed in zip(self.branches, embeds)
        ]
        scale = self.config.similarity_scale
        logits = [scale * response for response in responses]
        cross = []
        if "literal" in self.config.contrastive_reading or "+" in self.config.contrastive_reading:
            others = reversed(self.branches)
            cross = [
                scale * self.respond(other, embed, texts) for other, embed in zip(others, embeds)
            ]
        fused, gates = self.combine(responses)
        return HeadOutput(fused, logits, responses, embeds, cross, gates)

    def combine(self, responses: list[Tensor]) -> tuple[Tensor, Tensor | None]:
        """Res_f and the gate weights from the branches' responses, each (batch, num_classes)."""
        logits = [self.config.similarity_scale * response for response in responses]
        if len(self.branches) == 1:
            return logits[0], None
        if self.config.response_reading == "probabilities":
            probabilities = [branch.softmax(-1) for branch in logits]
            gates = self.gate(*probabilities)
            # Gates need not sum to 1: the log of the normalised mixture is what softmax undoes.
            fused = fuse(gates, *probabilities).clamp_min(1e-8)
            return (fused / fused.sum(-1, keepdim=True)).log(), gates
        # The gate reads bounded cosines: at a scale of 100, logits would saturate its sigmoid.
        gates = self.gate(*responses)
        return fuse(gates, *logits), gates

    def _embed(
        self, branch: str, features: Tensor, valid: Tensor | None, kept: Tensor | None
    ) -> Tensor:
        if self.config.use_adapter:
            features = self.adapters[branch](features, valid, kept)
        return F.normalize(features[..., : self.config.clip_config.projection_dim], dim=-1)

    def respond(self, branch: str, embeds: Tensor, texts: Tensor) -> Tensor:
        """Similarity to each class (batch, num_classes): a cosine, or several combined."""
        rows, padding = self._rows_on(branch, texts.device)
        cosines = (embeds @ texts.T)[:, rows]  # (batch, num_classes, most prompts per class)
        if rows.shape[-1] == 1:
            return cosines[..., 0]
        if self.config.au_set_reduction == "max":
            return cosines.masked_fill(padding, -torch.inf).amax(-1)
        scale = self.config.similarity_scale
        return (scale * cosines).masked_fill(padding, -torch.inf).logsumexp(-1) / scale

    def _rows_on(self, branch: str, device: torch.device) -> tuple[Tensor, Tensor]:
        if (branch, device) not in self._index_cache:
            with torch.inference_mode(False):  # kept, and perhaps trained with later
                rows = torch.tensor(self.prompt_rows[branch], device=device)
                self._index_cache[branch, device] = rows.clamp_min(0), rows < 0
        return self._index_cache[branch, device]

    @staticmethod
    def _number_prompts(config: HcpMerConfig) -> dict[str, list[list[int]]]:
        counts = {
            "holistic": [1] * config.num_classes,
            "componential": [len(group["action_units"]) for group in config.prompt_groups],
        }
        rows, start = {}, 0
        for branch in config.branches:
            most = max(counts[branch])
            rows[branch] = []
            for count in counts[branch]:
                own = list(range(start, start + count))
                rows[branch].append(own + [-1] * (most - count))
                start += count
        return rows
