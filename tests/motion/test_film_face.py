"""One transform for a whole film, or one line that says why there is none."""

import tracemalloc

import cv2
import numpy as np
import pytest

from hcp_mer.data.synthetic.clips import render_clip
from hcp_mer.data.synthetic.identity import make_identity
from hcp_mer.errors import UserError
from hcp_mer.model.face_regions_hcp_mer import EYE_SHARES
from hcp_mer.motion import film_face
from hcp_mer.motion.alignment import Face
from hcp_mer.motion.cascade import Cascade
from hcp_mer.motion.face import FaceError, FaceSettings
from hcp_mer.motion.face_detectors import DETECTORS
from hcp_mer.motion.film import open_film
from hcp_mer.motion.film_face import align_film, aligned_frames, find_film_face
from hcp_mer.motion.frames import FrameError
from tests.face_scenes import face_in_frame
from tests.films import cut, noise_frames, write_film

WIDTH, HEIGHT = 160, 120
HERE = Face(eyes=((60, 50), (100, 50)))
BESIDE = Face(eyes=((110, 52), (148, 52)))  # 49 px to the right: more than an eye distance
SMALL = Face(eyes=((10, 20), (25, 20)))
NEARER = Face(eyes=((45, 50), (115, 50)))


@pytest.fixture
def sees(monkeypatch):
    """sees(faces of frame 0, of frame 1, …) → settings whose detector sees them.

    Frames tell their number by the red level of their first pixel. `sees.looks` holds those of
    the frames that were looked at.
    """

    def make(*faces, **options):
        class Told:
            def __init__(self, weights):
                pass

            def find_all(self, frame):
                number = int(frame[0, 0, 0])
                make.looks.append(number)
                return list(faces[min(number, len(faces) - 1)])

        monkeypatch.setitem(DETECTORS, "told", Told)
        return FaceSettings("told", **options)

    make.looks = []
    return make


def frames_of(count, level=128):
    """Frames of a still texture about a level, marked with their number."""
    rng = np.random.default_rng(0)
    texture = rng.normal(0, level / 8, (HEIGHT, WIDTH, 3))
    still = np.rint(level + 4 * cv2.GaussianBlur(texture, (0, 0), 2)).clip(0, 255).astype(np.uint8)
    frames = [still.copy() for _ in range(count)]
    for number, frame in enumerate(frames):
        frame[0, 0] = number
    return frames


def refused(film, settings, *span, **options):
    with pytest.raises(FrameError) as raised:
        align_film(film, settings, 64, *span, **options)
    message = str(raised.value)
    assert "\n" not in message
    assert "/" not in message
    return message


# Real faces, found by the cascade


def test_a_cameras_film_is_aligned_by_the_face_in_its_first_frame(tmp_path, monkeypatch):
    """Eyes land on their places in the square, and a head that is still stays so."""
    scene, eyes = face_in_frame(1, (640, 480), 330, centre=(0.45, 0.5), tilt_deg=8)
    rng = np.random.default_rng(0)
    noisy = [np.clip(scene + rng.normal(0, 1, scene.shape), 0, 255) for _ in range(3)]
    path = write_film(tmp_path / "clip.avi", [frame.astype(np.uint8) for frame in noisy])
    monkeypatch.setattr(film_face, "LOOKS", 1)  # of half a second each
    aligned = align_film(open_film(path), FaceSettings("cascade"))
    assert aligned.found_by == "cascade"
    assert aligned.face_share == 1.0
    assert aligned.numbers == [0, 1, 2]
    np.testing.assert_allclose(aligned.times_s, [0, 1 / 30, 2 / 30], atol=1e-6)
    face = find_film_face(open_film(path), FaceSettings("cascade"), 0, 0)
    landed_px = 224 * (eyes @ face.transform[:, :2].T + face.transform[:, 2])
    assert np.linalg.norm(landed_px - 224 * np.array(EYE_SHARES), axis=1).max() < 4.5
    for square in aligned.frames:
        assert square.shape == (224, 224, 3)
        assert np.abs(square.astype(float) - aligned.frames[0]).mean() < 2


