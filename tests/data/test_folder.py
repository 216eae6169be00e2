"""One's own corpus: a table that names folders and videos; every mistake in it is named."""

import csv
import json
import re
import struct

import cv2
import numpy as np
import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hcp_mer.data.folder import read_folder
from hcp_mer.errors import UserError
from hcp_mer.motion.alignment import Face
from hcp_mer.motion.frames import FrameSequence
from tests.corpora_on_disk import check_reading, write_folder

HEADER = ("subject", "clip", "frames", "onset", "apex", "offset", "emotion", "action_units")
GOOD_ROW = ("006", "1", "clips/006_1", 46, 59, 86, "Happiness", "4+L12")


def write_table(root, rows, header=HEADER, separator=",", encoding="utf-8"):
    lines = [separator.join(str(cell) for cell in row) for row in (header, *rows)]
    (root / "metadata.csv").write_bytes(("\n".join(lines) + "\n").encode(encoding))


def write_json_lines(root, *lines):
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (root / "metadata.jsonl").write_text(text + "\n", encoding="utf-8")


def write_frames(folder, numbers, pattern="frame_{:04d}.png", height=8, width=6):
    folder.mkdir(parents=True, exist_ok=True)
    image = np.full((height, width, 3), 90, np.uint8)
    for number in numbers:
        _, encoded = cv2.imencode(".png", image)
        (folder / pattern.format(number)).write_bytes(encoded.tobytes())


def write_video(path, count, height=32, width=48):
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = cv2.VideoWriter_fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 30, (width, height))
    for number in range(count):
        writer.write(np.full((height, width, 3), 10 * number, np.uint8))
    writer.release()


@pytest.fixture
def corpus(tmp_path):
    """One good clip, 006/1 with frames 46, 59 and 86, and a video of ten frames."""
    root = tmp_path / "mine"
    write_frames(root / "clips/006_1", (46, 59, 86))
    write_video(root / "videos/a.avi", 10)
    write_table(root, [GOOD_ROW])
    return root


def changed(**cells):
    """The good row with other cells."""
    return tuple({**dict(zip(HEADER, GOOD_ROW)), **cells}.values())


def bad(**cells):
    """A second clip like the good one, with other cells."""
    return changed(**{"clip": "2", **cells})


def only_record(corpus):
    reading = read_folder(corpus)
    assert reading.problems == ()
    (record,) = reading.records
    return record


def reasons(corpus):
    return [problem.reason for problem in read_folder(corpus).problems]


# What is read


def test_a_row_becomes_a_record(corpus):
    record = only_record(corpus)
    assert (record.dataset, record.subject, record.clip_id) == ("mine", "006", "1")
    assert (record.onset, record.apex, record.offset) == (46, 59, 86)
    assert record.frames.numbers == (46, 59, 86)
    assert record.frames.paths[0] == corpus / "clips/006_1/frame_0046.png"
    assert (record.emotion, record.action_units, record.face) == ("happiness", ("4", "L12"), None)


def test_a_video_is_a_clip_whose_frames_count_from_0(corpus):
    write_table(corpus, [changed(frames="videos/a.avi", onset=0, apex=4, offset=9)])
    record = only_record(corpus)
    assert record.frames.files == (corpus / "videos/a.avi",)
    assert round(record.frames.read(record.apex).mean(), -1) == 40


def test_without_an_offset_the_clip_ends_with_its_last_frame(corpus):
    columns = [name for name in HEADER if name != "offset"]
    rows = [changed(offset=""), changed(clip="2", frames="videos/a.avi", onset=0, apex=4)]
    rows = [[cell for name, cell in zip(HEADER, row) if name in columns] for row in rows]
    write_table(corpus, rows, columns)
    assert [record.offset for record in read_folder(corpus).records] == [86, 9]


