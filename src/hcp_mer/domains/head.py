"""Whose head: proportions and relief of one person of the second renderer.

Lengths are in eye distances: the origin lies midway between the pupils, which are 1 apart, x
runs to the right of the image, y down and z towards the camera. Means follow adult anthropometry
(pupils 63 mm apart, 139 mm from cheekbone to cheekbone, mouth 50 mm wide; Farkas 1994).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hcp_mer.model.face_regions_hcp_mer import EYE_SHARES


class View(NamedTuple):
    """How a face lies in its square frame.

    Attributes: `eye_distance`, share of the frame's width; `eye_height`, share of its height above
    which the pupils lie.
    """

    eye_distance: float
    eye_height: float


ALIGNED = View(EYE_SHARES[1][0] - EYE_SHARES[0][0], EYE_SHARES[0][1])
TIGHT = View(0.42, 0.20)  # brows near the top, chin near the bottom


# Trait → mean and standard deviation, in eye distances unless said otherwise.
_TRAITS: dict[str, tuple[float, float]] = {
    "cheek_width": (1.10, 0.06),  # half
    "jaw_width": (0.95, 0.05),  # half, at the mouth's height
    "crown_y": (-1.72, 0.08),
    "chin_y": (1.85, 0.09),
    "depth": (1.05, 0.08),
    "brow_y": (-0.36, 0.035),
    "brow_arch": (0.07, 0.03),
    "brow_length": (0.62, 0.05),
    "brow_thickness": (0.055, 0.012),
    "brow_ridge": (0.05, 0.025),
    "eye_width": (0.25, 0.018),  # half
    "eye_opening": (0.085, 0.014),
    "eye_slant": (0.0, 0.06),  # outer corner's rise over the eye's width
    "socket": (0.10, 0.03),
    "nose_tip_y": (0.66, 0.05),
    "nose_height": (0.34, 0.05),
    "nose_width": (0.27, 0.03),
    "cheekbone": (0.09, 0.03),
    "fold": (0.03, 0.015),
    "mouth_y": (1.13, 0.05),
    "mouth_width": (0.41, 0.04),  # half
    "mouth_curve": (0.02, 0.025),  # the corners' rise
    "upper_lip": (0.10, 0.02),
    "lower_lip": (0.13, 0.025),
    "chin_bump": (0.09, 0.03),
    "hairline_y": (-1.12, 0.12),
    "melanin": (0.0, 1.0),  # standardised, see the skin
    "blood": (0.34, 0.07),
}


@dataclass(frozen=True, eq=False)
class Head:
    """One person.

    Attributes: `seed`, also of the skin's texture and the muscles' places; `traits`, name → value,
    see `_TRAITS`; `beard`, 0 none … 1 full; `glasses`, whether worn.
    """

    seed: int
    traits: dict[str, float]
    beard: float
    glasses: bool

    def __getattr__(self, name: str) -> float:
        try:
            return self.__dict__["traits"][name]
        except KeyError:
            raise AttributeError(name) from None


def make_head(seed: int, accessories: float = 0.0) -> Head:
    """The person of a seed.

    Args: `accessories`, chance of glasses, and that of a beard.
    """
    rng = np.random.default_rng([seed, 0])
    traits = {
        name: mean + spread * float(np.clip(rng.normal(), -2, 2))
        for name, (mean, spread) in _TRAITS.items()
    }
    bearded, glasses = rng.random(2) < accessories
    return Head(seed, traits, float(rng.uniform(0.35, 1)) if bearded else 0.0, bool(glasses))


def face_grid(view: View, side: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of every pixel's centre in a frame, float32 (side, side) in eye distances."""
    shares = (np.arange(side, dtype=np.float32) + np.float32(0.5)) / side
    x = (shares - 0.5) / view.eye_distance
    y = (shares - view.eye_height) / view.eye_distance
    return np.meshgrid(x.astype(np.float32), y.astype(np.float32))


