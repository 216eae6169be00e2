"""Finding things in an unpacked corpus, by listing: no annotated name can lead outside it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hcp_mer.data.action_units import parse_action_units
from hcp_mer.data.records import ClipRecord, Draft
from hcp_mer.data.spreadsheet import TABLE_SUFFIXES, SheetRow
from hcp_mer.errors import UserError
from hcp_mer.motion.frames import Frames, FrameSequence

NO_VALUE = ("", "/", "-", "nan")  # what cells of all corpora hold where there is no number
# The corpora's face crops are at most 1.25 times as high as wide, and hardly wider than high.
_WIDE, _HIGH = 1.15, 1.6
_LOOKED_AT = 50
_CROP = re.compile(r"uncrop|(?<![a-z])(?:un|not?|non)[\W_]*crop|(?P<cut>crop)", re.IGNORECASE)


def corpus_folder(data_dir: str | Path, example: str) -> Path:
    """The folder as a path.

    Args: example: what one gives here, for the message.
    Raises:
        UserError: it does not exist or is a file.
    """
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise UserError(f"no folder {root}. Give {example}.")
    return root


def folders_in(folder: Path) -> list[Path]:
    """Its folders in order of name; hidden ones, and those that archivers leave, are no part."""
    with os.scandir(folder) as entries:  # knows what is a folder: thousands of frames cost nothing
        names = [
            entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and Path(entry).is_dir())
        ]
    return [folder / name for name in sorted(names) if not name.startswith((".", "__"))]


def folders_below(root: Path, depth: int, skip: re.Pattern[str] | None = None) -> Iterator[Path]:
    """`root` itself, then the folders below it, level by level, down to `depth` levels.

    Args: skip: folders whose whole name matches it are not entered.
    """
    level = [root]
    for _ in range(depth + 1):
        yield from level
        level = [inner for folder in level for inner in _to_search(folder, skip)]


def _to_search(folder: Path, skip: re.Pattern[str] | None) -> list[Path]:
    """Folders in it that are to be entered; a drive's lost+found, for one, may not be listed."""
    return [
        inner
        for inner in folders_in(folder)
        if os.access(inner, os.R_OK | os.X_OK) and not (skip and skip.fullmatch(inner.name))
    ]


def folder_named(parent: Path, name: str) -> Path | None:
    """The folder of that name; its case is free where that leaves one, as J and j are two clips.

    Raises:
        UserError: the name is none of a single folder.
    """
    if not name or Path(name).name != name or "\\" in name:
        raise UserError(f"the name must be one folder's name, got {name!r}")
    inside = folders_in(parent)
    same = [folder for folder in inside if folder.name == name]
    alike = same or [folder for folder in inside if folder.name.lower() == name.lower()]
    return alike[0] if len(alike) == 1 else None


def find_annotation(
    root: Path,
    pattern: str,
    expected: str,
    draft: Draft,
    depth: int = 2,
    skip: re.Pattern[str] | None = None,
) -> Path:
    """The annotation table whose name without its ending matches `pattern`, in any case.

    Of several the one with the newest date (yyyymmdd or yyyy) or version (v2) in its name is
    taken, of equal ones the one nearest to `root`; the others become remarks.

    Args: expected: its usual name, for the message; depth, skip: see `folders_below`.
    Raises:
        UserError: there is none.
    """
    name = re.compile(pattern, re.IGNORECASE)
    found = [
        file
        for folder in folders_below(root, depth, skip)
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in TABLE_SUFFIXES and name.fullmatch(file.stem) and file.is_file()
    ]
    if not found:
        raise UserError(f"no annotation {expected} in {root}. Put it there, beside the frames.")
    chosen = max(found, key=lambda path: (_date(path.stem), _version(path.stem)))
    for other in found:
        if other != chosen:
            reason = f"several annotations: {chosen.relative_to(root).as_posix()} was read instead"
            draft.remark(reason, other.relative_to(root).as_posix())
    return chosen


def _date(stem: str) -> str:
    match = re.search(r"(?<!\d)(?:19|20)\d{2}(?:\d{4})?(?!\d)", stem)
    return match[0] if match else ""


def _version(stem: str) -> int:
    match = re.search(r"v(\d+)", stem, re.IGNORECASE)
    return int(match[1]) if match else 0


def frame_roots(
    root: Path,
    holds: Callable[[Path], bool],
    depth: int = 4,
    skip: re.Pattern[str] | None = None,
) -> list[Path]:
    """The outermost folders for which `holds` is true: cropped faces first, then the nearest.

    Cropped is what has "crop" in its name, or in that of a folder on the way to it, `is_cropped`.
    """
    found, level = [], [root]
    for _ in range(depth + 1):
        hits = [folder for folder in level if holds(folder)]
        found += hits
        outside = [folder for folder in level if folder not in hits]
        level = [inner for folder in outside for inner in _to_search(folder, skip)]
    return sorted(found, key=lambda folder: not is_cropped(folder, root))


