"""CAS(ME)³'s layouts and the quirks of its labels, in folders written by hand."""

import datetime
import re

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcp_mer.data.casme3 import read_casme3
from hcp_mer.errors import UserError
from tests.casme_on_disk import write_casme3
from tests.corpora_on_disk import check_reading, write_table

V2 = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
V1 = "cas(me)3_part_A_ME_label_JpgIndex_v1.xls"
HEADER = ("Subject", "Filename", "Onset", "Apex", "Offset", "AU", "Objective class", "emotion")
GOOD_ROW = ("spNO.1", "a", 355, 360, 364, "4+7", 1, "disgust")
CLIP = "Part_A_ME_clip/frame/spNo.1_a_355"
VIDEO = "part_A/spNO.1/a/color"


def row(**cells):
    """The good row with other cells: row(Apex=355)."""
    return tuple(cells.get(name, cell) for name, cell in zip(HEADER, GOOD_ROW))


def write_labels(root, *rows, name=V2, sheet="label"):
    write_table(root / name, HEADER, *rows, sheet=sheet)


def write_frames(folder, numbers=range(355, 365), name="{}.jpg", width=6, height=8):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        cv2.imwrite(str(folder / name.format(number)), np.full((height, width, 3), 90, np.uint8))


@pytest.fixture
def corpus(tmp_path):
    """One good clip, cut out: spNO.1, a, frames 355 to 364."""
    write_labels(tmp_path, GOOD_ROW)
    write_frames(tmp_path / CLIP)
    return tmp_path


def problems_with(corpus, *rows):
    """The problems that these rows add to the good one."""
    write_labels(corpus, GOOD_ROW, *rows)
    reading = read_casme3(corpus)
    assert [record.clip_id for record in reading.records] == ["a_355"]
    return reading.problems


def test_a_row_becomes_a_record(corpus):
    reading = read_casme3(corpus)
    (record,) = reading.records
    assert reading.problems == ()
    assert (record.dataset, record.subject, record.clip_id) == ("casme3", "spNO.1", "a_355")
    assert (record.onset, record.apex, record.offset) == (355, 360, 364)
    assert (record.action_units, record.emotion) == (("4", "7"), "disgust")
    assert record.frames.path(360) == corpus / CLIP / "360.jpg"
    assert reading.emotions == {"disgust": 1}
    assert read_casme3(corpus, name="mine").records[0].dataset == "mine"


@pytest.mark.parametrize(
    "name",
    [
        V2,
        "CAS(ME)3_part_A_ME_label_JpgIndex_v2.XLSX".lower(),
        "cas(me)^3 part A ME label v2.csv",
        "CASME3_partA_ME_label.xls",
        "part_A/annotation/" + V2,
        "CAS-ME-3-main/annotation/partA/" + V1,
    ],
)
def test_the_annotation_is_known_by_its_name(tmp_path, name):
    write_labels(tmp_path, GOOD_ROW, name=name)
    write_frames(tmp_path / VIDEO)
    (record,) = read_casme3(tmp_path).records
    assert (record.onset, record.emotion) == (355, "disgust")


def test_version_2_is_preferred_to_version_1(corpus):
    longer = [(*HEADER, None, None), (*row(emotion="fear"), None, 1)]
    write_table(corpus / V1, *longer, sheet="Sheet1")
    reading = read_casme3(corpus)
    assert reading.records[0].emotion == "disgust"
    assert [problem.file for problem in reading.problems] == [V1]
    (corpus / V2).unlink()
    reading = read_casme3(corpus)
    assert reading.records[0].emotion == "fear"
    assert reading.problems == ()


def test_the_labels_of_macro_expressions_and_other_lists_are_no_annotation(corpus):
    for name in (
        "cas(me)3_part_A_MaE_label_JpgIndex_v2_emotion.xlsx",
        "CAS(ME)3_part_A_v2.xls",
        "CAS(ME)3_part_A_wrongly_labeled_me_in_V1.xlsx",
        "casme3_partA_error_list_ZhouJu.xlsx",
        "CAS(ME)3_part_C_ME.xlsx",
        "._" + V2,
        "~$" + V2,
    ):
        (corpus / name).write_bytes(b"none of ours")
    assert read_casme3(corpus).problems == ()


