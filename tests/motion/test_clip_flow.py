"""estimate_clip_flow: the other frames of a clip take noise away, and add no error of their own."""

import numpy as np
import pytest

from hcp_mer.errors import UserError
from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.motion.clip_flow import estimate_clip_flow

TO_APEX = 10


def clip_of(portrait, known, parts, seed, lag=0.0, noise=2.0):
    """Onset to apex and back, 2 · TO_APEX + 1 frames, each part half a cosine; and the truth.

    The second part follows the first by `lag` frames, so that it comes to its peak later.
    """

    def shares(time):
        ahead, at_onset = (
            [
                0.5 - 0.5 * np.cos(np.pi * np.clip(t + d, 0, 2 * TO_APEX) / TO_APEX)
                for d in (lag / 2, -lag / 2)
            ]
            for t in (time, 0)
        )
        return np.subtract(ahead, at_onset)

    def motion_at(time):
        return lambda x, y: sum(s * part(x, y) for s, part in zip(shares(time), parts))

    rng = np.random.default_rng(seed)
    frames = [
        known.sensed(portrait.moved(motion_at(time)), rng, noise) for time in range(2 * TO_APEX + 1)
    ]
    return frames, portrait.true_flow_px(motion_at(TO_APEX))


def errors_px(known, frames, true_px):
    return (
        known.end_point_error_px(estimate_clip_flow(frames, TO_APEX), true_px),
        known.end_point_error_px(estimate_flow(frames[0], frames[TO_APEX]), true_px),
    )


@pytest.mark.slow
def test_twenty_one_frames_leave_two_thirds_of_the_error_that_noise_makes(portrait, known):
    several_px, two_px = np.mean(
        [
            errors_px(
                known, *clip_of(portrait, known, [known.blobs(seed, 0.125)] * 2, seed, noise=4.0)
            )
            for seed in (1, 2)
        ],
        axis=0,
    )
    assert several_px < 0.67 * two_px


@pytest.mark.slow
def test_parts_of_the_face_may_move_one_after_the_other(portrait, known):
    """As one course over time, the later part would be shown at a strength that it has not."""
    parts = [known.blobs(seed, 0.4, most=1) for seed in (11, 17)]
    clip = clip_of(portrait, known, parts, seed=3, lag=5)
    several_px, two_px = errors_px(known, *clip)
    assert several_px < 0.75 * two_px


def test_a_clip_too_short_to_average_is_two_frames(portrait, known):
    frames = portrait.frames(known.blobs(0, 0.5), 0)
    expected = estimate_flow(*frames)
    np.testing.assert_array_equal(estimate_clip_flow(frames, 1), expected)
    np.testing.assert_array_equal(estimate_clip_flow([*frames, frames[0]], 1), expected)


def test_a_clip_of_one_frame_repeated_has_no_flow(portrait, known):
    frame = known.sensed(portrait.still, np.random.default_rng(0))
    # Not exactly: by processor OpenCV blurs equal frames to others in the last bit, 1e-7 px.
    np.testing.assert_allclose(estimate_clip_flow([frame] * 6, 3), 0, atol=1e-5)


def test_a_face_at_rest_moves_less_than_in_two_frames(portrait, known):
    rng = np.random.default_rng(0)
    frames = [known.sensed(portrait.still, rng) for _ in range(12)]
    several_px, two_px = estimate_clip_flow(frames, 6), estimate_flow(frames[0], frames[6])
    assert np.linalg.norm(several_px, axis=-1).mean() < np.linalg.norm(two_px, axis=-1).mean()


@pytest.mark.parametrize("apex_index", [0, -1, 5])
def test_an_apex_outside_the_clip_is_refused(apex_index):
    frames = [np.zeros((64, 64, 3), np.uint8)] * 5
    with pytest.raises(UserError, match=f"must be 1…4 among 5 frames.*got {apex_index}"):
        estimate_clip_flow(frames, apex_index)


def test_frames_of_two_sizes_are_refused():
    frames = [np.zeros((64, side, 3), np.uint8) for side in (64, 64, 60, 64)]
    with pytest.raises(ValueError, match="must have one size"):
        estimate_clip_flow(frames, 1)
