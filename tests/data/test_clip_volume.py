"""A clip as a block of grey frames: in time, in space, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from hcp_mer.data.clip_volume import clips_in_corpora, face_settings, grey_volume
from hcp_mer.data.records import ClipRecord
from hcp_mer.errors import UserError
from hcp_mer.motion.alignment import Face
from hcp_mer.motion.face import FaceSettings
from hcp_mer.motion.frames import FrameSequence

CROPPED = FaceSettings()


def clip(folder, images, onset, offset, face=None):
    """A record of grey images by frame number."""
    paths = []
    for number, image in images.items():
        paths.append(folder / f"{number}.png")
        Image.fromarray(image.astype(np.uint8)).save(paths[-1])
    frames = FrameSequence(tuple(images), tuple(paths))
    return ClipRecord("mine", "s1", "c1", frames, onset, None, offset, (), "surprise", face)


def test_frames_are_resampled_evenly_between_onset_and_offset(tmp_path):
    """Frame n has the level 10 n; 13 is missing, 9 and 18 lie outside."""
    numbers = [9, 10, 11, 12, 14, 15, 16, 18]
    images = {n: np.full((8, 8), 10 * n) for n in numbers}
    volume = grey_volume(clip(tmp_path, images, 10, 16), CROPPED, side_px=4, num_frames=5)
    assert volume.shape == (5, 4, 4)
    assert volume.dtype == np.float32
    assert np.allclose(volume[:, 0, 0], [100, 115, 130, 145, 160])


def test_frames_are_brought_to_the_side(tmp_path):
    checks = np.kron([[0, 100], [200, 40]], np.ones((8, 8)))
    volume = grey_volume(clip(tmp_path, {1: checks, 2: checks}, 1, 2), CROPPED, 2, 3)
    assert np.allclose(volume, [[0, 100], [200, 40]])


def test_a_given_face_is_aligned_and_all_frames_alike(tmp_path):
    """Eyes 28 px apart at 36 % and 64 % make a square of 100 px, here in the frame's corner."""
    frame = np.zeros((200, 200))
    frame[58:62, 78:82] = 200  # a mark at (80, 60)
    face = Face(eyes=((66.0, 51.5), (94.0, 51.5)))  # the square begins at (30, 10)
    record = clip(tmp_path, {1: frame, 2: frame}, 1, 2, face)
    volume = grey_volume(record, FaceSettings(detector="given"), 100, 2)
    brightest = np.argwhere(volume[0] > 150)
    assert np.allclose(brightest.mean(0), [49.5, 49.5], atol=0.5)
    assert np.array_equal(volume[0], volume[1])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ({1: np.ones((8, 8)), 9: np.ones((8, 8))}, "s1/c1 has 1 frames from onset 1 to offset 5"),
        ({2: np.ones((8, 8)), 3: np.ones((8, 8))}, "the onset and at least one more are needed"),
        ({1: np.ones((8, 8)), 2: np.ones((9, 8))}, "2.png is of another size"),
    ],
)
def test_a_clip_without_usable_frames_is_refused(tmp_path, images, message):
    with pytest.raises(UserError, match=message):
        grey_volume(clip(tmp_path, images, 1, 5), CROPPED, 4, 3)


def test_faces_are_found_as_the_pairs_say():
    assert face_settings({}) == FaceSettings()
    assert face_settings({"face": {"detector": "none", "centre_crop": False}}) == FaceSettings()
    given = {"face": {"detector": "given", "weights": None, "centre_crop": True}}
    assert face_settings(given) == FaceSettings(detector="given", centre_crop=True)


def test_corpora_are_read_by_name_and_renamed(tmp_path):
    (tmp_path / "clips" / "s1").mkdir(parents=True)
    for number in range(4):
        image = np.random.default_rng(number).integers(0, 255, (40, 40, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "clips" / "s1" / f"{number}.png")
    (tmp_path / "metadata.csv").write_text(
        "clip,subject,frames,onset,apex,offset,emotion\nc1,s1,clips/s1,0,2,3,surprise\n"
    )
    found = clips_in_corpora([f"folder:mine={tmp_path}"])
    assert list(found) == [("mine", "s1", "c1")]
    assert len(found["mine", "s1", "c1"].frames) == 4


@pytest.mark.parametrize("place", ["casme2", "=here", "casme2="])
def test_a_corpus_in_another_form_is_refused(place):
    with pytest.raises(UserError, match=r"CORPUS=FOLDER or CORPUS:NAME=FOLDER, got"):
        clips_in_corpora([place])


def test_an_unknown_corpus_is_refused(tmp_path):
    with pytest.raises(UserError, match="unknown corpus 'casme9'"):
        clips_in_corpora([f"casme9={tmp_path}"])