def test_the_last_frame_of_a_video_is_counted_not_taken_from_its_header(corpus):
    data = bytearray((corpus / "videos/a.avi").read_bytes())
    for chunk, offset in ((b"avih", 24), (b"strh", 40)):  # dwTotalFrames and dwLength
        struct.pack_into("<I", data, data.index(chunk) + offset, 50)
    (corpus / "videos/a.avi").write_bytes(data)
    write_table(corpus, [changed(frames="videos/a.avi", onset=0, apex=1, offset="")])
    assert only_record(corpus).offset == 9


@pytest.mark.parametrize("apex", ["", " ", "/", "-", "NaN", "none"])
def test_a_missing_apex_is_to_be_spotted_and_no_problem(corpus, apex):
    write_table(corpus, [changed(apex=apex)])
    assert only_record(corpus).apex is None


def test_the_columns_apex_offset_and_action_units_may_be_left_out(corpus):
    keep = ("subject", "clip", "frames", "onset", "emotion")
    write_table(corpus, [[dict(zip(HEADER, GOOD_ROW))[name] for name in keep]], keep)
    record = only_record(corpus)
    assert (record.apex, record.offset, record.action_units) == (None, 86, ())


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_ids_stay_text_whatever_separates_the_cells(corpus, separator, encoding):
    write_table(corpus, [GOOD_ROW], separator=separator, encoding=encoding)
    record = only_record(corpus)
    assert (record.subject, record.clip_id) == ("006", "1")


def test_cells_may_be_quoted_and_end_in_spaces(corpus):
    row = ('"006 "', ' "1" ', '"clips/006_1"', " 46", "59 ", "86.0", "Happiness ", '"4,12"')
    write_table(corpus, [(row[0], "1  ", *row[2:])], [f"{name} " for name in HEADER])
    record = only_record(corpus)
    assert (record.subject, record.clip_id, record.apex, record.offset) == ("006", "1", 59, 86)
    assert record.action_units == ("4", "12")


@pytest.mark.parametrize(
    "header",
    [
        ("Subject", "Clip ID", "Frames", "Onset Frame", "Apex Frame", "Offset", "EMOTION", "AU"),
        ("participant", "clip_id", "video", "onset", "apex", "offset_frame", "emotion", "AUs"),
    ],
)
def test_columns_have_other_usual_names(corpus, header):
    write_table(corpus, [GOOD_ROW], header)
    record = only_record(corpus)
    assert (record.onset, record.apex, record.offset) == (46, 59, 86)
    assert record.action_units == ("4", "L12")


def test_columns_may_come_in_any_order(corpus):
    write_table(corpus, [GOOD_ROW[::-1]], HEADER[::-1])
    assert only_record(corpus).clip_id == "1"


def test_a_workbook_is_read_too(corpus):
    (corpus / "metadata.csv").unlink()
    workbook = openpyxl.Workbook()
    workbook.active.append(HEADER)
    workbook.active.append(GOOD_ROW)
    workbook.active.append((7, 2, *GOOD_ROW[2:]))
    workbook.save(corpus / "metadata.xlsx")
    records = read_folder(corpus).records
    assert [(r.subject, r.clip_id, r.onset) for r in records] == [("006", "1", 46), ("7", "2", 46)]


@pytest.mark.parametrize(
    ("pattern", "example"),
    [
        ("frame_{:04d}.png", "frame_0046.png"),
        ("img{}.PNG", "img46.PNG"),
        ("{}.png", "46.png"),
        ("cam2_take01_{:05d}.png", "cam2_take01_00046.png"),
        ("2024-01-05 {} small.png", "2024-01-05 46 small.png"),
        ("表情 {}.v.png", "表情 46.v.png"),
    ],
)
def test_a_frame_is_numbered_by_the_last_number_in_its_name(corpus, pattern, example):
    write_frames(corpus / "x", (9, 46, 59, 86, 100), pattern)
    write_table(corpus, [changed(frames="x")])
    record = only_record(corpus)
    assert record.frames.numbers == (46, 59, 86)
    assert record.frames.path(46) == corpus / "x" / example


