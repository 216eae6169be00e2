"""estimate_flow against known motion."""

import cv2
import numpy as np
import pytest

from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.motion.flow import estimator

SEEDS = range(6)
INNER = (slice(24, -24), slice(24, -24))


def test_a_quarter_pixel_is_found_within_a_fifteenth_and_three_times_as_well_as_by_dis(
    portrait, known
):
    refined_px, dis_px = [], []
    for seed in SEEDS:
        motion = known.blobs(seed, peak_px=0.25)
        true_px = portrait.true_flow_px(motion)
        frames = portrait.frames(motion, seed)
        refined_px.append(known.end_point_error_px(estimate_flow(*frames), true_px))
        dis_px.append(known.end_point_error_px(estimator("dis")(*frames), true_px))
    assert np.mean(refined_px) <= 1 / 60
    assert np.mean(refined_px) <= np.mean(dis_px) / 3


@pytest.mark.parametrize("peak_px", [0.05, 0.1, 0.5, 1.0, 2.0])
def test_flow_explains_most_of_any_small_motion_through_sensor_noise(portrait, known, peak_px):
    shares = []
    for seed in range(3):
        motion = known.blobs(seed, peak_px)
        true_px = portrait.true_flow_px(motion)
        error_px = known.end_point_error_px(estimate_flow(*portrait.frames(motion, seed)), true_px)
        shares.append(error_px / known.end_point_error_px(np.zeros_like(true_px), true_px))
    assert np.mean(shares) < (0.45 if peak_px < 0.1 else 0.25)


@pytest.mark.parametrize(("right_px", "down_px"), [(1, 0), (0, 1), (3, -2)])
def test_flow_is_dx_then_dy_from_onset_to_apex(portrait, known, right_px, down_px):
    onset = known.sensed(portrait.still, np.random.default_rng(0), noise=0)
    apex = np.roll(onset, (down_px, right_px), axis=(0, 1))
    flow_px = estimate_flow(onset, apex)
    np.testing.assert_allclose(
        np.median(flow_px[INNER], axis=(0, 1)), (right_px, down_px), atol=0.02
    )
    assert np.abs(flow_px[INNER] - (right_px, down_px)).mean() < 0.03


def test_head_motion_of_several_pixels_is_followed_and_left_in(portrait, known):
    motion = known.affine((3.6, -2.4), turn_deg=0.3)
    error_px = estimate_flow(*portrait.frames(motion, 1)) - portrait.true_flow_px(motion)
    assert np.linalg.norm(error_px[INNER], axis=-1).mean() < 0.06


def test_light_that_changes_slowly_across_the_face_is_no_motion(portrait, known):
    """The right side is 8 levels brighter in the apex."""
    motion = known.blobs(2, peak_px=0.25)
    onset, apex = portrait.frames(motion, seed=2)
    lamp = np.linspace(0, 8, 224)[None, :, None]
    lit = np.clip(np.rint(apex + lamp), 0, 255).astype(np.uint8)
    true_px = portrait.true_flow_px(motion)
    plain_px, lit_px = (
        known.end_point_error_px(estimate_flow(onset, frame), true_px) for frame in (apex, lit)
    )
    assert lit_px < 1.5 * plain_px


def test_frames_larger_than_needed_are_measured_in_their_own_pixels(portrait, known):
    frames = portrait.frames(known.affine((1.0, -0.6)), seed=3, noise=0)
    large = [cv2.resize(frame, (896, 896), interpolation=cv2.INTER_LANCZOS4) for frame in frames]
    flow_px = estimate_flow(*large)
    assert flow_px.shape == (896, 896, 2)
    np.testing.assert_allclose(np.median(flow_px, axis=(0, 1)), (4.0, -2.4), atol=0.05)


@pytest.mark.parametrize(("shift_px", "tolerance_px"), [(0.01, 0.003), (0.5, 0.008)])
def test_interpolation_adds_no_error_of_its_own(portrait, known, shift_px, tolerance_px):
    """A hundredth would be lost to rounded coordinates, a half to a bilinear reading."""
    motion = known.affine((shift_px, -shift_px))
    error_px = estimate_flow(*portrait.frames(motion, 0, noise=0)) - (shift_px, -shift_px)
    assert np.linalg.norm(error_px[INNER], axis=-1).mean() < tolerance_px


def test_the_same_frames_give_the_same_bits(portrait, known):
    frames = portrait.frames(known.blobs(0, 0.5), 0)
    first, second = estimate_flow(*frames), estimate_flow(*frames)
    assert first.dtype == np.float32
    assert first.shape == (224, 224, 2)
    np.testing.assert_array_equal(first, second)


def test_frames_are_not_changed(portrait, known):
    onset, apex = portrait.frames(known.blobs(0, 0.5), 0)
    before = onset.copy(), apex.copy()
    estimate_flow(onset, apex)
    np.testing.assert_array_equal((onset, apex), before)


@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (101, 60)])
def test_any_size_from_32_px_works(shape):
    texture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert estimate_flow(texture, texture[::-1].copy()).shape == (*shape, 2)
    np.testing.assert_array_equal(estimate_flow(texture, texture), 0)


@pytest.mark.parametrize("levels", [(0, 0), (120, 120), (0, 255)])
def test_frames_without_texture_give_finite_flow(levels):
    onset, apex = (np.full((64, 64, 3), level, np.uint8) for level in levels)
    assert np.isfinite(estimate_flow(onset, apex)).all()


GOOD = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("onset", "apex", "message"),
    [
        (GOOD.astype(np.float32), GOOD, "onset must be a uint8 array, got float32"),
        (GOOD, GOOD.tolist(), "apex must be a uint8 array, got list"),
        (GOOD[..., 0], GOOD, r"onset must have shape \(H, W, 3\), got \(64, 64\)"),
        (GOOD, GOOD[..., :2], r"apex must have shape \(H, W, 3\), got \(64, 64, 2\)"),
        (GOOD, GOOD[:60], r"must have one size, got \(64, 64\) and \(60, 64\)"),
        (GOOD[:31], GOOD[:31], r"at least 32 px a side, got \(31, 64\)"),
    ],
)
def test_wrong_frames_are_refused_in_one_line(onset, apex, message):
    with pytest.raises(ValueError, match=message) as caught:
        estimate_flow(onset, apex)
    assert "\n" not in str(caught.value)
