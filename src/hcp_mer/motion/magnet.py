"""MagNet (Oh et al. 2018) from its published weights: the paper's motion magnification."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcp_mer.errors import UserError
from hcp_mer.motion.magnet_checkpoints import read_network

MULTIPLE_PX = 4  # two halvings
SMALLEST_SIDE_PX = 8  # smaller ones cannot be reflected at their borders
WHOLE_PX = 704  # larger frames are magnified tile by tile, so memory does not grow with them
TILE_PX = 512
OVERLAP_PX = 96  # more than the 83 px that a pixel of the answer can see to each side


class MagNet(nn.Module):
    """MagNet for frames of any size from 8 px.

    Sides are padded to multiples of 4 by repeating the border, and cut again: nothing is added at
    such multiples. Frames above 704 px a side are magnified in overlapping tiles, which changes no
    pixel by more than rounding.

    Attributes:
        variant: official, zhengpeng7 or postech.
        network: the network itself, a `MagNetNetwork`.
        unchanged_at: the amplification that means no change: 1 officially, 0 in the ports.
    """

    def __init__(self, variant: str, network: nn.Module) -> None:
        super().__init__()
        self.variant, self.network = variant, network
        self.unchanged_at = network.unchanged_at

    def forward(self, frame_a: Tensor, frame_b: Tensor, amplification: float | Tensor) -> Tensor:
        """Frame B with its motion since A amplified.

        Args:
            frame_a, frame_b: (N, 3, H, W), RGB in [−1, 1].
            amplification: one for all, or (N,); as the variant's authors count it.
        Returns: (N, 3, H, W); may leave [−1, 1], clipping is the caller's.

        Raises UserError for frames of two sizes, of another shape, or not finite.
        """
        _check_frames(frame_a, frame_b)
        amplification = torch.as_tensor(amplification, dtype=frame_b.dtype, device=frame_b.device)
        amplification = amplification.reshape(-1, 1, 1, 1)
        height, width = frame_b.shape[-2:]
        padding = (0, -width % MULTIPLE_PX, 0, -height % MULTIPLE_PX)
        frames = [F.pad(frame, padding, mode="replicate") for frame in (frame_a, frame_b)]
        if max(height, width) <= WHOLE_PX:
            return self.network(*frames, amplification)[..., :height, :width]
        magnified = torch.empty_like(frames[1])
        for rows in _tiles(magnified.shape[-2]):
            for columns in _tiles(magnified.shape[-1]):
                tile = [frame[..., rows.seen, columns.seen] for frame in frames]
                answer = self.network(*tile, amplification)
                magnified[..., rows.kept, columns.kept] = answer[..., rows.inner, columns.inner]
        return magnified[..., :height, :width]


def load_magnet(path: str | Path) -> MagNet:
    """The network whose weights a file holds, in eval mode; the variant is recognised.

    Args: path: a checkpoint of one of the two PyTorch ports; the authors' TensorFlow checkpoint
        (its folder or prefix; needs tensorflow); or what `convert_magnet` wrote. Nothing in it is
        run.

    Raises UserError for anything else, in one line.
    """
    variant, network = read_network(path)
    return MagNet(variant, network).eval()


class _Tile:
    """Along one axis: what the network sees, what is kept of it, and where that is in the tile."""

    def __init__(self, start: int, length: int) -> None:
        stop = min(start + TILE_PX, length)
        first, last = max(0, start - OVERLAP_PX), min(length, stop + OVERLAP_PX)
        self.seen, self.kept = slice(first, last), slice(start, stop)
        self.inner = slice(start - first, stop - first)


def _tiles(length: int) -> list[_Tile]:
    return [_Tile(start, length) for start in range(0, length, TILE_PX)]


def _check_frames(frame_a: Tensor, frame_b: Tensor) -> None:
    for name, frame in (("frame_a", frame_a), ("frame_b", frame_b)):
        if frame.dim() != 4 or frame.shape[1] != 3:
            raise UserError(f"{name} must have shape (N, 3, H, W), got {tuple(frame.shape)}.")
        if not frame.is_floating_point():
            raise UserError(f"{name} must be floats in [−1, 1], got {frame.dtype}.")
        if not torch.isfinite(frame).all():
            raise UserError(f"{name} must be finite, got NaN or infinity.")
    if frame_a.shape != frame_b.shape:
        raise UserError(
            f"frame_a and frame_b must have one size, got {tuple(frame_a.shape)} and "
            f"{tuple(frame_b.shape)}."
        )
    if min(frame_b.shape[-2:]) < SMALLEST_SIDE_PX:
        raise UserError(
            f"frames must have at least {SMALLEST_SIDE_PX} px a side, got "
            f"{tuple(frame_b.shape[-2:])}."
        )