def test_other_files_beside_frames_are_no_part(corpus):
    for stranger in ("Thumbs.db", "._frame_0046.png", ".46.png", "cover.png", "notes2.txt"):
        (corpus / "clips/006_1" / stranger).write_bytes(b"x")
    (corpus / "clips/006_1/99.png").mkdir()
    (corpus / "__MACOSX").mkdir()
    (corpus / "__MACOSX/metadata.csv").write_bytes(b"x")
    (corpus / "._metadata.csv").write_bytes(b"x")
    assert only_record(corpus).frames.numbers == (46, 59, 86)


def test_names_with_spaces_and_letters_of_any_script_work(tmp_path):
    root = tmp_path / "mein Körpus 表情"
    write_frames(root / "bäume und/被试 1", (1, 2, 3))
    write_video(root / "vidéo 1.avi", 4)
    rows = [
        ("被试", "clip é", "bäume und/被试 1", 1, 2, 3, "高兴", ""),
        ("b", "2", "vidéo 1.avi", 0, 1, 3, "x", ""),
    ]
    write_table(root, rows)
    reading = read_folder(root)
    assert reading.problems == ()
    assert [r.emotion for r in reading.records] == ["高兴", "x"]
    assert [r.subject for r in reading.records] == ["被试", "b"]
    assert reading.records[1].frames.read(1).shape == (32, 48, 3)


def test_paths_as_windows_writes_them_are_read(corpus):
    write_table(corpus, [changed(frames=r"clips\006_1"), changed(clip=2, frames="./clips//006_1/")])
    assert len(read_folder(corpus).records) == 2


def test_the_dataset_is_the_column_then_the_name_given_then_the_folder(corpus):
    rows = [(*GOOD_ROW, "casme2"), (*changed(clip=2), " ")]
    write_table(corpus, rows, (*HEADER, "dataset"))
    assert [r.dataset for r in read_folder(corpus).records] == ["casme2", "mine"]
    assert [r.dataset for r in read_folder(corpus, name="lab").records] == ["casme2", "lab"]
    assert read_folder(f"{corpus}/../mine").records[1].dataset == "mine"


def test_one_folder_may_hold_clips_of_the_same_ids_from_two_corpora(corpus):
    write_table(corpus, [(*GOOD_ROW, "a"), (*GOOD_ROW, "b")], (*HEADER, "dataset"))
    reading = read_folder(corpus)
    assert (len(reading.records), reading.annotated, reading.problems) == (2, 2, ())


def test_a_long_recording_is_listed_once_and_each_clip_keeps_its_own_frames(corpus, monkeypatch):
    folder = corpus / "long"
    folder.mkdir()
    for number in range(3000):
        (folder / f"{number}.jpg").write_bytes(b"")
    rows = [changed(clip=n, frames="long", onset=n, apex=n + 5, offset=n + 9) for n in range(200)]
    write_table(corpus, rows)
    listed, real = [], FrameSequence.from_folder
    count = staticmethod(lambda *arguments: listed.append(1) or real(*arguments))
    monkeypatch.setattr(FrameSequence, "from_folder", count)
    records = read_folder(corpus).records
    assert listed == [1]
    assert len(records) == 200
    assert records[7].frames.numbers == tuple(range(7, 17))


def test_frames_are_not_decoded(corpus):
    for path in (corpus / "clips/006_1").iterdir():
        path.write_bytes(b"")
    assert only_record(corpus).frames.numbers == (46, 59, 86)


def test_prepared_pairs_inside_the_folder_do_not_disturb(corpus):
    (corpus / "pairs/data").mkdir(parents=True)
    for name in ("pairs.json", "problems.json", "check.json", "data/train-0-of-1.parquet"):
        (corpus / "pairs" / name).write_bytes(b"{}")
    assert only_record(corpus).subject == "006"


def test_a_folder_that_is_a_link_is_followed(corpus, tmp_path):
    """A corpus may be linked together from several disks, as prepared pairs may."""
    write_frames(tmp_path / "other disk/1", (46, 59, 86))
    (corpus / "linked").symlink_to(tmp_path / "other disk")
    write_table(corpus, [changed(frames="linked/1")])
    assert len(only_record(corpus).frames) == 3


