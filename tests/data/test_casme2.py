"""CASME II's layout and its quirks, in folders written by hand; every mistake is named."""

import datetime
import re

import cv2
import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcp_mer.data.casme2 import read_casme2
from hcp_mer.errors import UserError
from tests.casme_on_disk import write_casme2
from tests.corpora_on_disk import check_reading, write_table

HEADER = [
    *("Subject", "Filename", None, "OnsetFrame", "ApexFrame", "OffsetFrame", None),
    *("Action Units", "Estimated Emotion"),
]
CHINESE_HEADER = [
    "被试编号",
    "文件名",
    None,
    "起始帧",
    "顶点帧",
    "结束帧",
    None,
    "动作单元",
    "情绪",
]
GOOD_ROW = (1, "EP02_01f", None, 46, 59, 86, None, "4+L12", "Happiness")


def write_annotation(root, rows, name="CASME2-coding-20140508.xlsx", header=HEADER, above=()):
    write_table(root / name, *above, header, *rows)


def write_frames(folder, numbers, pattern="reg_img{}.jpg", height=8, width=6):
    folder.mkdir(parents=True, exist_ok=True)
    image = np.full((height, width, 3), 90, np.uint8)
    for number in numbers:
        cv2.imwrite(str(folder / pattern.format(number)), image)


@pytest.fixture
def corpus(tmp_path):
    """One good clip, sub01/EP02_01f with frames 46, 59 and 86."""
    write_annotation(tmp_path, [GOOD_ROW])
    write_frames(tmp_path / "Cropped/sub01/EP02_01f", (46, 59, 86))
    return tmp_path


def problems_with(corpus, *rows):
    """The problems that these rows add to the good one, as (row, clip, reason)."""
    write_annotation(corpus, [GOOD_ROW, *rows])
    reading = read_casme2(corpus)
    assert [record.clip_id for record in reading.records] == ["EP02_01f"]
    assert {problem.file for problem in reading.problems} == {"CASME2-coding-20140508.xlsx"}
    return [(problem.row, problem.clip, problem.reason) for problem in reading.problems]


def test_a_row_becomes_a_record(corpus):
    reading = read_casme2(corpus)
    (record,) = reading.records
    assert reading.problems == ()
    assert (record.dataset, record.subject, record.clip_id) == ("casme2", "sub01", "EP02_01f")
    assert (record.onset, record.apex, record.offset) == (46, 59, 86)
    assert record.action_units == ("4", "L12")
    assert record.emotion == "happiness"
    assert record.frames.numbers == (46, 59, 86)
    assert record.frames.paths[0] == corpus / "Cropped/sub01/EP02_01f/reg_img46.jpg"


def test_the_dataset_takes_the_name_given(corpus):
    assert read_casme2(str(corpus), name="procedural").records[0].dataset == "procedural"


def test_frame_numbers_are_integers_not_text(corpus):
    write_frames(corpus / "Cropped/sub01/EP02_01f", (9, 100), "reg_img{:03d}.jpg")
    assert read_casme2(corpus).records[0].frames.numbers == (9, 46, 59, 86, 100)


@pytest.mark.parametrize("apex", ["/", None, " / ", "-", "NaN"])
def test_a_missing_apex_is_to_be_spotted_and_no_problem(corpus, apex):
    write_annotation(corpus, [(*GOOD_ROW[:4], apex, *GOOD_ROW[5:])])
    reading = read_casme2(corpus)
    assert reading.records[0].apex is None
    assert reading.problems == ()


@pytest.mark.parametrize("clip_id", ["EP01_2", "EP09f", "EP06_02_01"])
def test_irregular_file_names_are_read(corpus, clip_id):
    write_annotation(corpus, [(1, clip_id, *GOOD_ROW[2:])])
    write_frames(corpus / "Cropped/sub01" / clip_id, (46, 59, 86))
    assert read_casme2(corpus).records[0].clip_id == clip_id


@pytest.mark.parametrize("subject", [1, 1.0, "1", "1.0", "01.00", "01", "sub01", "SUB1"])
def test_subjects_are_written_in_many_ways(corpus, subject):
    write_annotation(corpus, [(subject, *GOOD_ROW[1:])])
    assert read_casme2(corpus).records[0].subject == "sub01"


