"""Waters' muscles: what each action unit does to the skin, as a displacement field.

After Waters, "A muscle model for animating three-dimensional facial expression" (SIGGRAPH 1987),
seen from the front: a linear muscle pulls the skin in a sector towards its attachment on the bone,
falling off with the angle and, beyond its insertion, with the distance; a sphincter draws an
ellipse of skin together; the jaw turns about its hinge. Which muscle makes which action unit is
FACS's own account (Ekman, Friesen & Hager 2002). Places are in eye distances, see `head`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from hcp_mer.data.synthetic.actions import ACTION_UNITS
from hcp_mer.domains.head import Head, View, face_grid, half_width, soft_step
from hcp_mer.errors import UserError

TISSUE = 0.05  # skin hangs together: fields are smoothed by this much, eye distances
PLACE_SPREAD = 0.03  # how much attachments differ between people, eye distances


@dataclass(frozen=True)
class LinearMuscle:
    """One of a pair, on the image's right; its twin is the mirror image.

    Attributes: `attachment` on the bone, does not move; `insertion` into the skin, moves most;
    `half_angle_deg`, of its sector; `reach`, how far beyond the insertion skin still moves;
    `strength`, relative to the unit's others.
    """

    attachment: tuple[float, float]
    insertion: tuple[float, float]
    half_angle_deg: float = 35.0
    reach: float = 0.35
    strength: float = 1.0

    def pull(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Displacement (H, W, 2) of the skin at rest at (x, y), at most about `strength`."""
        dx, dy = x - self.attachment[0], y - self.attachment[1]
        distance = np.hypot(dx, dy) + 1e-6
        axis = np.subtract(self.insertion, self.attachment)
        length = float(np.hypot(*axis))
        cosine = np.clip((dx * axis[0] + dy * axis[1]) / (distance * length), -1, 1)
        angle = np.arccos(cosine) / np.deg2rad(self.half_angle_deg)
        angular = np.cos(np.pi / 2 * np.clip(angle, 0, 1))
        within = np.sin(np.pi / 2 * np.clip(distance / length, 0, 1)) ** 2
        beyond = np.cos(np.pi / 2 * np.clip((distance - length) / self.reach, 0, 1))
        size = -self.strength * angular * within * beyond / distance
        return np.stack([size * dx, size * dy], axis=-1)