def test_a_corpus_in_every_way_that_one_may_write_it_is_read_as_it_was_written(tmp_path):
    written = write_folder(tmp_path / "own")
    reading = read_folder(written.folder)
    check_reading(reading, written)
    for record in reading.records:
        assert record.frames.read(record.apex or record.offset).shape == (64, 64, 3)


# What is wrong with a row


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (bad(subject=""), "subject is empty"),
        (bad(clip=" "), "clip is empty"),
        (bad(emotion=""), "emotion is empty"),
        (bad(frames=""), "frames is empty"),
        (bad(onset=""), "onset must be a whole number, got ''"),
        (bad(onset="4x"), "onset must be a whole number, got '4x'"),
        (bad(onset="46.5"), "onset must be a whole number, got '46.5'"),
        (bad(onset=-1), "onset must not be negative, got -1"),
        (bad(apex=-1), "apex must not be negative, got -1: leave it empty"),
        (bad(apex="later"), "apex must be a whole number, got 'later'"),
        (bad(offset=-5), "offset must not be negative, got -5"),
        (bad(onset=45), "onset frame 45 is not on disk, which has 46–86"),
        (bad(apex=60), "apex frame 60 is not on disk"),
        (bad(offset=87), "offset frame 87 is not on disk"),
        (bad(apex=46), r"apex must lie in \(onset, offset\] = \(46, 86\], got 46"),
        (bad(apex=86, offset=59), r"apex must lie in .*\(46, 59\], got 86"),
        (bad(apex="", offset=46), "offset must come after onset = 46, got 46"),
        (bad(frames="clips/gone"), "no folder and no video 'clips/gone' in "),
        (bad(frames="clips/a\x01b"), "no folder and no video"),
        (bad(frames="clips"), "no file in .*clips is named like frame_0001.png"),
        (bad(frames="clips/006_1/frame_0046.png"), "neither a folder of frames nor a video"),
        (bad(frames="../secret"), "'../secret' in frames leads out of .*move the clip inside"),
        (bad(frames="clips/../../secret"), "leads out of"),
        (bad(frames="..\\secret"), "leads out of"),
        (bad(frames="/etc"), "path inside .*, got the absolute '/etc'"),
        (bad(frames="C:\\clips\\1"), "got the absolute 'C:/clips/1'"),
        (bad(frames="videos/a.avi"), "onset frame 46 is not on disk, which has 0–9; .*from 0"),
        (
            bad(frames="videos/a.avi", onset=0, apex=4, offset=10),
            "offset frame 10 is not on disk, which has 0–9; frames of a video count from 0",
        ),
        (bad(frames="videos/text.mp4"), "text.mp4 is no video that OpenCV can read"),
        (bad(frames="videos/empty.mp4"), r"empty.mp4 is empty \(0 bytes\)"),
        (("007", "2"), "emotion is empty"),
    ],
)
def test_a_bad_row_is_reported_and_the_rest_is_read(corpus, row, reason):
    (corpus / "videos/text.mp4").write_bytes(b"no video " * 100)
    (corpus / "videos/empty.mp4").write_bytes(b"")
    (corpus.parent / "secret").mkdir()
    write_frames(corpus.parent / "secret", (46, 59, 86))
    write_table(corpus, [GOOD_ROW, row])
    reading = read_folder(corpus)
    assert [record.clip_id for record in reading.records] == ["1"]
    (problem,) = reading.problems
    assert (problem.file, problem.row) == ("metadata.csv", 3)
    assert re.search(reason, problem.reason), problem.reason
    assert "\n" not in problem.reason
    assert reading.annotated == 2


def test_of_two_rows_for_one_clip_the_first_is_used(corpus):
    write_table(corpus, [GOOD_ROW, changed(emotion="sadness")])
    reading = read_folder(corpus)
    assert [record.emotion for record in reading.records] == ["happiness"]
    assert [problem.reason for problem in reading.problems] == [
        "repeats row 2; only that one is used"
    ]
    assert reading.annotated == 1


