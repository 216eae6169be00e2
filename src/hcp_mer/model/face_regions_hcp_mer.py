"""Where in an aligned face what lies: the face itself and its eyes, as soft masks."""

from __future__ import annotations

import numpy as np

from .frames_hcp_mer import pixel_grid

FACE_HALF_WIDTH, FACE_HALF_HEIGHT, FACE_EDGE = 0.33, 0.43, 0.05  # shares of the frame's sides
EYE_SHARES = ((0.36, 0.415), (0.64, 0.415))  # eye centres in an aligned face, image-left first
EYE_HALF_WIDTH, EYE_HALF_HEIGHT = 0.08, 0.04  # shares of the frame's sides
EYE_EDGE = 0.15  # share of these


def face_mask(height: int, width: int) -> np.ndarray:
    """Soft ellipse in the middle of an aligned face crop, float32 (H, W) in [0, 1].

    The ½ contour has semi-axes of 0.33 widths and 0.43 heights. Beside the face the background is
    often flat, and flow there is noise.
    """
    columns, rows = pixel_grid(height, width)
    across = ((columns + 0.5) / width - 0.5) / FACE_HALF_WIDTH
    down = ((rows + 0.5) / height - 0.5) / FACE_HALF_HEIGHT
    beyond = (np.hypot(across, down) - 1) / FACE_EDGE
    return 1 / (1 + np.exp(np.clip(beyond, -30, 30)))


def eye_mask(height: int, width: int) -> np.ndarray:
    """Two soft ellipses over the eyes of an aligned face, float32 (H, W) in [0, 1].

    Their ½ contours have semi-axes of 0.08 widths and 0.04 heights. The procedural faces' eyes
    reach 0.073 to the sides and 0.032 up at most; over the eye their brows begin 0.051 above its
    centre (median; 0.032 for the lowest 5 %), and what moves a brow lies 0.08 above it.
    """
    columns, rows = pixel_grid(height, width)
    mask = np.zeros((height, width), np.float32)
    for share_x, share_y in EYE_SHARES:
        across = ((columns + 0.5) / width - share_x) / EYE_HALF_WIDTH
        down = ((rows + 0.5) / height - share_y) / EYE_HALF_HEIGHT
        beyond = (np.hypot(across, down) - 1) / EYE_EDGE
        mask = np.maximum(mask, 1 / (1 + np.exp(np.clip(beyond, -30, 30))))
    return mask
