"""SAMM (Davison et al. 2018) on disk → clips.

Expected under one folder::

    SAMM_Micro_FACS_Codes_v2.xlsx        (also beside the subjects; the header may be in any row)
    SAMM_CROP/006/006_1_2/006_05562.jpg  (or whatever has "crop" in its name)
    SAMM/006/006_1_2/006_05562.jpg       (raw frames; read where no cropped ones are there)
"""

from __future__ import annotations

import re
from pathlib import Path

from hcp_mer.data.layout import (
    ClipFolders,
    action_units_of,
    apex_number,
    check_on_disk,
    corpus_folder,
    find_annotation,
    first_root,
    folders_in,
    frame_roots,
    frames_in,
    is_note,
    shows_whole_frames,
)
from hcp_mer.data.records import ClipRecord, CorpusReading, Draft, emotion_word
from hcp_mer.data.spreadsheet import SheetRow, read_sheet_rows
from hcp_mer.errors import UserError

_HEADINGS = {
    "Subject": ("Subject", "被试", "被试编号"),
    "Filename": ("Filename", "File name", "文件名"),
    "Onset Frame": ("Onset Frame", "Onset", "起始帧"),
    "Apex Frame": ("Apex Frame", "Apex", "顶点帧", "峰值帧"),
    "Offset Frame": ("Offset Frame", "Offset", "结束帧", "终止帧"),
    "Action Units": ("Action Units", "Action Unit", "AU", "动作单元"),
    "Estimated Emotion": ("Estimated Emotion", "Estimated Emotions", "Emotion", "情绪", "估计情绪"),
}
_SUBJECT = re.compile(r"(?:sub|s)?0*([0-9]{1,3})", re.IGNORECASE)
_SUBJECT_FOLDER = re.compile(r"[0-9]{3}")
_NO_APEX = ("-1", "−1")  # also with a typographer's minus


def read_samm(data_dir: str | Path, name: str = "samm") -> CorpusReading:
    """Read the annotation and match every row with its frames.

    A row that cannot be used becomes a problem and the rest goes on. An apex of −1, "/" or an
    empty cell is no problem: the record's apex is None, to be spotted. Where cropped and raw frames
    are both there, the cropped ones are read.

    Args:
        data_dir: the corpus folder, or one above it.
        name: the records' `dataset`.
    Returns:
        records with subjects "006", … and clip ids as annotated, in the annotation's order.
    Raises:
        UserError: folder, annotation, frames or a needed column missing.
    """
    root = corpus_folder(data_dir, "the SAMM folder: SAMM_Micro_FACS_Codes_v2.xlsx and subjects")
    draft = Draft()
    pattern, usual = r"(?![~.]).*SAMM.*FACS.*Codes.*", "SAMM_Micro_FACS_Codes_v2.xlsx"
    annotation = find_annotation(root, pattern, usual, draft, 3, _SUBJECT_FOLDER)
    rows = read_sheet_rows(annotation, _HEADINGS)
    folders = ClipFolders(_find_frame_root(root, draft), _subject_in)
    file = annotation.relative_to(root).as_posix()
    for row in rows:
        if is_note(row, ("Subject", "Filename", "Onset Frame", "Estimated Emotion")):
            draft.remark("taken for a note, as it names no clip: nothing to read", file, row.number)
            continue
        subject = _subject_in(row.numeral("Subject")) or row.text("Subject")
        draft.add(
            (subject, row.text("Filename").lower()),
            row.text("Estimated Emotion"),
            lambda row=row: _read_row(row, folders, name),
            file,
            row.number,
            f"{subject}/{row.text('Filename')}",
        )
    return draft.finish(shows_whole_frames(draft.records))


def _subject_in(text: str) -> str | None:
    """6, "06", "006" or "sub006" → "006"; None for what is no subject."""
    match = _SUBJECT.fullmatch(text)
    return f"{int(match[1]):03d}" if match else None


def _read_row(row: SheetRow, folders: ClipFolders, name: str) -> tuple[ClipRecord, list[str]]:
    """One row as a record, and remarks on what is minor."""
    subject, clip_id = _subject_in(row.numeral("Subject")), row.text("Filename")
    if subject is None:
        raise UserError(f"Subject must be a number such as 006, got {row.text('Subject')!r}")
    _check_person(clip_id, subject)
    emotion = emotion_word(row.text("Estimated Emotion"))
    if not emotion:
        raise UserError("the emotion cell is empty")
    onset, offset = row.frame_number("Onset Frame"), row.frame_number("Offset Frame")
    apex = apex_number(row, "Apex Frame", *_NO_APEX)
    folder = folders.find(subject, clip_id)
    frames = frames_in(folder, _frame_file(subject), f"{subject}_05562.jpg or 05562.jpg")
    units, remarks = action_units_of(row.cells["Action Units"])
    record = ClipRecord(name, subject, clip_id, frames, onset, apex, offset, units, emotion)
    check_on_disk(frames, onset=onset, apex=apex, offset=offset)
    return record, remarks


def _check_person(clip_id: str, subject: str) -> None:
    """Raise UserError if the clip is named as another's: a fold would then leave out the wrong."""
    match = re.match(r"([0-9]{3})_", clip_id)
    if match and match[1] != subject:
        raise UserError(
            f"Filename {clip_id} is a clip of {match[1]}, the cell Subject says {subject}: "
            "correct one of them"
        )


def _frame_file(subject: str) -> re.Pattern[str]:
    """Names of a person's frames: 006_05562.jpg, 006_5562.png, 05562.jpg, but not 007_05562.jpg."""
    number = rf"(?:0*{int(subject)}_)?0*([0-9]{{1,9}})"
    return re.compile(rf"(?:reg_|crop_)?{number}\.(?:jpe?g|png|bmp)", re.IGNORECASE)


def _find_frame_root(root: Path, draft: Draft) -> Path:
    """The folder of subjects, wherever it is in `root`.

    Raises:
        UserError: there is none.
    """
    found = frame_roots(root, _holds_clips)
    if not found:
        raise UserError(
            f"no frames in {root}. Expected a folder of subjects, such as "
            "SAMM/006/006_1_2/006_05562.jpg or SAMM_CROP/006/006_1_2/006_05562.jpg."
        )
    return first_root(found, root, draft)


def _holds_clips(folder: Path) -> bool:
    """Whether there is a folder such as 006/006_1_2."""
    return any(
        clip.name.startswith(f"{subject.name}_")
        for subject in folders_in(folder)
        if _SUBJECT_FOLDER.fullmatch(subject.name)
        for clip in folders_in(subject)
    )