def test_the_clip_is_named_as_far_as_it_is_known(corpus):
    write_table(corpus, [changed(subject="", emotion=""), changed(onset="x"), ("", "", "c", 1)])
    assert [problem.clip for problem in read_folder(corpus).problems] == ["1", "006/1", None]


def test_two_files_of_one_number_are_a_problem(corpus):
    write_frames(corpus / "clips/006_1", (59,), "mask_{}.png")
    (reason,) = reasons(corpus)
    assert re.search(r"frame_0059\.png and mask_59\.png in .* are both frame 59", reason)


def test_odd_action_units_cost_no_clip_but_are_reported(corpus):
    write_table(corpus, [changed(action_units="smirk")])
    reading = read_folder(corpus)
    assert reading.records[0].action_units == ()
    assert "kept without action units" in reading.problems[0].reason


def test_ids_that_cannot_be_seen_are_refused(corpus):
    write_json_lines(corpus, {**dict(zip(HEADER, GOOD_ROW)), "subject": "a\u200bb"})
    (corpus / "metadata.csv").unlink()
    (reason,) = reasons(corpus)
    assert reason == r"subject has characters that cannot be seen: 'a\u200bb'"


def test_no_usable_clip_is_no_error_and_the_problems_say_why(corpus):
    write_table(corpus, [changed(emotion="")])
    reading = read_folder(corpus)
    assert (reading.records, reading.annotated, len(reading.problems)) == ((), 1, 1)
    write_table(corpus, [])
    assert read_folder(corpus).annotated == 0


def test_two_spellings_of_what_may_be_one_person_are_remarked(corpus):
    rows = [changed(subject=s, clip=n) for n, s in enumerate(("006", "6", "S1", "s01", "7", "70"))]
    write_table(corpus, rows)
    reading = read_folder(corpus)
    assert len(reading.records) == 6
    said = [problem.reason for problem in reading.problems if "count as" in problem.reason]
    assert [reason.split(" count")[0] for reason in said] == [
        "the subjects 006 and 6",
        "the subjects S1 and s01",
    ]


def test_a_clip_that_stands_under_two_names_is_remarked(corpus):
    video = {"frames": "videos/a.avi", "apex": "", "offset": 9}
    rows = [changed(clip="4", **video, onset=0), changed(clip="5", **video, onset=4)]
    write_table(corpus, [GOOD_ROW, changed(subject="007", clip="1"), *rows])
    reading = read_folder(corpus)
    assert len(reading.records) == 4
    ((clip, reason),) = [(problem.clip, problem.reason) for problem in reading.problems]
    assert (clip, reason) == ("007/1", "begins with the same frame as 006/1")


def test_emotions_are_counted_whether_usable_or_not(corpus):
    rows = [GOOD_ROW, changed(clip=2, emotion="Other"), changed(clip=3, emotion="x", onset="?")]
    write_table(corpus, [*rows, changed(clip=4, emotion="")])
    reading = read_folder(corpus)
    assert reading.emotions == {"(none)": 1, "happiness": 1, "others": 1, "x": 1}
    assert (reading.annotated, len(reading.records)) == (4, 2)


# What is wrong with the table


def test_a_misspelt_column_that_is_needed_is_named_with_the_heading_that_looks_like_it(corpus):
    write_table(corpus, [GOOD_ROW], ("subject", "clip", "frmes", *HEADER[3:6], "emotoin", "x"))
    with pytest.raises(
        UserError,
        match=r"no column frames \(is it 'frmes'\?\), emotion \(is it 'emotoin'\?\)\. Expected a "
        "header row with subject, clip, frames, onset, emotion",
    ):
        read_folder(corpus)


def test_columns_that_are_not_read_are_remarked_and_a_slip_is_named(corpus):
    write_table(corpus, [(*GOOD_ROW, 31)], (*HEADER[:5], "offest", *HEADER[6:], "age"))
    reading = read_folder(corpus)
    assert reading.records[0].offset == 86  # the last frame, as without the column
    (problem,) = reading.problems
    assert (problem.file, problem.row) == ("metadata.csv", None)
    assert problem.reason == "not read: the column offest (did you mean offset?), age"


