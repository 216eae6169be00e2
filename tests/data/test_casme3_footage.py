"""Where CAS(ME)³'s frames lie, and which are a clip's; see test_casme3.py for its labels."""

import pickle
import re
import shutil
import time

import pytest

from hcp_mer.data import casme3
from hcp_mer.data.casme3 import read_casme3
from tests.corpora_on_disk import write_table
from tests.data.test_casme3 import CLIP, GOOD_ROW, VIDEO, row, write_frames, write_labels


@pytest.fixture
def corpus(tmp_path):
    """One good clip, cut out: spNO.1, a, frames 355 to 364."""
    write_labels(tmp_path, GOOD_ROW)
    write_frames(tmp_path / CLIP)
    return tmp_path


@pytest.mark.parametrize(
    "folder",
    [
        CLIP,
        "Part_A_ME_clip/Part_A_ME_clip/frame/spNO.1_a_355",
        "spNo.1_a_355",
        "frame/spno.1_A_355",
        VIDEO,
        "part_A/data/part_A/spNo.1/a/color",
        "part_A/data/Compressed_version1_seperate_compress/spNO.1/a/color",
        "ME_A/part_A/spNO.1/a/Color",
        "spNO.1/a",
        "SPNO.1/A/color",
    ],
)
def test_frames_lie_in_clips_or_in_whole_videos_at_many_depths(tmp_path, folder):
    write_labels(tmp_path, GOOD_ROW)
    write_frames(tmp_path / folder)
    (record,) = read_casme3(tmp_path).records
    assert record.frames.paths[0] == tmp_path / folder / "355.jpg"


def test_j_and_capital_j_are_two_clips(tmp_path):
    write_labels(
        tmp_path,
        *(row(Filename=name, emotion=word) for name, word in (("J", "sad"), ("j", "fear"))),
    )
    for name in "jJ":
        write_frames(tmp_path / f"frame/spNo.1_{name}_355")
    reading = read_casme3(tmp_path)
    assert [
        (record.clip_id, record.emotion, record.frames.path(355).parent.name)
        for record in reading.records
    ] == [("J_355", "sad", "spNo.1_J_355"), ("j_355", "fear", "spNo.1_j_355")]


@pytest.mark.parametrize("folder", ["spNo.1_j_355", "spNO.1/j/color"])
def test_a_folder_that_is_another_clips_is_not_read_for_one_that_is_alike(tmp_path, folder):
    write_labels(tmp_path, row(Filename="J"), row(Filename="j"))
    write_frames(tmp_path / folder)
    reading = read_casme3(tmp_path)
    assert [record.clip_id for record in reading.records] == ["j_355"]
    assert "no folder spNO.1_J_355 or spNO.1/J in" in reading.problems[0].reason


def test_capital_letters_of_labels_are_found_in_videos_called_in_small_ones(tmp_path):
    """The annotation says spNO.3 J where the folder is j, in other rows of which it says j."""
    write_labels(tmp_path, row(Filename="J"), row(Filename="j", Onset=400, Apex=404, Offset=409))
    write_frames(tmp_path / "spNO.1/j/color", range(350, 410))
    assert [record.clip_id for record in read_casme3(tmp_path).records] == ["J_355", "j_400"]


def test_of_two_folders_that_are_alike_none_is_guessed(tmp_path):
    write_labels(tmp_path, row(Filename="Ab"))
    for name in ("aB", "ab"):
        write_frames(tmp_path / f"frame/spNo.1_{name}_355")
    reading = read_casme3(tmp_path)
    assert reading.records == ()
    assert "no folder spNO.1_Ab_355" in reading.problems[0].reason


@pytest.mark.parametrize(
    ("on_disk", "apex", "said"),
    [
        ([355, 360], 360, "8 of its 10 frames are not on disk: 356–359, 361–364"),
        (range(355, 364), 360, "1 of its 10 frames are not on disk: 364"),
        ([355, 358], "/", "8 of its 10 frames are not on disk: 356–357, 359–364"),
        ([355, 364], 364, "8 of its 10 frames are not on disk: 356–363"),
    ],
)
def test_a_clip_with_gaps_is_kept_and_they_are_said(tmp_path, on_disk, apex, said):
    write_labels(tmp_path, row(Apex=apex))
    write_frames(tmp_path / CLIP, on_disk)
    reading = read_casme3(tmp_path)
    assert reading.records[0].frames.numbers == tuple(on_disk)
    assert [problem.reason for problem in reading.problems] == [f"kept, though {said}"]


def test_an_offset_beyond_all_frames_costs_no_time(corpus):
    write_labels(corpus, row(Offset=999_999_999))
    (problem,) = read_casme3(corpus).problems
    assert problem.reason.endswith("frames are not on disk: 365–999999999")


def test_many_gaps_are_told_in_short(tmp_path):
    write_labels(tmp_path, row(Onset=0, Apex=2, Offset=30))
    write_frames(tmp_path / "spNo.1_a_0", range(0, 31, 2))
    (problem,) = read_casme3(tmp_path).problems
    assert problem.reason == "kept, though 15 of its 31 frames are not on disk: 1, 3, 5, 7, 9, …"


def test_a_cut_out_without_its_frames_is_read_from_the_whole_video(corpus):
    (corpus / CLIP / "355.jpg").unlink()
    write_frames(corpus / VIDEO)
    reading = read_casme3(corpus)
    assert reading.records[0].frames.path(355) == corpus / VIDEO / "355.jpg"
    assert reading.problems == ()


