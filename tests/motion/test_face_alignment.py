"""Face, face_transform and align: a place on the face becomes the same pixel in every clip."""

import cv2
import numpy as np
import pytest

from hcp_mer.errors import UserError
from hcp_mer.model.face_regions_hcp_mer import EYE_SHARES
from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.motion.alignment import Face, align, centre_transform, face_transform

FRAME = np.zeros((480, 640, 3), np.uint8)
# 100 px apart on a level line: the square's side is 100 / 0.28 px, its corner eyes minus shares.
LEVEL = Face(eyes=((250, 200), (350, 200)))


def mapped(transform, points):
    return np.array(points) @ transform[:, :2].T + transform[:, 2]


@pytest.mark.parametrize(
    "eyes",
    [
        ((250, 200), (350, 200)),
        ((250.25, 180.5), (333.3, 260.7)),
        ((10, 470), (630, 5)),
        ((299.9, 100), (300.1, 400)),
    ],
)
def test_a_similarity_puts_given_eyes_exactly_at_their_places(eyes):
    transform = face_transform(FRAME, Face(eyes=eyes))
    assert transform.dtype == np.float64
    assert transform.shape == (2, 3)
    np.testing.assert_allclose(mapped(transform, eyes), EYE_SHARES, atol=1e-6)
    linear = transform[:, :2]
    scale = 0.28 / np.hypot(eyes[1][0] - eyes[0][0], eyes[1][1] - eyes[0][1])
    np.testing.assert_allclose(linear @ linear.T, scale**2 * np.eye(2), atol=1e-12)
    assert np.linalg.det(linear) > 0  # no mirror


def test_a_level_face_is_placed_as_reckoned_by_hand():
    side_px = 100 / 0.28
    corner = (250 - 0.36 * side_px, 200 - 0.415 * side_px)
    transform = face_transform(FRAME, LEVEL)
    expected = np.array([[1, 0, -corner[0]], [0, 1, -corner[1]]]) / side_px
    np.testing.assert_allclose(transform, expected, atol=1e-12)


def test_a_box_alone_is_not_turned_and_has_its_eyes_at_a_mean_face_s_places():
    """Brows to chin, 200 × 220 px: the eyes are 44 % of its width apart, 16.5 % down."""
    transform = face_transform(FRAME, Face(box=(100, 80, 200, 220)))
    eyes = [(156, 116.3), (244, 116.3)]
    np.testing.assert_allclose(mapped(transform, eyes), EYE_SHARES, atol=1e-9)
    assert transform[0, 1] == transform[1, 0] == 0


def test_eyes_are_believed_rather_than_a_box():
    both = Face(eyes=LEVEL.eyes, box=(0, 0, 50, 50))
    np.testing.assert_array_equal(face_transform(FRAME, both), face_transform(FRAME, LEVEL))


def test_faces_are_plain_comparable_values_whatever_they_were_given_as():
    face = Face(eyes=np.array([[1, 2], [3, 4]]), box=[np.float32(5), 6, 7, 8])
    assert face == Face(((1.0, 2.0), (3.0, 4.0)), (5.0, 6.0, 7.0, 8.0))
    assert repr(face) == "Face(eyes=((1.0, 2.0), (3.0, 4.0)), box=(5.0, 6.0, 7.0, 8.0))"


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "needs eyes or a box, got neither"),
        ({"eyes": ((1, 2), (NAN, 4))}, "two points of finite numbers"),
        ({"eyes": ((1, 2, 3), (4, 5, 6))}, "two points of finite numbers"),
        ({"eyes": ((3, 4), (1, 2))}, "left of the image first, got .* Swap them"),
        ({"eyes": ((3, 4), (3, 4))}, "left of the image first"),
        ({"box": (1, 2, INF, 4)}, "four finite numbers"),
        ({"box": (1, 2, 3)}, "four finite numbers"),
        ({"box": (1, 2, 0, 4)}, "a width and a height above 0 px, got"),
        ({"box": (1, 2, 3, -4)}, "a width and a height above 0 px, got"),
    ],
)
def test_what_cannot_be_a_face_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        Face(**given)


@pytest.mark.parametrize(
    "face",
    [Face(eyes=((-1, 5), (50, 5))), Face(eyes=((600, 5), (641, 5))), Face(box=(0, 475, 9, 90))],
)
def test_a_face_outside_its_frame_is_refused(face):
    with pytest.raises(UserError, match=r"does not lie in a frame of 640×480 px\. Give it in px"):
        face_transform(FRAME, face)


def test_the_middle_square_of_a_wide_and_of_a_tall_frame():
    wide = np.zeros((4, 8, 3), np.uint8)
    wide[:, 2:6] = np.arange(1, 5)[:, None]
    for frame in (wide, wide.transpose(1, 0, 2)):
        square = align(frame, centre_transform(frame), 4)
        np.testing.assert_array_equal(square, frame[frame[..., 0] > 0].reshape(4, 4, 3))


