"""The corpora as they lie on disk, quirks included, with moving procedural faces in the frames.

Each `write_<corpus>(root, clips=…, size=…)` returns what a reading must give by construction.
"""

import csv
import datetime
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from shutil import copy, copytree

import cv2
import numpy as np
import openpyxl
import xlwt

from hcp_mer.data.records import CorpusReading
from hcp_mer.data.synthetic.clips import ProceduralClip, render_clip
from hcp_mer.data.synthetic.faces import Tonic, render_face
from hcp_mer.data.synthetic.identity import Identity, make_identity

# What a face shows for the corpora's other words; the keys of `synthetic.actions.COMBINATIONS`.
_SHOWN = {
    **{"happy": "happiness", "positive": "happiness", "sad": "sadness", "negative": "disgust"},
    **{"repression": "others", "contempt": "disgust", "other": "others"},
}


@dataclass(frozen=True)
class OnDisk:
    """A written corpus.

    Attributes:
        folder: what a reader is given.
        annotated: clips that the annotation knows; emotions: the same by word.
        usable: clips that a reader must return.
        reasons: one keyword for every problem that a reader must report, in any order.
    """

    folder: Path
    annotated: int
    usable: int
    emotions: dict[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()


def check_reading(reading: CorpusReading, written: OnDisk) -> None:
    """Fail where a reading differs from what was written."""
    assert reading.annotated == written.annotated
    assert reading.emotions == written.emotions
    assert len(reading.records) == written.usable
    said = [problem.reason for problem in reading.problems]
    for keyword in sorted(written.reasons, key=len, reverse=True):
        match = next((reason for reason in said if keyword in reason), None)
        assert match is not None, f"no problem says {keyword!r}: {said}"
        said.remove(match)
    assert said == []


@cache
def film(person: int, emotion: str, take: int, size: int) -> ProceduralClip:
    """Twelve frames of one person showing an emotion, a corpus's word; takes differ.

    Frames of the same arguments are the same pixels: do not write into them.
    """
    identity, face = _face(person, size)
    shown = _SHOWN.get(emotion.lower(), emotion.lower())
    seed = (person, take)
    return render_clip(identity, shown, seed, size=size, num_frames=12, base_face=face)


@cache
def _face(person: int, size: int) -> tuple[Identity, np.ndarray]:
    identity = make_identity(person)
    return identity, render_face(identity, Tonic(0, 0, 0, 0), size)


def write_frame(path: Path, frame: np.ndarray) -> None:
    """An RGB or grey frame as the kind of file that the path's ending says; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(path.suffix, stored)
    path.write_bytes(encoded.tobytes())


def write_frames(
    folder: Path,
    clip: ProceduralClip,
    name: str = "img{}.jpg",
    first: int = 0,
    leave_out: tuple[int, ...] = (),
) -> tuple[int, int, int]:
    """A clip's frames as files, numbered from `first`.

    Args:
        name: a file's name, with {} (or {:05d}) for the number.
        leave_out: frame numbers that are not written.
    Returns:
        the numbers of the onset, apex and offset frame.
    """
    for number, frame in enumerate(clip.frames, start=first):
        if number not in leave_out:
            write_frame(folder / name.format(number), frame)
    return first + clip.onset, first + clip.apex, first + clip.offset


def write_table(path: Path, *rows: Sequence[object], sheet: str = "Sheet1") -> None:
    """Rows as an .xlsx, .xls or .csv file; None leaves a cell empty, "=1" is text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(rows)
    elif path.suffix == ".xls":
        book = xlwt.Workbook()
        page = book.add_sheet(sheet)
        dated = xlwt.easyxf(num_format_str="YYYY-MM-DD")
        for i, row in enumerate(rows):
            for j, cell in enumerate(row):
                style = [dated] if isinstance(cell, datetime.date) else []
                page.write(i, j, cell, *style)
        book.save(str(path))
    else:
        book = openpyxl.Workbook()
        book.active.title = sheet
        for row in rows:
            book.active.append(row)
        for cell in (cell for row in book.active.iter_rows() for cell in row):
            if cell.data_type == "f":
                cell.data_type = "s"
        book.save(path)


_SAMM_WORDS = ("Anger", "Contempt", "Disgust", "Fear", "Happiness", "Sadness", "Surprise", "Other")
_SAMM_HEADER = (
    *("Subject", "Filename", "Inducement Code", "Onset Frame", "Apex Frame", "Offset Frame"),
    *("Duration", "Micro", "Action Units", "Estimated Emotion", "Objective Classes", "Notes"),
)


def write_samm(root: Path, clips: int = 32, size: int = 64) -> OnDisk:
    """SAMM: one header below 13 rows, grey frames; `clips` that can be used, and nine that not.

    Four subjects; the first 32 clips show each of them in each of the eight emotions.
    """
    frames, rows, emotions = root / "SAMM", [], Counter()
    for index in range(clips):
        word = _SAMM_WORDS[index // 4 % 8] + "s" * (index == 28)  # Others is Other
        person = (6, 7, 11, 37)[index % 4]
        rows.append(_samm_clip(frames, person, index, word, size))
        emotions["others" if word.startswith("Other") else word.lower()] += 1
    broken = _break_samm(frames, rows[0])
    lost = ["anger", "(none)", "fear", "fear", "disgust", "disgust", "surprise", "others"]
    emotions.update(lost)
    above = [["SAMM"], *([None] for _ in range(12))]
    note = ["* coded by three coders"]
    write_table(root / "SAMM_Micro_FACS_Codes_v2.xlsx", *above, _SAMM_HEADER, *rows, *broken, note)
    write_table(root / "SAMM_Micro_FACS_Codes.xlsx", _SAMM_HEADER, rows[0])
    (frames / "__MACOSX/006/006_1_1").mkdir(parents=True)
    reasons = (
        *("no folder 006_9_1 in SAMM/006", "the emotion cell is empty", "it is empty"),
        *("apex must lie in", "offset must come after", "offset frame", "the cell Subject says"),
        *("Subject must be a number", "repeats row 15", "taken for a note"),
        *("several annotations: SAMM_Micro_FACS_Codes_v2.xlsx", "kept without action units"),
    )
    return OnDisk(root, clips + len(lost), clips, dict(emotions), reasons)


def _samm_clip(frames: Path, person: int, index: int, word: str, size: int) -> list[object]:
    """Write a clip that can be used, each with another of the corpus's quirks; its row."""
    session, subject = index // 4 + 1, f"{person:03d}"
    folder = frames / subject / f"{subject}_{session}_1"
    clip = film(person, word, index, size)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in clip.frames]
    digits = 5 if session in (1, 7) else 4
    name = {3: "{:05d}.bmp", 5: f"reg_{subject}_{{:04d}}.png"}.get(index)
    name = name or f"{subject}_{{:0{digits}d}}.jpg"
    first = 180 + 40 * index
    left_out = (first + clip.apex + 1,) if index == 9 else ()
    onset, apex, offset = write_frames(folder, replace(clip, frames=grey), name, first, left_out)
    if index == 6:  # files that are no frames of this clip
        write_frame(folder / f"099_{apex:0{digits}d}.jpg", clip.frames[0])
        for junk in ("Thumbs.db", f"._{subject}_{apex:0{digits}d}.jpg"):
            (folder / junk).write_bytes(b"junk")
    apex = {1: -1, 2: None, 4: "/"}.get(index, apex)
    units = {0: "R14A or 12", 1: "?", 2: 12, 3: "smirk", 4: "AU4 + 7B"}
    subject_cell = (person, subject, float(person), f" {subject} ")[index % 4]
    duration = offset - onset + 1
    cells = [subject_cell, folder.name, "anger", onset, apex, offset, duration, "Micro - 1/2"]
    return [*cells, units.get(index, "+".join(clip.action_units)), word, 5, None]


def _break_samm(frames: Path, good: list[object]) -> list[list[object]]:
    """Rows that cannot be used, after a good one of 006; the last repeats it."""
    (frames / "006/006_9_2").mkdir()
    name, onset, offset, word = 1, 3, 5, 9  # columns
    apex = good[onset] + 1
    changes = (
        {name: "006_9_1"},
        {word: None},
        {name: "006_9_2", word: "Fear"},
        {name: "006_1_1b", 4: good[offset] + 1, word: "Fear"},
        {name: "006_1_1c", 4: apex, offset: good[onset], word: "Disgust"},
        {name: "006_1_1d", 4: apex, offset: good[offset] + 99, word: "Disgust"},
        {0: 7, word: "Surprise"},
        {0: "x", name: "007_1_1", word: "Other"},
        {},
    )
    for letter in "bcd":
        copytree(frames / "006/006_1_1", frames / f"006/006_1_1{letter}")
    changes[1][name] = "006_1_1e"
    return [[change.get(column, cell) for column, cell in enumerate(good)] for change in changes]


_SMIC_CODES = {"negative": "ne", "positive": "po", "surprise": "sur"}


def write_smic(root: Path, clips: int = 36, size: int = 64) -> OnDisk:
    """SMIC-HS, cropped beside raw and beside other cameras; `clips` that can be used, and four not.

    Four subjects, one of them as s1 and as s01; the first 36 clips show each in each emotion.
    """
    hs, emotions = root / "SMIC_all_cropped/HS", Counter()
    for index in range(clips):
        person, emotion = (1, 2, 3, 20)[index % 4], tuple(_SMIC_CODES)[index // 4 % 3]
        subject = "s01" if person == 1 and index // 12 == 1 else f"s{person}"
        level = emotion.upper() if person == 2 else f"micro/{emotion}"
        clip_id = f"s{person}_{_SMIC_CODES[emotion]}_{index // 12 + 1:02d}"
        first, clip = 559740 + 100 * index, film(person, emotion, index, size)
        left_out = (first + 5,) if index == 7 else ()
        write_frames(hs / subject / level / clip_id, clip, "reg_image{:06d}.bmp", first, left_out)
        emotions[emotion] += 1
    for other in ("SMIC_all_cropped/VIS", "SMIC_all_cropped/NIR", "SMIC_all_raw/HS"):
        copytree(hs / "s1/micro", root / other / "s1/micro")
    copytree(hs / "s1/micro/negative/s1_ne_01", hs / "s1/non_micro/s1_n1")
    (hs / "s3/micro/negative/Thumbs.db").write_bytes(b"junk")
    (hs / "__MACOSX").mkdir()
    emotions.update(_break_smic(hs))
    reasons = (
        *("it is empty", "of emotion positive by its name", "of subject s02 by its name"),
        *("one frame alone", "repeats another clip", "the folder holds no clips"),
        *("neutral is no emotion",),
    )
    return OnDisk(root, clips + 4, clips, dict(emotions), reasons)


def _break_smic(hs: Path) -> list[str]:
    """Clips that cannot be used, and folders that hold none; the emotions of those that count."""
    good = hs / "s1/micro/negative/s1_ne_01"
    (hs / "s18/micro/surprise/s18_sur_03").mkdir(parents=True)
    (hs / "s18/micro/negative").mkdir()
    copytree(good, hs / "s1/micro/negative/s1_po_99")
    copytree(good, hs / "s1/micro/negative/s2_ne_99")
    copytree(good, hs / "s01/micro/negative/s01_ne_1")
    copytree(good, hs / "s1/micro/neutral/s1_nt_01")
    alone = hs / "s3/micro/positive/s3_po_99"
    alone.mkdir()
    copy(min(good.iterdir()), alone)
    return ["surprise", "negative", "negative", "positive"]


_HSE_HEADER = (
    *("Subject", "Filename", None, "OnsetF", "OffsetF", "Onset2F", "Offset2F", "Onset3F"),
    *("Offset3F", None, "FirstF", "LastF", "TotalVL", "TotalMF1", "TotalMF2", "TotalMF3"),
    "Emotion",
)


def write_smic_hse(root: Path, clips: int = 36, size: int = 64) -> OnDisk:
    """SMIC-HS-E: up to three expressions in a row; `clips` that can be used, and six that not."""
    long, rows, emotions = root / "SMIC-E_raw image/HS_long", [], Counter()
    left, video = clips, 0
    while left:
        number = min(left, (1, 2, 1, 3)[video // 4 % 4])
        rows.append(_hse_video(long / "SMIC-HS-E", video, number, size))
        emotions[rows[-1][-1]] += number
        left, video = left - number, video + 1
    codes = {emotion: code.upper() for emotion, code in _SMIC_CODES.items()}
    rows[1][-1] = codes[rows[1][-1]]
    rows += _break_smic_hse(rows[0])
    emotions.update(("negative", "negative", "negative", "negative", "3", "(none)"))
    notes = (["Note: s7 has no expression"], [None, "FirstF: the video's first frame"])
    write_table(long / "SMIC-HS-E_annotation_2019.xlsx", _HSE_HEADER, *rows, *notes)
    write_table(long / "SMIC-HS-E_annotation.xlsx", _HSE_HEADER, rows[0])
    vis = root / "SMIC-E_raw image/VIS_long"
    copytree(long / "SMIC-HS-E/s01", vis / "SMIC-VIS-E/s01")
    write_table(vis / "SMIC-VIS-E_annotation.xlsx", _HSE_HEADER, rows[0])
    reasons = (
        *("no folder s1_ne_99", "offset must come after", "offset frame", "of emotion surprise"),
        *("ne, po, sur), got '3'", "ne, po, sur), got ''", "repeats row 2"),
        *("taken for a note", "taken for a note"),
        "several annotations: SMIC-E_raw image/HS_long/SMIC-HS-E_annotation_2019.xlsx",
    )
    return OnDisk(root, clips + 6, clips, dict(emotions), reasons)


def _hse_video(frames: Path, video: int, number: int, size: int) -> list[object]:
    """Write a long video with so many expressions of one emotion, some frames apart; its row."""
    person, emotion = (1, 2, 3, 20)[video % 4], tuple(_SMIC_CODES)[video // 4 % 3]
    name = f"s{person}_{_SMIC_CODES[emotion]}_{video // 12 + 1:02d}"
    start, spans = 17581000 + 1000 * video, []
    for take in range(number):
        first, clip = start + 20 * take, film(person, emotion, 10 * video + take, size)
        onset, _, offset = write_frames(
            frames / f"s{person:02d}" / name, clip, "image{:06d}.jpg", first
        )
        spans += [onset, offset]
    spans += [None] * (6 - len(spans))
    lengths = [b - a + 1 if a else None for a, b in zip(spans[::2], spans[1::2])]
    extent = [start, start + 20 * number - 9, 20 * number - 8]
    return [person, name, None, *spans, None, *extent, *lengths, emotion]


def _break_smic_hse(good: list[object]) -> list[list[object]]:
    """Rows that cannot be used, after a good one of s1; the last repeats it."""
    name, onset, offset, word = 1, 3, 4, 16  # columns
    changes = (
        {name: "s1_ne_99"},
        {onset: good[onset] + 1, offset: good[onset]},
        {onset: good[onset] + 2, offset: good[offset] + 500},
        {name: "s1_sur_99"},
        {onset: good[onset] + 3, word: 3},
        {onset: good[onset] + 4, word: None},
        {},
    )
    return [[change.get(column, cell) for column, cell in enumerate(good)] for change in changes]


_FOLDER_WORDS = ("negative", "positive", "surprise")
_FOLDER_HEADER = ("subject", "clip", "frames", "onset", "apex", "offset", "emotion", "au", "notes")


def write_folder(root: Path, clips: int = 30, size: int = 64) -> OnDisk:
    """Somebody's own corpus: folders and videos in many ways; eight clips that cannot be used.

    Five subjects; the first 15 clips show each of them in each of the three emotions. Some share
    a long recording, a folder or a video.
    """
    rows, emotions = [], Counter()
    for index in range(clips):
        rows.append(_own_clip(root, index, -(-clips // 5), size))
        emotions[_FOLDER_WORDS[index // 5 % 3]] += 1
    lost = ["positive"] * 7 + ["(none)"]
    emotions.update(lost)
    (root / "videos/text.mp4").write_text("no video")
    table = (_FOLDER_HEADER, *rows, *_break_folder(rows[0]))
    lines = (";".join("" if cell is None else f'"{cell}"' for cell in row) for row in table)
    text = "\r\n".join(lines) + "\r\n"
    (root / "metadata.csv").write_bytes(text.encode("utf-8-sig"))  # as Excel writes it in Germany
    reasons = (
        *("no folder and no video", "leads out of", "onset must be a whole number"),
        *("apex must lie in", "offset frame 999 is not on disk", "no video that OpenCV can read"),
        *("subject is empty", "emotion is empty", "repeats row 2", "not read: the column notes"),
        "kept without action units",
    )
    return OnDisk(root, clips + len(lost), clips, dict(emotions), reasons)


def _own_clip(root: Path, index: int, takes: int, size: int) -> list[object]:
    """Write a clip that can be used: as folder, as video, or in a long one of either; its row."""
    person, take = index % 5 + 1, index // 5
    films = [film(person, _FOLDER_WORDS[t % 3], t, size) for t in range(takes)]
    clip, word, subject = films[take], _FOLDER_WORDS[take % 3], f"{person:03d}"
    name, recorded = f"{take + 1}_{word}", [frame for one in films for frame in one.frames]
    first = sum(len(one.frames) for one in films[:take])  # in the long recordings
    kind = (index + take) % 4
    if kind == 0:
        place, first = f"Bilder/{subject} {name}", 46
        write_frames(root / place, clip, "cam2 bild_{:04d}.png", first)
    elif kind == 1:
        place, first = f"videos/{subject}_{name}.avi", 0
        _write_own_video(root / place, clip.frames)
    elif kind == 2:
        place, lost = f"lang/{subject}", first + clip.apex + 1
        write_frames(root / place, clip, "{}.jpg", first, (lost,))
    else:
        place = f"videos/{subject}.avi"
        _write_own_video(root / place, recorded)
    onset, apex, offset = (first + number for number in (clip.onset, clip.apex, clip.offset))
    cells = [subject, name, place, onset, None if index % 5 == 2 else apex]
    cells += [None if kind == 1 else offset, word]  # None: the last frame
    units = {1: "?", 2: "AU4 + R12", 3: "smirk"}.get(index, "+".join(clip.action_units))
    return [*cells, units, None]


def _write_own_video(path: Path, frames: Sequence[np.ndarray]) -> None:
    """Frames as motion JPEG, which keeps small motions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0].shape[:2]
    codec = cv2.VideoWriter_fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, codec, 100, (width, height))
    for frame in frames:
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    writer.release()


def _break_folder(good: list[object]) -> list[list[object]]:
    """Rows that cannot be used, after a good one; the last repeats it."""
    changes = (
        {"frames": "Bilder/gone"},
        {"frames": "../secret"},
        {"onset": "46x"},
        {"apex": good[5] + 1},
        {"apex": None, "offset": 999},
        {"frames": "videos/text.mp4"},
        {"subject": None},
        {"emotion": None},
        {},
    )
    rows = []
    for number, change in enumerate(changes):
        clip = {"clip": good[1] if not change else f"bad {number}"}
        row = dict(zip(_FOLDER_HEADER, good)) | {"emotion": "positive"} | clip | change
        rows.append(list(row.values()))
    return rows