def first_root(found: Sequence[Path], root: Path, draft: Draft) -> Path:
    """The first of `frame_roots`; what could as well have been meant becomes a remark."""
    first, *others = found
    for other in others:
        if is_cropped(other, root) == is_cropped(first, root):
            reason = f"several folders of frames: {first.relative_to(root).as_posix()} was read"
            draft.remark(f"{reason} instead", other.relative_to(root).as_posix())
    return first


def is_cropped(folder: Path, root: Path) -> bool:
    """Whether a name on the way from `root` to the folder says that faces are cut out.

    The nearest name that speaks of it counts; "uncropped" and "not_cropped" deny it.
    """
    said = [match for part in folder.relative_to(root).parts for match in _CROP.finditer(part)]
    return bool(said) and said[-1]["cut"] is not None


class ClipFolders:
    """Clip folders in a folder of subjects: `006/006_1_2`.

    Args: subject_of: a folder's name → the person, None where it is no subject's. One person's
        folders may be named in several ways, such as s1 and s01.
    """

    def __init__(self, frame_root: Path, subject_of: Callable[[str], str | None]) -> None:
        self._name = frame_root.absolute().name
        self._subjects: dict[str, list[Path]] = {}
        for folder in folders_in(frame_root):
            subject = subject_of(folder.name)
            if subject is not None:
                self._subjects.setdefault(subject, []).append(folder)

    def find(self, subject: str, clip: str) -> Path:
        """The folder of a clip.

        Raises:
            UserError: there is none, or there are several.
        """
        if subject not in self._subjects:
            raise UserError(f"no frames: no folder {subject} in {self._name}")
        inside = [folder_named(folder, clip) for folder in self._subjects[subject]]
        found = [folder for folder in inside if folder is not None]
        if len(found) > 1:
            both = " and ".join(f"{folder.parent.name}/{folder.name}" for folder in found)
            raise UserError(f"frames twice, in {both} of {self._name}: remove one")
        if not found:
            where = self._subjects[subject][0].name
            raise UserError(f"no frames: no folder {clip} in {self._name}/{where}")
        return found[0]


def frames_in(folder: Path, pattern: re.Pattern[str], example: str) -> FrameSequence:
    """As `FrameSequence.from_folder`, with a plainer reason where there are none.

    Args: example: how a frame is named, for the reason.
    Raises:
        UserError: no file is named so, or two files have one number.
    """
    names = [entry.name for entry in folder.iterdir()]
    if not any(pattern.fullmatch(name) for name in names):
        where = f"folder {folder.parent.name}/{folder.name}"
        has = f"none of its {len(names)} files is" if names else "it is empty, expected files"
        raise UserError(f"no frames in {where}: {has} named like {example}")
    return FrameSequence.from_folder(folder, pattern)


def is_note(row: SheetRow, fields: Sequence[str]) -> bool:
    """Whether a row is a note below the table rather than a clip: it fills one of these fields."""
    return sum(bool(row.text(field)) for field in fields) < 2


def apex_number(row: SheetRow, field: str, *signs: str) -> int | None:
    """The annotated apex; None where the cell holds none, which is to be spotted.

    Args: signs: what the corpus writes for none, beside an empty cell, "/", "-" and "nan".
    Raises:
        UserError: the cell holds anything else than a frame number.
    """
    none = row.numeral(field).lower() in (*NO_VALUE, *signs)
    return None if none else row.frame_number(field)


def action_units_of(cell: object) -> tuple[tuple[str, ...], list[str]]:
    """The action units in a cell, and remarks: no label depends on them, so none costs a clip."""
    try:
        return parse_action_units(cell), []
    except UserError as error:
        return (), [f"kept without action units: {error}"]


def check_on_disk(frames: Frames, **numbers: int | None) -> None:
    """Raise UserError if an annotated frame is missing: `check_on_disk(frames, onset=46)`."""
    for what, number in numbers.items():
        if number is not None and number not in frames:
            raise UserError(
                f"{what} frame {number} is not on disk, which has "
                f"{frames.numbers[0]}–{frames.numbers[-1]}"
            )


def shows_whole_frames(records: list[ClipRecord]) -> bool:
    """Whether there are a camera's whole frames among face crops, or nothing else.

    The shapes of onset frames decide, of some clips from first to last: headers are cheap, but
    not all of a large corpus. Whole frames that are shaped like a face are not noticed.
    """
    count = min(len(records), _LOOKED_AT)
    chosen = (records[index * len(records) // count] for index in range(count))
    return any(_is_whole_frame(record) for record in chosen)


def _is_whole_frame(record: ClipRecord) -> bool:
    try:
        width, height = record.frames.extent_px(record.onset)
    except (ValueError, OSError):
        return False  # what cannot be read is reported where it is used
    return width > _WIDE * height or height > _HIGH * width
