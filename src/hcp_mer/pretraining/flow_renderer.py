"""Flow images of faces, rendered straight from action units: no face, no frames, no estimator.

A tower that is to read any pipeline's flow must see more pipelines than exist. Each sample
therefore draws its own face, crop, asymmetry, distractors, estimator and encoding.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hcp_mer.data.synthetic.actions import ACTION_UNITS, COMBINATIONS
from hcp_mer.model.flow_image_hcp_mer import (
    LEAST_SPREAD_LEVELS,
    STRAIN_REACH_PX,
    STRAIN_WEIGHT,
    ZERO_LEVEL,
)
from hcp_mer.model.frames_hcp_mer import REFERENCE_WIDTH_PX
from hcp_mer.pretraining.batch_dice import BatchDice, per_pixel
from hcp_mer.pretraining.estimator_artefacts import (
    disturbed,
    estimated,
    face_masked,
    filled_in,
    head_motion,
    peak_speed,
    still_surroundings,
    under_estimated,
    warped,
)
from hcp_mer.pretraining.flow_anatomy import (
    draw_contractions,
    draw_faces,
    eye_motion,
    skin_motion,
    texture,
)
from hcp_mer.pretraining.samples import FREE

GRIDS = (28, 56)  # px: what flow is rendered at; published flow images come at 28
_BLOCKS_ACROSS = 7  # of the JPEG-like noise
_REACH, _THIRD_REACH = 4.0, (-2.0, 4.0)  # as standardise_flow


def draw_action_units(
    count: int, rng: np.random.Generator, free_share: float = 0.4
) -> tuple[np.ndarray, np.ndarray]:
    """Action units to render, of an emotion or in free combination.

    Args: free_share: samples with 1 to 3 units at random; the others show a combination of a random
        emotion, 15 % of them with one more unit.
    Returns: (count, 16) float32 multi-hot in the order of ACTION_UNITS; (count,) index into
        tuple(COMBINATIONS), −1 for free combinations.
    """
    units = np.zeros((count, len(ACTION_UNITS)), np.float32)
    emotions = np.full(count, FREE)
    names = tuple(COMBINATIONS)
    for row in range(count):
        if rng.random() < free_share:
            number = int(rng.choice([1, 2, 3], p=[0.45, 0.4, 0.15]))
            units[row, rng.choice(len(ACTION_UNITS), number, replace=False)] = 1
            continue
        emotions[row] = rng.integers(len(names))
        combinations = COMBINATIONS[names[emotions[row]]]
        probabilities = np.array(list(combinations.values()))
        chosen = rng.choice(len(probabilities), p=probabilities / probabilities.sum())
        units[row, [ACTION_UNITS.index(unit) for unit in list(combinations)[chosen]]] = 1
        if rng.random() < 0.15:
            units[row, rng.integers(len(ACTION_UNITS))] = 1
    return units, emotions


@torch.no_grad()
def render_flow(
    action_units: Tensor, generator: torch.Generator, side: int = 56, artefacts: bool = True
) -> Tensor:
    """Flow images of faces that show these action units.

    About half of the samples are rendered at 28 px, the others at 56 px.

    Args:
        action_units: (n, 16) multi-hot, in the order of ACTION_UNITS, on the generator's device.
        generator: where all that varies comes from.
        side: pixels of the images' sides.
        artefacts: False for upright faces that move on both sides alike, in our own alignment's
            crop, rendered at 56 px as an ideal estimator and uv_strain would.
    Returns: (n, 3, side, side) float32, whole levels 0 to 255: u, v, and strain or magnitude.
    """
    dice = BatchDice(generator, len(action_units))
    images = action_units.new_zeros(len(action_units), 3, side, side)
    is_coarse = dice.chance(0.5 if artefacts else 0)
    for grid, chosen in zip(GRIDS, (is_coarse, ~is_coarse), strict=True):
        rows = chosen.nonzero()[:, 0]
        if len(rows):
            part = BatchDice(generator, len(rows))
            levels = render_levels(action_units[rows], part, grid, artefacts)
            images[rows] = _resampled(levels, side)
    return images


def render_levels(units: Tensor, dice: BatchDice, grid: int, artefacts: bool = True) -> Tensor:
    """As render_flow, all at one grid: (n, 3, grid, grid)."""
    faces = draw_faces(dice, varied=artefacts)
    flow = skin_motion(faces, draw_contractions(dice, units, varied=artefacts), grid)
    if not artefacts:
        return _symmetric(flow, _strain(flow), torch.ones(len(flow), device=flow.device)).round()
    flow = flow + eye_motion(faces, dice, grid) * per_pixel(dice.chance(0.35))
    flow = dice.some(0.5, flow, warped)
    seen = texture(faces, grid)
    peak = peak_speed(flow)
    flow = filled_in(under_estimated(flow, seen, dice), seen, dice)
    flow = disturbed(flow, seen, peak, dice)
    flow = flow + head_motion(seen, peak, dice)
    flow = still_surroundings(flow, faces, peak, dice)
    flow = estimated(flow, peak, dice)
    # 30 % of all: only our own alignment's crops are masked.
    flow = dice.where(faces.is_aligned & dice.chance(0.75), flow, face_masked)
    return _encoded(flow, dice)


# Encoding


def _encoded(flow: Tensor, dice: BatchDice) -> Tensor:
    """Flow (n, 2, grid, grid) as whole levels (n, 3, grid, grid), encoded in one of many ways."""
    third = torch.where(per_pixel(dice.chance(0.7)), _strain(flow), _magnitude(flow))
    # A floor under the scale leaves weak clips pale.
    pale = torch.where(dice.chance(0.2), dice.log_uniform(1, 4), 1)
    way = per_pixel(dice.uniform(0, 1))
    stretched = torch.cat([_stretched(flow, (2, 3)), _stretched(third, (2, 3))], 1)
    jointly = torch.cat([_stretched(flow, (1, 2, 3)), _stretched(third, (2, 3))], 1)
    levels = torch.where(way < 0.5, stretched, _symmetric(flow, third, pale))
    levels = torch.where(way < 0.9, levels, jointly)
    return dice.some(0.1, levels.round(), _compressed).round().clamp(0, 255)


def _stretched(channels: Tensor, over: tuple[int, ...]) -> Tensor:
    """Smallest value to level 0, largest to 255."""
    low, high = channels.amin(over, keepdim=True), channels.amax(over, keepdim=True)
    return (channels - low) / (high - low).clamp(min=1e-6) * 255


def _symmetric(flow: Tensor, third: Tensor, pale: Tensor) -> Tensor:
    """As flow_to_image: 0 at level 128, the 99th percentile of the speed times `pale` at 255."""
    speed = _magnitude(flow).flatten(1)
    rank = max(round(0.99 * speed.shape[1]), 1)
    scale = per_pixel((speed.kthvalue(rank).values * pale).clamp(min=1e-6))
    signed = (flow / scale).clamp(-1, 1) * 127 + ZERO_LEVEL
    return torch.cat([signed, (third / scale).clamp(0, 1) * 255], 1)


def _magnitude(flow: Tensor) -> Tensor:
    return flow.square().sum(1, keepdim=True).sqrt()


def _strain(flow: Tensor) -> Tensor:
    """Sobel's strain times 6 px at the reference width, (n, 1, H, W), as flow_to_image."""
    padded = F.pad(flow, (1, 1, 1, 1), mode="reflect")
    over_rows = padded[..., :-2, :] + 2 * padded[..., 1:-1, :] + padded[..., 2:, :]
    over_columns = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    u_x, v_x = ((over_rows[..., 2:] - over_rows[..., :-2]) / 8).unbind(1)
    u_y, v_y = ((over_columns[..., 2:, :] - over_columns[..., :-2, :]) / 8).unbind(1)
    strain = (u_x.square() + v_y.square() + (u_y + v_x).square() / 2).sqrt()
    return strain[:, None] * (STRAIN_REACH_PX * flow.shape[-1] / REFERENCE_WIDTH_PX)


