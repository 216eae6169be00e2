"""Flow from all frames of a clip: the movement is one, the sensor's noise is another in each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hcp_mer.model.flow_hcp_mer import flow_of_levels, without_light
from hcp_mer.model.frames_hcp_mer import check_trackable

MOST_BENDING = 2  # degree of the path that a pixel's level takes as the expression grows
ROUNDS = 2  # flow gives the strengths, strengths give better frames, these give flow


def estimate_clip_flow(frames: Sequence[np.ndarray], apex_index: int = -1) -> np.ndarray:
    """Raw flow from the first frame, the onset, to the apex, float32 (H, W, 2) in px."""
    frames, apex_index = list(frames), range(len(frames))[apex_index]
    for frame in frames[1:]:
        check_trackable(frames[0], frame)
    levels = np.stack(frames).astype(np.float32)
    flow_px = flow_of_levels(levels[0], levels[apex_index])
    if len(frames) < 3:
        return flow_px
    unlit = [without_light(frame) for frame in levels]
    for _ in range(ROUNDS):
        strengths = _strengths(unlit, flow_px, apex_index)
        flow_px = flow_of_levels(*_calm_frames(levels, strengths))
    return flow_px


def _strengths(unlit: list[np.ndarray], flow_px: np.ndarray, apex_index: int) -> np.ndarray:
    """How far each frame has come from the onset (0) to the apex (1), as one number a frame."""
    mean = sum(unlit) / len(unlit)
    change = -sum(np.gradient(mean, axis=1 - i) * flow_px[..., i, None] for i in range(2))
    come = np.array([np.vdot(frame - unlit[0], change) for frame in unlit])
    return come / come[apex_index]


def _calm_frames(levels: np.ndarray, strengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Onset and apex as a least-squares polynomial of the strength has them, per pixel."""
    degree = min(MOST_BENDING, len(levels) - 1)
    powers = strengths[:, None] ** np.arange(degree + 1)
    weights = np.linalg.pinv(powers)  # (degree + 1, frames)
    onset, apex = (
        np.tensordot(w.astype(np.float32), levels, 1) for w in (weights[0], weights.sum(axis=0))
    )
    return onset, apex
