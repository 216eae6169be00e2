"""SMIC-HS, whose folders are its labels, and SMIC-HS-E with its annotation of long videos."""

import csv
import re
from datetime import datetime
from functools import cache

import cv2
import numpy as np
import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hcp_mer.data.smic import read_smic, read_smic_hse
from hcp_mer.errors import UserError
from tests.corpora_on_disk import check_reading, write_smic, write_smic_hse


@cache
def image_bytes(suffix, width, height):
    return cv2.imencode(suffix, np.full((height, width, 3), 90, np.uint8))[1].tobytes()


def write_frames(folder, numbers, name="image{:06d}.bmp", width=6, height=8):
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = folder / name.format(number)
        path.write_bytes(image_bytes(path.suffix.lower(), width, height))


def files_in(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


# SMIC-HS


CLIP = "s1/micro/negative/s1_ne_01"


@pytest.fixture
def corpus(tmp_path):
    """One good clip, HS/s1/micro/negative/s1_ne_01, with frames 559740, 559741 and 559743."""
    write_frames(tmp_path / "HS" / CLIP, (559740, 559741, 559743))
    return tmp_path


def only_record(corpus):
    reading = read_smic(corpus)
    assert reading.problems == ()
    (record,) = reading.records
    return record


def only_problem(corpus):
    """The one problem beside the good clip."""
    reading = read_smic(corpus)
    assert [record.clip_id for record in reading.records] == ["s1_ne_01"]
    (problem,) = reading.problems
    assert problem.row is None
    return problem


def test_a_folder_becomes_a_record_from_its_first_to_its_last_frame(corpus):
    record = only_record(corpus)
    assert (record.dataset, record.subject, record.clip_id) == ("smic", "s01", "s1_ne_01")
    assert (record.onset, record.apex, record.offset) == (559740, None, 559743)
    assert (record.action_units, record.emotion) == ((), "negative")
    assert record.frames.numbers == (559740, 559741, 559743)
    assert record.frames.paths[0] == corpus / "HS" / CLIP / "image559740.bmp"
    reading = read_smic(str(corpus), name="other")
    assert reading.records[0].dataset == "other"
    assert (reading.annotated, reading.emotions) == (1, {"negative": 1})


@pytest.mark.parametrize(
    "clip",
    [
        *("s1/negative/s1_ne_01", "S1/Micro/NEGATIVE/s1_ne_01", "s01/MICRO/Negative/s01_ne_01"),
        "s001/micro/neg/s1_ne_1",
    ],
)
def test_the_level_micro_and_the_case_of_folders_are_free(tmp_path, clip):
    write_frames(tmp_path / "HS" / clip, (1, 2))
    record = only_record(tmp_path)
    assert (record.subject, record.emotion) == ("s01", "negative")
    assert record.clip_id == clip.split("/")[-1]


@pytest.mark.parametrize(
    ("clip", "emotion"),
    [
        ("s2/micro/positive/s2_po_01", "positive"),
        ("s2/micro/surprise/s2_sur_01", "surprise"),
        ("s2/micro/surprise/s2_su_01", "surprise"),
        ("s2/micro/negative/clip 1", "negative"),
        ("s2/micro/positive/s2_xy_01", "positive"),
    ],
)
def test_the_emotion_is_the_folders(tmp_path, clip, emotion):
    write_frames(tmp_path / "HS" / clip, (1, 2))
    assert only_record(tmp_path).emotion == emotion


def test_s1_and_s01_are_one_person(corpus):
    write_frames(corpus / "HS/s01/micro/surprise/s01_sur_02", (1, 2))
    write_frames(corpus / "HS/s10/micro/surprise/s10_sur_01", (1, 2))
    reading = read_smic(corpus)
    assert reading.problems == ()
    found = [(record.subject, record.clip_id) for record in reading.records]
    assert found == [("s01", "s01_sur_02"), ("s01", "s1_ne_01"), ("s10", "s10_sur_01")]


@pytest.mark.parametrize("twin", ["s01/micro/negative/s01_ne_01", "s1/micro/negative/s1_ne_1"])
def test_one_clip_under_two_names_is_taken_once(corpus, twin):
    write_frames(corpus / "HS" / twin, (1, 2))
    reading = read_smic(corpus)
    assert (reading.annotated, len(reading.records)) == (1, 1)
    (problem,) = reading.problems
    assert "repeats another clip" in problem.reason


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("s1_po_01", "of emotion positive by its name, its folder says negative"),
        ("s1_sur_01", "of emotion surprise by its name, its folder says negative"),
        ("s2_ne_01", "of subject s02 by its name, its folder says s01"),
    ],
)
def test_a_clip_whose_name_contradicts_its_place_is_a_problem(corpus, name, reason):
    write_frames(corpus / "HS/s1/micro/negative" / name, (1, 2))
    problem = only_problem(corpus)
    assert reason in problem.reason
    assert problem.file == f"HS/s1/micro/negative/{name}"
    assert problem.clip == f"s01/{name}"
    assert read_smic(corpus).lost == {f"s01/{name}": "negative"}
    assert read_smic(corpus).annotated == 2