def test_a_number_as_action_unit_and_numbers_as_text_are_read(corpus):
    row = (1, " EP02_01f ", None, "46", 59.0, "86", None, 12, "others")
    write_annotation(corpus, [row])
    (record,) = read_casme2(corpus).records
    assert (record.onset, record.apex, record.offset) == (46, 59, 86)
    assert record.action_units == ("12",)


def test_the_header_is_found_below_other_rows_and_rows_count_as_in_the_spreadsheet(corpus):
    header = [*HEADER[:-1], "Estimated Emotions"]
    broken = (*GOOD_ROW[:3], "x", *GOOD_ROW[4:])
    write_annotation(corpus, [GOOD_ROW, [], broken], header=header, above=[["CASME II"], []])
    reading = read_casme2(corpus)
    assert len(reading.records) == 1
    assert [problem.row for problem in reading.problems] == [6]


def test_a_second_sheet_may_hold_the_annotation(corpus):
    workbook = openpyxl.Workbook()
    workbook.active.append(["read me"])
    sheet = workbook.create_sheet("Sheet1")
    sheet.append(HEADER)
    sheet.append(GOOD_ROW)
    workbook.save(corpus / "CASME2-coding-20140508.xlsx")
    assert len(read_casme2(corpus).records) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ((1, "EP09_99f", *GOOD_ROW[2:]), "no folder EP09_99f in Cropped/sub01"),
        ((2, "EP02_01f", *GOOD_ROW[2:]), "no folder sub02 in Cropped"),
        (("x", *GOOD_ROW[1:]), "Subject must be a number, got 'x'"),
        ((1, None, *GOOD_ROW[2:]), "one folder's name"),
        ((1, "../../secret", *GOOD_ROW[2:]), "one folder's name, got '../../secret'"),
        ((1, "..", *GOOD_ROW[2:]), "no folder .. in Cropped/sub01"),
        ((1, "EP02_01f ", *GOOD_ROW[2:]), "repeats row 2"),
        ((1, "ep02_01F", *GOOD_ROW[2:]), "repeats row 2"),
        ((*GOOD_ROW[:3], "4x", *GOOD_ROW[4:]), "OnsetFrame must be a whole number, got '4x'"),
        ((*GOOD_ROW[:3], None, *GOOD_ROW[4:]), "OnsetFrame must be a whole number, got ''"),
        ((*GOOD_ROW[:4], 46, *GOOD_ROW[5:]), r"\(46, 86\], got 46"),
        ((*GOOD_ROW[:4], 87, *GOOD_ROW[5:]), r"\(46, 86\], got 87"),
        ((*GOOD_ROW[:5], 46, *GOOD_ROW[6:]), "offset must come after onset = 46, got 46"),
        ((*GOOD_ROW[:8], None), "the emotion cell is empty"),
        ((*GOOD_ROW[:3], 45, *GOOD_ROW[4:]), "onset frame 45 is not on disk, which has 46–86"),
        ((*GOOD_ROW[:4], 60, *GOOD_ROW[5:]), "apex frame 60 is not on disk"),
        ((*GOOD_ROW[:5], 88, *GOOD_ROW[6:]), "offset frame 88 is not on disk"),
        (GOOD_ROW, "repeats row 2"),
    ],
)
def test_a_bad_row_is_reported_and_the_rest_is_read(corpus, row, reason):
    ((number, clip, said),) = problems_with(corpus, row)
    assert number == 3
    assert clip.split("/")[0] in {"sub01", "sub02", "x"}  # as records and protocols have them
    assert re.search(reason, said), said


def test_a_folder_without_frames_is_reported(corpus):
    (corpus / "Cropped/sub01/EP03_01f").mkdir()
    ((row, _, reason),) = problems_with(corpus, (1, "EP03_01f", *GOOD_ROW[2:]))
    assert row == 3
    assert reason


def test_a_folder_outside_is_never_read(corpus):
    write_frames(corpus.parent / "outside", (46, 59, 86))
    for name in ("../../../outside", str(corpus.parent / "outside"), r"..\..\outside"):
        ((_, _, reason),) = problems_with(corpus, (1, name, *GOOD_ROW[2:]))
        assert "the name must be one folder's name" in reason


def test_odd_action_units_cost_no_clip_but_are_reported(corpus):
    write_annotation(corpus, [(*GOOD_ROW[:7], "smirk", "happiness")])
    reading = read_casme2(corpus)
    assert reading.records[0].action_units == ()
    assert "kept without action units" in reading.problems[0].reason


