"""Onset and apex of a micro-expression on a head of relief, skin and muscles: the second renderer.

It shares no part of the first one's drawing or motion, so that what was learnt from one is new in
the other. Only the two key frames are rendered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from hcp_mer.domains.head import ALIGNED, Head, View, face_grid, relief
from hcp_mer.domains.muscles import contracted
from hcp_mer.domains.skin import layers_of
from hcp_mer.model.frames_hcp_mer import REFERENCE_WIDTH_PX, pixel_grid, read_at

_MOST_STEEPNESS = 0.7  # skin is pushed together but does not fold over itself
_INVERSION_STEPS = 4
_BULGE = 0.9  # eye distances that skin rises per unit of compression times its thickness
_SKIN_THICKNESS = 0.12
_ONE_SIDED = (2, 6, 7, 10, 12, 14, 15, 20)


@dataclass(frozen=True)
class MuscleStyle:
    """How strong the expression is and how still the head; px hold at 224 px and aligned faces.

    Attributes: `peak_range_px`, of the largest displacement; `jitter_px`, `turn_deg`, `growth`:
    standard deviations of the head's shift, turn and approach between the frames; `light_drift`,
    that of the light's direction and strength; `one_sided_probability`; `asymmetry`, standard
    deviation of a side's strength; `blink_probability`, of lids that begin to close.
    """

    peak_range_px: tuple[float, float] = (0.5, 2.2)
    jitter_px: float = 0.35
    turn_deg: float = 0.10
    growth: float = 0.001
    light_drift: float = 0.012
    one_sided_probability: float = 0.15
    asymmetry: float = 0.15
    blink_probability: float = 0.08


@dataclass(frozen=True, eq=False)
class MuscleClip:
    """Two rendered frames and their truth.

    Attributes: `onset`, `apex`: float32 RGB (S, S, 3) in grey levels 0…255, before any camera
    noise; `action_units`, as asked; `flow_px`, float32 (S, S, 2), where the skin seen in each
    pixel of the onset goes, without the head's own movement; `peak_px`, its largest length.
    """

    onset: np.ndarray
    apex: np.ndarray
    action_units: tuple[int, ...]
    flow_px: np.ndarray
    peak_px: float


@dataclass(frozen=True, eq=False)
class _Light:
    """A distant light: unit direction towards it, its share, and the ambient one's."""

    direction: np.ndarray
    strength: float
    ambient: float
    shine: float
    tint: np.ndarray


def render_muscle_clip(
    head: Head,
    action_units: Sequence[int],
    seed: int | Sequence[int],
    *,
    side: int = REFERENCE_WIDTH_PX,
    view: View = ALIGNED,
    style: MuscleStyle | None = None,
) -> MuscleClip:
    """The two key frames of a clip; the same arguments give the same pixels.

    Args: `action_units`, FACS numbers; `side`, of the frames in px.
    Raises UserError for an action unit that no muscle here makes.
    """
    style = style or MuscleStyle()
    rng = np.random.default_rng(seed)
    units = tuple(sorted(set(action_units)))
    zoom = side / REFERENCE_WIDTH_PX * view.eye_distance / ALIGNED.eye_distance
    blink = float(rng.uniform(0.3, 1)) if rng.random() < style.blink_probability else 0.0
    field = contracted(head, _contractions(units, style, rng), view, side, blink)
    flow_px = _scaled(field, float(rng.uniform(*style.peak_range_px)) * zoom)
    light, drifted = _lights(style, rng)
    pose = _pose(style, zoom, side, rng)
    return MuscleClip(
        onset=_frame(head, view, side, np.zeros_like(flow_px), np.eye(2, 3), light),
        apex=_frame(head, view, side, flow_px, pose, drifted),
        action_units=units,
        flow_px=flow_px,
        peak_px=float(np.hypot(flow_px[..., 0], flow_px[..., 1]).max()),
    )


def _contractions(
    units: Sequence[int], style: MuscleStyle, rng: np.random.Generator
) -> dict[int, tuple[float, float]]:
    """Unit → strength of its left and right side."""
    one_sided, weak_left = rng.random(2) < (style.one_sided_probability, 0.5)
    weak = float(rng.uniform(0, 0.3))
    sides = {}
    for unit in units:
        strength = float(rng.uniform(0.7, 1.2))
        left, right = (strength * np.clip(1 + rng.normal(0, style.asymmetry, 2), 0.5, 1.5)).tolist()
        if one_sided and unit in _ONE_SIDED:
            left, right = (weak * left, right) if weak_left else (left, weak * right)
        sides[unit] = (left, right)
    return sides


def _scaled(field: np.ndarray, peak_px: float) -> np.ndarray:
    """The field with this largest length, in px; less where skin would fold."""
    largest = float(np.hypot(field[..., 0], field[..., 1]).max())
    field = field * np.float32(peak_px / max(largest, 1e-6))
    slopes = [cv2.Sobel(field, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1))]
    steepest = float(np.abs(slopes).max())
    return field * np.float32(min(1.0, _MOST_STEEPNESS / max(steepest, 1e-6)))


def _lights(style: MuscleStyle, rng: np.random.Generator) -> tuple[_Light, _Light]:
    """The light at the onset, and at the apex."""
    direction = np.array([rng.normal(0, 0.35), rng.uniform(-0.75, -0.1), 1.0])
    strength, ambient = float(rng.uniform(0.5, 0.8)), float(rng.uniform(0.35, 0.55))
    shine, tint = float(rng.uniform(0.02, 0.12)), 1 + rng.normal(0, 0.03, 3)
    drifted = direction + rng.normal(0, style.light_drift, 3)
    gain = 1 + float(rng.normal(0, style.light_drift))
    return (
        _Light(direction / np.linalg.norm(direction), strength, ambient, shine, tint),
        _Light(drifted / np.linalg.norm(drifted), gain * strength, gain * ambient, shine, tint),
    )


