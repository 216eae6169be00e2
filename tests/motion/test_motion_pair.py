"""motion_pair, its settings, and resize_frame."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

from hcp_mer.model import motion_hcp_mer
from hcp_mer.model.face_regions_hcp_mer import face_mask
from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.model.flow_image_hcp_mer import flow_to_image
from hcp_mer.model.frames_hcp_mer import resize_frame
from hcp_mer.model.magnification_hcp_mer import limited_alpha, magnify
from hcp_mer.model.motion_hcp_mer import MotionSettings, mask_flow, motion_pair, motion_pairs
from hcp_mer.model.registration_hcp_mer import remove_head_motion


def test_two_equal_frames_give_the_apex_and_an_image_of_no_motion(portrait, known):
    onset = known.sensed(portrait.still, np.random.default_rng(0))
    pair = motion_pair(onset, onset)
    np.testing.assert_array_equal(pair.magnified, onset)
    np.testing.assert_array_equal(
        pair.flow_image, np.broadcast_to(np.uint8([128, 128, 0]), (224, 224, 3))
    )
    assert pair.flow_scale_px == 0.25


def test_a_moving_head_is_no_expression(portrait, known):
    onset, apex = portrait.frames(known.affine((1.5, -1.0), turn_deg=0.3), seed=0)
    pair = motion_pair(onset, apex)
    shown_px = (pair.flow_image[..., :2].astype(float) - 128) / 127 * pair.flow_scale_px
    assert np.abs(shown_px).mean() < 0.03
    assert np.abs(pair.magnified.astype(int) - apex).mean() < 2


def test_without_registration_and_masked_eyes_a_pair_is_the_public_steps_by_hand(portrait, known):
    smile, head = known.blobs(5, 1.0), known.affine((0.6, -0.4), turn_deg=0.2)
    onset, apex = portrait.frames(lambda x, y: smile(x, y) + head(x, y), seed=5)
    mask = face_mask(224, 224)
    flow_px = mask_flow(remove_head_motion(estimate_flow(onset, apex), mask), mask)
    magnified = magnify(apex, flow_px, limited_alpha(flow_px, 8.0, max_displacement_px=10.0))
    image, scale_px = flow_to_image(flow_px, floor_px=0.25)

    pair = motion_pair(onset, apex, MotionSettings(register=False, mask_eyes=False))
    np.testing.assert_array_equal(pair.magnified, magnified)
    np.testing.assert_array_equal(pair.flow_image, image)
    assert pair.flow_scale_px == scale_px


def test_what_moves_beside_the_face_is_not_shown():
    def only_the_corner_moves(onsets, apexes):
        flow_px = np.zeros((96, 96, 2), np.float32)
        flow_px[:12, :12] = (2, 2)
        return [flow_px]

    frame = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    (pair,) = motion_pairs([frame], [frame], flow_estimator=only_the_corner_moves)
    np.testing.assert_array_equal(pair.magnified, frame)
    np.testing.assert_allclose(
        pair.flow_image.astype(int), np.full((96, 96, 3), (128, 128, 0)), atol=1
    )


def test_a_raised_brow_is_shown_where_and_as_it_moves(portrait, known):
    def raised_brow(columns, rows):
        bump = np.exp(-((columns - 90) ** 2 + (rows - 80) ** 2) / (2 * 15.0**2))
        return bump[..., None] * (0.0, -0.6)

    pair = motion_pair(*portrait.frames(raised_brow, seed=0))
    shown_px = (pair.flow_image[..., :2].astype(float) - 128) / 127 * pair.flow_scale_px
    strongest = np.argwhere(pair.flow_image[..., 1] == 1)  # rows and columns that saturate upwards
    assert np.linalg.norm(strongest.mean(axis=0) - (80, 90)) < 8
    # Up; the scale saturates the strongest 1 %, a disc of 12.6 px, at whose rim 0.42 px are left.
    assert shown_px[80, 90, 1] == pytest.approx(-0.42, abs=0.1)
    assert abs(shown_px[80, 90, 0]) < 0.1
    truth = portrait.moved(raised_brow, times=8)
    around = (slice(50, 110), slice(60, 120))
    _, apex = portrait.frames(raised_brow, seed=0)
    assert (
        np.abs(pair.magnified[around] - truth[around]).mean()
        < np.abs(apex[around] - truth[around]).mean() / 2
    )


@pytest.mark.parametrize(("width", "limit_px"), [(112, 5), (224, 10), (448, 20)])
def test_the_displacement_limit_scales_with_the_width(width, limit_px):
    received = {}

    def still_but_for_the_mouth(onsets, apexes):
        flow_px = np.zeros((width, width, 2), np.float32)
        middle = slice(width // 2 - 8, width // 2 + 8)
        flow_px[middle, middle] = (0, 5)
        return [flow_px]

    def remember(onsets, apexes, flows_px, alphas):
        received.update(largest_px=np.linalg.norm(flows_px[0], axis=-1).max(), alpha=alphas[0])
        return apexes

    frame = np.random.default_rng(0).integers(0, 256, (width, width, 3), dtype=np.uint8)
    motion_pairs([frame], [frame], flow_estimator=still_but_for_the_mouth, magnifier=remember)
    assert received["largest_px"] == pytest.approx(5, abs=0.1)
    assert (received["alpha"] - 1) * received["largest_px"] == pytest.approx(limit_px)


def test_the_floor_of_the_scale_scales_with_the_width():
    frame = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    assert motion_pair(frame, frame).flow_scale_px == 0.125
    assert motion_pair(frame, frame, MotionSettings(flow_floor_px=1.0)).flow_scale_px == 0.5


def test_settings_survive_a_config_file():
    settings = MotionSettings(alpha=5.0, mask_eyes=True)
    saved = json.loads(json.dumps(settings.to_dict()))
    lengths = {"max_displacement_px": 10.0, "flow_floor_px": 0.25}
    image = {"flow_encoding": "uv_strain", "flow_scale_px": None}
    assert saved == {"alpha": 5.0, **lengths, "register": False, "mask_eyes": True, **image}
    assert MotionSettings(**saved) == settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": 0.5}, "alpha must be at least 1, which changes nothing, got 0.5"),
        ({"alpha": float("nan")}, "got nan"),
        ({"max_displacement_px": 0}, "max_displacement_px must be more than 0 px, got 0"),
        ({"flow_floor_px": -1}, "flow_floor_px must be more than 0 px, got -1"),
        ({"register": 1}, "register must be True or False, got 1"),
        ({"mask_eyes": "no"}, "mask_eyes must be True or False, got 'no'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        MotionSettings(**settings)


def test_resizing_averages_areas_when_a_frame_shrinks():
    frame = np.zeros((4, 4, 3), np.uint8)
    frame[:2, :2] = [[[10, 0, 0], [20, 0, 0]], [[30, 0, 0], [40, 0, 0]]]
    np.testing.assert_array_equal(resize_frame(frame, 2)[..., 0], [[25, 0], [0, 0]])


def test_resizing_gives_a_square_of_any_aspect_ratio():
    frame = np.full((340, 280, 3), (10, 20, 30), np.uint8)
    for size in (224, 300, 500):
        np.testing.assert_array_equal(
            resize_frame(frame, size), np.full((size, size, 3), (10, 20, 30))
        )


def test_enlarging_is_cubic_and_keeping_the_size_changes_nothing():
    frame = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize_frame(frame, 40), frame)
    edge = np.zeros((8, 8, 3), np.uint8)
    edge[:, 4:] = 100
    assert resize_frame(edge, 32).max() > 100  # a cubic overshoots at an edge, a linear one never


def test_resizing_refuses_no_size_and_no_frame():
    with pytest.raises(ValueError, match="size must be at least 1 px, got 0"):
        resize_frame(np.zeros((8, 8, 3), np.uint8), 0)
    with pytest.raises(ValueError, match=r"frame must have shape \(H, W, 3\), got \(8, 8\)"):
        resize_frame(np.zeros((8, 8), np.uint8), 4)


def test_motion_travels_with_numpy_and_opencv_alone():
    files, outside = ["motion_hcp_mer"], set()
    for name in files:  # which grows by the neighbours that a file imports
        path = Path(motion_hcp_mer.__file__).with_name(f"{name}.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                outside |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                outside.add(node.module.split(".")[0])
            elif isinstance(node, ast.ImportFrom) and node.module not in files:
                files.append(node.module)
    parts = ["flow", "flow_image", "magnification", "registration", "face_regions", "frames"]
    assert set(files) == {"motion_hcp_mer", *(f"{part}_hcp_mer" for part in parts)}
    standard = {"__future__", "collections", "dataclasses", "difflib", "functools", "typing"}
    assert outside == {*standard, "cv2", "numpy"}
