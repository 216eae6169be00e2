"""Where in a clip an expression begins, peaks and ends, and whether it is one at all.

Every frame is measured against one reference, with the eyes covered and the head followed and
taken out. The movement between any two frames is then the difference of two measured fields, and
between neighbouring frames that difference is mostly the clip's own noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.face_regions_hcp_mer import face_mask
from hcp_mer.model.frames_hcp_mer import check_trackable
from hcp_mer.motion.apex import spot_in_curve
from hcp_mer.motion.face_motion import (
    FaceMotion,
    FaceTracker,
    bent_px,
    energies,
    head_out,
    head_sizes,
    is_lost,
    strongest_px,
)
from hcp_mer.motion.flow import Estimator

LEAST_FRAMES, MOST_FRAMES, MOST_STRIDE = 3, 48, 4  # of more frames, some are left out
DRIFT = 0.05  # of the head's movement is left in an energy, at most, and grows with it
EARLY = (0.08, 0.2)  # shares of the apex's strength, see rise_begins
AT_REST, AGAIN = 0.25, 0.5  # shares of the largest movement, see _rest

# Of the place that moved most, in px; measured on clips in which no expression is, see floor_px.
LEAST_PX = 0.15  # drift, flicker and JPEG leave less
NOISE_TIMES, NOISE_MOST_PX = 4.0, 0.3  # above the movement between neighbouring frames; in brief
# clips that is the movement itself, and a sensor's noise of 12 levels leaves less than the most
PARALLAX, HEAD_REST = 0.18, 0.03  # of the head's movement till the apex, and of its largest
BENT_TIMES = 2.3  # turning heads leave 0.5 to 2 times their quadratic part; expressions, 3 to 100
STUCK_PX, STUCK_TIMES, STUCK_MOST_PX = 0.15, 1.0, 0.4  # of a video's compression
BLINK_LEAST_PX, BLINK_RATIO = 0.3, 3.5  # where the eyes change so many times more than the face
HEAD_LEAST_PX, BENT_LEAST_PX = 1.5, 0.3  # a head's movement that is worth a word
MEAN_SHARE = 0.25  # of the strongest movement is the mean one, where few parts move


class Movement(StrEnum):
    """What moved in a clip."""

    EXPRESSION = "expression"
    STILL = "still"
    BLINK = "blink"
    HEAD = "head movement"


@dataclass(frozen=True, eq=False)
class Spotted:
    """How a clip moved.

    Attributes: `onset`, `apex`, `offset`, indices into the frames given; `energies_px` (n,), mean
    |movement| over the face from the onset, the head's and the eyes' out, in px of a face 224 px
    wide; `noise_px`, up to where such an energy says nothing in this clip; `movement`; `reason`,
    a sentence with the figures that decided, those of the place that moved most.
    """

    onset: int
    apex: int
    offset: int
    energies_px: np.ndarray
    noise_px: float
    movement: Movement
    reason: str


def spot(
    frames: Sequence[np.ndarray],
    onset: int | None = None,
    apex: int | None = None,
    offset: int | None = None,
    flow_estimator: Estimator | None = None,
) -> Spotted:
    """Onset, apex and offset of the movement in a clip, as far as they are not given, and its kind.

    Args: `frames`, aligned faces, uint8 RGB (S, S, 3) of one size, at least 3; `onset`, `apex`,
    `offset`, indices among them that are known. Of more than 48 frames every second to fourth is
    measured.
    Raises UserError for fewer frames, for indices out of order and where a cut is between the
    frames, ValueError for other arrays.
    """
    _check_indices(len(frames), onset, apex, offset)
    for frame in frames:
        check_trackable(frames[0], frame)
    given = {index for index in (onset, apex, offset) if index is not None}
    stride = int(np.clip(-(-len(frames) // MOST_FRAMES), 1, MOST_STRIDE))
    numbers = np.array(sorted({*range(0, len(frames), stride), len(frames) - 1, *given}))
    motion = _measure(frames, numbers, onset or 0, flow_estimator)
    _check_likeness(motion.likeness, numbers)
    known = (None if i is None else int(np.searchsorted(numbers, i)) for i in (onset, apex, offset))
    keys = _key_places(motion, *known)
    stuck_share = float(np.median([equal_share(*pair) for pair in pairwise(frames)]))
    movement, floor, reason = _judged(motion, keys, stuck_share)
    rest_px = head_out(motion.face_px - _at_onset(motion.face_px, keys[0]))
    return Spotted(
        *(int(numbers[place]) for place in keys),
        energies_px=np.interp(np.arange(len(frames)), numbers, energies(rest_px)),
        noise_px=MEAN_SHARE * floor,
        movement=movement,
        reason=reason,
    )


def _check_indices(count: int, *given: int | None) -> None:
    if count < LEAST_FRAMES:
        raise UserError(f"spotting needs at least {LEAST_FRAMES} frames, got {count}.")
    onset, apex, offset = given
    first = 0 if onset is None else onset
    last = count - 1 if offset is None else offset
    if not (0 <= first < last < count and (apex is None or first < apex <= last)):
        names = ("onset", "apex", "offset")
        said = ", ".join(f"{name} {it}" for name, it in zip(names, given) if it is not None)
        raise UserError(
            f"onset, apex and offset must come in this order among frames 0…{count - 1}, got "
            f"{said}. Leave out what is not known."
        )


def _measure(
    frames: Sequence[np.ndarray],
    numbers: np.ndarray,
    reference: int,
    flow_estimator: Estimator | None,
) -> FaceMotion:
    """The motion in the frames of these numbers against one of them, stacked in their order."""
    motions: dict[int, FaceMotion] = {}
    for side in (numbers[numbers >= reference], numbers[numbers < reference][::-1]):
        tracker = FaceTracker(frames[reference], flow_estimator)
        motions |= {number: tracker.measure(frames[number]) for number in side.tolist()}
    return FaceMotion(*(np.stack(parts) for parts in zip(*(motions[n] for n in numbers.tolist()))))


def _check_likeness(likeness: np.ndarray, numbers: np.ndarray) -> None:
    lost = [is_lost(*pair) for pair in pairwise(likeness.tolist())]
    if any(lost):
        raise UserError(
            f"the picture changes too much at frame {numbers[1:][lost][0]} (from 0): a cut, a face "
            "covered or turned, or too little light. Take frames in which one face is seen."
        )


def equal_share(one: np.ndarray, after: np.ndarray) -> float:
    """Share of the face's pixels, 0…1, that are equal to the level in two frames.

    A video's compression codes nothing where little changes, and such pixels stay as they were.
    """
    face = face_mask(*one.shape[:2]) > 0.5
    return float((one == after).all(axis=-1)[face].mean())


def _key_places(
    motion: FaceMotion, onset: int | None, apex: int | None, offset: int | None
) -> tuple[int, int, int]:
    """Where among the measured frames onset, apex and offset lie, those that are given kept.

    Where the onset is found later than where the search began, it is searched again from there.
    """
    end = len(motion.eyes) - 1 if offset is None else offset
    smooth_px = _smoothed(motion.face_px)
    start = _rest(smooth_px[: end + 1]) if onset is None and apex is None else onset or 0
    for _ in range(2):
        peak = _apex(motion, smooth_px, start, end) if apex is None else apex
        shown = strengths(motion.face_px, _at_onset(motion.face_px, start), peak)
        if apex is None:
            nearby = range(max(start + 1, peak - end // 10), min(end, peak + end // 10) + 1)
            peak = max(nearby, key=shown.__getitem__)
        before, start = start, onset if onset is not None else rise_begins(shown[: peak + 1])
        if start == before:
            break
    if offset is None:
        offset = end - rise_begins(shown[: peak - 1 : -1])
    return start, peak, offset


def _smoothed(fields_px: np.ndarray) -> np.ndarray:
    """Each field averaged with its neighbours: a movement is one, noise another in each."""
    count = len(fields_px)
    reach = max(round(count / 32), int(count >= 12))
    around = [slice(max(0, at - reach), at + reach + 1) for at in range(count)]
    return np.stack([fields_px[part].mean(axis=0) for part in around])


def _rest(smooth_px: np.ndarray) -> int:
    """Where the face first is at rest: 0, unless it comes from elsewhere.

    The end shows what rest is. A clip that begins unlike it, comes to it and moves again after
    that begins there.
    """
    away = energies(head_out(smooth_px - smooth_px[-1]))
    settled = np.flatnonzero(away <= AT_REST * away.max())
    first = int(settled[0])
    comes_to_rest = away[0] >= AGAIN * away.max() and away[first:].max() >= AGAIN * away.max()
    return first if comes_to_rest else 0


def _at_onset(fields_px: np.ndarray, onset: int) -> np.ndarray:
    """The face at the onset, averaged with the frames before it."""
    return fields_px[max(0, onset - 2) : onset + 1].mean(axis=0)


def _apex(motion: FaceMotion, smooth_px: np.ndarray, start: int, end: int) -> int:
    """The apex after `start`, by the sub-window search of `spot_in_curve`."""
    rest_px = head_out(smooth_px - _at_onset(motion.face_px, start))
    curve = energies(rest_px) - DRIFT * head_sizes(motion.head_px - motion.head_px[start])
    return start + 1 + spot_in_curve(curve[start + 1 : end + 1])


def strengths(fields_px: np.ndarray, rest_px: np.ndarray, apex: int) -> np.ndarray:
    """How much of the apex's movement each frame shows, (n,): 0 at rest, about 1 at the apex.

    Noise looks like no movement in particular, so this is far calmer than an energy.
    Args: of the frames, `fields_px` (n, 28, 28, 2); `rest_px` (28, 28, 2).
    """
    moved_px = head_out(fields_px - rest_px)
    pattern_px = moved_px[max(0, apex - 1) : apex + 2].mean(axis=0)
    shown = (moved_px * pattern_px).sum(axis=(1, 2)) / max((pattern_px**2).sum(), 1e-9)
    if len(shown) < 2 * LEAST_FRAMES:
        return shown
    return np.convolve(np.pad(shown, 1, mode="edge"), np.ones(3) / 3, "valid")


def rise_begins(shown: np.ndarray) -> int:
    """Where the rise to the last of these began.

    What starts from rest begins as the square of time does, so a quarter of a strength is reached
    after half the time: the rise began as long before it as the whole takes from there.
    """
    if len(shown) < LEAST_FRAMES:
        return 0
    noise = 1.4826 * np.median(np.abs(np.diff(shown, 2))) / 6**0.5
    early = float(np.clip(2 * noise, *EARLY))

    def passed(level: float) -> float:
        """Where this level is passed for the last time."""
        low = np.flatnonzero(shown[:-1] <= level)
        if not len(low):
            return 0.0
        at = int(low[-1])
        return at + (level - shown[at]) / max(shown[at + 1] - shown[at], 1e-9)

    begins = 2 * passed(early) - passed(4 * early)
    return int(np.clip(round(begins), 0, max(0, len(shown) - 2)))


def _judged(
    motion: FaceMotion, keys: tuple[int, int, int], stuck_share: float
) -> tuple[Movement, float, str]:
    """What moved, up to where a movement says nothing (px, of the strongest), and a sentence."""
    onset, apex, _ = keys
    peak_px = motion.face_px[max(0, apex - 1) : apex + 2].mean(axis=0)
    change_px = (peak_px - _at_onset(motion.face_px, onset))[None]
    rest_px = head_out(change_px)
    moved, bent = float(strongest_px(rest_px)[0]), float(bent_px(change_px, rest_px)[0])
    head = head_sizes(motion.head_px - motion.head_px[onset])
    neighbours_px = strongest_px(head_out(np.diff(motion.face_px, axis=0)))
    floor = floor_px(
        min(NOISE_TIMES * float(np.quantile(neighbours_px, 0.25)), NOISE_MOST_PX),
        bent,
        float(head[apex]),
        float(head.max()),
        stuck_share,
        blinks=bool(motion.eyes[apex] >= BLINK_RATIO),
    )
    figures = f"{moved:.2f} px where it moved most; noise {floor:.2f} px"
    if moved > floor:
        return Movement.EXPRESSION, floor, f"the face moved {figures}"
    if head.max() >= HEAD_LEAST_PX or bent >= BENT_LEAST_PX:
        whole = max(float(head.max()), bent)
        said = f"the head moved ({whole:.1f} px), the face itself did not ({figures})"
        return Movement.HEAD, floor, said
    if motion.eyes.max() >= BLINK_RATIO:
        said = f"the eyes blinked or moved, nothing else did ({figures})"
        return Movement.BLINK, floor, said
    return Movement.STILL, floor, f"nothing moved beyond the clip's own noise ({figures})"


def floor_px(
    noise_px: float,
    bent_px: float,
    head_px: float,
    most_head_px: float,
    stuck_share: float,
    blinks: bool,
) -> float:
    """How far the strongest place of a face that does not move may seem to move.

    The causes are independent, so their squares add up.

    Args: `noise_px`, what noise leaves. `bent_px`, the movement's quadratic part, see `head_out`,
    `head_px`, how far the head went, and `most_head_px`, at most around: of a turning head's relief
    they leave some. `stuck_share` of the pixels are equal from frame to frame, see `equal_share`:
    where compression leaves parts of the picture as they were although the head moves on, they
    seem to move. `blinks`: closing lids pull at what is around them.
    """
    stuck_px = stuck_share * min(STUCK_PX + STUCK_TIMES * most_head_px, STUCK_MOST_PX)
    moved_px = PARALLAX * head_px + HEAD_REST * most_head_px
    causes_px = [noise_px, BENT_TIMES * bent_px, moved_px, stuck_px, BLINK_LEAST_PX * blinks]
    return max(LEAST_PX, float(np.linalg.norm(causes_px)))