def test_pixels_that_need_no_resampling_are_kept():
    frame = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    part = np.array([[1, 0, -20], [0, 1, -12]]) / 32
    np.testing.assert_array_equal(align(frame, part, 32), frame[12:44, 20:52])


@pytest.mark.parametrize("times", [2, 5])
def test_a_larger_face_is_averaged_over_areas(times):
    frame = np.random.default_rng(0).integers(0, 256, (320, 320, 3), dtype=np.uint8)
    square = align(frame, centre_transform(frame), 320 // times)
    areas = frame.reshape(320 // times, times, 320 // times, times, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(square[8:-8, 8:-8], areas[8:-8, 8:-8], atol=0.51)


def test_a_face_in_part_of_the_frame_is_read_as_if_from_all_of_it():
    frame = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    face, size = Face(eyes=((180.3, 120.6), (230.3, 120.6))), 180  # 50 px: enlarged by 1.008
    to_square = size * face_transform(frame, face)
    to_square[:, 2] += to_square[:, :2] @ (0.5, 0.5) - 0.5
    whole = cv2.warpAffine(frame, to_square, (size, size), flags=cv2.INTER_LANCZOS4)
    square = align(frame, face_transform(frame, face), size)
    away = np.abs(square.astype(int) - whole)
    assert np.quantile(away, 0.99) == 0
    assert away.max() <= 12  # where a place is rounded to another 1/32 px, on white noise


def test_places_stay_true_where_a_small_square_has_no_whole_share_of_the_pixels():
    rows = np.arange(61, dtype=np.float64)
    ramp = np.broadcast_to((4 * rows)[:, None, None], (61, 45, 3)).astype(np.uint8)
    square = align(ramp, centre_transform(ramp), 16)
    places = 8 + (np.arange(16) + 0.5) * 45 / 16 - 0.5
    np.testing.assert_allclose(square[:, 8, 0], 4 * places, atol=1.5)


def test_a_smaller_face_is_enlarged_smoothly():
    columns = np.arange(40, dtype=np.float64) + 0.5
    ramp = np.broadcast_to(np.rint(5 * columns), (40, 40))
    frame = np.repeat(ramp[..., None], 3, axis=-1).astype(np.uint8)
    square = align(frame, centre_transform(frame), 160)
    expected = 5 * (np.arange(160) + 0.5) / 4
    away = np.abs(square[80, 20:-20, 1] - expected[20:-20])
    assert away.max() < 1.5


def test_beyond_the_frame_its_border_goes_on():
    frame = np.full((100, 100, 3), 50, np.uint8)
    frame[:, :10] = 200
    square = align(frame, face_transform(frame, Face(eyes=((20, 50), (70, 50)))), 64)
    assert (square[:, :4] == 200).all()
    assert (square[:, -4:] == 50).all()


def test_a_grey_picture_is_aligned_like_a_colour_one():
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    transform = face_transform(frame, Face(eyes=((40.3, 40), (70, 45))))
    grey = align(np.ascontiguousarray(frame[..., 1]), transform, 48)
    np.testing.assert_array_equal(grey, align(frame, transform, 48)[..., 1])


@pytest.mark.parametrize(("growth", "tilt_deg"), [(1.0, 0), (1.7, -12), (2.3, 5)])
def test_alignment_moves_nothing_and_keeps_what_moves(portrait, known, growth, tilt_deg):
    """A tenth of a pixel, filmed larger and tilted, comes back as well as in the portrait itself.

    Every frame is resampled alike, so rounded places and inexact kernels are no motion.
    """
    motion, turn = known.blobs(1, peak_px=0.1), np.deg2rad(tilt_deg)
    to_frame = growth * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    rows, columns = np.mgrid[0:480, 0:640] + 0.5
    middle = np.array([320.3, 239.8])
    places = (np.stack([columns, rows], axis=-1) - middle) @ np.linalg.inv(to_frame).T + 111.5

    def filmed(times):
        back = np.zeros_like(places)
        for _ in range(10):
            back = times * motion(*np.moveaxis(places - back, -1, 0))
        return portrait.at(*np.moveaxis(places - back, -1, 0))

    to_share = np.linalg.inv(to_frame) / 224
    transform = np.column_stack([to_share, 0.5 - to_share @ middle])
    true_px = portrait.true_flow_px(motion)
    scenes = filmed(0), filmed(1)

    def errors_px(seed):
        rng = np.random.default_rng(seed)
        aligned = [align(known.sensed(scene, rng), transform, 224) for scene in scenes]
        for frames in (aligned, portrait.frames(motion, seed)):
            yield known.end_point_error_px(estimate_flow(*frames), true_px)

    # One drawing of the noise says little about a tenth of a pixel: the mean of four.
    error_px, unaligned_px = np.mean([list(errors_px(seed)) for seed in range(4)], axis=0)
    assert error_px < 1.1 * unaligned_px
    assert error_px < 0.3 * known.end_point_error_px(np.zeros_like(true_px), true_px)
