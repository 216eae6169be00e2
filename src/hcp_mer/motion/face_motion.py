"""The movement of a face between the frames of a film: the head followed, the eyes covered.

Every frame is measured against one reference. The movement between any two frames is then the
difference of their fields, and between neighbouring frames it is mostly the film's own noise.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from hcp_mer.model.face_regions_hcp_mer import eye_mask, face_mask
from hcp_mer.model.frames_hcp_mer import (
    REFERENCE_WIDTH_PX,
    check_trackable,
    pixel_grid,
    resize_frame,
)
from hcp_mer.model.registration_hcp_mer import register, remove_head_motion
from hcp_mer.motion.apex import SPOTTING_WIDTH_PX
from hcp_mer.motion.flow import Estimator, estimator

NODES = 28  # along each side: as finely as the default estimator measures on frames 112 px wide
INNER_FACE = (0.28, 0.40)  # half extents, shares: a turning head uncovers what lies at its edge
COVER_GROWTH = (0.02, 0.025)  # shares by which a lid's fold reaches beyond the eye's mask
STEPS, SETTLED_PX = 3, 0.25  # of following the head, px of the shrunk frame
MOST_MOTION = 0.3  # share of the frame's width that a head may go
CALM_PX, LEAST_CHANGE = 1.5, 0.3  # a blur, and levels that noise still differs by after it
LEAST_LIKENESS, MOST_DROP = 0.5, 0.1  # heads turned by 10 px keep 0.87, and lose 0.03 in a frame
FIT_STEPS = 12
STRONG = 0.95  # quantile over the face: a movement of few square centimetres is one, too


class FaceMotion(NamedTuple):
    """What a frame shows against the reference, or several frames stacked; px at 224 px.

    Attributes: `face_px` (28, 28, 2), where the skin at each place went, without the head's affine
    movement; `head_px` (28, 28, 2), that; `eyes`, how many times more the eyes changed than the
    face; `likeness`, the correlation of both pictures with the head brought back, low after a cut.
    """

    face_px: np.ndarray
    head_px: np.ndarray
    eyes: float | np.ndarray
    likeness: float | np.ndarray


class FaceTracker:
    """Measures aligned frames of one film, in their order, against a reference frame.

    Head movements of many px are followed: each frame is brought back by what the two before it
    foretell, so that the flow has only the rest to find. The reference's eyes are laid over each
    frame's: nothing moves there then, and nothing leaks to the brows.
    """

    def __init__(self, reference: np.ndarray, flow_estimator: Estimator | None = None) -> None:
        check_trackable(reference, reference)
        self._estimator = flow_estimator or estimator()
        self._size = min(SPOTTING_WIDTH_PX, reference.shape[1])
        self._reference = resize_frame(reference, self._size)
        self._levels = self._reference.astype(np.float32)
        self._face, self._cover = face_mask(self._size, self._size), _eye_cover(self._size)
        self._affine = self._before = np.eye(3)

    def renewed(self, frame: np.ndarray) -> FaceTracker:
        """A tracker whose reference is the frame that was measured last, in the old one's place."""
        reference = _brought_back(resize_frame(frame, self._size), self._affine)
        tracker = FaceTracker(reference, self._estimator)
        tracker._affine = tracker._before = self._affine
        return tracker

    def measure(self, frame: np.ndarray) -> FaceMotion:
        """One frame's movement. Raises ValueError for anything but a uint8 RGB frame."""
        small = resize_frame(frame, self._size)
        affine = self._affine @ np.linalg.inv(self._before) @ self._affine
        for step in range(STEPS):
            levels, gain = self._in_light(_brought_back(small, affine))
            flow_px = self._estimator(self._reference, self._with_covered_eyes(levels, gain))
            face_px = remove_head_motion(flow_px, self._face)
            rest = _affine_of(flow_px - face_px)
            affine = affine @ rest
            if _mean_px(_displacements(rest, self._size), self._face) < SETTLED_PX:
                break
            if step == STEPS - 2:  # a jump, such as of dropped frames
                found = register(self._reference, small, self._face)
                affine = np.vstack([found.affine, [0, 0, 1]])
        head_px = _displacements(affine, self._size)
        if _mean_px(head_px, self._face) > MOST_MOTION * self._size:  # lost
            affine = np.eye(3)
        self._before, self._affine = self._affine, affine
        fields_px = (self._at_nodes(px) for px in (face_px, head_px))
        return FaceMotion(*fields_px, *self._compared(levels / gain))

    def _in_light(self, frame: np.ndarray) -> tuple[np.ndarray, float]:
        """The frame's levels, float32, and how many times brighter than the reference they are."""
        levels, weight = frame.astype(np.float32), self._face[..., None]
        gain = float((levels * weight).sum() / ((self._levels * weight).sum() + 1e-6))
        return levels, max(gain, 1e-3)

    def _with_covered_eyes(self, levels: np.ndarray, gain: float) -> np.ndarray:
        covered = levels + (gain * self._levels - levels) * self._cover[..., None]
        return np.clip(np.rint(covered), 0, 255).astype(np.uint8)

    def _at_nodes(self, field_px: np.ndarray) -> np.ndarray:
        nodes_px = cv2.resize(field_px, (NODES, NODES), interpolation=cv2.INTER_AREA)
        return nodes_px * np.float32(REFERENCE_WIDTH_PX / self._size)

    def _compared(self, levels: np.ndarray) -> tuple[float, float]:
        """How many times more the eyes changed than the face, and the likeness of the faces."""
        one, other = (cv2.GaussianBlur(it, (0, 0), CALM_PX) for it in (self._levels, levels))
        change, skin = np.abs(other - one).mean(axis=-1), self._face * (1 - self._cover)
        eyes, rest = (float(np.average(change, weights=part)) for part in (self._cover, skin))
        one, other = (it[skin > 0.5] - it[skin > 0.5].mean(axis=0) for it in (one, other))
        likeness = float((one * other).sum() / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-6))
        return eyes / (rest + LEAST_CHANGE), likeness


