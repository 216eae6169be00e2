"""Flow as an image that a vision tower can read."""

from __future__ import annotations

import difflib
from collections.abc import Callable

import cv2
import numpy as np

from .frames_hcp_mer import REFERENCE_WIDTH_PX, check_flow, check_frame, check_positive

ZERO_LEVEL = 128  # of u and v in a flow image: symmetric, since levels 1 and 255 are ∓ the scale
STRAIN_REACH_PX = 6.0  # strain times this length, at the reference width, is comparable with u


def flow_to_image(
    flow_px: np.ndarray,
    floor_px: float,
    encoding: str = "uv_strain",
    scale_px: float | None = None,
) -> tuple[np.ndarray, float]:
    """Flow as an image, uint8 (H, W, 3), and its scale in px.

    The scale is `scale_px`, or without it the clip's own: the 99th percentile of |u|, at least
    `floor_px`. What lies beyond it saturates. Encodings:

    - uv_strain: u, v and optical strain. In u and v level 128 is 0 px, levels 1 and 255 are ∓ the
      scale, level 0 is unused. Strain starts at level 0 and reaches 255 where strain times 6 px (at
      width 224) equals the scale.
    - uv_magnitude: u, v as above, and |u| from level 0 to the scale at 255.
    - hsv: the colour wheel; hue is the direction (red to the right, turning by yellow-green
      downwards), brightness is |u|, and where nothing moves it is black.

    Raises ValueError for a flow that is not (H, W, 2) and finite, a length that is not positive or
    an unknown encoding.
    """
    check_flow(flow_px)
    check_positive("floor_px", floor_px)
    check_encoding(encoding)
    if scale_px is None:
        speed_px = np.hypot(flow_px[..., 0], flow_px[..., 1])
        scale_px = max(float(np.percentile(speed_px, 99)), float(floor_px))
    check_positive("scale_px", scale_px)
    u_px, v_px = (np.ascontiguousarray(flow_px[..., axis], np.float32) for axis in (0, 1))
    levels = ENCODINGS[encoding](u_px, v_px, scale_px)
    return np.rint(levels).astype(np.uint8), float(scale_px)


def check_encoding(encoding: str) -> None:
    """Raises ValueError, with the closest name, for an unknown one."""
    if encoding in ENCODINGS:
        return
    closest = difflib.get_close_matches(str(encoding), ENCODINGS, n=1, cutoff=0.0)[0]
    raise ValueError(
        f"flow_encoding must be one of {', '.join(ENCODINGS)}, got {encoding!r}. Did you mean "
        f"{closest!r}?"
    )


def _uv_strain(u_px: np.ndarray, v_px: np.ndarray, scale_px: float) -> np.ndarray:
    reach_px = STRAIN_REACH_PX * u_px.shape[1] / REFERENCE_WIDTH_PX
    return _signed_and_positive(u_px, v_px, _strain(u_px, v_px) * reach_px, scale_px)


def _uv_magnitude(u_px: np.ndarray, v_px: np.ndarray, scale_px: float) -> np.ndarray:
    return _signed_and_positive(u_px, v_px, np.hypot(u_px, v_px), scale_px)


def _signed_and_positive(
    u_px: np.ndarray, v_px: np.ndarray, third_px: np.ndarray, scale_px: float
) -> np.ndarray:
    shares = np.stack([u_px, v_px, third_px], axis=-1) / scale_px
    return np.clip(shares, -1, 1) * (127, 127, 255) + (ZERO_LEVEL, ZERO_LEVEL, 0)


def _hsv(u_px: np.ndarray, v_px: np.ndarray, scale_px: float) -> np.ndarray:
    hue_deg = cv2.phase(u_px, v_px, angleInDegrees=True)
    value = np.clip(np.hypot(u_px, v_px) / scale_px, 0, 1).astype(np.float32)
    wheel = np.dstack([hue_deg, np.ones_like(value), value])
    return 255 * cv2.cvtColor(wheel, cv2.COLOR_HSV2RGB)


