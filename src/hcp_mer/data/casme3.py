"""CAS(ME)³, Part A (Li et al. 2022), on disk → clips.

Expected under one folder, also a few levels down::

    cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx        (or v1, an .xls; also .csv)
    Part_A_ME_clip/frame/spNo.1_a_355/355.jpg        clips cut out: subject, file name, onset
    part_A/spNO.1/a/color/355.jpg                    whole videos; depth images are not read

Of a clip that lies in both, the first that has its frames is read. Where a folder's name says that
faces are cropped, only such folders are read. Parts B and C and the macro-expressions (MaE) are
other footage under the same subjects' names and are left alone.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from hcp_mer.data.layout import (
    action_units_of,
    apex_number,
    corpus_folder,
    find_annotation,
    folders_below,
    folders_in,
    is_cropped,
    is_note,
    shows_whole_frames,
)
from hcp_mer.data.records import ClipRecord, CorpusReading, Draft, emotion_word
from hcp_mer.data.spreadsheet import SheetRow, read_sheet_rows
from hcp_mer.errors import UserError
from hcp_mer.motion.frames import FrameSequence

_HEADINGS = {
    "Subject": ("Subject", "被试", "被试编号"),
    "Filename": ("Filename", "File name", "文件名"),
    "Onset": ("Onset", "Onset Frame", "起始帧"),
    "Apex": ("Apex", "Apex Frame", "顶点帧", "峰值帧"),
    "Offset": ("Offset", "Offset Frame", "结束帧", "终止帧"),
    "AU": ("AU", "Action Units", "Action Unit", "动作单元"),
    "emotion": ("emotion", "Estimated Emotion", "情绪", "估计情绪"),
}
_ANNOTATION = r"cas[\W_]*me.{0,4}[3³].*part[\W_]*a.*[\W_]me[\W_]+label.*"  # not ..._MaE_label...
_USUAL_NAME = "cas(me)3_part_A_ME_label_JpgIndex_v2.xlsx"
_PERSON = r"sp[\W_]*no[\W_]*0*([0-9]+)"
_SUBJECT_CELL = re.compile(rf"{_PERSON}|0*([0-9]+)", re.IGNORECASE)
_SUBJECT_FOLDER = re.compile(_PERSON, re.IGNORECASE)
_CLIP_FOLDER = re.compile(rf"{_PERSON}_(.+)_0*([0-9]{{1,9}})", re.IGNORECASE)
# Folders that hold clips and videos are not searched for annotations or for more of such folders.
_NOT_SEARCHED = re.compile(
    rf"{_PERSON}.*|depth|video|(?:.*[\W_])?(?:mae|part[\W_]*[b-z])(?:[\W_].*)?", re.IGNORECASE
)
_FRAME_FILE = re.compile(r"(?:reg_)?(?:img)?([0-9]{1,9})\.(?:jpe?g|png|bmp)", re.IGNORECASE)
_FRAMES_DEPTH = 4  # CASME3/part_A/data/part_A_split/part_A
_LISTED_AT_ONCE = 64  # whole videos: the rows of one stand together, but not in every copy
_TOLD_GAPS = 5

_Clip = tuple[str, str, int]  # subject, file name, onset: no two clips share all three


def read_casme3(data_dir: str | Path, name: str = "casme3") -> CorpusReading:
    """Read the annotation and match every row with its frames.

    A row that cannot be used becomes a problem and the rest goes on. An apex that is empty, "/" or
    the onset itself is to be spotted: the record's apex is None. A clip needs its onset and apex on
    disk, or its onset and anything to spot the apex in; that other frames are missing, the offset
    for one, is said in a remark.

    Args:
        data_dir: the corpus folder.
        name: the records' `dataset`.
    Returns:
        records with subjects "spNO.1", … and clip ids "<file name>_<onset>", in the annotation's
        order; their frames are those from onset to offset.
    Raises:
        UserError: folder, annotation, frames or a needed column missing.
    """
    root = corpus_folder(data_dir, f"the CAS(ME)³ folder: {_USUAL_NAME} and the frames")
    draft = Draft()
    annotation = find_annotation(root, _ANNOTATION, _USUAL_NAME, draft, 3, _NOT_SEARCHED)
    rows = read_sheet_rows(annotation, _HEADINGS)
    footage = _Footage(_find_frame_roots(root), {_clip_of(row) for row in rows})
    file = annotation.relative_to(root).as_posix()
    for row in rows:
        if is_note(row, ("Subject", "Filename", "Onset", "emotion")):
            draft.remark("taken for a note, as it names no clip: nothing to read", file, row.number)
            continue
        subject, filename, onset = _clip_of(row)
        draft.add(
            (subject, filename, onset),
            row.text("emotion"),
            lambda row=row: _read_row(row, footage, name),
            file,
            row.number,
            f"{subject}/{filename}_{onset}",
        )
    return draft.finish(shows_whole_frames(draft.records))


def _clip_of(row: SheetRow) -> tuple[str, str, int | str]:
    """What tells clips apart, in one writing; a cell that cannot be read stands as it is."""
    subject, onset = row.numeral("Subject"), row.text("Onset")
    with suppress(UserError):
        subject = _subject_id(subject)
    with suppress(UserError):
        onset = row.frame_number("Onset")
    return subject, row.text("Filename"), onset


def _subject_id(text: str) -> str:
    """ "spNO.1", "spNo.1" or "1" → "spNO.1".

    Raises:
        UserError: the text is no subject.
    """
    match = _SUBJECT_CELL.fullmatch(text)
    if match is None:
        raise UserError(f"Subject must be like spNO.1, got {text!r}")
    return f"spNO.{match[1] or match[2]}"


def _read_row(row: SheetRow, footage: _Footage, name: str) -> tuple[ClipRecord, list[str]]:
    """One row as a record, and remarks on what is minor."""
    subject, filename = _subject_id(row.numeral("Subject")), row.text("Filename")
    emotion = emotion_word(row.text("emotion"))
    if not emotion:
        raise UserError("the emotion cell is empty")
    onset, offset = row.frame_number("Onset"), row.frame_number("Offset")
    apex = apex_number(row, "Apex")
    units, remarks = action_units_of(row.cells["AU"])
    if apex == onset:
        remarks.append(f"the apex is annotated at the onset, {onset}: it is to be spotted")
        apex = None
    listings = footage.find((subject, filename, onset))
    whole = (each for each in listings if each.lacks(onset, apex, offset) is None)
    chosen = next(whole, listings[0])
    frames, clip_id = chosen.between(onset, offset), f"{filename}_{onset}"
    record = ClipRecord(name, subject, clip_id, frames, onset, apex, offset, units, emotion)
    if lacking := chosen.lacks(onset, apex, offset):
        raise UserError(lacking)
    return record, remarks + _gaps(record)


def _gaps(record: ClipRecord) -> list[str]:
    """A remark on the frames from onset to offset that are not on disk."""
    numbers = (*record.frames.numbers, record.offset + 1)
    gaps = [(a + 1, b - 1) for a, b in pairwise(numbers) if b > a + 1]
    if not gaps:
        return []
    told = ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in gaps[:_TOLD_GAPS])
    more = ", …" if len(gaps) > _TOLD_GAPS else ""
    missing = sum(b - a + 1 for a, b in gaps)
    total = record.offset - record.onset + 1
    return [f"kept, though {missing} of its {total} frames are not on disk: {told}{more}"]


@dataclass(frozen=True)
class _Listing:
    """The frames in one folder, which may be a whole video's.

    Attributes: `numbers`, ascending; `names`, number → file; `doubles`, number → one more file.
    """

    folder: Path
    numbers: list[int]
    names: dict[int, str]
    doubles: dict[int, str]

    def lacks(self, onset: int, apex: int | None, offset: int) -> str | None:
        """Why a clip cannot be read from here, None where it can."""
        for what, number in (("onset", onset), ("apex", apex)):
            if number is not None and number not in self.names:
                return f"{what} frame {number} is not on disk: {self}"
        if apex is None and bisect_right(self.numbers, onset) == bisect_right(self.numbers, offset):
            return f"no frame in (onset, offset] = ({onset}, {offset}] to spot the apex in: {self}"
        return None

    def __str__(self) -> str:
        below = 3 if self.folder.name.lower() == "color" else 2
        where = "/".join(self.folder.parts[-below:])
        if not self.numbers:
            return f"{where} holds none named like 355.jpg"
        first, last = self.numbers[0], self.numbers[-1]
        return f"{where} holds {first}–{last}" if first < last else f"{where} holds {first} alone"

    def between(self, onset: int, offset: int) -> FrameSequence:
        """Frames of one clip: a long video's are not carried along with every clip of it.

        Raises:
            UserError: two files have one of the numbers.
        """
        first, last = bisect_left(self.numbers, onset), bisect_right(self.numbers, offset)
        numbers = tuple(self.numbers[first:last])
        for number in numbers:
            if number in self.doubles:
                both = f"{self.names[number]} and {self.doubles[number]}"
                raise UserError(f"{both} in {self.folder.name} are both frame {number}: remove one")
        return FrameSequence(numbers, tuple(self.folder / self.names[n] for n in numbers))


def _list_frames(folder: Path) -> _Listing:
    """The frames in a clip's or a video's folder, or in `color` there."""
    colour = (inner for inner in folders_in(folder) if inner.name.lower() == "color")
    folder = next(colour, folder)
    names: dict[int, str] = {}
    doubles: dict[int, str] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            match = _FRAME_FILE.fullmatch(entry.name)
            if match and entry.is_file():
                number = int(match[1])
                (doubles if number in names else names)[number] = entry.name
    return _Listing(folder, sorted(names), names, doubles)


class _Footage:
    """The folders with frames, by subject.

    Args:
        frame_roots: folders of clips (spNo.1_a_355) or of subjects (spNO.1/a).
        annotated: all clips, to tell whose a folder is.
    """

    def __init__(self, frame_roots: list[Path], annotated: Collection[object]) -> None:
        self._roots = ", ".join(root.absolute().name for root in frame_roots)
        self._annotated = annotated
        self._list = lru_cache(_LISTED_AT_ONCE)(_list_frames)
        self._clips: dict[tuple[str, int], list[tuple[str, Path]]] = {}
        self._videos: dict[str, list[tuple[str, Path]]] = {}
        for folder in (inner for root in frame_roots for inner in folders_in(root)):
            if match := _CLIP_FOLDER.fullmatch(folder.name):
                key = f"spNO.{match[1]}", int(match[3])
                self._clips.setdefault(key, []).append((match[2], folder))
            elif match := _SUBJECT_FOLDER.fullmatch(folder.name):
                videos = self._videos.setdefault(f"spNO.{match[1]}", [])
                videos += [(video.name, video) for video in folders_in(folder)]

    def find(self, clip: _Clip) -> list[_Listing]:
        """The listings of folders that are a clip's, its own cut-out first.

        Raises:
            UserError: there are none.
        """
        subject, filename, onset = clip
        folders = self._named(clip, self._clips.get((subject, onset), []))
        folders += self._named(clip, self._videos.get(subject, []))
        if not folders:
            raise UserError(
                f"no frames: no folder {subject}_{filename}_{onset} or {subject}/{filename} "
                f"in {self._roots}"
            )
        return [self._list(folder) for folder in folders]

    def _named(self, clip: _Clip, folders: list[tuple[str, Path]]) -> list[Path]:
        """Folders of that file name; its case is free where that leaves one and it is no other's.

        J and j may be two clips, but the annotation also has J for a folder that is called j.
        """
        subject, filename, onset = clip
        alike = {name for name, _ in folders if name.lower() == filename.lower()}
        if filename in alike:
            alike = {filename}
        elif any((subject, name, onset) in self._annotated for name in alike):
            alike = set()
        return [folder for name, folder in folders if {name} == alike]


def _find_frame_roots(root: Path) -> list[Path]:
    """All folders of clips or subjects, also one within the other: downloads come in parts.

    Raises:
        UserError: there are none.
    """
    found = [f for f in folders_below(root, _FRAMES_DEPTH, _NOT_SEARCHED) if _holds_footage(f)]
    if not found:
        raise UserError(
            f"no frames in {root}. Expected part_A/spNO.1/a/color/355.jpg or "
            "Part_A_ME_clip/frame/spNo.1_a_355/355.jpg below it."
        )
    return [folder for folder in found if is_cropped(folder, root)] or found


def _holds_footage(folder: Path) -> bool:
    return any(
        pattern.fullmatch(inner.name)
        for inner in folders_in(folder)
        for pattern in (_CLIP_FOLDER, _SUBJECT_FOLDER)
    )