def test_a_misplaced_copy_does_not_take_the_place_of_its_clip(corpus):
    write_frames(corpus / "HS/s1/micro/negative/s1_po_01", (1, 2))
    write_frames(corpus / "HS/s1/micro/positive/s1_po_01", (1, 2))
    reading = read_smic(corpus)
    found = {record.clip_id: record.emotion for record in reading.records}
    assert found == {"s1_ne_01": "negative", "s1_po_01": "positive"}
    assert reading.emotions == {"negative": 2, "positive": 1}


def test_an_empty_class_folder_is_a_problem_and_no_clip(corpus):
    (corpus / "HS/s1/micro/positive").mkdir()
    problem = only_problem(corpus)
    assert (problem.file, problem.clip) == ("HS/s1/micro/positive", None)
    assert "holds no clips" in problem.reason
    assert read_smic(corpus).annotated == 1


def test_a_clip_without_frames_is_counted_and_a_problem(corpus):
    (corpus / "HS/s18/micro/surprise/s18_sur_03").mkdir(parents=True)
    problem = only_problem(corpus)
    assert "surprise/s18_sur_03: it is empty" in problem.reason
    assert read_smic(corpus).emotions == {"negative": 1, "surprise": 1}
    assert read_smic(corpus).lost == {"s18/s18_sur_03": "surprise"}


def test_one_frame_alone_shows_no_motion(corpus):
    write_frames(corpus / "HS/s1/micro/negative/s1_ne_02", (1,))
    assert "one frame alone" in only_problem(corpus).reason


def test_a_folder_that_is_no_emotion_is_said_and_not_read(corpus):
    write_frames(corpus / "HS/s1/micro/neutral/s1_nt_01", (1, 2))
    problem = only_problem(corpus)
    assert problem.file == "HS/s1/micro/neutral"
    assert "expected negative, positive or surprise" in problem.reason


@pytest.mark.parametrize("name", ["non_micro", "non-micro", "NonMicro", "Non_Micro"])
def test_non_micro_is_not_read(corpus, name):
    write_frames(corpus / "HS/s1" / name / "s1_n1", (1, 2))
    write_frames(corpus / "HS/s7" / name / "s7_n1", (1, 2))
    write_frames(corpus / "HS/s2/positive/s2_po_01", (1, 2))
    write_frames(corpus / "HS/s2" / name / "s2_n1", (1, 2))
    reading = read_smic(corpus)
    assert reading.problems == ()
    assert [record.clip_id for record in reading.records] == ["s1_ne_01", "s2_po_01"]


def test_a_subject_without_anything_is_said(corpus):
    (corpus / "HS/s5").mkdir()
    (corpus / "HS/s6/micro").mkdir(parents=True)
    files = {problem.file for problem in read_smic(corpus).problems}
    assert files == {"HS/s5", "HS/s6/micro"}


@pytest.mark.parametrize("name", ["s03 (copy)", "subject4", "5", "s1234"])
@pytest.mark.parametrize("inside", ["micro/negative/c_01", "Negative/c_01", "micro"])
def test_a_folder_like_a_subjects_under_another_name_is_said(corpus, name, inside):
    write_frames(corpus / "HS" / name / inside, (1, 2))
    problem = only_problem(corpus)
    assert problem.file == f"HS/{name}"
    assert problem.reason.startswith(f"{name} is no subject, its clips are not read")
    assert read_smic(corpus).annotated == 1