def half_width(head: Head, y: np.ndarray) -> np.ndarray:
    """The face outline's half width at each height, 0 above the crown and below the chin."""
    middle = 0.35
    above = np.clip((middle - y) / (middle - head.crown_y), 0, 1)
    below = np.clip((y - middle) / (head.chin_y - middle), 0, 1)
    # The lower outline is a superellipse through the jaw's width at the mouth.
    at_mouth = (head.mouth_y - middle) / (head.chin_y - middle)
    share = min(head.jaw_width / head.cheek_width, 0.97)
    exponent = float(np.clip(np.log(1 - share**2.2) / np.log(at_mouth), 1.7, 3.4))
    upper = np.sqrt(1 - above**2.6)
    lower = (1 - below**exponent) ** (1 / 2.2)
    return head.cheek_width * np.where(y < middle, upper, lower)


def soft_step(values: np.ndarray, softness: float) -> np.ndarray:
    """0 far below zero, 1 far above, a smooth ramp of about `softness` to either side."""
    share = np.clip(values / (2 * softness) + 0.5, 0, 1)
    return share * share * (3 - 2 * share)


def relief(head: Head, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The heightfield z(x, y) of the face, float32 in eye distances.

    A dome over the outline, and on it brow ridge, eye sockets with eyeballs, nose, cheekbones,
    nasolabial folds, lips and chin.
    """

    def bump(cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
        return np.exp(-(((np.abs(x) - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)

    across = np.abs(x) / np.maximum(half_width(head, y), 0.05)
    z = head.depth * np.sqrt(np.clip(1.02 - across**2.4, 0.02, None))
    z = z - 0.16 * np.clip((np.abs(y - 0.1) - 0.6) / 1.2, 0, None) ** 2
    z += head.brow_ridge * bump(0.45, head.brow_y + 0.02, 0.45, 0.12)
    z -= head.socket * bump(0.48, -0.02, 0.30, 0.20)
    z += 0.8 * head.socket * bump(0.50, 0.02, 0.17, 0.13)
    z += head.cheekbone * bump(0.72, 0.42, 0.30, 0.26)
    z += _nose(head, x, y)
    fold_x = head.nose_width + 0.08 + (y - head.nose_tip_y) * 0.55
    along = soft_step(y - head.nose_tip_y + 0.08, 0.1) * soft_step(head.mouth_y - y, 0.15)
    z -= head.fold * along * np.exp(-(((np.abs(x) - fold_x) / 0.05) ** 2))
    z += _lips(head, x, y)
    z += head.chin_bump * bump(0, head.chin_y - 0.27, 0.26, 0.17)
    z -= 0.05 * bump(0, head.mouth_y + head.lower_lip + 0.12, 0.28, 0.06)
    return z.astype(np.float32)


def _nose(head: Head, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    along = np.clip((y + 0.05) / (head.nose_tip_y + 0.05), 0, 1)
    ends = soft_step(head.nose_tip_y + 0.05 - y, 0.07)
    ridge_width = 0.10 + 0.09 * along**2
    ridge = along**1.2 * ends * np.exp(-((np.abs(x) / ridge_width) ** 2))
    wing_x, wing_y = 0.72 * head.nose_width, head.nose_tip_y - 0.03
    wings = np.exp(-(((np.abs(x) - wing_x) / 0.075) ** 2) - ((y - wing_y) / 0.085) ** 2)
    return head.nose_height * (ridge + 0.32 * wings)


def _lips(head: Head, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    shape = np.clip(1 - (x / (1.05 * head.mouth_width)) ** 2, 0, None)
    upper_y, lower_y = head.mouth_y - 0.5 * head.upper_lip, head.mouth_y + 0.5 * head.lower_lip
    upper = np.exp(-(((y - upper_y) / (0.5 * head.upper_lip)) ** 2))
    lower = np.exp(-(((y - lower_y) / (0.55 * head.lower_lip)) ** 2))
    philtrum = np.exp(-((x / 0.05) ** 2) - ((y - head.mouth_y + 0.22) / 0.09) ** 2)
    return shape * (0.055 * upper + 0.07 * lower) - 0.02 * philtrum
