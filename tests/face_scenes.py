"""Camera frames with a procedural face somewhere in them, whose eyes are known.

The truth comes from the identity's own geometry and an affine map made here; nothing of the code
that finds or aligns faces is used.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from hcp_mer.data.synthetic.faces import NEUTRAL, Tonic, render_face
from hcp_mer.data.synthetic.identity import make_identity

FACE_PX = 224


@lru_cache
def portrait_of(seed: int, tonic: Tonic = NEUTRAL) -> np.ndarray:
    return np.rint(255 * render_face(make_identity(seed), tonic, FACE_PX)).astype(np.uint8)


def face_in_frame(
    seed: int,
    extent_px: tuple[int, int] = (640, 480),
    side_px: float = 330.0,
    centre: tuple[float, float] = (0.5, 0.5),
    tilt_deg: float = 0.0,
    gain: float = 1.0,
    grey: bool = False,
    tonic: Tonic = NEUTRAL,
) -> tuple[np.ndarray, np.ndarray]:
    """A frame, uint8 RGB, and the eyes' centres in it, (2, 2) px, image-left first.

    The picture of the face has `side_px` a side, is turned clockwise and pasted on a landscape of
    noise; then comes the light (`gain`) and a sensor's noise of two grey levels.
    """
    identity, extent = make_identity(seed), np.array(extent_px)
    turn = np.deg2rad(tilt_deg)
    linear = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    linear *= side_px / FACE_PX
    shift = extent * centre - linear @ np.full(2, FACE_PX / 2)
    # OpenCV's places are relative to the first pixel's centre.
    matrix = np.column_stack([linear, shift + linear @ (0.5, 0.5) - 0.5])
    pasted = cv2.warpAffine(
        portrait_of(seed, tonic).astype(np.float32), matrix, extent_px, flags=cv2.INTER_CUBIC
    )
    inside = np.zeros((FACE_PX, FACE_PX), np.float32)
    inside[4:-4, 4:-4] = 1
    alpha = cv2.warpAffine(cv2.GaussianBlur(inside, (0, 0), 2), matrix, extent_px)[..., None]
    frame = gain * (alpha * pasted + (1 - alpha) * landscape(extent_px, seed))
    noise = np.random.default_rng([seed, 1])
    if grey:
        frame = np.repeat(frame @ np.float32([[0.299], [0.587], [0.114]]), 3, axis=-1)
        frame = frame + noise.normal(0, 2, (*frame.shape[:2], 1))
    else:
        frame = frame + noise.normal(0, 2, frame.shape)
    shares = [(1 + side * identity.eye_x, 1 + identity.eye_y) for side in (-1, 1)]
    eyes = FACE_PX / 2 * np.array(shares) @ linear.T + shift
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8), eyes


def landscape(extent_px: tuple[int, int], seed: int) -> np.ndarray:
    """Clouds of coloured noise at four scales, float32 (H, W, 3) in grey levels; no face."""
    rng, (width, height) = np.random.default_rng([seed, 2]), extent_px
    total = np.full((height, width, 3), 120, np.float32)
    for cells, strength in ((4, 60), (12, 30), (40, 15), (150, 8)):
        nodes = rng.standard_normal((max(2, cells * height // width), cells, 3), np.float32)
        nodes = 0.7 * nodes.mean(axis=-1, keepdims=True) + 0.3 * nodes
        total += strength * cv2.resize(nodes, extent_px, interpolation=cv2.INTER_CUBIC)
    return np.clip(total, 0, 255)