@pytest.mark.parametrize("other", ["non_micro/negative/c_01", "notes", "code/data/s2_ne_01"])
def test_other_folders_beside_subjects_are_not_spoken_of(corpus, other):
    write_frames(corpus / "HS" / other, (1, 2))
    assert only_record(corpus).clip_id == "s1_ne_01"


@pytest.mark.parametrize("beside", ["negative", "Sur", "micro (copy)/positive"])
def test_emotions_beside_micro_are_said_and_not_read(corpus, beside):
    write_frames(corpus / "HS/s2/micro/negative/s2_ne_01", (1, 2))
    write_frames(corpus / "HS/s2" / beside / "s2_x_02", (1, 2))
    reading = read_smic(corpus)
    assert [record.clip_id for record in reading.records] == ["s1_ne_01", "s2_ne_01"]
    (problem,) = reading.problems
    assert problem.file == f"HS/s2/{beside.split('/')[0]}"
    assert problem.reason.startswith("its clips are not read, as it lies beside micro")


@pytest.mark.parametrize("place", ["s1/micro/negative", "s1/micro/positive", "s2/surprise"])
def test_frames_in_no_clips_folder_are_said(corpus, place):
    write_frames(corpus / "HS" / place, (1, 2))
    problem = only_problem(corpus)
    assert problem.file == f"HS/{place}"
    assert problem.reason.startswith("frames lie here directly and are not read")


def test_frames_in_no_emotions_folder_are_said(corpus):
    write_frames(corpus / "HS/s1/micro", (1, 2))
    write_frames(corpus / "HS/s2", (1, 2))
    problems = read_smic(corpus).problems
    assert [problem.file for problem in problems] == ["HS/s1/micro", "HS/s2"]
    assert all("frames lie here directly" in problem.reason for problem in problems)


@pytest.mark.parametrize(
    "name", ["reg_image{:06d}.bmp", "image{}.jpg", "IMAGE{:08d}.BMP", "reg_{:05d}.png", "{}.bmp"]
)
def test_frames_are_matched_by_their_number(tmp_path, name):
    write_frames(tmp_path / "HS" / CLIP, (9, 10, 101), name)
    assert only_record(tmp_path).frames.numbers == (9, 10, 101)


def test_what_archivers_and_explorers_leave_is_no_part(corpus):
    for place in (CLIP, "s1/micro/negative", "s1/micro", "s1", ""):
        for name in ("Thumbs.db", "._image559739.bmp", ".DS_Store"):
            (corpus / "HS" / place / name).write_bytes(b"junk")
    write_frames(corpus / "HS/__MACOSX/s1/micro/negative/s1_ne_02", (1, 2))
    write_frames(corpus / "HS/s1/micro/negative/__MACOSX", (1, 2))
    assert only_record(corpus).frames.numbers == (559740, 559741, 559743)


def test_two_files_of_one_number_are_a_problem(corpus):
    folder = corpus / "HS/s1/micro/negative/s1_ne_02"
    write_frames(folder, (1, 2))
    write_frames(folder, (2,), "reg_image{:06d}.bmp")
    assert "both frame 2" in only_problem(corpus).reason


@pytest.mark.parametrize(
    "place",
    [
        *("", "HS", "hs", "SMIC-HS", "SMIC_all_cropped/HS", "SMIC/SMIC_all_raw/HS"),
        *("a/SMIC/SMIC_all_cropped/HS", "微表情 数据/HS"),
    ],
)
def test_the_corpus_lies_in_the_folder_or_below_it(tmp_path, place):
    write_frames(tmp_path / place / CLIP, (1, 2))
    assert only_record(tmp_path).frames.paths[0].parent == tmp_path / place / CLIP


def test_cropped_faces_are_preferred_to_raw_frames(tmp_path):
    write_frames(tmp_path / "A_raw/HS" / CLIP, (1, 2), width=640, height=480)
    assert read_smic(tmp_path).whole_frames
    write_frames(tmp_path / "SMIC_all_cropped/HS" / CLIP, (1, 2), "reg_image{:06d}.bmp")
    assert "SMIC_all_cropped" in only_record(tmp_path).frames.paths[0].parts
    assert not read_smic(tmp_path).whole_frames


