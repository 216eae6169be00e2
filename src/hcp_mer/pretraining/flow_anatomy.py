"""Faces in their crops, and the motion of their skin under action units, without any pixels.

Two frames of coordinates: face units as in data.synthetic.identity (the face's middle is 0, the
eyes lie at ±0.28, −0.17, the mouth at y = 0.46), and crop units, −1…1 over the crop. In both x
points to the right of the image, which is the person's left, and y points down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from hcp_mer.data.synthetic.actions import ACTION_UNITS
from hcp_mer.pretraining.batch_dice import BatchDice


class _Push(NamedTuple):
    """One Gaussian of skin that an action unit moves, on both sides unless it is on the midline.

    action_unit: FACS number; anchor: one of ANCHORS; x, y: centre relative to it, x outwards;
    x_sd, y_sd: extent; outward, down: displacement at the centre. All in face units.
    """

    action_unit: int
    anchor: str
    x: float
    y: float
    x_sd: float
    y_sd: float
    outward: float
    down: float

    @property
    def is_on_midline(self) -> bool:
        return self.anchor in _ON_MIDLINE and self.x == 0


ANCHORS = (
    *("inner_brow", "brow", "outer_brow", "eye", "upper_lid", "lower_lid"),
    *("mouth_corner", "nose", "lips", "chin"),
)
_ON_MIDLINE = ("nose", "lips", "chin")

# Wider over lids and lips than what the skin does: that is what flow estimators see of it.
_PUSHES = (
    _Push(1, "inner_brow", 0, 0, 0.09, 0.09, 0.15, -1),
    _Push(2, "outer_brow", 0, 0, 0.10, 0.09, 0.10, -1),
    _Push(4, "inner_brow", 0, 0, 0.10, 0.09, -0.45, 0.85),
    _Push(4, "brow", 0, 0, 0.10, 0.08, -0.20, 0.45),
    _Push(5, "upper_lid", 0, 0, 0.11, 0.04, 0, -1),
    _Push(6, "eye", 0.05, 0.19, 0.13, 0.085, -0.15, -0.85),
    _Push(6, "eye", 0.17, 0.02, 0.05, 0.06, -0.5, 0),
    _Push(7, "lower_lid", 0, 0, 0.11, 0.04, 0, -0.8),
    _Push(7, "upper_lid", 0, 0, 0.11, 0.036, 0, 0.6),
    _Push(9, "nose", 0.075, 0.14, 0.055, 0.10, -0.1, -1),
    _Push(9, "nose", 0.05, -0.08, 0.06, 0.05, -0.3, 0.5),
    _Push(9, "lips", 0.07, -0.09, 0.07, 0.06, 0, -0.45),
    _Push(10, "lips", 0.11, -0.085, 0.085, 0.065, 0.05, -1),
    _Push(10, "lips", 0.15, -0.2, 0.09, 0.1, 0, -0.6),  # the infraorbital triangle
    _Push(12, "mouth_corner", 0.02, 0, 0.085, 0.075, 0.65, -0.8),
    _Push(12, "mouth_corner", 0.12, -0.2, 0.09, 0.09, 0.2, -0.4),
    _Push(14, "mouth_corner", 0.035, 0, 0.055, 0.055, 0.95, 0.05),
    _Push(15, "mouth_corner", 0.01, 0.03, 0.075, 0.07, 0.15, 1),
    _Push(17, "chin", 0, 0, 0.14, 0.075, 0, -1),
    _Push(17, "lips", 0, 0.07, 0.12, 0.04, 0, -0.5),
    _Push(20, "mouth_corner", 0.03, 0.03, 0.09, 0.08, 1, 0.25),
    _Push(24, "lips", 0, -0.03, 0.15, 0.03, 0, 0.8),
    _Push(24, "lips", 0, 0.04, 0.15, 0.03, 0, -0.9),
    _Push(25, "lips", 0, 0.045, 0.13, 0.045, 0, 0.9),
    _Push(25, "lips", 0, -0.03, 0.12, 0.03, 0, -0.35),
    _Push(26, "lips", 0, 0.22, 0.26, 0.17, 0, 1.1),
)
# (anchor, x, y, x_sd, y_sd): where skin has features that an estimator can follow.
_TEXTURED = (
    ("eye", 0, 0, 0.14, 0.07),
    ("brow", -0.05, 0, 0.16, 0.05),
    ("nose", 0.06, 0.2, 0.06, 0.16),
    ("lips", 0.09, -0.15, 0.07, 0.06),
    ("lips", 0.11, 0, 0.14, 0.07),
    ("lips", 0.45, -0.1, 0.05, 0.3),
)


class _Framing(NamedTuple):
    """A habit of cropping faces: crop units per face unit, and where the eyes come to lie."""

    x_scale: float
    y_scale: float
    eyes_y: float
    share: float


_ALIGNED = _Framing(1, 1, -0.17, 0.35)  # as our own alignment crops
_FRAMINGS = (
    _ALIGNED,
    _Framing(2.05, 1.25, -0.48, 0.2),  # tight: the brows near the upper edge
    _Framing(1.45, 1.15, -0.32, 0.1),
    _Framing(0.8, 0.8, -0.12, 0.05),  # loose: a good deal of background
)
# The rest is cropped by no habit at all: x_scale, y_scale over x_scale, and eyes_y, from and to.
_ANY_FRAMING = ((0.8, 0.65, -0.75), (2.1, 1.05, -0.1))


@dataclass(frozen=True)
class Faces:
    """The faces of a batch at rest.

    Attributes:
        landmarks: (n, len(ANCHORS), 2) in face units, on the person's left side.
        scale: (n, 2) crop units per face unit.
        shift: (n, 2) crop units that the face's middle lies off the crop's.
        rotation_rad: (n,) clockwise in the image.
        is_aligned: (n,) bool, cropped as our own alignment does.
    """

    landmarks: Tensor
    scale: Tensor
    shift: Tensor
    rotation_rad: Tensor
    is_aligned: Tensor

    def to_crop(self, points: Tensor) -> Tensor:
        """(n, k, 2) points in face units → crop units."""
        return self.turned(points * self.scale[:, None]) + self.shift[:, None]

    def turned(self, vectors: Tensor) -> Tensor:
        """(n, k, 2) vectors, turned as the face is."""
        cos, sin = self.rotation_rad.cos()[:, None], self.rotation_rad.sin()[:, None]
        x, y = vectors.unbind(-1)
        return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1)

    def face_grid(self, grid: int) -> tuple[Tensor, Tensor]:
        """x and y in face units at the crop's pixel centres, each (n, grid, grid)."""
        centres = pixel_centres(grid, self.scale.device)
        x = centres[None, None, :] - self.shift[:, 0, None, None]
        y = centres[None, :, None] - self.shift[:, 1, None, None]
        turn = self.rotation_rad[:, None, None]  # small: its cosine is 1
        return (
            (x + turn * y) / self.scale[:, 0, None, None],
            (y - turn * x) / self.scale[:, 1, None, None],
        )