def test_a_missing_folder_or_table_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no folder .*nowhere.*metadata\.csv"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no metadata\.csv in .*--init"):
        read_folder(tmp_path)


def test_of_several_tables_the_first_is_read_and_the_other_remarked(corpus):
    write_json_lines(corpus, {"subject": "x"})
    (problem,) = read_folder(corpus).problems
    assert (problem.file, problem.reason) == ("metadata.jsonl", "metadata.csv was read instead")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has no column subject"),
        (b"\xff\xfe" + "subject,clip".encode("utf-16-le"), "no text"),
        (b'subject,clip\n"006,1\n', "quotation mark"),
        (bytes(range(256)), "metadata.csv"),
    ],
)
def test_a_table_that_is_none_is_one_line(corpus, content, message):
    (corpus / "metadata.csv").write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        read_folder(corpus)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("where", ["metadata.csv", "train/metadata.csv", "pairs.json"])
def test_pairs_that_are_made_already_are_sent_to_training(tmp_path, where):
    header = "magnified_file_name,flow_file_name,emotion,subject,clip_id\nm.png,f.png,x,1,1\n"
    (tmp_path / where).parent.mkdir(exist_ok=True)
    (tmp_path / where).write_text(header)
    with pytest.raises(UserError, match=r"holds pairs already.*train_loso\.py --dataset") as raised:
        read_folder(tmp_path)
    assert "\n" not in str(raised.value)


# JSON lines


@pytest.fixture
def json_corpus(corpus):
    (corpus / "metadata.csv").unlink()
    return corpus


def test_json_lines_give_the_same_record(json_corpus):
    clip = {**dict(zip(HEADER, GOOD_ROW)), "action_units": ["4", "L12"]}
    write_json_lines(json_corpus, clip)
    record = only_record(json_corpus)
    assert (record.subject, record.clip_id, record.apex) == ("006", "1", 59)
    assert record.action_units == ("4", "L12")


def test_a_number_in_json_is_the_text_that_stands_there(json_corpus):
    line = json.dumps({**dict(zip(HEADER, GOOD_ROW)), "action_units": [4, 12]})
    line = line.replace('"006"', "6.10").replace('"1"', "17").replace("59", "NaN")
    write_json_lines(json_corpus, line)
    record = only_record(json_corpus)
    assert (record.subject, record.clip_id) == ("6.10", "17")
    assert (record.apex, record.action_units) == (None, ("4", "12"))


def test_keys_may_differ_from_line_to_line_and_be_left_out(json_corpus):
    clip = {**dict(zip(HEADER, GOOD_ROW)), "apex": None}
    short = {"Subject": "2", "clip_id": "2", "video": "videos/a.avi", "Onset": 0, "emotion": "x"}
    write_json_lines(json_corpus, clip, "", {**short, "AU": [1, 2], "age": 3, "offest": 5})
    reading = read_folder(json_corpus)
    assert [(r.clip_id, r.apex, r.offset) for r in reading.records] == [
        ("1", None, 86),
        ("2", None, 9),
    ]
    assert reading.records[1].action_units == ("1", "2")
    (problem,) = reading.problems
    assert problem.reason == "not read: the column age, offest"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "no JSON object on this line: Expecting property name"),
        ("[1, 2]", "no JSON object on this line: got [1, 2]"),
        ("7", "no JSON object on this line: got 7"),
        ("[" * 100000, "no JSON object on this line"),
        ('{"subject": "1", "subject": "2"}', "'subject' stands twice"),
        ('{"subject": "1", "onset": Infinity}', "Infinity is no number"),
        ('{"clip": "9"}', "subject is empty"),
        ('{"subject": ["a"], "clip": "9"}', "subject must be text or a number, got ['a']"),
        ('{"subject": true, "clip": "9"}', "subject must be text or a number, got True"),
        ('{"subject": {"a": 1}, "clip": "9"}', "subject must be text or a number"),
        (r'{"subject": "\ud800", "clip": "9"}', "it holds half a character"),
        ('{"subject": "a\\nb", "clip": "9"}', "subject has characters that cannot be seen"),
    ],
)
def test_a_bad_line_is_reported_by_its_number_and_the_rest_is_read(json_corpus, line, reason):
    write_json_lines(json_corpus, dict(zip(HEADER, GOOD_ROW)), "", line)
    reading = read_folder(json_corpus)
    assert len(reading.records) == 1
    (problem,) = reading.problems
    assert (problem.file, problem.row) == ("metadata.jsonl", 3)
    assert reason in problem.reason
    json.dumps(problem.to_dict(), ensure_ascii=False).encode("utf-8")
    assert reading.annotated == 2


