"""Flow as an image that a vision tower can read."""

from __future__ import annotations

import cv2
import numpy as np

from .frames_hcp_mer import REFERENCE_WIDTH_PX, check_flow, check_frame, check_positive

ZERO_LEVEL = 128  # of u and v in a flow image: symmetric, since levels 1 and 255 are ∓ the scale
STRAIN_REACH_PX = 6.0  # strain times this length, at the reference width, is comparable with u


def flow_to_image(flow_px: np.ndarray, floor_px: float) -> tuple[np.ndarray, float]:
    """Flow as an image, u, v and optical strain, uint8 (H, W, 3), and its scale in px.

    The scale is the 99th percentile of |u|, at least `floor_px`. In u and v level 128 is 0 px,
    levels 1 and 255 are ∓ the scale and what lies beyond it; level 0 is unused. Strain starts at
    level 0 and reaches 255 where strain times 6 px (at width 224) equals the scale.

    Raises ValueError for a flow that is not (H, W, 2) and finite, or a floor that is not positive.
    """
    check_flow(flow_px)
    check_positive("floor_px", floor_px)
    u_px, v_px = (np.ascontiguousarray(flow_px[..., axis], np.float32) for axis in (0, 1))
    scale_px = max(float(np.percentile(np.hypot(u_px, v_px), 99)), float(floor_px))
    reach_px = STRAIN_REACH_PX * flow_px.shape[1] / REFERENCE_WIDTH_PX
    shares = np.stack([u_px, v_px, _strain(u_px, v_px) * reach_px], axis=-1) / scale_px
    levels = np.clip(shares, -1, 1) * (127, 127, 255) + (ZERO_LEVEL, ZERO_LEVEL, 0)
    return np.rint(levels).astype(np.uint8), scale_px


def _strain(u_px: np.ndarray, v_px: np.ndarray) -> np.ndarray:
    """Optical strain √(u_x² + v_y² + ½(u_y + v_x)²), (H, W), Shreve et al. (2011)."""
    u_x, v_x = (cv2.Sobel(field, cv2.CV_32F, 1, 0, scale=1 / 8) for field in (u_px, v_px))
    u_y, v_y = (cv2.Sobel(field, cv2.CV_32F, 0, 1, scale=1 / 8) for field in (u_px, v_px))
    return np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)


def flip_flow_image(image: np.ndarray) -> np.ndarray:
    """The flow image of the mirrored face: mirrored left to right, u negated (level k → 256 − k).

    Exact and its own inverse on images of `flow_to_image`; a foreign image's level 0 saturates
    at 255. Raises ValueError for anything but uint8 (H, W, 3).
    """
    check_frame("image", image)
    mirrored = image[:, ::-1].copy()
    mirrored[..., 0] = np.minimum(2 * ZERO_LEVEL - mirrored[..., 0].astype(np.int16), 255)
    return mirrored
