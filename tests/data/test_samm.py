"""SAMM's layout and its quirks, in folders written by hand; every mistake is named."""

import csv
import re
import shutil
from datetime import datetime
from functools import cache

import cv2
import numpy as np
import openpyxl
import pytest
import xlwt
from hypothesis import given, settings
from hypothesis import strategies as st

from hcp_mer.data.samm import read_samm
from hcp_mer.errors import UserError
from tests.corpora_on_disk import check_reading, write_samm

V2 = "SAMM_Micro_FACS_Codes_v2.xlsx"
HEADER = (
    *("Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame"),
    *("Duration", "Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"),
)
GOOD_ROW = ("006", "006_1_2", 1, 5562, 5588, 5632, 71, "Micro", "4+7", "Anger", 1, None)
COLUMN = {name: index for index, name in enumerate(HEADER)}


def row(**cells):
    """The good row with other cells: row(Apex_Frame=-1)."""
    changed = {COLUMN[name.replace("_", " ")]: value for name, value in cells.items()}
    return tuple(changed.get(index, cell) for index, cell in enumerate(GOOD_ROW))


def write_annotation(path, *rows, header=HEADER, above=13):
    workbook = openpyxl.Workbook()
    for _ in range(above):
        workbook.active.append(["SAMM"])
    for each in (header, *rows):
        workbook.active.append(each)
    path.parent.mkdir(parents=True, exist_ok=True)
    workbook.save(path)


@cache
def image_bytes(width, height, suffix=".jpg"):
    return cv2.imencode(suffix, np.full((height, width), 90, np.uint8))[1].tobytes()


def write_frames(folder, numbers, name="006_{:05d}.jpg", width=6, height=8):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / name.format(number)).write_bytes(image_bytes(width, height))


@pytest.fixture
def corpus(tmp_path):
    """One good clip, 006/006_1_2 with frames 5562, 5588 and 5632; the header is row 14."""
    write_annotation(tmp_path / V2, GOOD_ROW)
    write_frames(tmp_path / "SAMM/006/006_1_2", (5562, 5588, 5632))
    return tmp_path


def only_record(corpus, *rows):
    if rows:
        write_annotation(corpus / V2, *rows)
    reading = read_samm(corpus)
    assert reading.problems == ()
    (record,) = reading.records
    return record


def only_problem(corpus, *rows):
    """The one problem that these rows add to the good one."""
    write_annotation(corpus / V2, GOOD_ROW, *rows)
    reading = read_samm(corpus)
    assert [record.clip_id for record in reading.records] == ["006_1_2"]
    (problem,) = reading.problems
    assert (problem.file, problem.row) == (V2, 16)
    return problem


def test_a_row_becomes_a_record(corpus):
    record = only_record(corpus)
    assert (record.dataset, record.subject, record.clip_id) == ("samm", "006", "006_1_2")
    assert (record.onset, record.apex, record.offset) == (5562, 5588, 5632)
    assert (record.action_units, record.emotion) == (("4", "7"), "anger")
    assert record.frames.numbers == (5562, 5588, 5632)
    assert record.frames.paths[0] == corpus / "SAMM/006/006_1_2/006_05562.jpg"
    reading = read_samm(str(corpus), name="other")
    assert reading.records[0].dataset == "other"
    assert (reading.annotated, reading.emotions) == (1, {"anger": 1})
    assert not reading.whole_frames


@pytest.mark.parametrize("above", [0, 13, 40])
def test_the_header_is_found_in_whatever_row_it_is(corpus, above):
    write_annotation(corpus / V2, GOOD_ROW, row(Onset_Frame="x"), above=above)
    reading = read_samm(corpus)
    assert len(reading.records) == 1
    assert [problem.row for problem in reading.problems] == [above + 3]


@pytest.mark.parametrize("subject", [6, 6.0, "6", "6.0", "006", " 006 ", "06", "sub006", "S6"])
def test_subjects_are_filled_with_zeros(corpus, subject):
    assert only_record(corpus, row(Subject=subject)).subject == "006"


@pytest.mark.parametrize("apex", [-1, -1.0, "-1", "-1.0", "−1", None, "", "/", "NaN"])
def test_a_missing_apex_is_to_be_spotted_and_no_problem(corpus, apex):
    assert only_record(corpus, row(Apex_Frame=apex)).apex is None


