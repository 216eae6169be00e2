"""Where in a long film micro-expressions may be: brief movements of the face that come and go.

After Moilanen, Zhao & Pietikäinen (2014): each frame is compared with those half a window before
and after it, and with their mean, so that what lasts or drifts cancels and what comes and goes
within the window stands out. What is compared is the movement of the face, without the head's and
the eyes'.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.frames_hcp_mer import check_trackable
from hcp_mer.motion.face_motion import (
    FaceMotion,
    FaceTracker,
    bent_px,
    head_out,
    head_sizes,
    is_lost,
    strongest_px,
)
from hcp_mer.motion.flow import Estimator
from hcp_mer.motion.spotting import (
    BLINK_RATIO,
    equal_share,
    floor_px,
    rise_begins,
    strengths,
)

WINDOW_S = 0.5  # the longest micro-expression
LEAST_FRAMES = 6  # in a window: fewer show no rise and fall
LEAST_STEP_S = 1 / 70  # between frames that are measured: 60 a second, whose times are rounded
RENEWED_S = 4.0  # age at which a reference is replaced
RUNNING_S = 10.0  # of the film before, that says what its noise is
NOISE_TIMES = 3.0  # above the median contrast


@dataclass(frozen=True)
class Interval:
    """Frames in which the face moved briefly.

    Attributes: `first`, `apex`, `last`, indices of frames from 0; `first_s`, `apex_s`, `last_s`,
    their times; `score`, contrast over the floor, above 1; `moved_px`, how far the place went that
    moved most, px of a face 224 px wide.
    """

    first: int
    apex: int
    last: int
    first_s: float
    apex_s: float
    last_s: float
    score: float
    moved_px: float


class _Seen(NamedTuple):
    """A frame that was measured: against which references (by number), and how much was equal."""

    number: int
    time_s: float
    motions: dict[int, FaceMotion]
    equal_share: float


class _Contrast(NamedTuple):
    """How a frame stands out: the strongest movement in px, and that over the floor."""

    number: int
    time_s: float
    moved_px: float
    score: float


def spot_intervals(
    frames: Iterable[tuple[float, np.ndarray]],
    window_s: float = WINDOW_S,
    flow_estimator: Estimator | None = None,
) -> Iterator[Interval]:
    """Intervals of a film in which the face moved briefly, in the order in which they come.

    An interval is given out as soon as `window_s` and a half have passed since its apex. Of the
    frames, two at most are held at a time; of their movement, two and a half windows. Faster films
    than 60 frames a second are read at that pace.

    Args: `frames`, (time in s, aligned face), uint8 RGB (S, S, 3) of one size, in the order of
    time; `window_s`, the longest movement looked for.
    Raises UserError, while it is read, for times that do not increase, for films shorter than a
    window or with fewer than 6 frames in one; ValueError for other arrays.
    """
    if not 0 < window_s < np.inf:
        raise UserError(f"window_s must be more than 0 s, got {window_s}. 0.5 is the default.")
    return _intervals(frames, _Watch(window_s, flow_estimator))


def _intervals(frames: Iterable[tuple[float, np.ndarray]], watch: _Watch) -> Iterator[Interval]:
    for number, (time_s, frame) in enumerate(frames):
        yield from watch.see(number, time_s, frame)
    yield from watch.end()


class _Trackers:
    """One tracker, or two for a while: an old reference shows another light and another head.

    A new one is begun every few seconds, and the old one goes on until all frames that may still be
    compared with each other have been measured against the new one.
    """

    def __init__(self, overlap_s: float, flow_estimator: Estimator | None) -> None:
        self._overlap_s, self._estimator = overlap_s, flow_estimator
        self._trackers: dict[int, FaceTracker] = {}
        self._newest, self._since_s, self._likeness = -1, 0.0, 1.0

    def measure(self, time_s: float, frame: np.ndarray) -> dict[int, FaceMotion]:
        """Reference → motion, with two flows at most. After a cut the references are new."""
        motions = {name: tracker.measure(frame) for name, tracker in self._trackers.items()}
        if not motions or is_lost(self._likeness, motions[self._newest].likeness):
            self._trackers.clear()
            return self._begun(FaceTracker(frame, self._estimator), time_s, frame)
        self._likeness = motions[self._newest].likeness
        if len(motions) == 2 and time_s - self._since_s > self._overlap_s:
            del self._trackers[self._newest - 1]
        elif len(motions) == 1 and time_s - self._since_s > RENEWED_S:
            motions |= self._begun(self._trackers[self._newest].renewed(frame), time_s, frame)
        return motions

    def _begun(
        self, tracker: FaceTracker, time_s: float, frame: np.ndarray
    ) -> dict[int, FaceMotion]:
        self._newest, self._since_s, self._likeness = self._newest + 1, time_s, 1.0
        self._trackers[self._newest] = tracker
        return {self._newest: tracker.measure(frame)}


class _Watch:
    """Reads a film frame by frame and says what stood out, a little later.

    A frame's contrast needs half a window after it; whether it is the largest one around, and how
    far its movement reaches, a whole one on both sides.
    """

    def __init__(self, window_s: float, flow_estimator: Estimator | None) -> None:
        self._window_s = window_s
        self._trackers = _Trackers(2 * window_s, flow_estimator)
        self._seen: deque[_Seen] = deque()
        self._contrasts: deque[_Contrast] = deque()
        self._compared = self._decided = -1  # numbers of the last frames
        self._before: np.ndarray | None = None

    def see(self, number: int, time_s: float, frame: np.ndarray) -> Iterator[Interval]:
        """Take a frame in, and give out the intervals that are certain now."""
        if self._seen and time_s <= self._seen[-1].time_s:
            raise UserError(
                f"times must increase from frame to frame, got {time_s:g} s for frame {number} "
                f"after {self._seen[-1].time_s:g} s."
            )
        if self._seen and time_s - self._seen[-1].time_s < LEAST_STEP_S:
            return
        before = frame if self._before is None else self._before
        check_trackable(before, frame)
        equal, self._before = equal_share(before, frame), frame
        self._seen.append(_Seen(number, time_s, self._trackers.measure(time_s, frame), equal))
        self._compare(time_s - self._window_s / 2)
        yield from self._decide(time_s - 1.5 * self._window_s)
        while self._seen[0].time_s < time_s - 2.6 * self._window_s:
            self._seen.popleft()
        while self._contrasts and self._contrasts[0].time_s < time_s - RUNNING_S:
            self._contrasts.popleft()

    def end(self) -> Iterator[Interval]:
        """The intervals that are left when the film is over."""
        if not self._contrasts:
            raise UserError(
                f"nowhere does the film show one face for more than {self._window_s:g} s, with at "
                f"least {LEAST_FRAMES} frames in that time. Give a longer one or a longer window_s."
            )
        yield from self._decide(np.inf)

    def _compare(self, until_s: float) -> None:
        """The contrasts of the frames that have half a window on both sides by now."""
        for seen in self._seen:
            if seen.number <= self._compared or seen.time_s > until_s:
                continue
            self._compared = seen.number
            if self._seen[0].time_s <= seen.time_s - self._window_s / 2:
                self._contrasts += self._contrast(seen)

    def _around(self, time_s: float, reach_s: float) -> list[_Seen]:
        return [seen for seen in self._seen if abs(seen.time_s - time_s) <= reach_s + 1e-6]

    def _contrast(self, seen: _Seen) -> list[_Contrast]:
        """One contrast, or none where the film has a cut or a gap."""
        window = self._around(seen.time_s, self._window_s / 2)
        reference = _shared_reference(window)
        at = window.index(seen)
        if reference is None or len(window) < LEAST_FRAMES or not 1 < at < len(window) - 2:
            return []
        motion = _stacked(window, reference)
        face_px, head_px = (_standing_out(it, at) for it in (motion.face_px, motion.head_px))
        rest_px = head_out(face_px)
        moved_px = float(strongest_px(rest_px).min())
        floor = floor_px(
            NOISE_TIMES * float(np.median([moved_px, *(it.moved_px for it in self._contrasts)])),
            float(bent_px(face_px, rest_px)[0]),
            float(head_sizes(head_px)[0]),
            float(head_sizes(motion.head_px - motion.head_px[at]).max()),
            float(np.median([other.equal_share for other in window])),
            blinks=bool(np.ptp(motion.eyes) >= BLINK_RATIO),
        )
        return [_Contrast(seen.number, seen.time_s, moved_px, moved_px / floor)]

    def _decide(self, until_s: float) -> Iterator[Interval]:
        """The intervals whose apex has the largest contrast within a window on both sides."""
        for peak in [*self._contrasts]:
            if peak.number <= self._decided or peak.time_s > until_s:
                continue
            self._decided = peak.number
            near = (it for it in self._contrasts if abs(it.time_s - peak.time_s) <= self._window_s)
            if peak.score > 1 and peak == max(near, key=lambda contrast: contrast.score):
                yield self._interval(peak)

    def _interval(self, peak: _Contrast) -> Interval:
        """A peak with the frames in which its movement begins and is over."""
        window = self._around(peak.time_s, self._window_s / 2)
        reference = _shared_reference(window)
        whole = [it for it in self._around(peak.time_s, self._window_s) if reference in it.motions]
        at = [seen.number for seen in whole].index(peak.number)
        rest_px = _ends(_stacked(window, reference).face_px)
        shown = strengths(_stacked(whole, reference).face_px, rest_px, at)
        first = whole[rise_begins(shown[: at + 1])]
        last = whole[len(whole) - 1 - rise_begins(shown[: at - 1 : -1])]
        return Interval(
            *(first.number, peak.number, last.number),
            *(first.time_s, peak.time_s, last.time_s),
            score=peak.score,
            moved_px=peak.moved_px,
        )


def _shared_reference(frames: list[_Seen]) -> int | None:
    """The newest reference that all were measured against; None where a cut is between them."""
    return max(frames[0].motions.keys() & frames[-1].motions.keys(), default=None)


def _stacked(frames: list[_Seen], reference: int) -> FaceMotion:
    motions = (seen.motions[reference] for seen in frames)
    return FaceMotion(*(np.stack(parts) for parts in zip(*motions)))


def _standing_out(fields_px: np.ndarray, at: int) -> np.ndarray:
    """(3, 28, 28, 2): a frame's field less the mean of its window's ends, and less either end.

    The mean alone would let a face at rest stand out while a movement is at one end.
    """
    early_px, late_px = fields_px[:2].mean(axis=0), fields_px[-2:].mean(axis=0)
    here_px = fields_px[at - 1 : at + 2].mean(axis=0)
    return here_px - np.stack([(early_px + late_px) / 2, early_px, late_px])


def _ends(fields_px: np.ndarray) -> np.ndarray:
    """The mean of a window's two ends."""
    return (fields_px[:2].mean(axis=0) + fields_px[-2:].mean(axis=0)) / 2
