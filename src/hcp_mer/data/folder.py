"""Somebody's own corpus on disk → clips: a table that names each clip's folder or video.

Expected under one folder::

    metadata.csv           subject,clip,frames,onset,apex,offset,emotion,…   (see `write_template`)
    clips/006_1/img46.jpg  frames of a clip, numbered by the last number in their names
    videos/006_2.mp4       or a video, its frames counted from 0
"""

from __future__ import annotations

import datetime
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path, PureWindowsPath

from hcp_mer.data.json_lines import read_json_table
from hcp_mer.data.layout import action_units_of, check_on_disk, corpus_folder, shows_whole_frames
from hcp_mer.data.records import ClipRecord, CorpusReading, Draft, emotion_word
from hcp_mer.data.spreadsheet import SheetRow, Table, read_table
from hcp_mer.errors import UserError
from hcp_mer.motion.alignment import Face
from hcp_mer.motion.frames import FrameError, Frames, FrameSequence
from hcp_mer.motion.video import VIDEO_SUFFIXES, VideoSequence

ANNOTATIONS = ("metadata.csv", "metadata.jsonl", "metadata.xlsx", "metadata.xls")
_HEADINGS = {
    "subject": ("subject", "subject_id", "participant"),
    "clip": ("clip", "clip_id"),
    "frames": ("frames", "video"),
    "onset": ("onset", "onset_frame"),
    "apex": ("apex", "apex_frame"),
    "offset": ("offset", "offset_frame"),
    "emotion": ("emotion", "estimated_emotion"),
    "action_units": ("action_units", "AU", "AUs"),
    "face_box": ("face_box",),
    "eyes": ("eyes",),
    "dataset": ("dataset",),
}
_NEEDED = ("subject", "clip", "frames", "onset", "emotion")
_PAIR_HEADINGS = {"magnified": ("magnified_file_name",), "flow": ("flow_file_name",)}
_MISSING = ("", "/", "-", "nan", "none", "null")  # what tables hold where there is nothing
_IMAGE = r"(?:jpe?g|png|bmp|tiff?|webp)"
_FRAME_FILE = re.compile(rf"(?!\.)(?:.*\D)?(\d+)\D*\.{_IMAGE}", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"[+-]?\d+(?:\.\d*)?")
_SMALLEST_FACE_PX = 16
_SMALLEST_EYE_DISTANCE_PX = 4


def read_folder(data_dir: str | Path, name: str | None = None) -> CorpusReading:
    """Read `metadata.csv` (or .jsonl, .xlsx, .xls) and match every row with its frames.

    A row that cannot be used becomes a problem and the rest goes on. Without an apex the record's
    is None, to be spotted; without an offset the clip ends with its last frame. Rows count from 1,
    the header's, in tables, and are lines in JSON lines.

    Args:
        data_dir: the corpus folder.
        name: `dataset` of rows that do not name one; the folder's name where it is None.
    Returns:
        records with ids as they are written ("006" is not "6"), in the table's order.
    Raises:
        UserError: folder, table or a needed column missing, or these are prepared pairs already.
    """
    root = corpus_folder(data_dir, "a folder with metadata.csv and the clips it names")
    draft = Draft()
    table = _find_table(root, draft)
    for number, reason in table.broken:
        draft.add((number,), "", _raiser(reason), table.name, number)
    if remark := table.remark():
        draft.remark(remark, table.name)
    dataset = name or root.resolve().name or "folder"
    reader = _ClipReader(root, dataset)
    for row in table.rows:
        ids = tuple(row.text(field) for field in ("subject", "clip"))
        key = (row.text("dataset") or dataset, *ids)
        draft.add(
            key if all(ids) else (*key, row.number),
            row.text("emotion"),
            lambda row=row: reader.read(row),
            table.name,
            row.number,
            "/".join(part for part in ids if part) or None,
        )
    _remark_look_alikes(draft, table.name)
    _remark_twins(draft, table.name)
    return draft.finish(shows_whole_frames(draft.records))


def _raiser(reason: str) -> Callable[[], tuple[ClipRecord, list[str]]]:
    def make() -> tuple[ClipRecord, list[str]]:
        raise UserError(reason)

    return make