ENCODINGS: dict[str, Callable[[np.ndarray, np.ndarray, float], np.ndarray]] = {
    "uv_strain": _uv_strain,
    "uv_magnitude": _uv_magnitude,
    "hsv": _hsv,
}


def _strain(u_px: np.ndarray, v_px: np.ndarray) -> np.ndarray:
    """Optical strain √(u_x² + v_y² + ½(u_y + v_x)²), (H, W), Shreve et al. (2011)."""
    u_x, v_x = (cv2.Sobel(field, cv2.CV_32F, 1, 0, scale=1 / 8) for field in (u_px, v_px))
    u_y, v_y = (cv2.Sobel(field, cv2.CV_32F, 0, 1, scale=1 / 8) for field in (u_px, v_px))
    return np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)


LEAST_SPREAD_LEVELS = 1.0  # a channel that varies less is rounding, and stays near 0
_REACH, _STRAIN_REACH = 4.0, (-2.0, 4.0)
STRAIN_WEIGHT = 0.6


def standardise_flow(levels: np.ndarray) -> np.ndarray:
    """Flow images of any scale, stretch or head motion, brought to one form.

    u and v: less their median (which undoes head motion, min–max stretching and any level of
    zero), over their root mean square. The third channel, strain or magnitude: less its mean, over
    its deviation, weighted 0.6. In both squares count as far as twice the plain root mean square:
    an estimator's wild values at the border of a face must not make the face pale. All are cut
    off where they reach 4; a constant channel becomes 0.

    Args: (…, H, W, 3) levels from 0 to 255, rounded or not, encoded as uv_strain or uv_magnitude.
    Returns: (…, H, W, 3) float32 without unit.
    """
    levels = np.asarray(levels, np.float32)
    motion, third = levels[..., :2], levels[..., 2:]
    motion = motion - np.median(motion, axis=(-3, -2), keepdims=True)
    speed = _calm_root_mean_square(motion)
    third = third - third.mean(axis=(-3, -2), keepdims=True)
    spread = _calm_root_mean_square(third)
    motion = motion / np.maximum(speed, LEAST_SPREAD_LEVELS)
    third = third / np.maximum(spread, LEAST_SPREAD_LEVELS)
    return np.concatenate(
        [motion.clip(-_REACH, _REACH), STRAIN_WEIGHT * third.clip(*_STRAIN_REACH)], axis=-1
    )


def _calm_root_mean_square(channels: np.ndarray) -> np.ndarray:
    """(…, H, W, c) → (…, 1, 1, c), of values cut off at twice their root mean square."""
    plain = np.sqrt(np.mean(channels**2, axis=(-3, -2), keepdims=True))
    return np.sqrt(np.mean(channels.clip(-2 * plain, 2 * plain) ** 2, axis=(-3, -2), keepdims=True))


def flip_flow_image(image: np.ndarray, encoding: str = "uv_strain") -> np.ndarray:
    """The flow image of the mirrored face: mirrored left to right, u negated.

    With u as a channel, level k becomes 256 − k: exact and its own inverse on images of
    `flow_to_image`; a foreign image's level 0 saturates at 255. In hsv the hue becomes 180° less
    itself, exact but for rounding: 1 level.

    Raises ValueError for anything but uint8 (H, W, 3), or an unknown encoding.
    """
    check_frame("image", image)
    check_encoding(encoding)
    mirrored = image[:, ::-1].copy()
    if encoding == "hsv":
        wheel = cv2.cvtColor(mirrored.astype(np.float32) / 255, cv2.COLOR_RGB2HSV)
        wheel[..., 0] = (540 - wheel[..., 0]) % 360
        return np.rint(255 * cv2.cvtColor(wheel, cv2.COLOR_HSV2RGB)).astype(np.uint8)
    mirrored[..., 0] = np.minimum(2 * ZERO_LEVEL - mirrored[..., 0].astype(np.int16), 255)
    return mirrored