@pytest.mark.parametrize("word", ["Other", "Others", "other ", "OTHERS"])
def test_other_and_others_are_one_word(corpus, word):
    assert only_record(corpus, row(Estimated_Emotion=word)).emotion == "others"


def test_emotions_are_counted_whether_clips_are_usable_or_not(corpus):
    gone = row(Filename="006_1_9", Estimated_Emotion="Contempt")
    write_annotation(corpus / V2, GOOD_ROW, GOOD_ROW, gone, row(Filename="006_1_8"))
    reading = read_samm(corpus)
    assert reading.emotions == {"anger": 2, "contempt": 1}
    assert reading.lost == {"006/006_1_9": "contempt", "006/006_1_8": "anger"}


@pytest.mark.parametrize(
    ("cell", "units"),
    [
        ("R14A or 12", ("R14", "12")),
        ("AU4 + 7B", ("4", "7")),
        ("14A or 15C", ("14", "15")),
        (12, ("12",)),
        ("L14+T23E", ("L14", "T23")),
        (None, ()),
        ("?", ()),
    ],
)
def test_action_units_hold_or_and_letters_of_intensity(corpus, cell, units):
    assert only_record(corpus, row(Action_Units=cell)).action_units == units


def test_odd_action_units_cost_no_clip_but_are_reported(corpus):
    write_annotation(corpus / V2, row(Action_Units="smirk"))
    reading = read_samm(corpus)
    assert reading.records[0].action_units == ()
    assert "kept without action units" in reading.problems[0].reason


@pytest.mark.parametrize(
    "name",
    [
        *("006_{:05d}.jpg", "006_{:04d}.jpg", "006_{:07d}.JPG", "006_{}.jpeg", "6_{}.jpg"),
        *("006_{:05d}.png", "006_{:05d}.bmp", "{:05d}.jpg", "{}.jpg", "reg_006_{:05d}.jpg"),
    ],
)
def test_frames_are_matched_by_their_number(corpus, name):
    folder = corpus / "SAMM/006/006_1_2"
    shutil.rmtree(folder)
    write_frames(folder, (5562, 5588, 5632), name)
    assert only_record(corpus).frames.numbers == (5562, 5588, 5632)


def test_frames_of_four_and_five_digits_may_lie_together(corpus):
    write_frames(corpus / "SAMM/006/006_1_2", (5600, 5601), "006_{:04d}.jpg")
    write_frames(corpus / "SAMM/006/006_1_2", (10001,), "006_{}.jpg")
    assert only_record(corpus).frames.numbers == (5562, 5588, 5600, 5601, 5632, 10001)


def test_a_file_of_another_subject_is_no_frame_of_the_clip(corpus):
    folder = corpus / "SAMM/006/006_1_2"
    write_frames(folder, (5562, 5570, 5588), "007_{:05d}.jpg")
    write_frames(folder, (5571,), "0061_{:05d}.jpg")
    assert only_record(corpus).frames.numbers == (5562, 5588, 5632)


def test_a_folder_with_another_subjects_frames_alone_has_none(corpus):
    write_frames(corpus / "SAMM/006/006_1_3", (5562, 5588, 5632), "007_{:05d}.jpg")
    said = only_problem(corpus, row(Filename="006_1_3")).reason
    assert "none of its 3 files is named like 006_05562.jpg" in said
    assert str(corpus) not in said


def test_what_archivers_and_explorers_leave_is_no_frame(corpus):
    for name in ("._006_05588.jpg", "Thumbs.db", "desktop.ini", "006_05588.jpg.tmp"):
        (corpus / "SAMM/006/006_1_2" / name).write_bytes(b"junk")
    write_frames(corpus / "__MACOSX/SAMM/006/006_1_2", (1,))
    (corpus / f"._{V2}").write_bytes(b"junk")
    (corpus / f"~${V2}").write_bytes(b"locked")
    assert only_record(corpus).frames.numbers == (5562, 5588, 5632)


