"""The adapter after the visual encoder: Fig. 8 and Appendix B.2 of the paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class MaskedBatchNorm1d(nn.Module):
    """BatchNorm over the valid rows of a batch; equals nn.BatchNorm1d when all rows are valid.

    Folds trained together have batches of different lengths: rows that only fill up must count
    neither in the statistics of the batch nor in the running ones.
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, rows: Tensor, valid: Tensor | None = None) -> Tensor:
        """rows: (batch, num_features); valid: (batch,) bool, None for all. Same shape back."""
        if self.training:
            if len(rows) < 2:
                raise ValueError("BatchNorm needs more than one row to train on, got 1.")
            weight = rows.new_ones(len(rows)) if valid is None else valid.to(rows.dtype)
            count = weight.sum()
            mean = (weight @ rows) / count
            variance = (weight @ (rows - mean) ** 2) / count  # biased, as PyTorch normalises
            unbiased = variance.detach() * count / (count - 1)
            # Not lerp_, for which vmap has no batching rule.
            self.running_mean.mul_(1 - self.momentum).add_(self.momentum * mean.detach())
            self.running_var.mul_(1 - self.momentum).add_(self.momentum * unbiased)
        else:
            mean, variance = self.running_mean, self.running_var
        return (rows - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias


class UpProjection(nn.Linear):
    """The linear layer back to the shared space: a class of its own, to be initialised apart.

    (transformers skips `_init_weights` for a module that holds no parameter itself, so the layer
    that holds both projections cannot initialise them.)
    """


class AdapterLayer(nn.Module):
    """x + Linear(ReLU(BatchNorm(Linear(y)))): one residual bottleneck.

    y is x itself, as Fig. 8 has it, or other features of the same image.
    """

    def __init__(self, size: int, hidden_size: int, batchnorm: bool, num_inputs: int):
        super().__init__()
        # BatchNorm takes out any bias before it, which would then never see a gradient.
        self.down = nn.Linear(num_inputs, hidden_size, bias=not batchnorm)
        self.norm = MaskedBatchNorm1d(hidden_size) if batchnorm else None
        self.up = UpProjection(hidden_size, size)

    def forward(
        self, rows: Tensor, valid: Tensor | None = None, inputs: Tensor | None = None
    ) -> Tensor:
        hidden = self.down(rows if inputs is None else inputs)
        if self.norm is not None:
            hidden = self.norm(hidden, valid)
        return rows + self.up(hidden.relu())


class HcpAdapter(nn.Module):
    """Residual bottleneck layers between a frozen tower and the shared space, Fig. 8.

    Depth 1 for CASME II, SAMM and SMIC, more for CAS(ME)³ (Appendix B.2). With the up-projection
    at zero an untrained adapter changes nothing, so that training starts from zero-shot CLIP.

    The paper's adapter reads the pooled feature. A pooled feature has lost where the face moves:
    with adapter_input "patches" the first layer reads the flattened patch tokens in its place,
    V = pooled + Up(ReLU(BatchNorm(Down(patches)))), and what follows is as before.
    """

    def __init__(self, config, branch: str):
        super().__init__()
        self.size = config.clip_config.projection_dim
        self.dropout = config.adapter_dropout
        pooled = max(1, self.size // config.adapter_reduction), self.size
        sizes = [pooled] * config.adapter_depth  # (hidden size, inputs) of each layer
        self.num_patches = config.num_patches if config.reads_patches(branch) else 0
        if self.num_patches:
            sizes[0] = config.adapter_patch_hidden, config.feature_size(branch) - self.size
        self.layers = nn.ModuleList(
            AdapterLayer(self.size, hidden_size, config.adapter_batchnorm, num_inputs)
            for hidden_size, num_inputs in sizes
        )

    def forward(
        self, features: Tensor, valid: Tensor | None = None, kept: Tensor | None = None
    ) -> Tensor:
        """The adapted feature, (batch, projection_dim), not normalised.

        Args:
            features: (batch, feature_size) of the frozen tower: pooled, then the patches.
            valid: (batch,) bool, rows that count in batch statistics, or None.
            kept: (batch, num_patches) bool, the patches that are seen; None: all, or in training
                as many as `adapter_dropout` leaves.
        """
        rows, patches = features[..., : self.size], None
        if self.num_patches:
            patches = features[..., self.size :]
            if kept is None and self.training and self.dropout:
                kept = torch.rand(len(rows), self.num_patches, device=rows.device) >= self.dropout
            if kept is not None:
                patches = _without_dropped(patches, kept, self.dropout)
        for layer in self.layers:
            rows, patches = layer(rows, valid, patches), None
        return rows


def _without_dropped(patches: Tensor, kept: Tensor, dropout: float) -> Tensor:
    """Whole patches at 0, the others larger in turn: (batch, num_patches · hidden_size)."""
    share = kept.to(patches.dtype) / (1 - dropout)
    return (patches.unflatten(-1, (kept.shape[-1], -1)) * share[..., None]).flatten(-2)