@dataclass(frozen=True)
class Sphincter:
    """A ring of muscle; with a centre beside the midline, one of a pair.

    Attributes: `radii` of the ellipse that moves; `share`, how much of the pull to the centre it
    has along x and y; `above`, `below`: strength of its upper and lower half.
    """

    centre: tuple[float, float]
    radii: tuple[float, float]
    share: tuple[float, float] = (1.0, 1.0)
    above: float = 1.0
    below: float = 1.0
    strength: float = 1.0

    def pull(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Displacement (H, W, 2), nothing at the centre and from the ellipse outwards."""
        across = (x - self.centre[0]) / self.radii[0]
        down = (y - self.centre[1]) / self.radii[1]
        radius = np.hypot(across, down) + 1e-6
        half = np.where(down < 0, self.above, self.below)
        size = -self.strength * half * np.sin(np.pi * np.clip(radius, 0, 1)) / radius
        return np.stack([size * across * self.share[0], size * down * self.share[1]], axis=-1)


@dataclass(frozen=True)
class Jaw:
    """The mandible's rotation: below the lips the skin goes down, more the farther forward it is.

    Attributes: `mouth_y`, `chin_y`, `width` of the jaw.
    """

    mouth_y: float
    chin_y: float
    width: float
    strength: float = 1.0

    def pull(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Displacement (H, W, 2); half for each side of the face."""
        forward = np.clip(1 - 0.7 * (x / self.width) ** 2, 0, None)
        moved = soft_step(y - self.mouth_y - 0.04, 0.07) * soft_step(self.chin_y - y + 0.15, 0.2)
        return np.stack([np.zeros_like(x), self.strength * forward * moved], axis=-1)


Muscle = LinearMuscle | Sphincter | Jaw


def muscles_of(head: Head) -> dict[int, tuple[Muscle, ...]]:
    """The muscles that each of the 16 action units contracts in this person."""
    corner = (head.mouth_width, head.mouth_y)
    brow, mouth, chin = head.brow_y, head.mouth_y, head.chin_y
    inner, outer = (0.24, brow), (0.74, brow - 0.02)
    return {
        1: (LinearMuscle((0.22, brow - 0.80), inner, 24, 0.22),),  # frontalis, pars medialis
        2: (LinearMuscle((0.82, brow - 0.85), outer, 24, 0.22),),  # frontalis, pars lateralis
        4: (  # corrugator, depressor supercilii
            LinearMuscle((0.02, brow + 0.36), (0.30, brow), 42, 0.30),
            LinearMuscle((0.10, brow + 0.55), (0.17, brow), 25, 0.20, 0.5),
        ),
        5: (Sphincter((0.50, -0.04), (0.30, 0.13), (0, -1), 1.0, 0.25),),  # levator palpebrae
        6: (  # orbicularis oculi, pars orbitalis
            Sphincter((0.52, 0.04), (0.62, 0.52), (0.55, 1.0), 0.15, 1.0),
        ),
        7: (Sphincter((0.50, 0.0), (0.36, 0.24), (0.25, 1.0), 0.6, 1.0),),  # pars palpebralis
        9: (  # levator labii superioris alaeque nasi, procerus
            LinearMuscle((0.12, 0.02), (0.20, head.nose_tip_y - 0.08), 22, 0.30),
            LinearMuscle((0.04, 0.12), (0.10, brow + 0.02), 25, 0.15, 0.5),
        ),
        10: (LinearMuscle((0.44, 0.25), (0.24, mouth - 0.13), 24, 0.22),),  # levator labii sup.
        12: (LinearMuscle((0.98, 0.40), corner, 30, 0.28),),  # zygomaticus major
        14: (LinearMuscle((1.15, mouth - 0.03), corner, 20, 0.16),),  # buccinator
        15: (LinearMuscle((0.50, chin - 0.12), corner, 30, 0.25),),  # depressor anguli oris
        17: (  # mentalis
            LinearMuscle((0.06, mouth + 0.02), (0.12, chin - 0.30), 55, 0.22),
            LinearMuscle((0.03, mouth - 0.20), (0.08, mouth + 0.14), 40, 0.15, 0.4),
        ),
        20: (LinearMuscle((1.10, mouth + 0.28), corner, 34, 0.32),),  # risorius
        24: (Sphincter((0.0, mouth), (0.85 * head.mouth_width, 0.30), (0.25, 1.0)),),  # orb. oris
        25: (  # depressor labii inferioris, and the upper lip's levators a little
            LinearMuscle((0.26, chin - 0.10), (0.12, mouth + 0.07), 40, 0.10),
            LinearMuscle((0.20, mouth - 0.60), (0.12, mouth - 0.06), 25, 0.06, 0.3),
        ),
        26: (Jaw(mouth, chin, 0.9 * head.cheek_width),),
    }


# The lids close: no unit that an emotion shows, see `MuscleStyle.blink_probability`.
BLINK = Sphincter((0.50, 0.03), (0.32, 0.22), (0.0, 1.0), 1.0, 0.3)


def action_unit_field(
    head: Head, action_unit: int, view: View, side: int, left: float = 1.0, right: float = 1.0
) -> np.ndarray:
    """Displacement of the skin by one action unit, 1 at its strongest place with both sides.

    Args: `left`, `right`, contraction of the person's left half, which is at the image's right,
    and of the other, 0…1.
    Returns: float32 (side, side, 2), right and down, where the skin at rest in each pixel goes.
    Raises UserError for an action unit that no muscle here makes.
    """
    if action_unit not in ACTION_UNITS:
        known = ", ".join(map(str, ACTION_UNITS))
        raise UserError(f"no muscle makes action unit {action_unit!r}. Choose from {known}.")
    return muscle_field(head, muscles_of(head)[action_unit], view, side, left, right)


def muscle_field(
    head: Head,
    muscles: tuple[Muscle, ...],
    view: View,
    side: int,
    left: float = 1.0,
    right: float = 1.0,
) -> np.ndarray:
    """As `action_unit_field`, of muscles that contract together."""
    x, y = face_grid(view, side)
    total, full = (np.zeros((side, side, 2), np.float32) for _ in range(2))
    for muscle in muscles:
        shifted = _placed(muscle, head)
        alone = isinstance(muscle, Jaw) or (isinstance(muscle, Sphincter) and muscle.centre[0] == 0)
        if alone:  # one muscle for both halves; each half has its own share of it
            pull = shifted.pull(x, y)
            share = right + (left - right) * soft_step(x, 0.25)
            total += share[..., None] * pull
            full += pull
            continue
        pull = shifted.pull(x, y)
        twin = shifted.pull(-x, y) * (-1, 1)
        total += left * pull + right * twin
        full += pull + twin
    width = np.clip(half_width(head, y), 0.05, None)
    on_face = soft_step(1.05 - np.abs(x) / width, 0.1)[..., None]
    sigma_px = TISSUE * view.eye_distance * side
    peak = np.hypot(*np.moveaxis(cv2.GaussianBlur(on_face * full, (0, 0), sigma_px), -1, 0)).max()
    smooth = cv2.GaussianBlur((on_face * total).astype(np.float32), (0, 0), sigma_px)
    return (smooth / max(float(peak), 1e-6)).astype(np.float32)


def _placed(muscle: Muscle, head: Head) -> Muscle:
    """The muscle where this person has it."""
    if not isinstance(muscle, LinearMuscle):
        return muscle
    key = int(1000 * sum(map(abs, (*muscle.attachment, *muscle.insertion)))) % 997
    shift = np.random.default_rng([head.seed, 1, key]).normal(0, PLACE_SPREAD, 2)
    x, y = (np.asarray(muscle.attachment) + shift).tolist()
    return replace(muscle, attachment=(max(x, 0.01), y))


def contracted(
    head: Head, sides: Mapping[int, tuple[float, float]], view: View, side: int, blink: float = 0.0
) -> np.ndarray:
    """Several action units together, (side, side, 2), as a sum without unit.

    Args: `sides`, unit → contraction of left and right; `blink`, of the lids.
    """
    total = np.zeros((side, side, 2), np.float32)
    for unit, (left, right) in sides.items():
        total += action_unit_field(head, unit, view, side, left, right)
    if blink:
        total += blink * muscle_field(head, (BLINK,), view, side)
    return total