def test_other_cameras_are_never_mixed_in(corpus):
    for camera in ("VIS", "NIR", "SMIC_all_cropped/VIS", "NIR_cropped", "cropped-vis"):
        write_frames(corpus / camera / CLIP, (1, 2))
        write_frames(corpus / camera / "s9/micro/positive/s9_po_01", (1, 2))
    record = only_record(corpus)
    assert record.frames.paths[0].parent == corpus / "HS" / CLIP


@pytest.mark.parametrize("given_folder", [".", "VIS", "SMIC-VIS"])
def test_other_cameras_alone_are_refused_in_one_line(tmp_path, given_folder):
    top = tmp_path / given_folder
    for camera in ("VIS", "NIR") if given_folder == "." else ("",):
        write_frames(top / camera / CLIP, (1, 2))
    with pytest.raises(
        UserError, match=r"only .*VIS.* which filmed the same moments as HS"
    ) as error:
        read_smic(top)
    assert "\n" not in str(error.value)
    assert ("NIR and VIS" in str(error.value)) == (given_folder == ".")


def test_long_videos_alone_are_named_as_the_other_corpus(tmp_path):
    write_frames(tmp_path / "SMIC-HS-E/s01/s1_ne_01", (1, 2), "image{:06d}.jpg")
    with pytest.raises(UserError, match=r"no frames in .*another corpus, smic-hs-e"):
        read_smic(tmp_path)