@dataclass(frozen=True)
class Contractions:
    """What the muscles of a batch do.

    Attributes:
        left, right: (n, 16) displacement of each action unit on the person's left and right.
        extent: (n, 16) factor on the extent of its pushes.
        jitter: (n, pushes, 2) what the centres of the pushes are off, face units.
        gain: (n, pushes) factor on the displacement of each push.
        turn_rad: (n, pushes) what its direction is off, outwards to downwards.
    """

    left: Tensor
    right: Tensor
    extent: Tensor
    jitter: Tensor
    gain: Tensor
    turn_rad: Tensor


def draw_faces(dice: BatchDice, varied: bool = True) -> Faces:
    """Faces and crops at random; with varied=False all upright in our own alignment's crop."""
    landmarks = _draw_landmarks(dice)
    shares = torch.tensor([framing.share for framing in _FRAMINGS], device=dice.device)
    kind = torch.bucketize(dice.uniform(0, 1), shares.cumsum(0))  # the last: any framing
    if not varied:
        kind = torch.zeros_like(kind)
    habits = torch.tensor(_FRAMINGS, device=dice.device)[:, :3]
    framings = torch.where(
        (kind == len(habits))[:, None], _any_framing(dice), habits[kind.clamp(max=len(habits) - 1)]
    )
    freedom = float(varied)
    scale = framings[:, :2] * (1 + freedom * dice.uniform(-0.15, 0.15, 2))
    shift = 0.05 * freedom * dice.normal(2)
    # Crops hang on the eyes: scaling must not move them.
    shift[:, 1] += framings[:, 2] - scale[:, 1] * _ALIGNED.eyes_y
    rotation_rad = freedom * torch.deg2rad(dice.uniform(-3, 3))
    return Faces(landmarks, scale, shift, rotation_rad, kind == 0)