def test_a_json_list_is_no_json_lines(json_corpus):
    text = json.dumps([dict(zip(HEADER, GOOD_ROW))], indent=1)
    (json_corpus / "metadata.jsonl").write_text(text)
    with pytest.raises(UserError, match=r"holds no JSON lines, one object per line \(line 1"):
        read_folder(json_corpus)
    (json_corpus / "metadata.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"metadata\.jsonl is no text in UTF-8"):
        read_folder(json_corpus)


# Faces that the user has found


@pytest.fixture
def camera(corpus):
    """A clip of whole frames, 320 × 240 px."""
    write_frames(corpus / "raw", (1, 2, 3), height=240, width=320)
    return corpus


def with_face(camera, **cells):
    row = changed(frames="raw", onset=1, apex=2, offset=3)
    write_table(camera, [(*row, *cells.values())], (*HEADER, *cells))


def test_a_box_and_eyes_are_taken(camera):
    with_face(camera, face_box="100 50.5 80 90", eyes='"120, 80, 155, 82.25"')
    face = Face(box=(100, 50.5, 80, 90), eyes=((120, 80), (155, 82.25)))
    assert only_record(camera).face == face
    with_face(camera, face_box="[100;50;80;90]", eyes=" ")
    assert only_record(camera).face == Face(box=(100, 50, 80, 90))


def test_a_box_and_eyes_may_be_json_lists(camera):
    (camera / "metadata.csv").unlink()
    clip = dict(zip(HEADER, changed(frames="raw", onset=1, apex=2, offset=3)))
    eyes = [[120, 80], [155, 82.25]]
    write_json_lines(camera, {**clip, "face_box": [100, 50.5, 80, 90], "eyes": eyes})
    face = Face(box=(100, 50.5, 80, 90), eyes=((120, 80), (155, 82.25)))
    assert only_record(camera).face == face


def test_a_face_is_looked_up_in_the_frame_of_a_video_too(camera):
    row = changed(frames="videos/a.avi", onset=0, apex=4, offset=9)
    write_table(camera, [(*row, "10 5 20 20")], (*HEADER, "face_box"))
    assert only_record(camera).face == Face(box=(10, 5, 20, 20))
    write_table(camera, [(*row, "50 5 20 20")], (*HEADER, "face_box"))
    assert "in a frame of 48×32 px" in reasons(camera)[0]


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"face_box": "100 50 80"}, "face_box must be four numbers, x y width height, in px; got"),
        ({"face_box": "100 50 80 90 1"}, "face_box must be four numbers"),
        ({"face_box": "a b c d"}, "face_box must be four numbers"),
        ({"face_box": "nan 1 50 50"}, "face_box must be four numbers"),
        ({"face_box": "0.3 0.2 0.4 0.5"}, "cannot be a face in a frame of 320×240 px"),
        ({"face_box": "300 50 80 90"}, "cannot be a face in a frame of 320×240 px"),
        ({"face_box": "100 50 0 90"}, ""),
        ({"eyes": "120 80"}, "eyes must be four numbers, x y of the eye at the left of the image"),
        ({"eyes": "0.3 0.4 0.6 0.4"}, "cannot be eyes in a frame of 320×240 px"),
        ({"eyes": "120 80 155 282"}, "cannot be eyes in a frame of 320×240 px"),
        ({"eyes": "155 80 120 80"}, ""),
    ],
)
def test_a_face_that_cannot_be_one_is_a_problem_of_its_row(camera, cells, reason):
    with_face(camera, **cells)
    reading = read_folder(camera)
    assert reading.records == ()
    assert reason in reading.problems[0].reason
    assert reading.problems[0].row == 2


