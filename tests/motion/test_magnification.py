"""Magnifiers against known motion."""

import numpy as np
import pytest

from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.model.magnification_hcp_mer import limited_alpha, magnify
from hcp_mer.motion.magnify import magnifier

INNER = (slice(20, -20), slice(20, -20))


def distance(image: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square difference in grey levels, borders apart."""
    return float(np.sqrt(np.mean((image.astype(np.float64) - truth)[INNER] ** 2)))


@pytest.mark.parametrize("peak_px", [0.1, 0.25, 0.5, 1.0])
def test_tenfold_motion_is_nearer_the_truth_than_eulerian_or_nothing(portrait, known, peak_px):
    for seed in range(2):
        motion = known.blobs(seed, peak_px, sigmas_px=(40, 55), most=1)
        truth = np.clip(portrait.moved(motion, times=10), 0, 255)
        onset, apex = portrait.frames(motion, seed)
        flow_px = estimate_flow(onset, apex)
        found = distance(magnify(apex, flow_px, 10.0), truth)
        assert found < distance(apex, truth) / 1.5
        eulerian = magnifier("eulerian")(onset, apex, flow_px, 10.0)
        assert found < distance(eulerian, truth) / 1.5


@pytest.mark.parametrize("name", ["lagrangian", "eulerian"])
def test_alpha_one_returns_the_apex_unchanged(name):
    rng = np.random.default_rng(0)
    onset, apex = rng.integers(0, 256, (2, 48, 40, 3), dtype=np.uint8)
    flow_px = rng.normal(0, 3, (48, 40, 2)).astype(np.float32)
    np.testing.assert_array_equal(magnifier(name)(onset, apex, flow_px, 1.0), apex)


def test_a_shift_of_two_pixels_threefold_moves_the_apex_four_more():
    apex = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    flow_px = np.zeros((64, 80, 2), np.float32)
    flow_px[...] = (2, -1)
    magnified = magnify(apex, flow_px, 3.0)
    expected = np.roll(apex, (-2, 4), axis=(0, 1))
    np.testing.assert_array_equal(magnified[INNER], expected[INNER])


def test_eulerian_multiplies_the_change_and_clips():
    onset = np.array([[[100, 100, 100]]], np.uint8)
    apex = np.array([[[110, 160, 60]]], np.uint8)
    magnified = magnifier("eulerian")(onset, apex, np.zeros((1, 1, 2), np.float32), 5.0)
    np.testing.assert_array_equal(magnified, [[[150, 255, 0]]])


@pytest.mark.parametrize(
    ("alpha", "limit_px", "expected"),
    [(8, 10, 3), (2, 10, 2), (8, 35, 8), (8, 0.5, 1.1), (1, 1, 1)],
)
def test_alpha_gives_way_to_the_largest_added_displacement(alpha, limit_px, expected):
    flow_px = np.zeros((4, 4, 2), np.float32)
    flow_px[1, 2] = (3, -4)  # 5 px, of which magnification adds α − 1 times
    assert limited_alpha(flow_px, alpha, limit_px) == pytest.approx(expected)


def test_alpha_is_kept_where_nothing_moves():
    assert limited_alpha(np.zeros((4, 4, 2), np.float32), 8, 10) == 8


@pytest.mark.parametrize("name", ["lagrangian", "eulerian"])
@pytest.mark.parametrize("alpha", [0.99, -1.0])
def test_attenuation_is_refused(name, alpha):
    frame, flow_px = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 32, 2), np.float32)
    with pytest.raises(ValueError, match=f"alpha must be at least 1, .* got {alpha}"):
        magnifier(name)(frame, frame, flow_px, alpha)


def test_misfits_are_refused():
    frame, flow_px = np.zeros((32, 32, 3), np.uint8), np.zeros((32, 30, 2), np.float32)
    with pytest.raises(ValueError, match=r"one size, got \(32, 30\) and \(32, 32\)"):
        magnify(frame, flow_px, 2.0)
    with pytest.raises(ValueError, match="onset and apex must have one size"):
        magnifier("eulerian")(frame[:30], frame, flow_px, 2.0)
    with pytest.raises(ValueError, match="max_displacement_px must be more than 0 px, got 0"):
        limited_alpha(flow_px, 2.0, 0)