def _brought_back(frame: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """frame(affine · x) for every pixel x; beyond the border, the border's values."""
    if np.abs(affine - np.eye(3)).max() < 1e-6:
        return frame
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    size = frame.shape[1::-1]
    return cv2.warpAffine(frame, affine[:2], size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


@lru_cache(maxsize=2)
def _eye_cover(size: int) -> np.ndarray:
    """The eyes with their lids' folds, float32 (S, S) in [0, 1]."""
    across, down = (2 * round(share * size) + 1 for share in COVER_GROWTH)
    shape = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (across, down))
    return cv2.dilate(eye_mask(size, size), shape)


def _affine_of(field_px: np.ndarray) -> np.ndarray:
    """The map (3, 3) x → x + u(x) of a field that is affine, read at its corners."""
    height, width = field_px.shape[:2]
    corner = field_px[0, 0].astype(np.float64)
    across = (field_px[0, -1] - corner) / (width - 1)
    down = (field_px[-1, 0] - corner) / (height - 1)
    return np.eye(3) + np.vstack([np.column_stack([across, down, corner]), np.zeros(3)])


def _displacements(affine: np.ndarray, size: int) -> np.ndarray:
    """Where each pixel goes by an affine map, less where it is: (S, S, 2)."""
    columns, rows = pixel_grid(size, size)
    places = np.stack([columns, rows, np.ones_like(columns)], axis=-1)
    return (places @ (affine - np.eye(3))[:2].T).astype(np.float32)


def _mean_px(field_px: np.ndarray, weight: np.ndarray) -> float:
    return float(np.average(np.linalg.norm(field_px, axis=-1), weights=weight))


def is_lost(likeness_before: float, likeness: float) -> bool:
    """Whether, from one frame to the next, a film goes over to another picture."""
    return likeness < LEAST_LIKENESS or abs(likeness_before - likeness) > MOST_DROP


@lru_cache(maxsize=1)
def _counted() -> np.ndarray:
    """Which nodes count, bool (28, 28): the inner face without the eyes."""
    columns, rows = ((plane + 0.5) / NODES - 0.5 for plane in pixel_grid(NODES, NODES))
    inside = np.hypot(columns / INNER_FACE[0], rows / INNER_FACE[1]) < 1
    cover = cv2.resize(_eye_cover(SPOTTING_WIDTH_PX), (NODES, NODES), interpolation=cv2.INTER_AREA)
    return inside & (cover < 0.5)


def head_out(fields_px: np.ndarray) -> np.ndarray:
    """The counted nodes (n, m, 2) of fields (n, 28, 28, 2), less their robust quadratic part.

    To second order that is what a turning head does to the plane: near parts move more than far
    ones. Movements of single parts are outliers to it and stay, see `remove_head_motion`.
    """
    inside = _counted()
    columns, rows = (plane[inside] / NODES - 0.5 for plane in pixel_grid(NODES, NODES))
    terms = [np.ones_like(rows), columns, rows, columns**2, columns * rows, rows**2]
    basis, moved = np.stack(terms, axis=-1).astype(np.float64), fields_px[:, inside]
    weight = np.ones(moved.shape[:2])
    for _ in range(FIT_STEPS):
        weighted = basis.T * weight[:, None]  # (n, 6, m)
        fitted = np.linalg.solve(weighted @ basis + 1e-6 * np.eye(6), weighted @ moved)
        rest = moved - basis @ fitted
        size = np.linalg.norm(rest, axis=-1)
        spread = np.median(size, axis=-1, keepdims=True) + 1e-3
        weight = 1 / (1 + (size / spread) ** 2) ** 2
    return rest


def strongest_px(rest_px: np.ndarray) -> np.ndarray:
    """How far the place went that moved most, (n,), of what `head_out` gives."""
    return np.quantile(np.linalg.norm(rest_px, axis=-1), STRONG, axis=-1)


def energies(rest_px: np.ndarray) -> np.ndarray:
    """The mean movement over the face, (n,), of what `head_out` gives."""
    return np.linalg.norm(rest_px, axis=-1).mean(axis=-1)


def bent_px(fields_px: np.ndarray, rest_px: np.ndarray) -> np.ndarray:
    """Mean size of what `head_out` took from fields to leave this rest, (n,)."""
    return energies(fields_px[:, _counted()] - rest_px)


def head_sizes(fields_px: np.ndarray) -> np.ndarray:
    """Mean movement over the face, (n,), of fields (n, 28, 28, 2)."""
    return np.linalg.norm(fields_px[:, _counted()], axis=-1).mean(axis=-1)