def test_whole_frames_are_noticed_in_images_and_in_videos(camera):
    assert not read_folder(camera).whole_frames
    with_face(camera)
    assert read_folder(camera).whole_frames
    write_table(camera, [changed(frames="videos/a.avi", onset=0, apex=4, offset=9)])
    assert read_folder(camera).whole_frames  # 48 × 32


# Anything in the cells

CELLS = st.one_of(
    st.text(max_size=12),
    st.integers(-3, 120),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.sampled_from(
        [
            *("46", "59", "86", "46.0", "4e1", "６", "046", "+46", "1_0", "=1+1", "2024-01-05"),
            *("clips/006_1", "videos/a.avi", "../x", "/", "高兴", "'006", "x" * 5000, "C:x"),
        ]
    ),
    st.none(),
    st.booleans(),
    st.lists(st.integers(0, 5), max_size=5),
)
NAMES = (*HEADER, "eyes", "dataset")
GOOD_CELLS = dict(zip(NAMES, (*GOOD_ROW, None, None)))
# Rows as they should be, but for a cell or three.
ROWS = st.lists(
    st.dictionaries(st.sampled_from(NAMES), CELLS, max_size=3).map(lambda odd: GOOD_CELLS | odd),
    max_size=4,
)
FUZZED = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def check_against_cells(reading, rows):
    """Every record's values are those of a row, and no row is lost: it is a record or a problem.

    Args: rows: row number → column → what stands there, as text.
    """
    for record in reading.records:
        assert any(
            (record.subject, record.clip_id) == (row["subject"], row["clip"])
            and record.onset == number_in(row["onset"])
            and record.apex == number_in(row["apex"])
            and record.offset == (number_in(row["offset"]) or 86)
            for row in rows.values()
        ), record
    refused = {problem.row for problem in reading.problems if not problem.reason.startswith("kept")}
    assert len(reading.records) + len(refused - {None}) == len(rows)


def number_in(text):
    return float(text) if re.fullmatch(r"\+?[0-9]+(\.0+)?", text) else None


@FUZZED
@given(ROWS)
def test_whatever_stands_in_a_json_line_is_read_rightly_or_reported(corpus, rows):
    (corpus / "metadata.csv").unlink(missing_ok=True)
    rows = [GOOD_CELLS, *rows]
    write_json_lines(corpus, *rows)
    numbered = {
        number: {name: str(cell).strip() for name, cell in row.items()}
        for number, row in enumerate(rows, start=1)
    }
    check_against_cells(read_folder(corpus), numbered)


@FUZZED
@given(ROWS)
def test_whatever_stands_in_a_csv_cell_is_read_rightly_or_reported(corpus, rows):
    rows = [
        {name: "" if cell is None else str(cell).replace("\0", "") for name, cell in row.items()}
        for row in rows
    ]
    path = corpus / "metadata.csv"
    with path.open("w", newline="", encoding="utf-8", errors="replace") as stream:
        csv.writer(stream).writerows([NAMES, *(row.values() for row in rows)])
    numbered = {
        number: {name: cell.strip() for name, cell in row.items()}
        for number, row in enumerate(rows, start=2)
    }
    check_against_cells(read_folder(corpus), numbered)


@FUZZED
@given(st.binary(max_size=300))
def test_any_bytes_as_a_table_are_a_users_mistake_or_read(corpus, content):
    (corpus / "metadata.csv").unlink(missing_ok=True)
    for name in ("metadata.csv", "metadata.jsonl"):
        (corpus / name).write_bytes(content)
        message = ""
        try:
            assert read_folder(corpus).records == ()
        except UserError as error:
            message = str(error)
        assert "\n" not in message
        (corpus / name).unlink()
