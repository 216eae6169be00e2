"""The offline face detector: scikit-image's cascade, made robust to tilt and to chance hits."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.motion.alignment import Face, align, places_in_frame
from hcp_mer.motion.eyes import PX_PER_BOX, locate_eyes


class Window(NamedTuple):
    """A square of `side` px about (x, y) of the frame, its content turned by `tilt_deg`.

    A positive tilt is clockwise as seen in the frame.
    """

    x: float
    y: float
    side: float
    tilt_deg: float

    def transform(self, margin: float = 1.0, turn_deg: float = 0.0) -> np.ndarray:
        """From px of the frame to shares of the upright square, `margin` times as large, (2, 3).

        Args: `turn_deg` is added to the tilt.
        """
        upright = _turn(-self.tilt_deg - turn_deg) / (margin * self.side)
        return np.column_stack([upright, 0.5 - upright @ (self.x, self.y)])


class Sight(NamedTuple):
    """A candidate that looks like a face: where, its rank, and the face if its eyes are in view."""

    window: Window
    rank: float
    face: Face | None


class Cascade:
    """scikit-image's frontal-face cascade of local binary patterns (Liao et al. 2007), on the CPU.

    It answers yes or no for every upright square. Around a face many windows of neighbouring
    places, sizes and tilts say yes, elsewhere few: their number tells a face from a chance hit, and
    their mean is a finer place than any of them. A first look at the small, turned frame finds
    candidates; then each is looked at closely, at its own scale. Heads may be tilted by up to 30°.
    """

    FRAME_PX = 40_000  # pixels of the small frame, in which a face must be 24 px wide
    TILTS_DEG = (-30, -15, 0, 15, 30)
    STEP = 1.2  # from one window's size to the next
    CANDIDATES = 2
    MOST_FACES, LEAST_SHARE = 5, 0.2  # of the most windows that a candidate has, see find_all
    LOOKS = 2  # the second is about the place that the first one found
    CLOSE_TILTS_DEG = (-24, -16, -8, 0, 8, 16, 24)
    CLOSE_SIDE_PX, CLOSE_MARGIN, CLOSE_STEP = 60, 2.2, 1.08
    # Windows in the close look times how much the eyes look like eyes. 77 pictures of things and
    # clouds had 19 at most; 2 of 100 crops that had fooled another detector had more.
    LEAST_EVIDENCE = 20.0

    def __init__(self, weights: str | None = None) -> None:
        """Raises UserError for weights, and where scikit-image is not installed."""
        if weights:
            raise UserError("the face detector 'cascade' reads no weights: leave them out.")
        try:
            from skimage.data import lbp_frontal_face_cascade_filename
            from skimage.feature import Cascade as LbpCascade
        except ImportError:
            raise UserError(
                "the face detector 'cascade' needs scikit-image: pip install \"hcp_mer[face]\""
            ) from None
        self._cascade = LbpCascade(lbp_frontal_face_cascade_filename())

    def find(self, frame: np.ndarray) -> Face | None:
        """The face of most and largest windows, its eyes located; None where there is none."""
        grey = _grey(frame)
        candidates = self._candidates(grey, self.CANDIDATES)
        best = _best([self._look_at(grey, window) for window, _ in candidates])
        return best and best.face

    def find_all(self, frame: np.ndarray) -> list[Face]:
        """All faces: the one that `find` returns, then others elsewhere; up to five."""
        grey = _grey(frame)
        candidates = self._candidates(grey, self.MOST_FACES)
        seen = [self._look_at(grey, window) for window, _ in candidates[: self.CANDIDATES]]
        best = _best(seen)
        if best is None or best.face is None:
            return []
        for window, windows in candidates[self.CANDIDATES :]:
            if windows >= self.LEAST_SHARE * candidates[0][1]:
                seen.append(self._look_at(grey, window))
        apart = [best]
        for sight in sorted((s for s in seen if s and s.face), key=lambda s: -s.rank):
            if all(_are_apart(sight.window, other.window) for other in apart):
                apart.append(sight)
        return [sight.face for sight in apart]

    def _look_at(self, grey: np.ndarray, window: Window) -> Sight | None:
        """What a close look at a candidate shows, None where that is no face."""
        window, support = self._look_closer(grey, window)
        upright = window.transform()
        eyes, likeness = locate_eyes(align(grey, upright, PX_PER_BOX))
        if support * likeness < self.LEAST_EVIDENCE:
            return None
        places = places_in_frame(eyes, upright)
        inside = ((places >= 0) & (places <= grey.shape[::-1])).all()
        face = Face(eyes=places) if inside else None
        return Sight(window, support * likeness * window.side, face)

    def _candidates(self, grey: np.ndarray, most: int) -> list[tuple[Window, int]]:
        """Where most windows say yes in the small frame, turned by several angles, and how many."""
        shrink = min(1.0, (self.FRAME_PX / grey.size) ** 0.5)
        size = tuple(max(1, round(side * shrink)) for side in reversed(grey.shape))
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        windows = []
        for tilt_deg in self.TILTS_DEG:
            turned, to_turned = _turned(small, -tilt_deg)
            squares = self._squares(turned, self.STEP, 24, min(turned.shape))
            centres = places_in_frame(squares[:, :2], to_turned)
            tilts_deg = np.full(len(squares), tilt_deg)
            windows.append(np.column_stack([centres, squares[:, 2], tilts_deg]))
        clusters = _clusters(np.concatenate(windows))
        return [
            (Window(*(cluster.mean(axis=0) / (shrink, shrink, shrink, 1))), len(cluster))
            for cluster in clusters[:most]
        ]

    def _look_closer(self, grey: np.ndarray, window: Window) -> tuple[Window, int]:
        """The mean of the windows about this one that say yes, and how many they are."""
        support, size = 0, round(self.CLOSE_SIDE_PX * self.CLOSE_MARGIN)
        for _ in range(self.LOOKS):
            around = []
            for turn_deg in self.CLOSE_TILTS_DEG:
                transform = window.transform(self.CLOSE_MARGIN, turn_deg)
                limits = (self.CLOSE_STEP, self.CLOSE_SIDE_PX * 2 // 3, self.CLOSE_SIDE_PX * 3 // 2)
                squares = self._squares(align(grey, transform, size), *limits) / size
                centres = places_in_frame(squares[:, :2], transform)
                sides = squares[:, 2] * self.CLOSE_MARGIN * window.side
                tilts_deg = np.full(len(squares), window.tilt_deg + turn_deg)
                around.append(np.column_stack([centres, sides, tilts_deg]))
            found = np.concatenate(around)
            away = np.hypot(found[:, 0] - window.x, found[:, 1] - window.y)
            found = found[away < 0.3 * window.side]
            support = len(found)
            if support == 0:
                break
            window = Window(*found.mean(axis=0))
        return window, support

    def _squares(self, grey: np.ndarray, step: float, smallest: int, largest: int) -> np.ndarray:
        """The upright squares that say yes: x and y of the centre and side in px, (n, 3)."""
        if min(grey.shape) < smallest:
            return np.empty((0, 3))
        found = self._cascade.detect_multi_scale(
            grey,
            step,
            1,
            (smallest, smallest),
            (largest, largest),
            min_neighbor_number=1,
            intersection_score_threshold=2,  # above 1: nothing is merged
        )
        squares = [
            (box["c"] + box["width"] / 2, box["r"] + box["height"] / 2, box["width"])
            for box in found
        ]
        return np.array(sorted(squares), np.float64).reshape(-1, 3)


def _grey(frame: np.ndarray) -> np.ndarray:
    """A frame's levels from 0 to 1, float32 (H, W)."""
    return cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2GRAY)