def test_two_people_in_a_film_are_too_many(tmp_path):
    scene = np.hstack([face_in_frame(seed, (320, 320), 220)[0] for seed in (1, 11)])
    film = open_film(write_film(tmp_path / "both.avi", [scene] * 3))
    with pytest.raises(FaceError, match=r"^2 faces in both\.avi: crop it to one of them\.$"):
        find_film_face(film, FaceSettings("cascade"), 0, 0)


@pytest.mark.slow
def test_the_cascade_finds_all_faces_and_first_the_one_that_it_always_found():
    scenes = [face_in_frame(seed, (320, 320), side)[0] for seed, side in ((1, 230), (2, 190))]
    row = np.hstack([*scenes, face_in_frame(11, (320, 320), 150)[0]])
    cascade = Cascade()
    found = cascade.find_all(row)
    assert len(found) == 3
    assert found[0] == cascade.find(row)
    middles = sorted(np.mean(face.eyes, axis=0)[0] for face in found)
    np.testing.assert_allclose(middles, [160, 480, 800], atol=12)
    assert cascade.find_all(np.full((240, 240, 3), 90, np.uint8)) == []


# What is made of what a detector sees


def test_the_first_frames_face_aligns_all_and_others_tell_whether_it_stays(sees):
    settings = sees([HERE], *[[Face(eyes=((61, 51), (101, 50)))]] * 16)
    frames = frames_of(17)
    aligned = align_film(open_film(frames), settings, 64)
    assert sees.looks == [0, 4, 8, 12, 16]
    assert aligned.face_share == 1.0
    assert aligned.found_by == "told"
    assert aligned.times_s is None
    assert len(aligned) == 17
    turn = 64 * (EYE_SHARES[1][0] - EYE_SHARES[0][0]) / 40  # px of the square per px of the frame
    left, top = 64 * np.array(EYE_SHARES[0]) - turn * np.array((60, 50))
    matrix = np.array([[turn, 0, left], [0, turn, top]])
    matrix[:, 2] += (turn - 1) / 2  # OpenCV counts from the centre of the first pixel
    expected = cv2.warpAffine(frames[5], matrix, (64, 64), flags=cv2.INTER_CUBIC)
    middle = slice(8, 56)
    for square in aligned.frames:
        difference = square[middle, middle].astype(float) - expected[middle, middle]
        assert np.abs(difference).mean() < 1.5


def test_a_film_is_read_once_where_its_first_frame_shows_the_face(sees, tmp_path, monkeypatch):
    film = open_film(write_film(tmp_path / "a.avi", frames_of(9)))
    opened, real = [], cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda *given: opened.append(1) or real(*given))
    align_film(film, sees([HERE]), 64)
    assert len(opened) == 1