def test_two_files_of_one_number_are_told_apart_by_nobody(corpus):
    folder = corpus / "SAMM/006/006_1_4"
    write_frames(folder, (5562, 5588, 5632))
    write_frames(folder, (5588,), "006_{:04d}.jpg")
    said = only_problem(corpus, row(Filename="006_1_4")).reason
    assert "006_05588.jpg and 006_5588.jpg" in said
    assert "both frame 5588" in said


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Filename": "006_9_9"}, "no folder 006_9_9 in SAMM/006"),
        ({"Subject": 7, "Filename": "007_1_2"}, "no folder 007 in SAMM"),
        ({"Subject": "x"}, "Subject must be a number such as 006, got 'x'"),
        ({"Subject": None}, "Subject must be a number such as 006, got ''"),
        ({"Subject": 12345}, "Subject must be a number such as 006, got '12345'"),
        ({"Subject": 7}, "006_1_2 is a clip of 006, the cell Subject says 007"),
        ({"Filename": None}, "one folder's name, got ''"),
        ({"Filename": "../../secret"}, "one folder's name, got '../../secret'"),
        ({"Filename": r"..\secret"}, "one folder's name"),
        ({"Filename": ".."}, r"no folder \.\. in SAMM/006"),
        ({"Filename": "006_1_2 "}, "repeats row 15; only that one is used"),
        ({"Subject": 6}, "repeats row 15; only that one is used"),
        ({"Filename": "006_1_3", "Estimated_Emotion": " "}, "the emotion cell is empty"),
        ({"Filename": "006_1_3", "Onset_Frame": "x"}, "Onset Frame must be a whole number"),
        ({"Filename": "006_1_3", "Onset_Frame": 5562.5}, "whole number, got '5562.5'"),
        ({"Filename": "006_1_3", "Onset_Frame": datetime(1915, 3, 24)}, "got the date 1915-03-24"),
        ({"Filename": "006_1_3", "Onset_Frame": -1}, "Onset Frame must not be negative, got -1"),
        ({"Filename": "006_1_3", "Apex_Frame": -2}, "Apex Frame must not be negative, got -2"),
        ({"Filename": "006_1_3", "Apex_Frame": "?"}, "Apex Frame must be a whole number, got '?'"),
        ({"Filename": "006_1_3", "Offset_Frame": 0}, "offset must come after onset = 5562, got 0"),
        ({"Filename": "006_1_3", "Apex_Frame": 5562}, r"\(5562, 5632\], got 5562"),
        ({"Filename": "006_1_3", "Apex_Frame": 5633}, r"\(5562, 5632\], got 5633"),
        ({"Filename": "006_1_3", "Onset_Frame": 5563}, "onset frame 5563 is not on disk"),
        ({"Filename": "006_1_3", "Apex_Frame": 5589}, "apex frame 5589 is not on disk"),
        ({"Filename": "006_1_3", "Offset_Frame": 5640}, "not on disk, which has 5562–5632"),
        ({"Filename": "006_1_5"}, "no frames in folder 006/006_1_5: it is empty"),
    ],
)
def test_a_bad_row_is_reported_and_the_rest_is_read(corpus, changes, reason):
    shutil.copytree(corpus / "SAMM/006/006_1_2", corpus / "SAMM/006/006_1_3")
    (corpus / "SAMM/006/006_1_5").mkdir()
    assert re.search(reason, only_problem(corpus, row(**changes)).reason)


def test_a_folder_outside_is_never_read(corpus):
    write_frames(corpus.parent / "outside", (5562, 5588, 5632))
    for name in ("../../../outside", str(corpus.parent / "outside")):
        assert "one folder's name" in only_problem(corpus, row(Filename=name)).reason


def test_a_note_below_the_table_is_no_clip(corpus):
    note = only_problem(corpus, ("* coded by three coders",))
    assert "taken for a note" in note.reason
    assert read_samm(corpus).annotated == 1


@pytest.mark.parametrize(
    "place",
    [
        *("SAMM", "SAMM/SAMM", "SAMM_CROP", "SAMM cropped", "data/SAMM/SAMM_Cropped", "."),
        *("数据/微表情 SAMM", "SAMM_20181215/raw"),
    ],
)
def test_frames_lie_wherever_there_are_folders_of_subjects(tmp_path, place):
    write_annotation(tmp_path / V2, GOOD_ROW)
    write_frames(tmp_path / place / "006/006_1_2", (5562, 5588, 5632))
    found = only_record(tmp_path).frames.paths[0]
    assert found == tmp_path / place / "006/006_1_2/006_05562.jpg"