def test_the_newest_of_several_annotations_is_read_and_said(corpus):
    newer = (*GOOD_ROW[:8], "surprise")
    write_annotation(corpus, [newer], "labels/CASME2-coding-20190701.xlsx")
    write_annotation(corpus, [GOOD_ROW], "CASME2-coding-updated.xlsx")
    reading = read_casme2(corpus)
    assert reading.records[0].emotion == "surprise"
    assert {problem.file for problem in reading.problems} == {
        "CASME2-coding-20140508.xlsx",
        "CASME2-coding-updated.xlsx",
    }
    assert all("20190701.xlsx was read" in problem.reason for problem in reading.problems)


def test_a_lock_file_of_the_spreadsheet_program_is_no_annotation(corpus):
    (corpus / "~$CASME2-coding-20240101.xlsx").write_bytes(b"locked")
    assert read_casme2(corpus).problems == ()


def test_a_missing_folder_annotation_or_frame_root_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no folder .*nowhere.*CASME2-coding"):
        read_casme2(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no annotation CASME2-coding-….xlsx"):
        read_casme2(tmp_path)
    write_annotation(tmp_path, [GOOD_ROW])
    with pytest.raises(UserError, match=r"no frames in .*Expected Cropped/sub01"):
        read_casme2(tmp_path)


def test_a_missing_column_is_named(corpus):
    write_annotation(corpus, [GOOD_ROW], header=[*HEADER[:4], "Peak", *HEADER[5:]])
    with pytest.raises(UserError, match=r"no column ApexFrame. Expected a header row with Subject"):
        read_casme2(corpus)


def test_a_corpus_without_a_usable_clip_is_no_error_but_says_why(corpus):
    write_annotation(corpus, [(*GOOD_ROW[:8], None)])
    reading = read_casme2(corpus)
    assert (reading.records, reading.annotated, reading.emotions) == ((), 1, {"(none)": 1})
    assert [problem.reason for problem in reading.problems] == ["the emotion cell is empty"]
    write_annotation(corpus, [])
    reading = read_casme2(corpus)
    assert (reading.records, reading.problems, reading.annotated) == ((), (), 0)


def test_annotated_clips_are_counted_whether_usable_or_not(corpus):
    lost = (2, "EP09_05f", *GOOD_ROW[2:8], "Disgust")
    write_annotation(corpus, [GOOD_ROW, lost, GOOD_ROW])
    reading = read_casme2(corpus)
    assert reading.annotated == 2
    assert reading.emotions == {"disgust": 1, "happiness": 1}
    assert reading.lost == {"sub02/EP09_05f": "disgust"}


def test_a_damaged_annotation_is_named(corpus):
    path = corpus / "CASME2-coding-20140508.xlsx"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"^CASME2-coding-20140508.xlsx is .*damaged"):
        read_casme2(corpus)


@pytest.mark.parametrize("suffix", ["xlsx", "xls", "csv"])
@pytest.mark.parametrize(
    "header", [HEADER, CHINESE_HEADER, [h and f" {h.upper()} " for h in HEADER]]
)
def test_the_annotation_may_be_any_kind_of_table(tmp_path, suffix, header):
    name = f"CASME2-coding-20190701.{suffix}"
    write_annotation(tmp_path, [GOOD_ROW], name, header, above=[["CASME II"]])
    write_frames(tmp_path / "Cropped/sub01/EP02_01f", (46, 59, 86))
    reading = read_casme2(tmp_path)
    (record,) = reading.records
    assert reading.problems == ()
    assert (record.subject, record.clip_id, record.emotion) == ("sub01", "EP02_01f", "happiness")
    assert (record.onset, record.apex, record.offset) == (46, 59, 86)
    assert record.action_units == ("4", "L12")


def test_a_text_table_of_excel_in_europe_is_read(corpus):
    (corpus / "CASME2-coding-20140508.xlsx").unlink()
    text = ";".join(h or "" for h in HEADER) + "\r\n1;EP02_01f;;46;59;86;;4+L12;happiness \r\n"
    (corpus / "CASME2-coding-20140508.csv").write_bytes(text.encode("utf-8-sig"))
    (record,) = read_casme2(corpus).records
    assert (record.onset, record.emotion) == (46, "happiness")