def test_what_is_missing_altogether_is_an_error_of_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no folder .*nowhere.*HS/s1/micro"):
        read_smic(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no frames in .*Expected HS/s1/micro/negative/s1_ne_01"):
        read_smic(tmp_path)


def test_two_folders_of_one_kind_are_said(corpus):
    write_frames(corpus / "copy/HS" / CLIP, (1, 2))
    problem = only_problem(corpus)
    assert problem.file == "copy/HS"
    assert "HS was read instead" in problem.reason


def test_a_corpus_without_a_usable_clip_is_no_error(tmp_path):
    (tmp_path / "HS" / CLIP).mkdir(parents=True)
    reading = read_smic(tmp_path)
    assert (reading.records, reading.annotated, len(reading.problems)) == ((), 1, 1)


def test_the_output_folder_and_other_corpora_do_not_disturb(corpus):
    (corpus / "pairs/data").mkdir(parents=True)
    for name in ("pairs.json", "problems.json", "check.json", "data/train-00000.parquet"):
        (corpus / "pairs" / name).write_text("{}")
    write_frames(corpus / "SAMM/006/006_1_2", (1, 2), "006_{:05d}.jpg")
    write_frames(corpus / "CASME2/Cropped/sub01/EP02_01f", (1, 2), "reg_img{}.jpg")
    write_frames(corpus / "SMIC-HS-E/s01/s1_ne_01", (1, 2), "image{:06d}.jpg")
    assert only_record(corpus).onset == 559740


def test_the_corpus_with_all_its_quirks_reads_as_it_was_written(tmp_path):
    written = write_smic(tmp_path)
    reading = read_smic(tmp_path)
    check_reading(reading, written)
    assert {record.subject for record in reading.records} == {"s01", "s02", "s03", "s20"}
    assert len({(record.subject, record.clip_id) for record in reading.records}) == written.usable
    for record in reading.records:
        assert "SMIC_all_cropped/HS" in record.frames.paths[0].as_posix()
        assert record.frames.read(record.onset).std() > 1


NAMES = {
    "subject": st.sampled_from(["s1", "s01", "S2", "s20", "sub1", "non", "s1234", "六"]),
    "level": st.sampled_from(["micro", "Micro", ".", "non_micro", "macro"]),
    "emotion": st.sampled_from(["negative", "Positive", "sur", "others", "", "惊讶"]),
    "clip": st.sampled_from(["s1_ne_01", "s01_ne_1", "s2_po_01", "S20_SUR_3", "x", "a b", "..s"]),
}
FILES = st.lists(
    st.sampled_from(
        [
            *("image000001.bmp", "image1.bmp", "reg_image7.bmp", "image12345678.jpg", "9.png"),
            *("image.bmp", "Thumbs.db", "._image2.bmp", "image99999999999999.bmp", "image-1.bmp"),
        ]
    ),
    max_size=4,
    unique=True,
)


@settings(max_examples=30, deadline=None)
@given(tree=st.lists(st.tuples(*NAMES.values(), FILES), min_size=1, max_size=6))
def test_whatever_folders_there_are_clips_span_their_own_frames(tmp_path_factory, tree):
    root = tmp_path_factory.mktemp("fuzz")
    for subject, level, emotion, clip, files in tree:
        folder = root / "HS" / subject / level / emotion / clip
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            (folder / name).write_bytes(b"")
    try:
        reading = read_smic(root)
    except UserError as error:
        assert "no frames in" in str(error)  # noqa: PT017
        return
    for record in reading.records:
        folder = record.frames.paths[0].parent
        names = [path.name for path in folder.iterdir()]
        stems = [re.fullmatch(r"(?:reg_)?(?:image)?(\d{1,9})\.\w+", name) for name in names]
        numbers = sorted(int(stem[1]) for stem in stems if stem)
        assert (record.onset, record.offset) == (numbers[0], numbers[-1])
        assert len(numbers) >= 2
        assert record.emotion in folder.as_posix().lower().replace("/sur/", "/surprise/")
        assert int(record.subject[1:]) == int(folder.relative_to(root / "HS").parts[0][1:])
    clips = [(record.subject, record.clip_id) for record in reading.records]
    assert len(set(clips)) == len(clips)


# SMIC-HS-E


ANNOTATION = "SMIC-HS-E_annotation_2019.xlsx"
HEADER = (
    *("Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F", "Onset3F"),
    *("Offset3F", None, "FirstF", "LastF", "TotalVL", "TotalMF1", "TotalMF2", "TotalMF3"),
    "Emotion",
)
GOOD_ROW = (1, "s1_ne_01", None, 104, 110, *[None] * 5, 100, 120, 21, 7, None, None, "negative")
COLUMN = {name: index for index, name in enumerate(HEADER) if name}


def row(**cells):
    """The good row with other cells: row(OnsetF=105)."""
    changed = {COLUMN[name]: value for name, value in cells.items()}
    return tuple(changed.get(index, cell) for index, cell in enumerate(GOOD_ROW))


def write_annotation(path, *rows, header=HEADER):
    workbook = openpyxl.Workbook()
    for each in (header, *rows):
        workbook.active.append(each)
    path.parent.mkdir(parents=True, exist_ok=True)
    workbook.save(path)


@pytest.fixture
def videos(tmp_path):
    """One long video, SMIC-HS-E/s01/s1_ne_01 with frames 100 to 120, an expression at 104–110."""
    write_annotation(tmp_path / ANNOTATION, GOOD_ROW)
    write_frames(tmp_path / "SMIC-HS-E/s01/s1_ne_01", range(100, 121), "image{:06d}.jpg")
    return tmp_path


def only_expression(videos, *rows):
    if rows:
        write_annotation(videos / ANNOTATION, *rows)
    reading = read_smic_hse(videos)
    assert reading.problems == ()
    (record,) = reading.records
    return record


def only_problem_in(videos, *rows):
    """The one problem that these rows add to the good one."""
    write_annotation(videos / ANNOTATION, GOOD_ROW, *rows)
    reading = read_smic_hse(videos)
    assert [record.clip_id for record in reading.records] == ["s1_ne_01_104"]
    (problem,) = reading.problems
    assert (problem.file, problem.row) == (ANNOTATION, 3)
    return problem.reason


def test_an_expression_in_a_long_video_becomes_a_record_with_its_own_frames(videos):
    record = only_expression(videos)
    assert (record.dataset, record.subject, record.clip_id) == ("smic", "s01", "s1_ne_01_104")
    assert (record.onset, record.apex, record.offset) == (104, None, 110)
    assert (record.action_units, record.emotion) == ((), "negative")
    assert record.frames.numbers == tuple(range(104, 111))
    assert record.frames.paths[0] == videos / "SMIC-HS-E/s01/s1_ne_01/image000104.jpg"
    assert read_smic_hse(str(videos), name="other").records[0].dataset == "other"


@pytest.mark.parametrize("subject", [1, 1.0, "1", "1.0", "s1", "s01", " S01 "])
def test_subjects_are_written_in_many_ways(videos, subject):
    assert only_expression(videos, row(Subject=subject)).subject == "s01"


@pytest.mark.parametrize("word", ["negative", "Negative ", "NEG", "ne", "Ne"])
def test_the_emotion_is_a_word_or_a_code(videos, word):
    write_annotation(videos / ANNOTATION, row(Emotion=word))
    reading = read_smic_hse(videos)
    assert reading.records[0].emotion == "negative"


def test_codes_are_counted_as_their_words(videos):
    names = {"po": "positive", "sur": "surprise", "ne": "negative"}
    rows = [row(Filename=f"s1_{code}_05", Emotion=code) for code in names]
    write_annotation(videos / ANNOTATION, *rows)
    assert read_smic_hse(videos).emotions == dict.fromkeys(names.values(), 1)


def test_a_row_may_hold_three_expressions(videos):
    more = {"Onset2F": 112, "Offset2F": 114, "Onset3F": 116.0, "Offset3F": "118"}
    write_annotation(videos / ANNOTATION, row(**more))
    reading = read_smic_hse(videos)
    assert reading.problems == ()
    assert [record.clip_id for record in reading.records] == [
        *("s1_ne_01_104", "s1_ne_01_112", "s1_ne_01_116")
    ]
    assert [(r.onset, r.offset) for r in reading.records] == [(104, 110), (112, 114), (116, 118)]
    assert reading.records[1].frames.numbers == (112, 113, 114)
    assert reading.emotions == {"negative": 3}


def test_a_second_expression_that_cannot_be_used_costs_only_itself(videos):
    write_annotation(videos / ANNOTATION, row(Onset2F=112, Onset3F="-", Offset3F="/"))
    reading = read_smic_hse(videos)
    assert [record.clip_id for record in reading.records] == ["s1_ne_01_104"]
    (problem,) = reading.problems
    assert "Offset2F must be a whole number, got ''" in problem.reason
    assert problem.clip == "s01/s1_ne_01_112"
    assert reading.annotated == 2


def test_one_video_may_stand_in_several_rows(videos):
    write_annotation(videos / ANNOTATION, GOOD_ROW, row(OnsetF=112, OffsetF=118))
    clips = [record.clip_id for record in read_smic_hse(videos).records]
    assert clips == ["s1_ne_01_104", "s1_ne_01_112"]


def test_frames_may_have_gaps_between_onset_and_offset(videos):
    for number in (105, 106, 115):
        (videos / f"SMIC-HS-E/s01/s1_ne_01/image000{number}.jpg").unlink()
    assert only_expression(videos).frames.numbers == (104, 107, 108, 109, 110)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"Filename": "s1_ne_09"}, "no folder s1_ne_09 in SMIC-HS-E/s01"),
        ({"Subject": 7, "Filename": "s7_ne_01"}, "no folder s07 in SMIC-HS-E"),
        ({"Subject": "x"}, "Subject must be a number such as 1, got 'x'"),
        ({"Subject": 2}, "s1_ne_01 is a clip of subject s01 by its name, its row says s02"),
        ({"Filename": None}, "one folder's name, got ''"),
        ({"Filename": "../s01/s1_ne_01"}, "one folder's name"),
        ({"OnsetF": 105, "Emotion": None}, r"ne, po, sur\), got ''"),
        ({"OnsetF": 105, "Emotion": 1}, r"negative, positive or surprise .*got '1'"),
        ({"OnsetF": 105, "Emotion": "happy"}, "got 'happy'"),
        ({"OnsetF": 105, "Emotion": "surprise"}, "of emotion negative by its name, its row says"),
        ({"OnsetF": "x"}, "OnsetF must be a whole number, got 'x'"),
        ({"OnsetF": -4}, "OnsetF must not be negative"),
        ({"OnsetF": datetime(1900, 4, 13)}, "got the date 1900-04-13"),
        ({"OnsetF": 105, "OffsetF": None}, "OffsetF must be a whole number, got ''"),
        ({"OnsetF": 105, "OffsetF": 105}, "offset must come after onset = 105, got 105"),
        ({"OnsetF": 99}, "onset frame 99 is not on disk, which has 100–120"),
        ({"OnsetF": 105, "OffsetF": 121}, "offset frame 121 is not on disk"),
        ({"Subject": "s01", "OnsetF": "104.0"}, "repeats row 2; only that one is used"),
        ({"Subject": 2, "Filename": "s2_ne_01"}, "no frames in folder s02/s2_ne_01: it is empty"),
    ],
)
def test_a_bad_row_is_reported_and_the_rest_is_read(videos, changes, reason):
    (videos / "SMIC-HS-E/s02/s2_ne_01").mkdir(parents=True)
    assert re.search(reason, only_problem_in(videos, row(**changes)))


