"""Flow from all frames of a clip: the movement is one, the sensor's noise is another in each."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.flow_hcp_mer import FINE, USUAL, flow_of_levels, without_light
from hcp_mer.model.frames_hcp_mer import check_trackable

CELLS = 7  # along each side: parts of a face that may move at times of their own
MOST_COURSES = 3
CLEARLY = (
    1.5  # above noise: that of onset and apex is in the flow, and looks a little like a course
)


def estimate_clip_flow(frames: Sequence[np.ndarray], apex_index: int) -> np.ndarray:
    """Raw flow from onset to apex, float32 (H, W, 2) in px, with the other frames' help.

    An expression is a movement that grows and fades: each frame shows it at a strength of its own.
    Two-frame flow gives these strengths over time, in parts of the face apart; every pixel's level
    fitted by their courses gives an onset and an apex with a fraction of the noise, and the flow
    of these is the answer. More frames are better, those after the apex included.

    Args:
        frames: uint8 RGB (H, W, 3) of one size, aligned to the first, which is the onset.
        apex_index: of the apex among them.

    With fewer than 4 frames there is nothing to average, and the answer is `estimate_flow`'s.

    Raises:
        UserError: `apex_index` is not between 1 and the last frame.
        ValueError: frames that are not uint8 RGB, of one size and at least 32 px a side.
    """
    if not 0 < apex_index < len(frames):
        raise UserError(
            f"apex_index must be 1…{len(frames) - 1} among {len(frames)} frames whose first is the "
            f"onset, got {apex_index}."
        )
    for frame in frames[1:]:
        check_trackable(frames[0], frame)
    levels = np.stack(frames).astype(np.float32)
    flow_px = flow_of_levels(levels[0], levels[apex_index])
    if len(frames) < 4:
        return flow_px
    unlit = np.stack([without_light(frame, USUAL.blur_px) for frame in levels])
    for detail in (USUAL, FINE):
        courses = _courses(unlit, flow_px)
        flow_px = flow_of_levels(*_calm_frames(levels, courses, apex_index), detail)
    return flow_px


def _courses(unlit: np.ndarray, flow_px: np.ndarray) -> np.ndarray:
    """How the movement comes and goes: one to three curves over time, (frames, courses).

    In each cell of the face, how much of its flow every frame shows; of these curves the principal
    ones, as many as stand out of the noise (the threshold of Gavish & Donoho 2014).
    """
    down, across = np.gradient(unlit.mean(axis=0), axis=(0, 1))
    change = -(across * flow_px[..., :1] + down * flow_px[..., 1:])  # of the levels, to first order
    shown = np.stack([_in_cells((frame * change).sum(axis=-1)) for frame in unlit])
    amounts = _in_cells((change**2).sum(axis=-1))
    shown = (shown - shown.mean(axis=0)) / np.sqrt(amounts + 1e-6)  # of one noise in all cells
    courses, sizes, _ = np.linalg.svd(shown, full_matrices=False)
    shape = min(shown.shape) / max(shown.shape)
    threshold = 0.56 * shape**3 - 0.95 * shape**2 + 1.82 * shape + 1.43
    count = int((sizes > CLEARLY * threshold * np.median(sizes)).sum())
    return courses[:, : np.clip(count, 1, MOST_COURSES)]


def _in_cells(plane: np.ndarray) -> np.ndarray:
    """Means over cells, flat."""
    return cv2.resize(plane, (CELLS, CELLS), interpolation=cv2.INTER_AREA).ravel()


def _calm_frames(levels: np.ndarray, courses: np.ndarray, apex_index: int) -> list[np.ndarray]:
    """Onset and apex as a least-squares fit of the courses to every pixel has them.

    The square of the first course is fitted, too: a pixel's level bends as an edge passes it.
    """
    shapes = np.column_stack([np.ones(len(levels)), courses, courses[:, 0] ** 2])
    weights = shapes[[0, apex_index]] @ np.linalg.pinv(shapes)  # (2, frames)
    return [np.tensordot(row.astype(np.float32), levels, 1) for row in weights]