@pytest.mark.parametrize("suffix", ["xlsx", "xls"])
def test_a_date_where_a_number_should_be_is_called_one(corpus, suffix):
    (corpus / "CASME2-coding-20140508.xlsx").unlink()
    dated = (*GOOD_ROW[:4], datetime.date(1900, 2, 28), *GOOD_ROW[5:])
    units = (1, "EP02_02f", *GOOD_ROW[2:7], datetime.date(2014, 4, 7), "disgust")
    write_annotation(corpus, [dated, units], f"CASME2-coding-20140508.{suffix}")
    write_frames(corpus / "Cropped/sub01/EP02_02f", (46, 59, 86))
    reading = read_casme2(corpus)
    assert [record.clip_id for record in reading.records] == ["EP02_02f"]
    apex, action_units = reading.problems
    assert apex.reason == (
        "ApexFrame must be a whole number, got the date 1900-02-28 00:00:00: format it anew"
    )
    assert "kept without action units: cannot read '2014-04-07'" in action_units.reason


def test_the_two_irregular_clips_of_the_papers_count_are_read(tmp_path):
    rows = [
        (4, "EP12_01f", None, 1, "/", 5, None, "4", "disgust"),
        (5, "EP09_05f", None, 1, 3, 5, None, "4", "disgust"),
    ]
    write_annotation(tmp_path, rows)
    for folder in ("sub04/EP12_01f", "sub05/EP09_05f"):
        write_frames(tmp_path / "Cropped" / folder, (1, 3, 5))
    reading = read_casme2(tmp_path)
    assert [(r.subject, r.clip_id, r.apex) for r in reading.records] == [
        ("sub04", "EP12_01f", None),
        ("sub05", "EP09_05f", 3),
    ]
    assert reading.problems == ()


def test_a_note_below_the_table_is_no_clip_but_is_said(corpus):
    write_annotation(corpus, [GOOD_ROW, [], ["* coded by two coders"]])
    reading = read_casme2(corpus)
    assert (reading.annotated, len(reading.records)) == (1, 1)
    (problem,) = reading.problems
    assert (problem.row, problem.reason[:16]) == (4, "taken for a note")


def test_a_rendered_corpus_reads_as_it_was_written(tmp_path):
    written = write_casme2(tmp_path / "CASME II")
    reading = read_casme2(written.folder)
    check_reading(reading, written)
    assert len({record.subject for record in reading.records}) >= 4
    for record in reading.records:
        assert record.frames.read(record.onset).std() > 10


CELLS = st.one_of(
    st.none(),
    st.integers(-3, 100),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.dates(datetime.date(1901, 1, 1)),
    st.sampled_from(
        ["46", " 46 ", "59.0", "4+L12", "=1+2", "/", "'", "４６", "开心", "../..", "1e2"]
    ),
    st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=8),
)
COLUMNS = dict(zip(("onset", "apex", "offset"), (3, 4, 5)))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A corpus whose annotation is written anew for each example."""
    folder = tmp_path_factory.mktemp("fuzzed")
    write_frames(folder / "Cropped/sub01/EP02_01f", range(40, 100))
    return folder


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(st.dictionaries(st.integers(0, 8), CELLS, max_size=3), max_size=3),
    suffix=st.sampled_from(["xlsx", "xls", "csv"]),
)
def test_whatever_the_cells_hold_a_record_has_their_numbers(searched, changes, suffix):
    rows = [[change.get(i, cell) for i, cell in enumerate(GOOD_ROW)] for change in changes]
    for old in searched.glob("*.*"):
        old.unlink()
    write_annotation(searched, rows, f"CASME2-coding-1.{suffix}")
    reading = read_casme2(searched)
    assert all(problem.reason and problem.row for problem in reading.problems)
    for record in reading.records:
        numbers = {what: getattr(record, what) for what in COLUMNS}
        assert any(
            all(_is_number(row[COLUMNS[what]], number) for what, number in numbers.items())
            for row in rows
        )


def _is_number(cell, number):
    """Whether a cell says this number, in a way that a person would read so, or no number."""
    if number is None:
        return cell is None or str(cell).strip().lower() in ("", "/", "-", "nan")
    if isinstance(cell, (bool, datetime.date)) or cell is None:
        return False
    return re.fullmatch(rf"\s*{number}(\.0*)?\s*", str(cell)) is not None
