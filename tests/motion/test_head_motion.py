"""face_mask, mask_flow and remove_head_motion."""

import numpy as np
import pytest

from hcp_mer.model.face_regions_hcp_mer import face_mask
from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.model.motion_hcp_mer import mask_flow
from hcp_mer.model.registration_hcp_mer import remove_head_motion

FACE = face_mask(224, 224)


def test_mask_is_one_on_the_face_half_on_the_ellipse_and_zero_in_the_corners():
    mask = face_mask(101, 201)
    assert mask.dtype == np.float32
    assert mask[50, 100] == pytest.approx(1, abs=1e-3)
    assert mask[50, 33:35].mean() == pytest.approx(0.5, abs=0.08)  # 100.5 − 0.33 · 201 = 34.2
    assert mask[6:8, 100].mean() == pytest.approx(0.5, abs=0.08)  # 50.5 − 0.43 · 101 = 7.1
    assert max(mask[0, 0], mask[-1, 0], mask[0, -1], mask[-1, -1]) < 1e-3
    np.testing.assert_allclose(mask, mask[::-1, ::-1], atol=1e-4)


def test_masked_flow_is_the_product():
    flow_px = np.array([[[1.0, -2.0], [3.0, 4.0]]], np.float32)
    masked_px = mask_flow(flow_px, np.array([[0.5, 0.0]], np.float32))
    np.testing.assert_array_equal(masked_px, [[[0.5, -1.0], [0.0, 0.0]]])


@pytest.mark.parametrize("seed", range(5))
def test_a_known_head_motion_goes_and_a_local_movement_stays(portrait, known, seed):
    rng = np.random.default_rng(seed)
    head = known.affine(rng.uniform(-1.5, 1.5, 2), rng.uniform(-0.5, 0.5), rng.uniform(-4, 4) / 1e3)
    local_px = portrait.true_flow_px(known.blobs(seed, 0.5, sigmas_px=(15, 22), most=1))
    flow_px = (local_px + portrait.true_flow_px(head)).astype(np.float32)
    left_px = remove_head_motion(flow_px, FACE)
    on_face = FACE > 0.5
    assert np.linalg.norm(left_px - local_px, axis=-1)[on_face].max() < 0.02


def test_head_motion_goes_from_an_estimated_flow_too(portrait, known):
    head, smile = known.affine((1.2, -0.8), turn_deg=0.4), known.blobs(3, 0.5, (22, 22), most=1)
    frames = portrait.frames(lambda x, y: head(x, y) + smile(x, y), seed=3)
    left_px = remove_head_motion(estimate_flow(*frames), FACE)
    error_px = np.linalg.norm(left_px - portrait.true_flow_px(smile), axis=-1)
    assert error_px[FACE > 0.5].mean() < 0.06


def test_a_head_motion_alone_leaves_nothing_anywhere(portrait, known):
    flow_px = portrait.true_flow_px(known.affine((2.0, -1.0), 1.0, 0.01)).astype(np.float32)
    np.testing.assert_allclose(remove_head_motion(flow_px, FACE), 0, atol=1e-4)


def test_what_lies_outside_the_mask_does_not_count():
    flow_px = np.zeros((96, 96, 2), np.float32)
    flow_px[:, :48] = 5.0  # a background that moves
    mask = np.zeros((96, 96), np.float32)
    mask[:, 48:] = 1.0
    np.testing.assert_allclose(remove_head_motion(flow_px, mask), flow_px, atol=1e-4)


def test_misfits_are_refused():
    flow_px = np.zeros((64, 64, 2), np.float32)
    with pytest.raises(ValueError, match=r"one size, got \(64, 64\) and \(32, 64\)"):
        mask_flow(flow_px, face_mask(32, 64))
    with pytest.raises(ValueError, match=r"shape \(H, W, 2\), got \(64, 64\)"):
        remove_head_motion(flow_px[..., 0], face_mask(64, 64))
    with pytest.raises(ValueError, match="must cover a face"):
        remove_head_motion(flow_px, np.zeros((64, 64), np.float32))
    with pytest.raises(ValueError, match="must be finite"):
        remove_head_motion(np.full((64, 64, 2), np.nan, np.float32), face_mask(64, 64))
