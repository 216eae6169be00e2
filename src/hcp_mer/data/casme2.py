"""CASME II (Yan et al. 2014) on disk → clips. Also reads any corpus written in its layout.

Expected under one folder::

    CASME2-coding-20190701.xlsx            (or another date, .xls or .csv; also some levels down)
    Cropped/sub01/EP02_01f/reg_img46.jpg   (also Cropped-updated/Cropped; frames not zero-padded)
    CASME2_RAW_selected/sub01/EP02_01f/img46.jpg   (read where there is no Cropped)

Folders may be links: it is the corpus's owner who sets them. What the annotation says is only
compared with names on disk and leads nowhere else.
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
    "OnsetFrame": ("OnsetFrame", "Onset", "起始帧"),
    "ApexFrame": ("ApexFrame", "Apex", "顶点帧", "峰值帧"),
    "OffsetFrame": ("OffsetFrame", "Offset", "结束帧", "终止帧"),
    "Action Units": ("Action Units", "Action Unit", "AU", "动作单元"),
    "Estimated Emotion": ("Estimated Emotion", "Estimated Emotions", "Emotion", "情绪", "估计情绪"),
}
_ANNOTATION = r"CASME[\W_]*(?:2|II)[\W_]*coding.*"
_USUAL_NAME = "CASME2-coding-….xlsx"
_FRAME_FILE = re.compile(r"(?:reg_)?img([0-9]{1,9})\.(?:jpe?g|png|bmp)", re.IGNORECASE)
_SUBJECT = re.compile(r"(?:sub|s)?0*([0-9]+)", re.IGNORECASE)
_SUBJECT_FOLDER = re.compile(r"(?:sub|s)[0-9]+", re.IGNORECASE)


def read_casme2(data_dir: str | Path, name: str = "casme2") -> CorpusReading:
    """Read the annotation and match every row with its frames.

    A row that cannot be used becomes a problem and the rest goes on. An apex cell that is empty
    or "/" is no problem: the record's apex is None, to be spotted.

    Args:
        data_dir: the corpus folder.
        name: the records' `dataset`.
    Returns:
        records with subjects "sub01", … and clip ids as annotated, in the annotation's order.
    Raises:
        UserError: folder, annotation, frames or a needed column missing.
    """
    root = corpus_folder(data_dir, f"the CASME II folder: {_USUAL_NAME} beside Cropped")
    draft = Draft()
    annotation = find_annotation(root, _ANNOTATION, _USUAL_NAME, draft, 3, _SUBJECT_FOLDER)
    rows = read_sheet_rows(annotation, _HEADINGS)
    folders = ClipFolders(_find_frame_root(root, draft), _subject_in)
    file = annotation.relative_to(root).as_posix()
    for row in rows:
        if is_note(row, ("Subject", "Filename", "OnsetFrame", "Estimated Emotion")):
            draft.remark("taken for a note, as it names no clip: nothing to read", file, row.number)
            continue
        subject, clip_id = row.numeral("Subject"), row.text("Filename")
        subject = _subject_in(subject) or subject
        draft.add(
            (subject, clip_id.lower()),
            row.text("Estimated Emotion"),
            lambda row=row: _read_row(row, folders, name),
            file,
            row.number,
            f"{subject}/{clip_id}",
        )
    return draft.finish(shows_whole_frames(draft.records))


def _subject_in(text: str) -> str | None:
    """1, "01" or "sub01" → "sub01"; None for what is no subject."""
    match = _SUBJECT.fullmatch(text)
    return f"sub{match[1]:0>2}" if match else None


def _read_row(row: SheetRow, folders: ClipFolders, name: str) -> tuple[ClipRecord, list[str]]:
    """One row as a record, and remarks on what is minor."""
    subject, clip_id = _subject_in(row.numeral("Subject")), row.text("Filename")
    if subject is None:
        raise UserError(f"Subject must be a number, got {row.text('Subject')!r}")
    emotion = emotion_word(row.text("Estimated Emotion"))
    if not emotion:
        raise UserError("the emotion cell is empty")
    onset, offset = row.frame_number("OnsetFrame"), row.frame_number("OffsetFrame")
    apex = apex_number(row, "ApexFrame")
    frames = frames_in(folders.find(subject, clip_id), _FRAME_FILE, "reg_img46.jpg or img46.jpg")
    units, remarks = action_units_of(row.cells["Action Units"])
    record = ClipRecord(name, subject, clip_id, frames, onset, apex, offset, units, emotion)
    check_on_disk(frames, onset=onset, apex=apex, offset=offset)
    return record, remarks


def _find_frame_root(root: Path, draft: Draft) -> Path:
    """The folder of subjects, of cropped faces where there are some.

    Raises:
        UserError: there is none.
    """
    found = frame_roots(root, _holds_clips, skip=_SUBJECT_FOLDER)
    if not found:
        raise UserError(
            f"no frames in {root}. Expected Cropped/sub01/EP02_01f/reg_img46.jpg, "
            "Cropped-updated/Cropped, or CASME2_RAW_selected/sub01/EP02_01f/img46.jpg."
        )
    return first_root(found, root, draft)


def _holds_clips(folder: Path) -> bool:
    """Whether there is a frame such as sub01/EP02_01f/img46.jpg: others share parts of that."""
    return any(
        _FRAME_FILE.fullmatch(entry.name)
        for subject in folders_in(folder)
        if _SUBJECT_FOLDER.fullmatch(subject.name)
        for clip in folders_in(subject)
        if clip.name.upper().startswith("EP")
        for entry in clip.iterdir()
    )