def _compressed(levels: Tensor, dice: BatchDice) -> Tensor:
    """JPEG-like: cosine coefficients of 7 × 7 blocks, quantised; the finer, the coarser."""
    n, channels, grid, _ = levels.shape
    size = grid // _BLOCKS_ACROSS
    index = torch.arange(size, device=levels.device)
    cosines = torch.cos(torch.pi / size * (index + 0.5) * index[:, None]) * (2 / size) ** 0.5
    cosines[0] *= 0.5**0.5  # now orthonormal
    shape = (n, channels, _BLOCKS_ACROSS, size, _BLOCKS_ACROSS, size)
    blocks = levels.reshape(shape).transpose(3, 4)
    coarseness = dice.uniform(3, 12)[:, None, None] * (1 + index + index[:, None])
    steps = coarseness[:, None, None, None]  # (n, 1, 1, 1, size, size)
    quantised = (cosines @ blocks @ cosines.T / steps).round() * steps
    return (cosines.T @ quantised @ cosines).transpose(3, 4).reshape(levels.shape)


def _resampled(levels: Tensor, side: int) -> Tensor:
    """(n, 3, grid, grid) → (n, 3, side, side), whole levels."""
    if levels.shape[-1] == side:
        return levels
    resized = F.interpolate(
        levels, size=(side, side), mode="bilinear", align_corners=False, antialias=True
    )
    return resized.round().clamp(0, 255)


# What a tower reads


def standardise(levels: Tensor) -> Tensor:
    """model.flow_image_hcp_mer.standardise_flow for batches, (n, 3, H, W) → the same."""
    motion, third = levels[:, :2], levels[:, 2:]
    motion = motion - _median(motion)
    third = third - third.mean((2, 3), keepdim=True)
    speed, spread = _calm_root_mean_square(motion), _calm_root_mean_square(third)
    motion = motion / speed.clamp(min=LEAST_SPREAD_LEVELS)
    third = third / spread.clamp(min=LEAST_SPREAD_LEVELS)
    return torch.cat([motion.clamp(-_REACH, _REACH), STRAIN_WEIGHT * third.clamp(*_THIRD_REACH)], 1)


def _calm_root_mean_square(channels: Tensor) -> Tensor:
    plain = channels.square().mean((2, 3), keepdim=True).sqrt()
    return channels.clamp(-2 * plain, 2 * plain).square().mean((2, 3), keepdim=True).sqrt()


def _median(channels: Tensor) -> Tensor:
    """(n, c, H, W) → (n, c, 1, 1); of an even number the mean of the middle two, as numpy's."""
    ordered = channels.flatten(2).sort(dim=2).values
    count = ordered.shape[2]
    middle = ordered[..., (count - 1) // 2 : count // 2 + 1].mean(2)
    return middle[..., None, None]


def mirror(standardised: Tensor) -> Tensor:
    """The mirrored faces' images, (n, 3, H, W): flipped left to right, u negated."""
    flipped = standardised.flip(-1)
    return torch.cat([-flipped[:, :1], flipped[:, 1:]], 1)
