"""Faces in other light, other crops, before other cameras: what must not matter to the backbone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hcp_mer.pretraining.batch_dice import BatchDice, per_pixel

_NOISE = 0.02  # of levels from 0 to 1
_GLASSES_Y = (-0.3, -0.02)  # of a face crop from −1, above, to 1: the eyes lie at −0.17


@torch.no_grad()
def randomised_faces(faces: Tensor, generator: torch.Generator, side: int) -> Tensor:
    """Each face once more, as another camera might have taken it.

    Mirrored or not, turned, cropped (now and then tightly), grey, blurred, behind dark glasses, lit
    from a side, with other contrast, brightness and gamma, and noise.

    Args:
        faces: (n, 3, H, W) levels from 0 to 1; generator: where all that varies comes from.
    Returns: (n, 3, side, side) float32 levels from 0 to 1.
    """
    dice = BatchDice(generator, len(faces))
    seen = dice.some(0.5, cropped(faces, dice, side), lambda some, _: some.flip(-1))
    seen = dice.some(0.1, seen, _behind_glasses)
    seen = dice.some(0.5, seen, lambda some, _: some.mean(1, keepdim=True).expand_as(some))
    seen = dice.some(0.4, seen, lambda some, _: _blurred(some))
    seen = seen * (1 + _light_from_a_side(dice, side))
    seen = (seen - 0.5) * per_pixel(dice.uniform(0.5, 1.3)) + 0.5
    seen = (seen + per_pixel(dice.uniform(-0.15, 0.15))).clamp(0, 1)
    seen = seen ** per_pixel(dice.uniform(0.6, 1.5))
    return (seen + _NOISE * dice.normal(*seen.shape[1:])).clamp(0, 1)


def cropped(images: Tensor, dice: BatchDice, side: int) -> Tensor:
    """At side × side px: shifted, turned by up to 3.5°, 60 % of them cut closer by up to 35 %."""
    zoom = 1 - dice.uniform(0, 0.35) * dice.chance(0.6)
    turn = dice.uniform(-0.06, 0.06)
    place = torch.empty(dice.count, 2, 3, device=images.device)
    place[:, 0, 0] = place[:, 1, 1] = zoom * turn.cos()
    place[:, 0, 1], place[:, 1, 0] = -zoom * turn.sin(), zoom * turn.sin()
    # What is cut off closely may lie anywhere; the rest is as well aligned as eyes can be found.
    place[:, 0, 2] = dice.uniform(-0.2, 0.2) * (1 - zoom) + dice.uniform(-0.03, 0.03)
    place[:, 1, 2] = dice.uniform(-0.3, 0.3) * (1 - zoom) + dice.uniform(-0.03, 0.03)
    grid = F.affine_grid(place, [dice.count, 3, side, side], align_corners=False)
    if images.shape[-1] > 1.5 * side:  # bilinear reading would skip pixels
        images = F.avg_pool2d(images, round(images.shape[-1] / side))
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _behind_glasses(faces: Tensor, dice: BatchDice) -> Tensor:
    lines = torch.linspace(-1, 1, faces.shape[-1], device=faces.device)
    across = (lines[:, None] > _GLASSES_Y[0]) & (lines[:, None] < _GLASSES_Y[1])
    lenses = (lines.abs() > 0.06) & (lines.abs() < 0.5)
    return torch.where(across & lenses, faces * per_pixel(dice.uniform(0.1, 0.7)), faces)


def _blurred(faces: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(faces, (1, 1, 1, 1), mode="replicate"), 3, 1)


def _light_from_a_side(dice: BatchDice, side: int) -> Tensor:
    """(n, 1, side, side), relative brightness that rises evenly in some direction."""
    lines = torch.linspace(-1, 1, side, device=dice.device)
    right, down = 0.2 * dice.normal(1, 1, 1), 0.2 * dice.normal(1, 1, 1)
    return right * lines + down * lines[:, None]