def test_cropped_faces_are_preferred_to_all_whole_frames(corpus):
    assert not read_casme3(corpus).whole_frames
    shutil.rmtree(corpus / "Part_A_ME_clip")
    write_frames(corpus / VIDEO, width=1280, height=720)
    assert read_casme3(corpus).whole_frames
    write_frames(corpus / "Part_A_ME_clip_scrfd_cropped/spNo.1_a_355")
    reading = read_casme3(corpus)
    assert "Part_A_ME_clip_scrfd_cropped" in reading.records[0].frames.paths[0].parts
    assert not reading.whole_frames


def test_whole_frames_are_not_mixed_in_among_cropped_ones(corpus):
    write_labels(corpus, GOOD_ROW, row(Filename="b"))
    write_frames(corpus / "Part_A_ME_clip/frame/spNo.1_b_355")
    write_frames(corpus / "z/faces_CROPPED/spNO.1/a")
    reading = read_casme3(corpus)
    assert [r.frames.path(355).parent for r in reading.records] == [
        corpus / "z/faces_CROPPED/spNO.1/a"
    ]
    assert "no folder spNO.1_b_355 or spNO.1/b in faces_CROPPED" in reading.problems[0].reason


def test_other_footage_of_the_same_people_is_never_read(tmp_path):
    write_labels(tmp_path, GOOD_ROW, row(Filename="b"))
    write_frames(tmp_path / VIDEO)
    for other in (
        *("part_B/spNO.1/b/color", "Part_B/data/part_B/spNO.1/b/color", "part_C/spNO.1/b/color"),
        *("Part_A_MaE_clip/frame/spNo.1_b_355", "Part_A_ME_clip/depth/spNo.1_b_355"),
        *("__MACOSX/part_A/spNO.1/b/color", "part_A/spNO.1/c/color"),
    ):
        write_frames(tmp_path / other)
    write_frames(tmp_path / "part_A/spNO.1/a/depth", range(300, 400), "{}.png")
    (tmp_path / VIDEO / "._365.jpg").write_bytes(b"junk")
    reading = read_casme3(tmp_path)
    (record,) = reading.records
    assert record.frames.numbers == tuple(range(355, 365))
    assert [problem.reason for problem in reading.problems] == [
        "no frames: no folder spNO.1_b_355 or spNO.1/b in part_A"
    ]


def test_downloads_in_several_parts_are_read_together(tmp_path):
    write_labels(tmp_path, GOOD_ROW, row(Subject="spNO.50"))
    write_frames(tmp_path / "part_A_1/spNO.1/a/color")
    write_frames(tmp_path / "part_A_2/spNO.50/a/color")
    assert [record.subject for record in read_casme3(tmp_path).records] == ["spNO.1", "spNO.50"]


def test_cut_outs_may_lie_beside_the_subjects_of_whole_videos(tmp_path):
    write_labels(tmp_path, GOOD_ROW, row(Subject="spNO.2"))
    write_frames(tmp_path / "part_A/spNO.1/a/color")
    write_frames(tmp_path / "part_A/Part_A_ME_clip/frame/spNo.2_a_355")
    assert [record.subject for record in read_casme3(tmp_path).records] == ["spNO.1", "spNO.2"]


def test_what_lies_beside_the_corpus_does_not_disturb(corpus):
    for name in ("data/train-00000-of-00001.parquet", "pairs.json", "problems.json", "check.json"):
        (corpus / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (corpus / "out" / name).write_bytes(b"{}")
    write_table(corpus / "CASME2-coding-20140508.xlsx", ("Subject", "Filename"), (1, "EP02_01f"))
    write_frames(corpus / "Cropped/sub01/EP02_01f", (1, 2), "reg_img{}.jpg")
    (corpus / CLIP / "Thumbs.db").write_bytes(b"junk")
    assert read_casme3(corpus).problems == ()


def test_two_files_of_one_number_cost_the_clips_that_need_it(tmp_path):
    write_labels(tmp_path, GOOD_ROW, row(Onset=400, Apex=404, Offset=409))
    write_frames(tmp_path / VIDEO, range(355, 410))
    write_frames(tmp_path / VIDEO, [405], "00{}.png")
    reading = read_casme3(tmp_path)
    assert [record.clip_id for record in reading.records] == ["a_355"]
    assert re.search("405.jpg|405.png", reading.problems[0].reason)
    assert "are both frame 405" in reading.problems[0].reason


def test_a_long_video_is_listed_once_and_not_carried_with_its_clips(tmp_path, monkeypatch):
    rows = [row(Onset=n, Apex=n + 5, Offset=n + 9) for n in range(10, 2010, 20)]
    write_labels(tmp_path, *rows)
    folder = tmp_path / VIDEO
    folder.mkdir(parents=True)
    for number in range(8, 3008):
        (folder / f"{number}.jpg").touch()
    listed = []
    real = casme3._list_frames
    monkeypatch.setattr(casme3, "_list_frames", lambda path: listed.append(path) or real(path))
    start = time.perf_counter()
    reading = read_casme3(tmp_path)
    seconds = time.perf_counter() - start
    assert listed == [folder.parent]
    assert {len(record.frames) for record in reading.records} == {10}
    assert len(reading.records) == 100
    assert len(pickle.dumps(reading.records)) < 100_000  # 100 times 3000 paths would be 10 MB
    assert seconds < 2


def test_a_folder_without_frames_is_said_to_hold_none(corpus):
    (corpus / "frame/spNo.1_b_355").mkdir(parents=True)
    (corpus / "frame/spNo.1_b_355/first.jpg").write_bytes(b"")
    write_frames(corpus / "spNO.1/c", [355])
    write_labels(corpus, GOOD_ROW, row(Filename="b"), row(Filename="c"))
    assert [problem.reason for problem in read_casme3(corpus).problems] == [
        "onset frame 355 is not on disk: frame/spNo.1_b_355 holds none named like 355.jpg",
        "apex frame 360 is not on disk: spNO.1/c holds 355 alone",
    ]