def test_a_subject_and_file_name_may_have_several_clips(corpus):
    write_frames(corpus / "Part_A_ME_clip/frame/spNo.1_a_900", range(900, 920))
    write_labels(corpus, GOOD_ROW, row(Onset=900, Apex=907, Offset=915, emotion="happy"))
    reading = read_casme3(corpus)
    assert [record.clip_id for record in reading.records] == ["a_355", "a_900"]
    assert reading.records[1].frames.numbers == tuple(range(900, 916))
    assert reading.emotions == {"disgust": 1, "happy": 1}


@pytest.mark.parametrize("subject", ["spNO.1", "spNo.1", " SPNO.01 ", "spNO1", "1", "1.0", 1, 1.0])
def test_subjects_are_written_as_the_labels_do_most(corpus, subject):
    write_labels(corpus, row(Subject=subject))
    assert read_casme3(corpus).records[0].subject == "spNO.1"


def test_an_apex_at_the_onset_is_to_be_spotted_and_said(corpus):
    write_labels(corpus, row(Apex=355))
    reading = read_casme3(corpus)
    assert reading.records[0].apex is None
    (problem,) = reading.problems
    assert problem.reason == "the apex is annotated at the onset, 355: it is to be spotted"
    assert (problem.row, problem.clip) == (2, "spNO.1/a_355")


@pytest.mark.parametrize("apex", [None, "/", " - ", "NaN"])
def test_an_empty_apex_is_to_be_spotted_and_no_problem(corpus, apex):
    write_labels(corpus, row(Apex=apex))
    reading = read_casme3(corpus)
    assert (reading.records[0].apex, reading.problems) == (None, ())


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Onset": 356, "Apex": 354}, r"apex must lie in .*\(356, 364\], got 354"),
        ({"Onset": 356, "Apex": 365}, r"apex must lie in .*\(356, 364\], got 365"),
        ({"Onset": 356, "Offset": 350}, "offset must come after onset = 356, got 350"),
        ({"Onset": 356, "Apex": 356, "Offset": 356}, "offset must come after onset = 356, got 356"),
        ({"Onset": 3}, r"onset frame 3 is not on disk: spNO.1/a/color holds 8–364"),
        ({"Onset": 356, "Apex": 363}, "apex frame 363 is not on disk: spNO.1/a/color holds 8–364"),
        (
            {"Onset": 364, "Apex": "/", "Offset": 370},
            r"no frame in .*\(364, 370\] to spot the apex",
        ),
        ({"Filename": "q"}, "no folder spNO.1_q_355 or spNO.1/q in part_A, frame"),
        ({"Filename": None}, "no folder spNO.1__355"),
        ({"Filename": "../../a"}, "no folder spNO.1_../../a_355"),
        ({"Subject": "spNO.2"}, "no folder spNO.2_a_355"),
        ({"Subject": "s1"}, "Subject must be like spNO.1, got 's1'"),
        ({"Subject": None, "Onset": 356}, "Subject must be like spNO.1, got ''"),
        ({"Onset": "3x"}, "Onset must be a whole number, got '3x'"),
        ({"Onset": -1}, "Onset must not be negative"),
        ({"Onset": 356, "Offset": None}, "Offset must be a whole number, got ''"),
        (
            {"Onset": 356, "Apex": datetime.date(1900, 12, 25)},
            "Apex must .* got the date 1900-12-25",
        ),
        ({"Onset": 356, "emotion": " "}, "the emotion cell is empty"),
        ({}, "repeats row 2"),
        ({"Subject": "SPNO.01", "Filename": " a ", "Onset": "355.0"}, "repeats row 2"),
    ],
)
def test_a_bad_row_is_reported_and_the_rest_is_read(corpus, changes, reason):
    write_frames(corpus / VIDEO, [8, *(n for n in range(355, 365) if n != 363)])
    (problem,) = problems_with(corpus, row(**changes))
    assert (problem.file, problem.row) == (V2, 3)
    assert re.search(reason, problem.reason), problem.reason