def _find_table(root: Path, draft: Draft) -> Table:
    """The annotation, its needed columns there.

    Raises:
        UserError: there is none, a column is missing, or it lists ready-made pairs.
    """
    pairs = (
        f"{root} holds pairs already, not frames: give it to train_loso.py --dataset as it is, "
        "there is nothing to prepare."
    )
    files = {file.name.lower(): file for file in sorted(root.iterdir()) if file.is_file()}
    found = [files[name] for name in ANNOTATIONS if name in files]
    if not found:
        inner = root / "train" / "metadata.csv"
        if (root / "pairs.json").is_file() or (inner.is_file() and _lists_pairs(inner)):
            raise UserError(pairs)
        raise UserError(
            f"no {ANNOTATIONS[0]} in {root}, nor {', '.join(ANNOTATIONS[1:])}. "
            "prepare_dataset.py --corpus folder --init DIR writes an example to start from."
        )
    file, *others = found
    for other in others:
        draft.remark(f"{file.name} was read instead", other.name)
    if _lists_pairs(file):
        raise UserError(pairs)
    table = _read_table(file, _HEADINGS)
    table.need(_NEEDED)
    return table


def _lists_pairs(file: Path) -> bool:
    return set(_read_table(file, _PAIR_HEADINGS).found) == set(_PAIR_HEADINGS)


def _read_table(file: Path, headings: Mapping[str, Sequence[str]]) -> Table:
    read = read_json_table if file.suffix.lower() == ".jsonl" else read_table
    return read(file, headings)


def _remark_look_alikes(draft: Draft, file: str) -> None:
    """Two spellings of one person would put the person on both sides of a fold."""
    spellings: dict[tuple[str, str], dict[str, None]] = {}
    for record in draft.records:
        plain = re.sub(r"(?<!\d)0+(?=\d)", "", record.subject.casefold())
        spellings.setdefault((record.dataset, plain), {})[record.subject] = None
    for alike in spellings.values():
        if len(alike) > 1:
            draft.remark(
                f"the subjects {' and '.join(alike)} count as different people; "
                "if they are one, write the id in one way",
                file,
            )


def _remark_twins(draft: Draft, file: str) -> None:
    """A row copied and not changed throughout would show one clip under two names."""
    first: dict[tuple[Path, int], str] = {}
    for record in draft.records:
        clip = f"{record.subject}/{record.clip_id}"
        start = (record.frames.path(record.onset), record.onset)
        other = first.setdefault(start, clip)
        if other != clip:
            draft.remark(f"begins with the same frame as {other}", file, clip=clip)


class _ClipReader:
    """Rows of one corpus as records; a folder or video that several clips share is listed once."""

    def __init__(self, root: Path, dataset: str) -> None:
        # Links are not followed, as for prepared pairs: a corpus may be linked together.
        self._root = Path(os.path.normpath(root.absolute()))
        self._dataset = dataset
        self._folder = cache(self._list_folder)
        self._video = cache(VideoSequence)

    def read(self, row: SheetRow) -> tuple[ClipRecord, list[str]]:
        """A row as a record, and remarks on what is minor.

        Raises:
            UserError: what is wrong with the row or with its frames.
        """
        subject, clip = _id(row, "subject"), _id(row, "clip")
        dataset = _id(row, "dataset") if _text(row, "dataset") else self._dataset
        emotion = emotion_word(_text(row, "emotion"))
        if not emotion:
            raise UserError("emotion is empty: write the clip's emotion there")
        onset = row.frame_number("onset")
        apex, offset = _optional_frame(row, "apex"), _optional_frame(row, "offset")
        path = self._inside(_text(row, "frames"))
        frames = self._frames(path, onset, apex, offset)
        offset = frames.numbers[-1] if offset is None else offset
        _check_numbers(frames, onset, apex, offset)
        units, remarks = action_units_of(_flat(row.cells.get("action_units")))
        face = _face(row)
        if face is not None:
            _check_face(face, frames, onset)
        if isinstance(frames, FrameSequence):  # of a long recording only what the clip needs
            frames = frames.between(onset, offset)
        record = ClipRecord(
            *(dataset, subject, clip, frames, onset, apex, offset, units, emotion), face=face
        )
        return record, remarks

    def _inside(self, name: str) -> Path:
        """The path that a cell names.

        Raises:
            UserError: it is none below the corpus folder.
        """
        if not name:
            raise UserError("frames is empty: name the clip's folder or video there")
        name = name.replace("\\", "/")  # as Windows writes paths
        path = Path(os.path.normpath(self._root / name))
        if Path(name).is_absolute() or PureWindowsPath(name).drive:
            raise UserError(f"frames must be a path inside {self._root}, got the absolute {name!r}")
        if not path.is_relative_to(self._root):
            raise UserError(f"{name!r} in frames leads out of {self._root}: move the clip inside")
        return path

    def _frames(self, path: Path, onset: int, apex: int | None, offset: int | None) -> Frames:
        """All frames that a cell's path holds.

        Raises:
            UserError: it holds none.
        """
        shown = path.relative_to(self._root).as_posix()
        if path.is_dir():
            return self._folder(path)
        if not path.is_file():
            raise UserError(f"no folder and no video {shown!r} in {self._root}")
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            raise UserError(
                f"{shown!r} is neither a folder of frames nor a video ({', '.join(VIDEO_SUFFIXES)})"
            )
        if offset is None:
            return self._video(path)  # its last frame has to be known, not promised
        last = max(onset, apex or 0, offset)
        frames = self._video(path, 0)
        return frames if last in frames else self._video(path)

    def _list_folder(self, path: Path) -> FrameSequence:
        return FrameSequence.from_folder(path, _FRAME_FILE, "frame_0001.png, with a number")