def test_the_released_contradiction_of_s18_sur_03_is_a_problem(videos):
    write_frames(videos / "SMIC-HS-E/s18/s18_sur_03", range(100, 121), "image{:06d}.jpg")
    reason = only_problem_in(videos, row(Subject=18, Filename="s18_sur_03"))
    assert "of emotion surprise by its name, its row says negative: correct one" in reason


def test_notes_below_the_table_are_no_clips(videos):
    assert "taken for a note" in only_problem_in(videos, ("s7 has no expression",))
    assert read_smic_hse(videos).annotated == 1


@pytest.mark.parametrize(
    ("annotation", "frames"),
    [
        (ANNOTATION, "."),
        (ANNOTATION, "SMIC-HS-E/HS"),
        (f"SMIC-E_raw image/HS_long/{ANNOTATION}", "SMIC-E_raw image/HS_long/SMIC-HS-E/HS"),
        ("SMIC_HS_E/smic_hs_e_Annotation.xlsx", "SMIC_HS_E"),
        (f"a/b/c/{ANNOTATION}", "a/b/c"),
    ],
)
def test_annotation_and_videos_lie_in_the_folder_or_below_it(tmp_path, annotation, frames):
    write_annotation(tmp_path / annotation, GOOD_ROW)
    write_frames(tmp_path / frames / "s01/s1_ne_01", range(100, 121), "image{:06d}.jpg")
    assert only_expression(tmp_path).clip_id == "s1_ne_01_104"