def test_clips_that_cannot_be_used_are_counted_too(corpus):
    write_labels(corpus, GOOD_ROW, GOOD_ROW, row(Onset=7, emotion="Others"), row(Filename="b"))
    reading = read_casme3(corpus)
    assert reading.annotated == 3
    assert reading.emotions == {"disgust": 2, "others": 1}
    assert reading.lost == {"spNO.1/a_7": "others", "spNO.1/b_355": "disgust"}


@pytest.mark.parametrize(
    ("cell", "word"), [("Others", "others"), ("sad", "sad"), ("Happy ", "happy")]
)
def test_emotions_are_the_corpus_own_words(corpus, cell, word):
    write_labels(corpus, row(emotion=cell))
    assert read_casme3(corpus).records[0].emotion == word


@pytest.mark.parametrize(
    ("cell", "units"),
    [("T28", ("T28",)), ("R10", ("R10",)), (4, ("4",)), ("1，2", ("1", "2")), (None, ())],
)
def test_action_units_of_the_labels_are_read(corpus, cell, units):
    write_labels(corpus, row(AU=cell))
    reading = read_casme3(corpus)
    assert (reading.records[0].action_units, reading.problems) == (units, ())


def test_a_missing_folder_annotation_column_or_frame_root_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no folder .*nowhere.*CAS\(ME\)³"):
        read_casme3(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no annotation cas\(me\)3_part_A_ME_label_JpgIndex_v2"):
        read_casme3(tmp_path)
    write_labels(tmp_path, GOOD_ROW)
    with pytest.raises(
        UserError, match=r"no frames in .*Expected part_A/spNO.1/a/color/355.jpg or"
    ):
        read_casme3(tmp_path)
    write_frames(tmp_path / CLIP)
    write_table(tmp_path / V2, HEADER[:-1], GOOD_ROW[:-1])
    with pytest.raises(UserError, match=r"has no column emotion"):
        read_casme3(tmp_path)


def test_a_rendered_corpus_reads_as_it_was_written(tmp_path):
    written = write_casme3(tmp_path / "CAS(ME)³")
    reading = read_casme3(written.folder)
    check_reading(reading, written)
    assert len({record.subject for record in reading.records}) >= 4
    for record in reading.records:
        assert record.frames.read(record.onset).std() > 10


CELLS = st.one_of(
    st.none(),
    st.integers(350, 370),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.dates(datetime.date(1901, 1, 1)),
    st.sampled_from(
        ["355", " 356 ", "360.0", "=1+2", "/", "３５６", "开心", "a", "J", "spNo.1", "1e2"]
    ),
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=8),
)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A corpus whose annotation is written anew for each example."""
    folder = tmp_path_factory.mktemp("fuzzed")
    write_frames(folder / VIDEO, range(350, 372))
    return folder


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(st.dictionaries(st.integers(0, 7), CELLS, max_size=3), max_size=3),
    suffix=st.sampled_from(["xlsx", "xls", "csv"]),
)
def test_whatever_the_cells_hold_a_record_has_their_numbers(searched, changes, suffix):
    rows = [[change.get(i, cell) for i, cell in enumerate(GOOD_ROW)] for change in changes]
    for old in searched.glob("*.*"):
        old.unlink()
    write_labels(searched, *rows, name=f"casme3_part_A_ME_label.{suffix}")
    reading = read_casme3(searched)
    assert all(problem.reason and problem.row for problem in reading.problems)
    for record in reading.records:
        apex = record.apex or record.onset  # one at the onset is to be spotted
        assert any(
            _says(cells[2], record.onset)
            and _says(cells[4], record.offset)
            and (_says(cells[3], apex) or _says(cells[3], record.apex))
            for cells in rows
        )
        assert record.frames.numbers[0] == record.onset
        assert record.frames.numbers[-1] <= record.offset


def _says(cell, number):
    """Whether a cell says this number, in a way that a person would read so, or no number."""
    if number is None:
        return cell is None or str(cell).strip().lower() in ("", "/", "-", "nan")
    if isinstance(cell, (bool, datetime.date)) or cell is None:
        return False
    return re.fullmatch(rf"\s*{number}(\.0*)?\s*", str(cell)) is not None
