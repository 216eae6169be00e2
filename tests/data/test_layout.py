"""What names and shapes say of frames, and cells of an apex, whichever corpus they are of."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from hcp_mer.data.layout import apex_number, is_cropped, shows_whole_frames
from hcp_mer.data.records import ClipRecord
from hcp_mer.data.spreadsheet import SheetRow
from hcp_mer.errors import UserError
from hcp_mer.motion.frames import FrameSequence

FACE = (50, 60)
CAMERA = (480, 270)


@pytest.fixture
def clips(tmp_path):
    """Writes clips whose onset frames have these (width, height); None is no image."""

    def write(*sizes):
        records = []
        for index, size in enumerate(sizes):
            path = tmp_path / f"{index}.png"
            path.write_bytes(b"junk")
            if size is not None:
                cv2.imwrite(str(path), np.zeros((size[1], size[0], 3), np.uint8))
            frames = FrameSequence((1, 2), (path, path))
            records.append(ClipRecord("x", "s", str(index), frames, 1, None, 2, (), "fear"))
        return records

    return write


@pytest.mark.parametrize("size", [CAMERA, (270, 480), (640, 480), (116, 100), (100, 161)])
def test_frames_much_wider_or_higher_than_a_face_are_whole(clips, size):
    assert shows_whole_frames(clips(size))


@pytest.mark.parametrize("size", [FACE, (100, 100), (114, 100), (100, 125), (139, 170), (100, 160)])
def test_frames_shaped_like_a_face_are_not(clips, size):
    assert not shows_whole_frames(clips(size, None, size))


def test_one_clip_of_whole_frames_among_crops_is_noticed(clips):
    assert shows_whole_frames(clips(FACE, CAMERA))
    assert shows_whole_frames(clips(None, *[FACE] * 20, CAMERA))
    assert not shows_whole_frames(clips(None, None))
    assert not shows_whole_frames([])


@pytest.mark.parametrize("at", [0, 300, 599])
def test_clips_of_a_large_corpus_are_looked_at_from_first_to_last(clips, monkeypatch, at):
    face, camera = clips(FACE, CAMERA)
    records = [face] * 600
    records[max(0, at - 15) : at + 15] = [camera] * 30
    opened = []
    real = FrameSequence.extent_px
    monkeypatch.setattr(
        FrameSequence, "extent_px", lambda self, n: opened.append(n) or real(self, n)
    )
    assert shows_whole_frames(records)
    opened.clear()
    assert not shows_whole_frames([face] * 600)
    assert len(opened) == 50


@pytest.mark.parametrize(
    ("path", "cropped"),
    [
        *(("Cropped", True), ("SMIC_all_cropped/HS", True), ("frames/FaceCROP2", True)),
        *(("run_crop", True), ("uncropped/Cropped", True), ("no/crop", True), ("raw", False)),
        *(("uncropped", False), ("SAMM_Uncropped/faces", False), ("SAMMuncropped", False)),
        *(("not_cropped", False), ("notCropped", False), ("non-cropped", False)),
        *(("frames not cropped", False), ("no crop", False), ("un-cropped", False)),
        *(("cropped_and_raw/uncropped", False), ("casino_crop", True)),
    ],
)
def test_the_nearest_name_says_whether_faces_are_cropped(path, cropped):
    root = Path("/corpora/Cropped")
    assert is_cropped(root / path, root) == cropped


@pytest.mark.parametrize("cell", [None, "", " / ", "-", "nan", "NaN", float("nan")])
def test_signs_of_no_apex_are_those_of_all_corpora(cell):
    assert apex_number(SheetRow(2, {"Apex": cell}), "Apex") is None


def test_a_corpus_has_its_own_signs_of_no_apex_and_no_other_has_them():
    row = SheetRow(2, {"Apex": -1.0})
    assert apex_number(row, "Apex", "-1") is None
    with pytest.raises(UserError, match="Apex must not be negative, got -1"):
        apex_number(row, "Apex")
    with pytest.raises(UserError, match=r"Apex must be a whole number, got '\?'"):
        apex_number(SheetRow(2, {"Apex": "?"}), "Apex", "-1")
    assert apex_number(SheetRow(2, {"Apex": "59.0"}), "Apex", "-1") == 59