def test_other_cameras_and_cut_clips_are_not_taken_for_the_videos(videos):
    for camera in ("VIS", "NIR"):
        place = videos / f"A/{camera}_long"
        write_annotation(place / f"SMIC-{camera}-E_annotation.xlsx", row(OnsetF=101))
        write_frames(place / f"SMIC-{camera}-E/s01/s1_ne_01", (101, 110), "image{:06d}.jpg")
    write_frames(videos / "A/SMIC_all_cropped/HS" / CLIP, (104, 110))
    assert len(only_expression(videos).frames) == 7


def test_the_annotation_of_2019_is_newer(videos):
    write_annotation(videos / "SMIC-HS-E_annotation.xlsx", row(OnsetF=101))
    reading = read_smic_hse(videos)
    assert reading.records[0].onset == 104
    (problem,) = reading.problems
    assert problem.file == "SMIC-HS-E_annotation.xlsx"
    assert f"{ANNOTATION} was read instead" in problem.reason


def test_a_text_table_and_other_headings_are_read(videos):
    header = ["被试", "文件名", "Onset Frame", "结束帧", " EMOTION "]
    (videos / ANNOTATION).unlink()
    with (videos / "SMIC-HS-E_annotation.csv").open("w", encoding="utf-8-sig") as stream:
        csv.writer(stream, delimiter="\t").writerows([header, ["1", "s1_ne_01", 104, 110, "ne"]])
    assert only_expression(videos).offset == 110


