"""Where CASME II's frames lie, and what else lies there; see test_casme2.py for its annotation."""

import shutil

import pytest

from hcp_mer.data import casme2
from hcp_mer.data.casme2 import read_casme2
from tests.data.test_casme2 import GOOD_ROW, write_annotation, write_frames


@pytest.fixture
def corpus(tmp_path):
    """One good clip, sub01/EP02_01f with frames 46, 59 and 86."""
    write_annotation(tmp_path, [GOOD_ROW])
    write_frames(tmp_path / "Cropped/sub01/EP02_01f", (46, 59, 86))
    return tmp_path


@pytest.mark.parametrize(
    "frame_root", ["Cropped", "cropped", "Cropped-updated/Cropped", "CASME2_RAW_selected"]
)
def test_frames_lie_in_one_of_the_known_folders(tmp_path, frame_root):
    write_annotation(tmp_path, [GOOD_ROW])
    write_frames(tmp_path / frame_root / "sub01/EP02_01f", (46, 59, 86), "img{}.jpg")
    path = read_casme2(tmp_path).records[0].frames.paths[0]
    assert path == tmp_path / frame_root / "sub01/EP02_01f/img46.jpg"


def test_cropped_faces_are_preferred_to_raw_frames(corpus):
    write_frames(corpus / "CASME2_RAW_selected/sub01/EP02_01f", (46, 59, 86), height=480, width=640)
    assert "Cropped" in read_casme2(corpus).records[0].frames.paths[0].parts


@pytest.mark.parametrize(
    "folder", ["CASME2_RAW_selected", "casme2_raw_selected/CASME2_RAW_selected"]
)
def test_raw_frames_alone_are_read_and_called_whole(tmp_path, folder):
    write_annotation(tmp_path, [GOOD_ROW])
    raw = tmp_path / folder / "sub01/EP02_01f"
    write_frames(raw, (46, 59, 86), "img{}.jpg", height=48, width=64)
    reading = read_casme2(tmp_path)
    assert reading.records[0].frames.path(46) == raw / "img46.jpg"
    assert reading.whole_frames


def test_of_two_folders_of_cropped_faces_the_other_is_named(corpus):
    write_frames(corpus / "Cropped-updated/Cropped/sub01/EP02_01f", (46, 59, 86))
    write_frames(corpus / "CASME2_RAW_selected/sub01/EP02_01f", (46, 59, 86))
    reading = read_casme2(corpus)
    assert reading.records[0].frames.paths[0].parts[-4] == "Cropped"
    (problem,) = reading.problems
    assert problem.file == "Cropped-updated/Cropped"
    assert problem.reason == "several folders of frames: Cropped was read instead"


def test_cropped_faces_are_not_called_whole_frames(corpus):
    assert not read_casme2(corpus).whole_frames


def test_names_on_disk_may_differ_in_case(tmp_path):
    write_annotation(tmp_path, [GOOD_ROW], "casme2-CODING-20140508.XLSX".lower())
    write_frames(tmp_path / "CROPPED/Sub01/ep02_01F", (46, 59, 86), "REG_IMG{}.JPG")
    assert read_casme2(tmp_path).records[0].clip_id == "EP02_01f"


def test_the_folder_may_be_one_above_or_the_frames_own(tmp_path):
    root = tmp_path / "CASME II"
    write_annotation(root, [GOOD_ROW])
    write_frames(root / "Cropped/sub01/EP02_01f", (46, 59, 86))
    assert len(read_casme2(tmp_path).records) == 1
    shutil.move(root / "CASME2-coding-20140508.xlsx", root / "Cropped")
    assert len(read_casme2(root / "Cropped").records) == 1


def test_a_link_to_a_clip_elsewhere_is_followed_as_its_owner_meant(corpus, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("big-disk") / "EP02_01f"
    shutil.move(corpus / "Cropped/sub01/EP02_01f", elsewhere)
    (corpus / "Cropped/sub01/EP02_01f").symlink_to(elsewhere)
    (corpus / "Cropped/sub01/loop").symlink_to(corpus / "Cropped/sub01/loop")
    (corpus / "Cropped/sub01/round").symlink_to(corpus)
    (corpus / "Cropped/sub01/gone").symlink_to(corpus / "nowhere")
    (record,) = read_casme2(corpus).records
    assert record.frames.numbers == (46, 59, 86)


def test_what_lies_beside_the_corpus_does_not_disturb(corpus):
    """Pairs, what archivers and systems leave, and other corpora that look alike in part."""
    for name in ("data/train-00000-of-00001.parquet", "pairs.json", "problems.json", "check.json"):
        (corpus / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / "out" / name).write_bytes(b"{}")
    clip = corpus / "Cropped/sub01/EP02_01f"
    for name in ("._reg_img60.jpg", "Thumbs.db", ".DS_Store", "reg_img60.txt"):
        (clip / name).write_bytes(b"junk")
    shutil.copytree(clip, corpus / "__MACOSX/Cropped/sub01/EP02_01f")
    write_frames(corpus / "CASME/Cropped/sub01/EP01_5", (113, 114), "reg_EP01_5-{}.jpg")
    write_frames(corpus / "CAS(ME)2/cropped/s15/15_0101disgusting", (1, 2), "img{}.jpg")
    (corpus / "CASME2-ObjectiveClasses.xlsx").write_bytes(b"no annotation")
    reading = read_casme2(corpus)
    assert reading.problems == ()
    assert reading.records[0].frames.numbers == (46, 59, 86)


def test_the_path_may_hold_spaces_and_other_letters(tmp_path):
    root = tmp_path / "微表情 data (2)"
    write_annotation(root, [GOOD_ROW])
    write_frames(root / "Cropped/sub01/EP02_01f", (46, 59, 86))
    assert len(read_casme2(root).records) == 1


def test_two_files_of_one_number_are_refused(corpus):
    write_frames(corpus / "Cropped/sub01/EP02_01f", (46,), "reg_img{:03d}.jpg")
    ((problem),) = read_casme2(corpus).problems
    assert "are both frame 46" in problem.reason


def test_a_folder_that_cannot_be_listed_costs_its_clip_only(corpus, monkeypatch):
    write_annotation(corpus, [(1, "EP09_99f", *GOOD_ROW[2:]), GOOD_ROW])
    write_frames(corpus / "Cropped/sub01/EP09_99f", (46, 59, 86))
    real = casme2.frames_in

    def frames_in(folder, *arguments):
        if folder.name == "EP09_99f":
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder, *arguments)

    monkeypatch.setattr(casme2, "frames_in", frames_in)
    reading = read_casme2(corpus)
    assert [record.clip_id for record in reading.records] == ["EP02_01f"]
    assert "Permission denied" in reading.problems[0].reason