@pytest.mark.parametrize("place", ["", "SAMM", "SAMM/SAMM_CROP", "a/b/SAMM"])
def test_the_annotation_lies_beside_the_frames_or_above_them(tmp_path, place):
    write_annotation(tmp_path / place / V2, GOOD_ROW)
    write_frames(tmp_path / "SAMM/SAMM_CROP/006/006_1_2", (5562, 5588, 5632))
    assert only_record(tmp_path).clip_id == "006_1_2"


def test_cropped_faces_are_preferred_to_raw_frames(corpus):
    write_frames(corpus / "SAMM/006/006_1_2", (5562, 5588, 5632), width=2040, height=1088)
    assert read_samm(corpus).whole_frames
    write_frames(corpus / "Z/SAMM_Cropped/006/006_1_2", (5562, 5588, 5632))
    assert "SAMM_Cropped" in only_record(corpus).frames.paths[0].parts
    assert not read_samm(corpus).whole_frames


def test_two_folders_of_cropped_frames_are_said(corpus):
    for name in ("SAMM_CROP", "SAMM_CROP2"):
        write_frames(corpus / name / "006/006_1_2", (5562, 5588, 5632))
    reading = read_samm(corpus)
    assert "SAMM_CROP" in reading.records[0].frames.paths[0].parts
    (problem,) = reading.problems
    assert problem.file == "SAMM_CROP2"
    assert "SAMM_CROP was read instead" in problem.reason


def test_frames_of_other_corpora_and_of_long_videos_are_not_taken(corpus):
    write_frames(corpus / "SAMM_longvideos/006_1", (5562, 5588, 5632), "006_1_{:04d}.jpg")
    write_frames(corpus / "CASME2/Cropped/sub01/EP02_01f", (1, 2), "reg_img{}.jpg")
    write_annotation(corpus / "SAMM_LongVideos_V2_Release.xlsx", row(Onset_Frame=1))
    (corpus / "pairs/data").mkdir(parents=True)
    for name in ("pairs.json", "problems.json", "check.json", "data/train-00000.parquet"):
        (corpus / "pairs" / name).write_text("{}")
    assert only_record(corpus).onset == 5562


@pytest.mark.parametrize(
    "name", ["SAMM_Micro_FACS_Codes.xlsx", "samm_20181215_micro_facs_codes_v2 (1).xlsx"]
)
def test_other_versions_and_copies_of_the_annotation_are_found(corpus, name):
    (corpus / V2).rename(corpus / name)
    assert only_record(corpus).clip_id == "006_1_2"


def test_the_newest_of_several_annotations_is_read_and_said(corpus):
    write_annotation(corpus / "SAMM_Micro_FACS_Codes.xlsx", row(Estimated_Emotion="Fear"))
    reading = read_samm(corpus)
    assert reading.records[0].emotion == "anger"
    (problem,) = reading.problems
    assert problem.file == "SAMM_Micro_FACS_Codes.xlsx"
    assert f"{V2} was read instead" in problem.reason


def test_an_old_workbook_and_a_text_table_are_read_too(corpus):
    (corpus / V2).unlink()
    rows = [["SAMM"], [], HEADER, row(Apex_Frame=-1)]
    book = xlwt.Workbook()
    sheet = book.add_sheet("Sheet1")
    for y, cells in enumerate(rows):
        for x, cell in enumerate(cells):
            sheet.write(y, x, cell)
    book.save(str(corpus / "SAMM_Micro_FACS_Codes_v2.xls"))
    old = only_record(corpus)
    (corpus / "SAMM_Micro_FACS_Codes_v2.xls").unlink()
    with (corpus / "SAMM_Micro_FACS_Codes_v2.csv").open("w", encoding="utf-8-sig") as stream:
        csv.writer(stream, delimiter=";").writerows(rows)
    assert old == only_record(corpus)
    assert (old.subject, old.onset, old.apex) == ("006", 5562, None)


@pytest.mark.parametrize(
    "header",
    [
        [name.upper() for name in HEADER],
        [f" {name.replace(' ', '_')}  " for name in HEADER],
        [*("被试", "文件名", None, "起始帧", "顶点帧", "结束帧", None, None, "动作单元", "情绪")],
    ],
)
def test_headings_are_written_in_several_ways(corpus, header):
    write_annotation(corpus / V2, GOOD_ROW, header=header)
    assert only_record(corpus).apex == 5588