def test_what_is_missing_of_long_videos_is_an_error_of_one_line(tmp_path):
    with pytest.raises(UserError, match=r"no folder .*nowhere.*SMIC-HS-E_annotation_2019"):
        read_smic_hse(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no annotation SMIC-HS-E_annotation_2019.xlsx in"):
        read_smic_hse(tmp_path)
    write_annotation(tmp_path / ANNOTATION, GOOD_ROW)
    with pytest.raises(UserError, match=r"no frames in .*Expected SMIC-HS-E/s01/s1_ne_01/image"):
        read_smic_hse(tmp_path)
    write_frames(tmp_path / "SMIC-VIS-E/s01/s1_ne_01", (1, 2), "image{:06d}.jpg")
    with pytest.raises(UserError, match=r"only VIS in .*Only HS"):
        read_smic_hse(tmp_path)
    write_annotation(tmp_path / ANNOTATION, GOOD_ROW, header=[*HEADER[:4], "End", *HEADER[5:]])
    with pytest.raises(UserError, match="no column OffsetF"):
        read_smic_hse(tmp_path)


def test_long_videos_with_all_their_quirks_read_as_they_were_written(tmp_path):
    written = write_smic_hse(tmp_path)
    reading = read_smic_hse(tmp_path)
    check_reading(reading, written)
    assert {record.subject for record in reading.records} == {"s01", "s02", "s03", "s20"}
    assert len({record.clip_id for record in reading.records}) == written.usable
    for record in reading.records:
        assert (record.frames.numbers[0], record.frames.numbers[-1]) == (
            record.onset,
            record.offset,
        )


def test_clips_and_long_videos_may_share_a_folder(tmp_path):
    cut, long = write_smic(tmp_path), write_smic_hse(tmp_path)
    check_reading(read_smic(tmp_path), cut)
    check_reading(read_smic_hse(tmp_path), long)


def test_reading_writes_nothing(tmp_path):
    write_smic(tmp_path)
    before = [(path, path.stat().st_mtime_ns) for path in files_in(tmp_path)]
    read_smic(tmp_path)
    assert before == [(path, path.stat().st_mtime_ns) for path in files_in(tmp_path)]


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn")), max_size=12)
CELLS = st.one_of(
    TEXTS,
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
    st.booleans(),
    st.datetimes(datetime(1901, 1, 1), datetime(2100, 1, 1)),
    st.sampled_from(["../../x", "=SUM(A1:A9)", "s1_ne_01", "106.0", "+107", "六", "nan", "po"]),
    st.sampled_from([100, 105.0, 108, 120, 1e300, " 109 ", "s01", 2]),
)


def number_in(cell):
    """The whole number that a person would read in a cell, else None."""
    if isinstance(cell, bool) or not isinstance(cell, (int, float, str)):
        return None
    text = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip()
    return int(float(text)) if re.fullmatch(r"[+-]?[0-9]{1,9}(\.0+)?", text) else None


@pytest.fixture(scope="module")
def eight_videos(tmp_path_factory):
    """Frames 100–120 of s1_ne_00 … s1_ne_07; there is no annotation yet."""
    root = tmp_path_factory.mktemp("fuzz")
    for index in range(8):
        write_frames(root / f"SMIC-HS-E/s01/s1_ne_{index:02d}", range(100, 121), "image{}.jpg")
    return root


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.sampled_from(sorted(COLUMN)), CELLS, max_size=2), min_size=8, max_size=8
    )
)
def test_whatever_cells_hold_numbers_are_those_of_the_cells(eight_videos, changes):
    named = [{"Filename": f"s1_ne_{index:02d}", **each} for index, each in enumerate(changes)]
    rows = [row(**each) for each in named]
    write_annotation(eight_videos / ANNOTATION, *rows)
    reading = read_smic_hse(eight_videos)
    spans = {
        (str(cells[1]).strip(), number_in(cells[onset]), number_in(cells[onset + 1]))
        for cells in rows
        for onset in (3, 5, 7)
    }
    found = {(r.clip_id.rpartition("_")[0], r.onset, r.offset) for r in reading.records}
    assert found <= spans
    untouched = {f"s1_ne_{index:02d}" for index, each in enumerate(changes) if not each}
    assert {(name, 104, 110) for name in untouched} <= found
    for record in reading.records:
        assert (record.subject, record.emotion) == ("s01", "negative")
        assert record.clip_id.endswith(f"_{record.onset}")