def _any_framing(dice: BatchDice) -> Tensor:
    """(n, 3): x_scale, y_scale and eyes_y."""
    low, high = (torch.tensor(end, device=dice.device) for end in _ANY_FRAMING)
    x_scale, aspect, eyes_y = (low + (high - low) * dice.uniform(0, 1, 3)).unbind(-1)
    return torch.stack([x_scale, aspect * x_scale, eyes_y], dim=-1)


def _draw_landmarks(dice: BatchDice) -> Tensor:
    """(n, len(ANCHORS), 2): people differ a little more than the procedural ones do."""
    eye_x, eye_y = dice.uniform(0.25, 0.31), dice.uniform(-0.20, -0.14)
    eye_height = dice.uniform(0.04, 0.064)
    brow_y, brow_length = eye_y - 0.02 - dice.uniform(0.09, 0.25), dice.uniform(0.14, 0.20)
    mouth_x, mouth_y = dice.uniform(0.155, 0.235), dice.uniform(0.36, 0.53)
    middle = torch.zeros_like(eye_x)
    places = {
        "inner_brow": (eye_x - 0.6 * brow_length, brow_y),
        "brow": (eye_x + 0.3 * brow_length, brow_y),
        "outer_brow": (eye_x + 0.6 * brow_length, brow_y),
        "eye": (eye_x, eye_y),
        "upper_lid": (eye_x, eye_y - 0.9 * eye_height),
        "lower_lid": (eye_x, eye_y + 0.65 * eye_height),
        "mouth_corner": (mouth_x, mouth_y),
        "nose": (middle, eye_y),
        "lips": (middle, mouth_y),
        "chin": (middle, mouth_y + dice.uniform(0.20, 0.28)),
    }
    return torch.stack([torch.stack(places[anchor], dim=-1) for anchor in ANCHORS], dim=1)


def draw_contractions(dice: BatchDice, action_units: Tensor, varied: bool = True) -> Contractions:
    """Strengths, asymmetry and extent for (n, 16) multi-hot units; varied=False: both sides alike.

    In 30 % of the samples one side contracts less, in each unit by as much as it likes.
    """
    units = action_units.shape[1]
    strength = action_units * dice.uniform(0.4, 1.3, units)
    weaker = dice.uniform(0, 0.8, units) if varied else torch.ones_like(strength)
    one_sided, left_is_weaker = dice.chance(0.3)[:, None], dice.chance(0.5)[:, None]
    left = torch.where(one_sided & left_is_weaker, weaker, 1)
    right = torch.where(one_sided & ~left_is_weaker, weaker, 1)
    jitter = 0.02 * float(varied) * dice.normal(len(_sided(_PUSHES)), 2)
    extent = dice.uniform(0.5, 1.2, units)
    pushes = [_PUSHES.index(push) for push, _ in _sided(_PUSHES)]  # both sides pull alike
    gain = dice.log_uniform(0.6, 1.6, len(_PUSHES)) ** float(varied)
    turn_rad = 0.25 * float(varied) * dice.normal(len(_PUSHES))
    return Contractions(
        strength * left, strength * right, extent, jitter, gain[:, pushes], turn_rad[:, pushes]
    )