def _pose(style: MuscleStyle, zoom: float, side: int, rng: np.random.Generator) -> np.ndarray:
    """The head's movement (2, 3): from a pixel at the apex to where it was at the onset."""
    angle_deg, growth = rng.normal(0, style.turn_deg), 1 + rng.normal(0, style.growth)
    pose = cv2.getRotationMatrix2D(((side - 1) / 2, 0.7 * side), float(angle_deg), float(growth))
    pose[:, 2] += rng.normal(0, style.jitter_px, 2) * zoom
    return pose


def backward(flow_px: np.ndarray) -> np.ndarray:
    """Of a flow on the onset's grid, the one on the apex's: where the skin seen there came from."""
    back = flow_px
    for _ in range(_INVERSION_STEPS):
        back = read_at(flow_px, -back[..., 0], -back[..., 1])
    return back


@lru_cache(maxsize=4)
def _relief_of(head: Head, view: View, side: int) -> np.ndarray:
    """(S, S, 2): height in eye distances, and where the body is."""
    height = cv2.GaussianBlur(relief(head, *face_grid(view, side)), (0, 0), 0.6)
    return np.dstack([height, layers_of(head, view, side).body])


def _frame(
    head: Head, view: View, side: int, flow_px: np.ndarray, pose: np.ndarray, light: _Light
) -> np.ndarray:
    """One frame, float32 (S, S, 3) in grey levels."""
    columns, rows = pixel_grid(side, side)
    back = backward(flow_px) if flow_px.any() else flow_px
    at_rest = pose.astype(np.float32)
    rigid_x = at_rest[0, 0] * columns + at_rest[0, 1] * rows + at_rest[0, 2]
    rigid_y = at_rest[1, 0] * columns + at_rest[1, 1] * rows + at_rest[1, 2]
    moved = cv2.remap(back, rigid_x, rigid_y, cv2.INTER_LINEAR) if flow_px.any() else back
    skin_x, skin_y = rigid_x - moved[..., 0], rigid_y - moved[..., 1]
    layers = layers_of(head, view, side)
    skin = _read_doubled(layers.skin, skin_x, skin_y)
    height, body = np.moveaxis(
        cv2.remap(_relief_of(head, view, side), skin_x, skin_y, cv2.INTER_CUBIC,
                  borderMode=cv2.BORDER_REPLICATE), -1, 0
    )  # fmt: skip
    height = height + _bulge(flow_px, skin_x, skin_y, view, side)
    diffuse, shine = _shading(height, light, view.eye_distance * side)
    lit = 1 + (diffuse - 1) * body
    picture = skin[..., :3] * lit[..., None] + (shine * body)[..., None]
    opening = skin[..., 3:].clip(0, 1)
    eyes = _read_doubled(layers.rigid, rigid_x, rigid_y) * min(1.0, light.ambient + light.strength)
    picture += (eyes - picture) * opening
    if layers.glasses is not None:
        over = _read_doubled(layers.glasses, rigid_x, rigid_y)
        picture += (over[..., :3] - picture) * over[..., 3:].clip(0, 1)
    shown = np.clip(picture * light.tint, 0, 1) ** np.float32(1 / 1.15)
    return (255 * shown).astype(np.float32)


def _read_doubled(layer: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A layer of twice the size, softened, read at places given in px of the frame."""
    return cv2.remap(
        layer, 2 * columns + 0.5, 2 * rows + 0.5, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )


def _bulge(
    flow_px: np.ndarray, skin_x: np.ndarray, skin_y: np.ndarray, view: View, side: int
) -> np.ndarray:
    """How far skin that is pushed together rises, eye distances (S, S)."""
    if not flow_px.any():
        return np.zeros(flow_px.shape[:2], np.float32)
    across = cv2.Sobel(flow_px[..., 0], cv2.CV_32F, 1, 0, scale=1 / 8)
    down = cv2.Sobel(flow_px[..., 1], cv2.CV_32F, 0, 1, scale=1 / 8)
    sigma_px = 0.03 * view.eye_distance * side
    rise = cv2.GaussianBlur(-(across + down), (0, 0), sigma_px)
    return _BULGE * _SKIN_THICKNESS * cv2.remap(rise, skin_x, skin_y, cv2.INTER_LINEAR)


def _shading(
    height: np.ndarray, light: _Light, px_per_unit: float
) -> tuple[np.ndarray, np.ndarray]:
    """Lambert's diffuse share with hollows darkened, and Blinn's highlight, (S, S) each."""
    slope_x, slope_y = (
        px_per_unit * cv2.Sobel(height, cv2.CV_32F, *order, scale=1 / 8)
        for order in ((1, 0), (0, 1))
    )
    length = np.sqrt(slope_x**2 + slope_y**2 + 1)
    facing = (-slope_x * light.direction[0] - slope_y * light.direction[1]) + light.direction[2]
    facing = np.clip(facing / length, 0, None)
    half = light.direction + np.array([0, 0, 1])
    half = half / np.linalg.norm(half)
    mirror = np.clip((-slope_x * half[0] - slope_y * half[1] + half[2]) / length, 0, 1)
    hollow = cv2.GaussianBlur(height, (0, 0), 0.18 * px_per_unit) - height
    ambient = light.ambient * np.clip(1 - 2.2 * hollow, 0.4, 1.15)
    return ambient + light.strength * facing, light.shine * mirror**24
