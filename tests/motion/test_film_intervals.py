"""spot_intervals: brief movements of the face in a long film."""

import gc
import weakref

import numpy as np
import pytest

from hcp_mer.errors import UserError
from hcp_mer.motion.flow import Estimator
from hcp_mer.motion.intervals import spot_intervals
from tests.motion.filmed import Film, bump

FPS = 15


class Nothing(Estimator):
    """Says that nothing moves, and counts how often it was asked."""

    def __init__(self):
        super().__init__(None)
        self.asked = 0

    def _measure(self, onset, apex):
        self.asked += 1
        return np.zeros((*onset.shape[:2], 2), np.float32)


def at_times(frames, fps=FPS):
    return ((number / fps, frame) for number, frame in enumerate(frames))


def moments(count, fps, *starts_s, lasts_s):
    """Rises and falls, one from each of these times, as strengths 0…1."""
    return sum(
        bump(count, start * fps, (start + 0.45 * lasts_s) * fps, (start + lasts_s) * fps)
        for start in starts_s
    )


def long_film(person, seconds, fps, expressions_s, blinks_s, peak_px=2.0, drift_px=3.0):
    """A film with expressions of 0.45 s, (start, units) each, blinks and a head that wanders."""
    count = round(seconds * fps)
    time_s = np.arange(count) / fps
    parts = [
        (units, peak_px * moments(count, fps, start, lasts_s=0.45))
        for start, units in expressions_s
    ]
    lids = moments(count, fps, *blinks_s, lasts_s=0.35) if len(blinks_s) else None
    drift = drift_px * np.stack([np.sin(time_s / 1.7), np.sin(time_s / 2.3)], axis=-1)
    return Film(person, count, parts, lids=lids, shift=drift, head=drift[:, ::-1] / 3)


def found_and_false(intervals, expressions_s):
    """How many of the planted expressions were found, and how many intervals are none of them."""
    hits = [
        [it for it in intervals if start - 0.1 <= it.apex_s <= start + 0.55]
        for start, _ in expressions_s
    ]
    return sum(map(bool, hits)), len(intervals) - sum(map(len, hits))


@pytest.fixture(scope="module")
def watched():
    planted = [(1.2, (12,)), (3.6, (1, 2)), (6.4, (4,))]
    film = long_film(8001, 8, FPS, planted, blinks_s=(2.4, 5.0))
    return planted, list(spot_intervals(at_times(film)))


def test_planted_expressions_are_found_and_blinks_and_drift_are_not(watched):
    planted, intervals = watched
    assert found_and_false(intervals, planted) == (3, 0)


def test_an_interval_covers_its_movement(watched):
    planted, intervals = watched
    for (start_s, _), interval in zip(planted, intervals, strict=True):
        first_s, last_s = interval.first_s, interval.last_s
        shared_s = min(last_s, start_s + 0.45) - max(first_s, start_s)
        assert shared_s / (max(last_s, start_s + 0.45) - min(first_s, start_s)) > 0.5
        assert interval.first < interval.apex < interval.last
        assert interval.apex_s == pytest.approx(interval.apex / FPS)
        assert abs(interval.apex_s - start_s - 0.2) <= 2 / FPS
        assert interval.score > 1
        assert 0.3 < interval.moved_px < 2.5


def test_frames_are_taken_one_by_one_and_let_go():
    film = Film(8002, 1).frame(0)
    alive, most, given = [], 0, 0

    def frames():
        nonlocal most, given
        for number in range(120):
            frame = film.copy()
            alive.append(weakref.ref(frame))
            given += 1
            gc.collect(0)
            most = max(most, sum(ref() is not None for ref in alive))
            yield number / FPS, frame
            del frame

    estimator = Nothing()
    intervals = spot_intervals(frames(), flow_estimator=estimator)
    assert given == 0
    assert list(intervals) == []
    assert given == 120
    assert most <= 3  # this one, the one before, and the one being made
    assert estimator.asked <= 2 * 120


def test_an_interval_is_known_before_the_film_is_over():
    film = long_film(8003, 4, FPS, [(0.8, (12,))], blinks_s=())
    taken = []
    frames = (taken.append(at) or pair for at, pair in enumerate(at_times(film)))
    first = next(spot_intervals(frames))
    assert abs(first.apex_s - 1.0) <= 2 / FPS
    assert len(taken) <= (first.apex_s + 0.9) * FPS


def test_fast_films_are_read_at_60_frames_a_second():
    frame, estimator = Film(8004, 1).frame(0), Nothing()
    assert list(spot_intervals(at_times([frame] * 240, fps=240), flow_estimator=estimator)) == []
    assert 55 <= estimator.asked <= 65


def test_nothing_is_found_across_a_cut():
    one, other = (list(Film(person, 15)) for person in (8005, 8006))
    assert list(spot_intervals(at_times(one + other))) == []


def test_times_must_increase():
    frame = Film(8007, 1).frame(0)
    with pytest.raises(UserError, match=r"times must increase .* 0\.1 s for frame 2 after 0.1 s"):
        list(spot_intervals([(0.0, frame), (0.1, frame), (0.1, frame)]))


def test_a_film_that_is_shorter_than_a_window_or_too_slow_is_refused():
    frame = Film(8008, 1).frame(0)
    for frames in ([], [(0.0, frame)], at_times([frame] * 6), at_times([frame] * 10, fps=5)):
        with pytest.raises(UserError, match=r"more than 0\.5 s, with at least 6 frames"):
            list(spot_intervals(frames))


def test_a_window_has_a_length():
    with pytest.raises(UserError, match="window_s must be more than 0 s, got 0"):
        spot_intervals([], window_s=0)


@pytest.mark.slow
@pytest.mark.parametrize("person", [8011, 8013])
def test_in_a_minute_at_30_frames_a_second_all_are_found_with_two_false_alarms_at_most(person):
    rng = np.random.default_rng(person)
    starts_s = rng.permutation(np.arange(2, 56, 6)) + rng.uniform(0, 3, 9)
    units = ((12,), (4,), (1, 2))
    planted = list(zip(starts_s[:3].tolist(), units))
    film = long_film(person, 60, 30, planted, blinks_s=starts_s[3:])
    found, false = found_and_false(list(spot_intervals(at_times(film, 30))), planted)
    assert found == 3
    assert false <= 2