def _best(sights: list[Sight | None]) -> Sight | None:
    """The sight of the highest rank, the first of equals."""
    return max((sight for sight in sights if sight), key=lambda sight: sight.rank, default=None)


def _are_apart(one: Window, other: Window) -> bool:
    """Whether two windows can be two people's: a mouth looks like a small face in a large one."""
    return np.hypot(one.x - other.x, one.y - other.y) > 0.7 * max(one.side, other.side)


def _turn(angle_deg: float) -> np.ndarray:
    """The rotation by an angle, clockwise as seen in an image, (2, 2)."""
    angle = np.deg2rad(angle_deg)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _turned(grey: np.ndarray, angle_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture turned clockwise, on as much more canvas as it needs, and the transform there."""
    turn, extent = _turn(angle_deg), np.array(grey.shape[::-1], np.float64)
    width, height = np.ceil(np.abs(turn) @ extent).astype(int).tolist()
    to_turned = np.column_stack([turn, np.array([width, height]) / 2 - turn @ (extent / 2)])
    between_centres = to_turned.copy()  # OpenCV counts from the centre of the first pixel
    between_centres[:, 2] += turn @ (0.5, 0.5) - 0.5
    turned = cv2.warpAffine(grey, between_centres, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return turned, to_turned


def _clusters(windows: np.ndarray) -> list[np.ndarray]:
    """Windows (x, y, side, tilt) that are about the same, the largest group first."""
    clusters = []
    while len(windows):
        x, y, side = windows[:, 0], windows[:, 1], windows[:, 2]
        away = np.hypot(x[:, None] - x, y[:, None] - y) / np.minimum(side[:, None], side)
        larger = np.maximum(side[:, None], side) / np.minimum(side[:, None], side)
        alike = (away < 0.3) & (larger < 1.5)
        members = alike[np.argmax(alike.sum(axis=1))]
        clusters.append(windows[members])
        windows = windows[~members]
    return sorted(clusters, key=len, reverse=True)