def test_what_is_missing_altogether_is_an_error_of_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no folder .*nowhere.*SAMM_Micro_FACS_Codes"):
        read_samm(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no annotation SAMM_Micro_FACS_Codes_v2.xlsx in"):
        read_samm(tmp_path)
    write_annotation(tmp_path / V2, GOOD_ROW)
    with pytest.raises(UserError, match=r"no frames in .*Expected .*SAMM/006/006_1_2/006_05562"):
        read_samm(tmp_path)
    write_annotation(tmp_path / V2, GOOD_ROW, header=[*HEADER[:4], "Peak", *HEADER[5:]])
    with pytest.raises(UserError, match="no column Apex Frame"):
        read_samm(tmp_path)


def test_a_corpus_without_a_usable_clip_is_no_error(corpus):
    write_annotation(corpus / V2, row(Filename="006_1_9"))
    reading = read_samm(corpus)
    assert reading.records == ()
    assert (reading.annotated, len(reading.problems)) == (1, 1)


def test_the_corpus_with_all_its_quirks_reads_as_it_was_written(tmp_path):
    written = write_samm(tmp_path)
    reading = read_samm(tmp_path)
    check_reading(reading, written)
    assert {record.subject for record in reading.records} == {"006", "007", "011", "037"}
    assert len({(record.subject, record.clip_id) for record in reading.records}) == written.usable
    assert [record.apex for record in reading.records[:5]].count(None) == 3
    assert reading.records[0].action_units == ("R14", "12")
    for record in reading.records:
        frame = record.frames.read(record.apex or record.onset)
        assert np.ptp(frame, axis=-1).max() == 0  # grey


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn")), max_size=12)
CELLS = st.one_of(
    TEXTS,
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
    st.booleans(),
    st.datetimes(datetime(1901, 1, 1), datetime(2100, 1, 1)),
    st.sampled_from(["../../x", "=SUM(A1:A9)", "006_1_2", "6", "5588.0", "+5588", "九", "nan"]),
    st.sampled_from([5562, 5588.0, 5632, -1, 1e300, "5562 ", 6]),
)


def number_in(cell):
    """The whole number that a person would read in a cell, else None."""
    if isinstance(cell, bool) or not isinstance(cell, (int, float, str)):
        return None
    text = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
    return int(float(text)) if re.fullmatch(r"[+-]?[0-9]{1,9}(\.0+)?", text) else None


def says_no_apex(cell):
    """Whether a cell is a sign for a missing apex; a formula was never computed, so it is empty."""
    text = "" if cell is None else str(cell).strip()
    return text.lower() in ("", "-", "/", "nan") or text.startswith("=") or number_in(cell) == -1


NUM_ROWS = 12


@pytest.fixture(scope="module")
def twelve_clips(tmp_path_factory):
    """Frames of 006_0_1, 006_1_1, …; there is no annotation yet."""
    corpus = tmp_path_factory.mktemp("fuzz")
    for index in range(NUM_ROWS):
        write_frames(corpus / f"SAMM/006/006_{index}_1", (5562, 5588, 5632))
    return corpus


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(HEADER[:10]), CELLS, max_size=2),
        min_size=NUM_ROWS,
        max_size=NUM_ROWS,
    )
)
def test_whatever_cells_hold_numbers_are_those_of_the_cells(twelve_clips, changes):
    named = [{"Filename": f"006_{index}_1", **each} for index, each in enumerate(changes)]
    rows = [row(**{name.replace(" ", "_"): cell for name, cell in each.items()}) for each in named]
    write_annotation(twelve_clips / V2, *rows, above=0)
    reading = read_samm(twelve_clips)
    assert len(reading.records) + len(reading.problems) >= NUM_ROWS
    found = {record.clip_id: record for record in reading.records}
    for index, (cells, each) in enumerate(zip(rows, changes)):
        clip_id = f"006_{index}_1"
        assert clip_id in found or each
        if clip_id in found and "Filename" not in each:
            record = found[clip_id]
            assert (record.subject, number_in(cells[0])) == ("006", 6)
            assert (record.onset, record.offset) == (number_in(cells[3]), number_in(cells[5]))
            assert record.apex == (None if says_no_apex(cells[4]) else number_in(cells[4]))