def skin_motion(faces: Faces, muscles: Contractions, grid: int) -> Tensor:
    """Flow of the skin in crop units × strength, (n, 2, grid, grid)."""
    device = faces.scale.device
    sided = _sided(_PUSHES)
    side = torch.tensor([float(s) for _, s in sided], device=device)
    unit = torch.tensor([ACTION_UNITS.index(p.action_unit) for p, _ in sided], device=device)
    shape = torch.tensor([p[2:] for p, _ in sided], device=device)  # x, y, sds, outward, down
    anchors = faces.landmarks[:, [ANCHORS.index(p.anchor) for p, _ in sided]]

    centres = (anchors + shape[:, :2]) * torch.stack([side, torch.ones_like(side)], -1)
    deviations = shape[:, 2:4] * muscles.extent[:, unit, None]
    both = (muscles.left + muscles.right)[:, unit] / 2
    strength = torch.where(side > 0, muscles.left[:, unit], muscles.right[:, unit])
    strength = torch.where(side == 0, both, strength)
    cos, sin = muscles.turn_rad.cos(), muscles.turn_rad.sin()
    outward, down = shape[:, 4], shape[:, 5]
    direction = torch.stack([side * (cos * outward - sin * down), sin * outward + cos * down], -1)
    displacements = (strength * muscles.gain)[..., None] * direction * faces.scale[:, None]
    return bumps(
        faces.to_crop(centres + muscles.jitter),
        deviations * faces.scale[:, None],
        faces.turned(displacements),
        grid,
    )


def eye_motion(faces: Faces, dice: BatchDice, grid: int) -> Tensor:
    """Blinks and glances, which are no micro-expression, (n, 2, grid, grid).

    A blink moves both upper lids down or, when the apex finds them opening, up; a glance moves
    both eyes the same way.
    """
    places = [ANCHORS.index("upper_lid"), ANCHORS.index("eye")]
    mirrored = torch.tensor([-1.0, 1.0], device=dice.device)
    sides = torch.stack([faces.landmarks[:, places], faces.landmarks[:, places] * mirrored], 1)
    blink = torch.where(dice.chance(0.6), 1, -1) * dice.uniform(0.3, 1.2) * dice.chance(0.7)
    glance = 0.5 * dice.normal(2) * dice.chance(0.5)[:, None]
    lids = torch.stack([torch.zeros_like(blink), blink], dim=-1)
    displacements = torch.stack([lids, glance], 1)[:, None].expand(-1, 2, -1, -1)
    deviations = torch.tensor([[0.10, 0.045], [0.06, 0.035]], device=dice.device).repeat(2, 1)
    return bumps(
        faces.to_crop(sides.flatten(1, 2)),
        deviations * faces.scale[:, None],
        displacements.flatten(1, 2) * faces.scale[:, None],
        grid,
    )


def texture(faces: Faces, grid: int) -> Tensor:
    """How well an estimator can follow the skin, (n, 1, grid, grid) from 0 to 1."""
    rows = [(row, side) for row in _TEXTURED for side in (1.0, -1.0)]
    table = torch.tensor([row[1:] for row, _ in rows], device=faces.scale.device)
    side = torch.tensor([(side, 1.0) for _, side in rows], device=faces.scale.device)
    anchors = faces.landmarks[:, [ANCHORS.index(row[0]) for row, _ in rows]]
    centres = faces.to_crop((anchors + table[:, :2]) * side)
    heights = torch.ones(*centres.shape[:2], 1, device=centres.device)
    return bumps(centres, table[:, 2:] * faces.scale[:, None], heights, grid).clamp(max=1)


def bumps(centres: Tensor, deviations: Tensor, heights: Tensor, grid: int) -> Tensor:
    """Sums of Gaussians over the crop.

    A Gaussian along the crop's axes is a product of two profiles, so that a sum of many is one
    matrix product per sample.

    Args: (n, k, 2) centres and standard deviations in crop units; (n, k, channels) heights.
    Returns: (n, channels, grid, grid).
    """
    pixels = pixel_centres(grid, centres.device)
    profiles = ((pixels - centres[..., None]) / deviations[..., None]).square().mul(-0.5).exp()
    across, down = profiles.unbind(2)  # each (n, k, grid)
    weighted = heights.transpose(1, 2)[..., None] * across[:, None]  # (n, channels, k, grid)
    return down.transpose(1, 2)[:, None] @ weighted


def pixel_centres(grid: int, device: torch.device) -> Tensor:
    """(grid,) crop units, from −1 to 1."""
    return (torch.arange(grid, device=device) + 0.5) * (2 / grid) - 1


def _sided(pushes: tuple[_Push, ...]) -> list[tuple[_Push, int]]:
    """Each push with the side it acts on: 1 the person's left, −1 right, 0 the midline."""
    return [(push, s) for push in pushes for s in ((0,) if push.is_on_midline else (1, -1))]