def _text(row: SheetRow, field: str) -> str:
    """A cell as text.

    Raises:
        UserError: it holds a truth value, a date or a list.
    """
    value = row.cells.get(field)
    if isinstance(value, (bool, list, dict, datetime.date, datetime.time, datetime.timedelta)):
        raise UserError(f"{field} must be text or a number, got {value!r}: format it as text")
    return row.text(field)


def _id(row: SheetRow, field: str) -> str:
    """An id as it is written.

    Raises:
        UserError: it is empty, or has a line break or something else that cannot be seen.
    """
    text = _text(row, field)
    if not text:
        raise UserError(f"{field} is empty: fill it in for every clip")
    if not text.isprintable():
        raise UserError(f"{field} has characters that cannot be seen: {text!r}")
    return text


def _optional_frame(row: SheetRow, field: str) -> int | None:
    if row.text(field).lower() in _MISSING:
        return None
    number = row.whole_number(field)
    if number < 0:
        raise UserError(f"{field} must not be negative, got {number}: leave it empty where unknown")
    return number


def _check_numbers(frames: Frames, onset: int, apex: int | None, offset: int) -> None:
    """Raise UserError if an annotated frame is missing."""
    try:
        check_on_disk(frames, onset=onset, apex=apex, offset=offset)
    except UserError as error:
        hint = "; frames of a video count from 0" if isinstance(frames, VideoSequence) else ""
        raise UserError(f"{error}{hint}") from None


def _flat(value: object) -> object:
    """A list, also one of lists, as its entries with spaces between; anything else as it is."""
    return " ".join(str(_flat(entry)) for entry in value) if isinstance(value, list) else value


def _face(row: SheetRow) -> Face | None:
    """Where the face is, as far as the row says it.

    Raises:
        UserError: a cell does not hold four numbers, or they cannot be a face.
    """
    box = _four_numbers(row, "face_box", "x y width height")
    eyes = _four_numbers(row, "eyes", "x y of the eye at the left of the image, then of the other")
    if box is None and eyes is None:
        return None
    return Face(box=box, eyes=None if eyes is None else (eyes[:2], eyes[2:]))


def _four_numbers(row: SheetRow, field: str, meaning: str) -> tuple[float, ...] | None:
    value = _flat(row.cells.get(field))
    text = "" if value is None else str(value).strip()
    if text.lower() in _MISSING:
        return None
    parts = [part for part in re.split(r"[\s,;()\[\]]+", text) if part]
    if len(parts) != 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise UserError(f"{field} must be four numbers, {meaning}, in px; got {text!r}")
    return tuple(float(part) for part in parts)


def _check_face(face: Face, frames: Frames, onset: int) -> None:
    """Raise UserError if a face does not lie in its frame, e.g. because it is given in shares."""
    try:
        width, height = frames.extent_px(onset)
    except FrameError:
        return  # what cannot be read is reported where it is used
    where = f"in a frame of {width}×{height} px: give it in px of the clip's frames"
    if face.box is not None:
        x, y, box_width, box_height = face.box
        inside = 0 <= x + box_width / 2 < width and 0 <= y + box_height / 2 < height
        if not inside or min(box_width, box_height) < _SMALLEST_FACE_PX:
            raise UserError(f"face_box {face.box} cannot be a face {where}")
    if face.eyes is not None:
        inside = all(0 <= x < width and 0 <= y < height for x, y in face.eyes)
        if not inside or math.dist(*face.eyes) < _SMALLEST_EYE_DISTANCE_PX:
            raise UserError(f"eyes {face.eyes} cannot be eyes {where}")
