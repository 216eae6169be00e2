"""What FlowNet 2.0 needs beyond convolutions: correlation, resampling, channel norm.

Plain tensor operations in place of the published CUDA kernels, differentiable and on any device.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

REACH_PX, STEP_PX = 20, 2  # of the correlation, in pixels of its feature maps
PLACES = 2 * REACH_PX // STEP_PX + 1  # 21 displacements along each axis


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """How well `second` at each of 21 × 21 displacements fits `first`: FlowNetC's cost volume.

    One row of displacements is one matrix product of image rows, so memory grows with
    N · H · W · (W + 40), not with channels × 441.

    Args: first, second: features (N, C, H, W).
    Returns: (N, 441, H, W); channel (j + 10) · 21 + (i + 10) is the mean over channels of
    first[y, x] · second[y + 2j, x + 2i], zero where that is outside (Dosovitskiy et al. 2015).
    """
    height, width = first.shape[-2:]
    rows = first.permute(0, 2, 3, 1)  # (N, H, W, C)
    padded = F.pad(second, (REACH_PX,) * 4).permute(0, 2, 1, 3)  # (N, H + 40, C, W + 40)
    column = torch.arange(width, device=first.device)[:, None]
    shift = STEP_PX * torch.arange(PLACES, device=first.device)
    places = (column + shift).expand(*rows.shape[:2], -1, -1)  # (N, H, W, 21)
    volumes = []
    for top in range(0, 2 * REACH_PX + 1, STEP_PX):
        products = rows @ padded[:, top : top + height]  # every column with every column
        volumes.append(products.gather(-1, places).permute(0, 3, 1, 2))
    return torch.cat(volumes, dim=1) / first.shape[1]


def resample(image: Tensor, flow_px: Tensor) -> Tensor:
    """image(x + u), bilinear; beyond the border, the border's values.

    Args: image: (N, C, H, W). flow_px: (N, 2, H, W), dx then dy.
    """
    height, width = image.shape[-2:]
    axes = [torch.arange(side, dtype=image.dtype, device=image.device) for side in (height, width)]
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    places = torch.stack([columns + flow_px[:, 0], rows + flow_px[:, 1]], dim=-1)
    last = places.new_tensor([max(width - 1, 1), max(height - 1, 1)])
    grid = 2 * places / last - 1
    return F.grid_sample(image, grid, padding_mode="border", align_corners=True)


def channel_norm(image: Tensor) -> Tensor:
    """√Σ x² over channels, (N, 1, H, W). Its gradient where all channels are 0 is taken as 0."""
    return torch.linalg.vector_norm(image, dim=1, keepdim=True)