def test_frames_before_the_first_face_are_aligned_by_it_too(sees, tmp_path):
    path = write_film(tmp_path / "a.avi", frames_of(9))
    settings = sees(*[[]] * 4, [HERE], [], [HERE], [], [HERE])
    late = align_film(open_film(path), settings, 64)
    assert sees.looks == [0, 2, 4, 6, 8]
    assert late.numbers == list(range(9))
    assert late.face_share == 3 / 5
    early = align_film(open_film(path), sees([HERE]), 64)
    for one, other in zip(late.frames, early.frames, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_part_of_a_film_keeps_its_numbers_and_times(sees, tmp_path):
    film = open_film(write_film(tmp_path / "a.avi", frames_of(12)), fps_hz=10)
    part = align_film(film, sees([HERE]), 64, 4, 8)
    assert part.numbers == [4, 5, 6, 7, 8]
    np.testing.assert_allclose(part.times_s, [0.4, 0.5, 0.6, 0.7, 0.8])
    assert sees.looks == [4, 5, 6, 7, 8]


def test_a_long_film_is_aligned_frame_by_frame(sees, tmp_path):
    large = [cv2.resize(frame, (1280, 960)) for frame in frames_of(12)]
    film = open_film(write_film(tmp_path / "a.avi", large, "MJPG"))
    face = find_film_face(film, sees([Face(eyes=((480, 400), (800, 400)))]))
    tracemalloc.start()
    numbers = [frame.number for frame in aligned_frames(film, face.transform, 64, 2)]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert numbers == list(range(2, 12))
    assert most < 4 * large[0].nbytes
    together = align_film(film, sees([Face(eyes=((480, 400), (800, 400)))]), 64)
    for one, other in zip(aligned_frames(film, face.transform, 64), together.frames, strict=True):
        np.testing.assert_array_equal(one.image, other)


def test_a_film_that_breaks_off_is_aligned_up_to_there(sees, tmp_path):
    film = open_film(cut(write_film(tmp_path / "a.mkv", frames_of(12)), 0.6))
    aligned = align_film(film, sees([HERE]), 64)
    assert 5 <= len(aligned) <= 7
    assert film.notes == [
        f"a.mkv breaks off after {len(aligned)} of 12 frames: the rest cannot be decoded."
    ]


def test_frames_that_are_crops_already_are_only_resized():
    clip = render_clip(make_identity(3), "happiness", seed=5, size=96, num_frames=12)
    aligned = align_film(open_film(clip.frames), FaceSettings(), 48)
    assert aligned.found_by == "cropped already"
    assert aligned.face_share == 1.0
    halved = clip.frames[7].reshape(48, 2, 48, 2, 3).mean(axis=(1, 3))
    assert np.abs(aligned.frames[7] - halved).max() <= 1


def test_a_face_that_is_given_is_used_as_it_is(sees):
    film = open_film(frames_of(5))
    given = align_film(film, FaceSettings("given"), 64, given=HERE)
    assert given.found_by == "given"
    assert given.face_share == 1.0
    found = align_film(film, sees([HERE]), 64)
    np.testing.assert_array_equal(given.frames[3], found.frames[3])
    assert refused(film, FaceSettings("given")).startswith("no face is given for frames given;")
    with pytest.raises(UserError, match="does not lie in a frame of 160×120 px"):
        align_film(film, FaceSettings("given"), 64, given=Face(eyes=((150, 50), (190, 50))))


# What is no film of one face


def test_a_film_without_a_face_says_how_many_frames_were_looked_at(sees):
    message = refused(open_film(frames_of(9)), sees([]))
    assert message.startswith("no face found in frames given (5 frames looked at). Show one face")
    assert len(sees.looks) == 5


def test_a_face_in_under_half_of_the_frames_is_too_few(sees):
    film = open_film(frames_of(5))
    message = refused(film, sees([], [HERE], [], [HERE], []))
    assert message.startswith("a face is found in only 2 of 5 frames looked at in frames given.")
    assert align_film(film, sees([], [HERE], [], [HERE], [HERE]), 64).face_share == 3 / 5


@pytest.mark.parametrize("elsewhere", [BESIDE, NEARER])
def test_a_face_that_leaves_its_place_cannot_be_aligned_by_one_transform(sees, elsewhere):
    message = refused(open_film(frames_of(5)), sees([HERE], [HERE], *[[elsewhere]] * 3))
    assert message.startswith("the face is in its place in only 2 of 5 frames looked at in frames")


def test_two_faces_of_similar_size_are_too_many_but_not_by_one_chance_hit(sees):
    film = open_film(frames_of(5))
    both, one = [HERE, BESIDE], [HERE]
    assert refused(film, sees(both)) == "2 faces in frames given: crop it to one of them."
    assert "2 faces in" in refused(film, sees(one, both, one, both, one))
    assert align_film(film, sees(one, both, one), 64).face_share == 1.0


def test_small_faces_in_the_background_do_not_count(sees):
    assert align_film(open_film(frames_of(5)), sees([HERE, SMALL]), 64).face_share == 1.0


def test_the_middle_of_the_frame_will_do_only_where_that_is_said(sees):
    frames = frames_of(5)
    film = open_film(frames)
    for seen in ([[]], [[], [HERE], [], [], []]):
        aligned = align_film(film, sees(*seen, centre_crop=True), HEIGHT)
        assert aligned.found_by == "centre crop"
        assert aligned.face_share == (len(seen) > 1) / 5
        for square, frame in zip(aligned.frames, frames, strict=True):
            middle = frame[:, (WIDTH - HEIGHT) // 2 : (WIDTH + HEIGHT) // 2]
            np.testing.assert_array_equal(square, middle)


@pytest.mark.parametrize("faces", [[HERE], []])
def test_a_dark_film_is_said_to_be_dark_whether_or_not_a_face_is_seen(sees, faces):
    message = refused(open_film(frames_of(5, level=10)), sees(faces))
    assert message.startswith("frames given is too dark: its mean level is 10 of 255, at least 20")
    assert "too dark" in refused(open_film(frames_of(5, level=10)), FaceSettings())
    assert len(align_film(open_film(frames_of(5, level=40)), sees([HERE]), 64)) == 5


def test_the_face_may_not_be_dark_even_if_the_wall_is_bright(sees):
    frames = frames_of(5, level=10)
    for frame in frames:
        frame[:, :30] = frame[:, 130:] = 255
    assert "too dark" in refused(open_film(frames), sees([HERE]))


def test_a_film_of_one_colour_shows_nothing(sees):
    plain = [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 3
    expected = "frames given is one flat colour, no face can be seen in it."
    assert refused(open_film(plain), sees([])) == expected
    assert refused(open_film(plain), FaceSettings()) == expected


def test_a_single_blank_frame_is_named(sees, tmp_path):
    frames = frames_of(9)
    frames[3][:] = 0
    path = write_film(tmp_path / "a.avi", frames)
    assert refused(open_film(path), sees([HERE])).startswith("frame 3 of a.avi is one flat colour")


def test_a_part_of_under_three_frames_is_too_short(sees):
    film = open_film(frames_of(9))
    message = refused(film, sees([HERE]), 4, 5)
    assert message.startswith("frames given: 2 frames in that part, too short to show a movement")
    assert len(align_film(film, sees([HERE]), 64, 4, 6)) == 3


def test_a_part_that_is_not_there_is_refused(sees, tmp_path):
    film = open_film(write_film(tmp_path / "a.avi", frames_of(9)))
    assert "frame 9 is missing: a.avi has frames from 0 to 8" in refused(film, sees([HERE]), 5, 9)
    assert "the last frame, 3, is before the first, 5" in refused(film, sees([HERE]), 5, 3)
    for span, message in (((5, 3), "is before the first"), ((20, 30), "a.avi has no frame 20")):
        with pytest.raises(FrameError, match=message):
            find_film_face(film, sees([HERE]), *span)


def test_frames_too_small_for_a_face_are_refused(sees):
    message = refused(open_film(noise_frames(4, 40, 24)), FaceSettings())
    assert message.startswith("frames given: frames of 40×24 px are too small to see a face in")


def test_a_header_that_promises_billions_of_frames_does_no_harm(sees, tmp_path):
    path = write_film(tmp_path / "a.avi", frames_of(9))
    data = bytearray(path.read_bytes())
    for chunk, offset in ((b"avih", 24), (b"strh", 40)):  # dwTotalFrames and dwLength
        place = data.index(chunk) + offset
        assert data[place : place + 4] == (9).to_bytes(4, "little")
        data[place : place + 4] = (2**31 - 2).to_bytes(4, "little")
    path.write_bytes(data)
    film = open_film(path)
    assert len(align_film(film, sees([HERE]), 64)) == 9
    assert film.notes == [
        "a.avi breaks off after 9 of 2147483646 frames: the rest cannot be decoded."
    ]


def test_few_frames_are_looked_at_however_long_the_film(sees):
    align_film(open_film(frames_of(100)), sees([HERE]), 64)
    assert len(sees.looks) == film_face.LOOKS
    assert sees.looks[0] == 0
