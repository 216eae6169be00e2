"""What lies between the motion of skin and a flow field: heads, backgrounds, flow estimators.

Every function takes and returns flow (n, 2, grid, grid). Lengths are shares of the crop's width
and speeds shares of the field's peak, so that the same artefact looks the same on any grid.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from hcp_mer.model.face_regions_hcp_mer import eye_mask, face_mask
from hcp_mer.pretraining.batch_dice import BatchDice, per_pixel
from hcp_mer.pretraining.flow_anatomy import Faces, bumps, pixel_centres

LEAST_PEAK = 0.3  # faces that hardly move still leave noise of about this peak's size


def peak_speed(flow: Tensor) -> Tensor:
    """The largest speed of each sample, at least LEAST_PEAK, (n,)."""
    return flow.square().sum(1).amax((1, 2)).sqrt().clamp(min=LEAST_PEAK)


# What the camera sees


def warped(flow: Tensor, dice: BatchDice) -> Tensor:
    """Skin does not move in Gaussians: the field, sampled where a smooth random warp says."""
    grid = flow.shape[-1]
    centres = pixel_centres(grid, flow.device)
    straight = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), dim=-1)
    offsets = smooth_noise(dice, 4, grid).permute(0, 2, 3, 1) * per_pixel(dice.uniform(0, 0.07))
    return F.grid_sample(flow, straight + offsets, padding_mode="border", align_corners=False)


def under_estimated(flow: Tensor, seen: Tensor, dice: BatchDice) -> Tensor:
    """Where skin is bare, (n, 1, grid, grid) `seen` near 0, estimators find part of the motion."""
    bare = per_pixel(dice.uniform(0.25, 1))
    return flow * (bare + (1 - bare) * seen)


def filled_in(flow: Tensor, seen: Tensor, dice: BatchDice) -> Tensor:
    """In 30 % what is found on bare skin is what its textured neighbourhood does."""
    width = dice.uniform(0.02, 0.08)[:, None, None]
    nearby = (-0.5 * (_distances(flow) / width).square()).exp()
    trusted = 0.02 + seen
    spread = _mixed(flow * trusted, nearby) / _mixed(trusted, nearby)
    return torch.where(per_pixel(dice.chance(0.3)), spread, flow)


def head_motion(seen: Tensor, peak: Tensor, dice: BatchDice) -> Tensor:
    """An affine field of 0.03 to 1.5 peaks, weaker where skin is bare; none in 40 %."""
    grid = seen.shape[-1]
    centres = pixel_centres(grid, seen.device)
    speed = dice.log_uniform(0.03, 1.5) * peak * dice.chance(0.6)
    translation, across, down = (
        dice.normal(2)[..., None, None] * share * per_pixel(speed) for share in (1, 0.35, 0.35)
    )
    rigid = translation + across * centres + down * centres[:, None]
    missed = per_pixel(dice.uniform(0, 0.5))
    return rigid * (1 - missed * (1 - seen))


def still_surroundings(flow: Tensor, faces: Faces, peak: Tensor, dice: BatchDice) -> Tensor:
    """Hair, or what lies beside the jaw, stands still or holds flow of its own."""
    grid = flow.shape[-1]
    x, y = faces.face_grid(grid)
    width, height, hairline = (
        dice.uniform(low, high)[:, None, None]
        for low, high in ((0.5, 0.72), (0.75, 1.1), (-0.68, -0.42))
    )
    jaw = torch.sigmoid(4 * (1.02 - (x / width) ** 4 - (y.clamp(min=0) / height) ** 4))
    hair = torch.sigmoid(30 * (hairline - y))
    beside = dice.chance(0.55)[:, None, None] * (1 - jaw)
    above = dice.chance(0.4)[:, None, None] * hair
    inside = ((1 - beside) * (1 - above))[:, None]
    # Where nothing can be followed estimators may find more than the face's own peak.
    share = torch.where(dice.chance(0.3), dice.log_uniform(0.25, 2), dice.uniform(0, 0.25))
    strength = peak * share * dice.chance(0.6)
    return flow * inside + (1 - inside) * smooth_noise(dice, 5, grid) * per_pixel(strength)


# What estimators add


def disturbed(flow: Tensor, seen: Tensor, peak: Tensor, dice: BatchDice) -> Tensor:
    """Errors on top: smooth noise in octaves, blobs where tracking failed, holes."""
    grid = flow.shape[-1]
    for cells, most in ((3, 0.2), (6, 0.12), (12, 0.06)):
        strength = peak * dice.uniform(0, most) * dice.chance(0.6)
        flow = flow + smooth_noise(dice, cells, grid) * per_pixel(strength)
    flow = flow + _random_bumps(dice, 4, 2, grid) * per_pixel(peak * dice.chance(0.5))
    # Local methods without a prior (Lucas and Kanade) err freely where nothing can be followed.
    wild = peak * dice.uniform(0.05, 0.4) * dice.chance(0.35)
    flow = flow + smooth_noise(dice, 9, grid) * (1 - seen) * per_pixel(wild)
    holes = _random_bumps(dice, 3, 1, grid).abs().clamp(max=1)
    return flow * (1 - holes * per_pixel(dice.chance(0.2)))


def _random_bumps(dice: BatchDice, count: int, channels: int, grid: int) -> Tensor:
    heights = dice.normal(count, channels) * dice.uniform(0, 0.7, count, 1)
    heights = heights * dice.chance(0.5, count, 1)
    return bumps(dice.uniform(-1, 1, count, 2), dice.uniform(0.05, 0.22, count, 1), heights, grid)


def smooth_noise(dice: BatchDice, cells: int, grid: int) -> Tensor:
    """(n, 2, grid, grid) of variance about 1, with `cells` independent values across."""
    coarse = dice.normal(2, cells, cells)
    return F.interpolate(coarse, size=(grid, grid), mode="bicubic", align_corners=False)


def estimated(flow: Tensor, peak: Tensor, dice: BatchDice) -> Tensor:
    """The marks of an estimator: one way of regularising, then saturation, median, pixel noise."""
    way = dice.uniform(0, 1)
    flow = dice.where(way < 0.3, flow, over_smooth)
    flow = dice.where((way > 0.3) & (way < 0.5), flow, blocky)
    flow = dice.where((way > 0.5) & (way < 0.7), flow, shrunk)
    flow = dice.some(0.15, flow, saturated)
    flow = dice.some(0.06, flow, stepped)
    for _ in range(2):
        flow = dice.some(0.4, flow, median_filtered)
    noise = dice.normal(*flow.shape[1:]) * per_pixel(peak * dice.uniform(0, 0.06))
    return flow + noise * per_pixel(dice.chance(0.3))


def over_smooth(flow: Tensor, dice: BatchDice) -> Tensor:
    """Farneback and variational flow: a Gaussian blur, sd up to 0.08 of the width."""
    away = _distances(flow) / dice.uniform(0.01, 0.08)[:, None, None]
    return _mixed(flow, (-0.5 * away.square()).exp())


def blocky(flow: Tensor, dice: BatchDice) -> Tensor:
    """Inverse search over patches (DIS): 7 to 14 patches across, constant or interpolated."""
    grid = flow.shape[-1]
    patches = dice.uniform(7, 15).floor()[:, None]
    at = (torch.arange(grid, device=flow.device) + 0.5) / grid  # (grid,)
    patch = (at * patches + dice.uniform(0, 1, 1)).floor()  # (n, grid)
    constant = _mixed(flow, (patch[:, :, None] == patch[:, None, :]).float())
    tent = (1 - _distances(flow) * patches[:, :, None]).clamp(min=0)
    return torch.where(per_pixel(dice.chance(0.5)), constant, _mixed(constant, tent))


def shrunk(flow: Tensor, dice: BatchDice) -> Tensor:
    """TV-L1: small motion is put to 0, what is left is flattened."""
    threshold = per_pixel(peak_speed(flow) * dice.uniform(0.03, 0.25))
    kept = flow.sign() * (flow.abs() - threshold).clamp(min=0)
    return median_filtered(median_filtered(kept, dice), dice)


def saturated(flow: Tensor, dice: BatchDice) -> Tensor:
    """Large displacements are found too small: soft saturation from 0.3 to 1 peak."""
    limit = per_pixel(peak_speed(flow) * dice.uniform(0.3, 1))
    return limit * (flow / limit).tanh()


def stepped(flow: Tensor, dice: BatchDice) -> Tensor:
    """Block matching: displacements in whole steps, 6 to 16 up to the peak."""
    step = per_pixel(peak_speed(flow) / dice.uniform(6, 16))
    return step * (flow / step).round()


def median_filtered(flow: Tensor, dice: BatchDice) -> Tensor:
    """Median of 3 neighbours along columns, then along rows: close to a 3 × 3 median, and fast."""
    padded = F.pad(flow, (1, 1, 1, 1), mode="replicate")
    columns = _middle(padded[..., :-2, :], padded[..., 1:-1, :], padded[..., 2:, :])
    return _middle(columns[..., :-2], columns[..., 1:-1], columns[..., 2:])


def _middle(first: Tensor, second: Tensor, third: Tensor) -> Tensor:
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    return torch.maximum(low, torch.minimum(high, third))


def _distances(flow: Tensor) -> Tensor:
    """Between pixels of a row, (grid, grid), in shares of the width."""
    pixel = torch.arange(flow.shape[-1], device=flow.device) / flow.shape[-1]
    return (pixel[:, None] - pixel[None, :]).abs()


def _mixed(flow: Tensor, weights: Tensor) -> Tensor:
    """Each pixel becomes a mean over its column and row, weighted by (n, grid, grid) `weights`."""
    weights = (weights / weights.sum(-1, keepdim=True))[:, None]
    return weights @ flow @ weights.transpose(-1, -2)


# What the pipeline does afterwards


def face_masked(flow: Tensor, dice: BatchDice) -> Tensor:
    """As our own pipeline: flow outside a soft ellipse is 0; at the eyes, too, in 20 %."""
    grid = flow.shape[-1]
    face, eyes = (torch.from_numpy(mask(grid, grid)).to(flow) for mask in (face_mask, eye_mask))
    face = torch.where(face < 0.01, 0, face)
    return flow * face * (1 - eyes * per_pixel(dice.chance(0.2)))
