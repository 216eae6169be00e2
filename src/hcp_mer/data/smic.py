"""SMIC's high-speed camera on disk → clips: SMIC-HS, cut to the expressions, and SMIC-HS-E, long.

Li et al. (2013, 2018). Expected under one folder::

    HS/s1/micro/negative/s1_ne_01/image559740.bmp                     (`read_smic`)
    SMIC_all_cropped/HS/s1/micro/negative/s1_ne_01/reg_image559740.bmp
    HS_long/SMIC-HS-E_annotation_2019.xlsx                            (`read_smic_hse`)
    HS_long/SMIC-HS-E/s01/s1_ne_01/image559740.jpg

Of cropped and raw frames the cropped ones are read ("crop" in a folder's name). VIS and NIR are
other cameras of the same moments and are never mixed in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from hcp_mer.data.layout import (
    NO_VALUE,
    ClipFolders,
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
from hcp_mer.data.records import ClipRecord, CorpusReading, Draft
from hcp_mer.data.spreadsheet import SheetRow, read_sheet_rows
from hcp_mer.errors import UserError
from hcp_mer.motion.frames import FrameSequence

_EMOTIONS = {  # in folders' and clips' names and in cells
    **dict.fromkeys(("negative", "neg", "ne"), "negative"),
    **dict.fromkeys(("positive", "pos", "po"), "positive"),
    **dict.fromkeys(("surprise", "sur", "su"), "surprise"),
}
_SUBJECT = re.compile(r"s?0*([0-9]{1,3})", re.IGNORECASE)
_SUBJECT_FOLDER = re.compile(r"s[0-9]{1,3}", re.IGNORECASE)
_CLIP = re.compile(r"s0*([0-9]{1,3})_([a-z]+)_?0*([0-9]{1,6})", re.IGNORECASE)
_NO_MICRO = re.compile(r"non.?micro", re.IGNORECASE)
_FRAME_FILE = re.compile(r"(?:reg_)?(?:image)?0*([0-9]{1,9})\.(?:bmp|jpe?g|png)", re.IGNORECASE)
_FRAME = "image559740.bmp"
_CAMERA = re.compile(r"(?<![a-z])(?:hs|vis|nir)(?![a-z])", re.IGNORECASE)
_CAMERA_ABOVE = re.compile(r"(?:smic[-_ ]*)?(?:e[-_ ]+)?(hs|vis|nir)(?![a-z])", re.IGNORECASE)

_HSE_HEADINGS = {
    "Subject": ("Subject", "被试", "被试编号"),
    "Filename": ("Filename", "File name", "文件名"),
    "OnsetF": ("OnsetF", "Onset Frame", "Onset", "起始帧"),
    "OffsetF": ("OffsetF", "Offset Frame", "Offset", "结束帧", "终止帧"),
    "Emotion": ("Emotion", "Estimated Emotion", "情绪"),
    **{f"{what}{n}F": (f"{what}{n}F",) for n in (2, 3) for what in ("Onset", "Offset")},
}
_MORE_EXPRESSIONS = ("Onset2F", "Offset2F", "Onset3F", "Offset3F")


def read_smic(data_dir: str | Path, name: str = "smic") -> CorpusReading:
    """Read SMIC-HS, where folders are the labels: a clip is s1/micro/negative/s1_ne_01.

    The level `micro` may be missing; `non_micro` is not read. A clip's onset and offset are its
    first and last frame, its apex is to be spotted. A clip that cannot be used becomes a problem,
    with its folder as the file and no row.

    Args:
        data_dir: the corpus folder, or one above it.
        name: the records' `dataset`.
    Returns:
        records with subjects "s01", … and clip ids as the folders are named, by subject, then
        emotion, then name.
    Raises:
        UserError: no such folder, or no SMIC-HS in it.
    """
    root = corpus_folder(data_dir, "the SMIC folder, which holds HS/s1/micro")
    draft = Draft()
    for subject, subject_folder in _subjects_in(_find_emotion_folders(root, draft), root, draft):
        for emotion, folder in _clips_of(subject_folder, root, draft):
            wrong = _contradiction(folder.name, subject, emotion, "its folder")
            draft.add(
                (subject, _clip_key(folder.name), folder if wrong else None),
                emotion,
                partial(_read_clip, folder, subject, emotion, wrong, name),
                folder.relative_to(root).as_posix(),
                clip=f"{subject}/{folder.name}",
            )
    return draft.finish(shows_whole_frames(draft.records))


def read_smic_hse(data_dir: str | Path, name: str = "smic") -> CorpusReading:
    """Read SMIC-HS-E: long videos, and an annotation of the expressions in them.

    A row may hold up to three expressions of its video (OnsetF, Onset2F, Onset3F); each is a clip
    named after its video and its onset. The apex is to be spotted; frames between onset and offset
    may be missing. What cannot be used becomes a problem and the rest goes on.

    Args:
        data_dir: the corpus folder, or one above it.
        name: the records' `dataset`.
    Returns:
        records with subjects "s01", … and clip ids "s1_ne_01_559740", …, in the annotation's order;
        each has the frames from its onset to its offset only.
    Raises:
        UserError: folder, annotation, frames or a needed column missing.
    """
    root = corpus_folder(data_dir, "the SMIC-HS-E folder: SMIC-HS-E_annotation_2019.xlsx and s01")
    draft = Draft()
    pattern, usual = r"SMIC[-_ ]?HS[-_ ]?E.*annotation.*", "SMIC-HS-E_annotation_2019.xlsx"
    annotation = find_annotation(root, pattern, usual, draft, 3, _SUBJECT_FOLDER)
    rows = read_sheet_rows(annotation, _HSE_HEADINGS, optional=_MORE_EXPRESSIONS)
    videos = _Videos(_find_video_folders(root, draft))
    file = annotation.relative_to(root).as_posix()
    for row in rows:
        if is_note(row, ("Subject", "Filename", "OnsetF", "Emotion")):
            draft.remark("taken for a note, as it names no clip: nothing to read", file, row.number)
            continue
        subject = _subject_in(row.numeral("Subject")) or row.text("Subject")
        emotion = row.text("Emotion")
        for span in _spans_in(row):
            onset = _number_or_text(row, span[0])
            draft.add(
                (subject, _clip_key(row.text("Filename")), onset),
                _EMOTIONS.get(emotion.lower(), emotion),
                partial(_read_expression, row, span, videos, name),
                file,
                row.number,
                f"{subject}/{row.text('Filename')}_{onset}",
            )
    return draft.finish(shows_whole_frames(draft.records))


def _subject_in(text: str) -> str | None:
    """1, "s1" or "s01" → "s01"; None for what is no subject."""
    match = _SUBJECT.fullmatch(text)
    return f"s{int(match[1]):02d}" if match else None


def _clip_key(name: str) -> tuple[str | int, ...]:
    """What names of one clip share: s1_ne_01 and s01_ne_1 are the same."""
    match = _CLIP.fullmatch(name)
    if match is None:
        return (name.lower(),)
    return int(match[1]), _EMOTIONS.get(match[2].lower(), match[2].lower()), int(match[3])


def _contradiction(name: str, subject: str, emotion: str, says: str) -> str | None:
    """How a clip's name contradicts its place or row, None where it does not."""
    match = _CLIP.fullmatch(name)
    if match is None:
        return None
    named = {
        "of subject": (f"s{int(match[1]):02d}", subject),
        "of emotion": (_EMOTIONS.get(match[2].lower(), emotion), emotion),
    }
    for what, (ours, theirs) in named.items():
        if ours != theirs:
            return f"{name} is a clip {what} {ours} by its name, {says} says {theirs}: correct one"
    return None


# SMIC-HS: folders are the labels.


def _find_emotion_folders(root: Path, draft: Draft) -> Path:
    """The high-speed camera's folder of subjects with folders of emotions.

    Raises:
        UserError: there is none.
    """
    try:
        return _find_frame_root(
            root, _holds_emotions, "HS/s1/micro/negative/s1_ne_01/image559740.bmp", draft
        )
    except UserError as error:
        videos = frame_roots(root, _holds_videos)
        if any(_camera(folder, root) == "HS" for folder in videos):
            hint = "The long videos there are another corpus, smic-hs-e."
            raise UserError(f"{error} {hint}") from None
        raise


def _find_frame_root(root: Path, holds: Callable[[Path], bool], example: str, draft: Draft) -> Path:
    """The high-speed camera's folder of subjects, wherever it is in `root`.

    Raises:
        UserError: there is none, or only those of other cameras.
    """
    found = frame_roots(root, holds)
    high_speed = [folder for folder in found if _camera(folder, root) == "HS"]
    if high_speed:
        return first_root(high_speed, root, draft)
    if found:
        cameras = " and ".join(sorted({_camera(folder, root) for folder in found}))
        raise UserError(
            f"only {cameras} in {root}, which filmed the same moments as HS. Only HS, the "
            f"high-speed camera, is read: expected {example}."
        )
    raise UserError(f"no frames in {root}. Expected {example}.")


def _camera(folder: Path, root: Path) -> str:
    """HS, VIS or NIR, as the nearest folder is named that names one; else HS."""
    inside = _CAMERA.findall(folder.relative_to(root).as_posix())
    above = _CAMERA_ABOVE.match(root.absolute().name)
    return (inside[-1] if inside else above[1] if above else "HS").upper()


def _holds_emotions(folder: Path) -> bool:
    """Whether there is a folder such as s1/micro or s1/negative."""
    return any(
        _holds_classes(subject)
        for subject in folders_in(folder)
        if _SUBJECT_FOLDER.fullmatch(subject.name)
    )


def _holds_classes(folder: Path) -> bool:
    """Whether there is a folder such as micro or negative."""
    return any(inner.name.lower() in ("micro", *_EMOTIONS) for inner in folders_in(folder))


def _subjects_in(frame_root: Path, root: Path, draft: Draft) -> list[tuple[str, Path]]:
    """Subjects and their folders; others that look like a subject's inside become problems."""
    subjects = []
    for folder in folders_in(frame_root):
        if _SUBJECT_FOLDER.fullmatch(folder.name):
            subjects.append((_subject_in(folder.name), folder))
        elif not _NO_MICRO.fullmatch(folder.name) and _may_hold_classes(folder):
            reason = (
                f"{folder.name} is no subject, its clips are not read: name it like s1 if it is one"
            )
            draft.remark(reason, folder.relative_to(root).as_posix())
    return sorted(subjects)


def _may_hold_classes(folder: Path) -> bool:
    """`_holds_classes`; what is none of the corpus's, a drive's lost+found, may not be listed."""
    return os.access(folder, os.R_OK | os.X_OK) and _holds_classes(folder)


def _clips_of(subject_folder: Path, root: Path, draft: Draft) -> Iterator[tuple[str, Path]]:
    """Emotion and folder of a subject's clips; folders that are none become problems."""
    inside = folders_in(subject_folder)
    micro = next((folder for folder in inside if folder.name.lower() == "micro"), None)
    classes = folders_in(micro) if micro else inside
    spoken_for = [folder for folder in classes if not _NO_MICRO.fullmatch(folder.name)]
    _remark_lack(micro or subject_folder, classes, root, draft)
    if micro:
        _remark_beside(micro, [folder for folder in inside if folder != micro], root, draft)
    for folder in spoken_for:
        emotion = _EMOTIONS.get(folder.name.lower())
        clips = folders_in(folder)
        where = folder.relative_to(root).as_posix()
        if emotion is None:
            rule = "expected negative, positive or surprise"
            draft.remark(f"{folder.name} is no emotion, its clips are not read: {rule}", where)
        else:
            _remark_lack(folder, clips, root, draft)
            yield from ((emotion, clip) for clip in clips)


def _remark_lack(folder: Path, inside: list[Path], root: Path, draft: Draft) -> None:
    """Say where frames lie in no clip's folder, and where there is nothing to read."""
    where = folder.relative_to(root).as_posix()
    if any(_FRAME_FILE.fullmatch(entry.name) for entry in folder.iterdir()):
        rule = f"expected them in a clip's folder, such as negative/s1_ne_01/{_FRAME}"
        draft.remark(f"frames lie here directly and are not read: {rule}", where)
    elif not inside:
        draft.remark("the folder holds no clips", where)


def _remark_beside(micro: Path, others: list[Path], root: Path, draft: Draft) -> None:
    """Say which folders beside `micro` hold clips or emotions that are not read."""
    for folder in others:
        is_class = folder.name.lower() in ("micro", *_EMOTIONS)
        if not _NO_MICRO.fullmatch(folder.name) and (is_class or _may_hold_classes(folder)):
            reason = f"its clips are not read, as it lies beside {micro.name}: move them into that"
            draft.remark(reason, folder.relative_to(root).as_posix())


def _read_clip(
    folder: Path, subject: str, emotion: str, wrong: str | None, name: str
) -> tuple[ClipRecord, list[str]]:
    """A clip's folder as a record."""
    if wrong:
        raise UserError(wrong)
    frames = frames_in(folder, _FRAME_FILE, _FRAME)
    if len(frames) < 2:
        raise UserError("one frame alone shows no motion: copy the clip again from the corpus")
    first, last = frames.numbers[0], frames.numbers[-1]
    return ClipRecord(name, subject, folder.name, frames, first, None, last, (), emotion), []


# SMIC-HS-E: an annotation of long videos.


def _find_video_folders(root: Path, draft: Draft) -> ClipFolders:
    """The high-speed camera's long videos, by subject."""
    example = "SMIC-HS-E/s01/s1_ne_01/image559740.jpg"
    return ClipFolders(_find_frame_root(root, _holds_videos, example, draft), _subject_in)


def _holds_videos(folder: Path) -> bool:
    """Whether there is a folder such as s01/s1_ne_01."""
    return any(
        _CLIP.fullmatch(video.name)
        for subject in folders_in(folder)
        if _SUBJECT_FOLDER.fullmatch(subject.name)
        for video in folders_in(subject)
    )


class _Videos:
    """Frames of long videos, each listed once."""

    def __init__(self, folders: ClipFolders) -> None:
        self._folders = folders
        self._listed: dict[Path, FrameSequence] = {}

    def frames(self, subject: str, video: str) -> FrameSequence:
        """All frames of a video. Raises UserError where there are none."""
        folder = self._folders.find(subject, video)
        if folder not in self._listed:
            self._listed[folder] = frames_in(folder, _FRAME_FILE, _FRAME)
        return self._listed[folder]


def _spans_in(row: SheetRow) -> list[tuple[str, str]]:
    """Names of the onset and the offset cell of each expression in a row."""
    more = [("Onset2F", "Offset2F"), ("Onset3F", "Offset3F")]
    filled = [span for span in more if any(row.text(cell).lower() not in NO_VALUE for cell in span)]
    return [("OnsetF", "OffsetF"), *filled]


def _number_or_text(row: SheetRow, cell: str) -> str:
    """The cell as it identifies a clip: 12, 12.0 and "12" are one."""
    try:
        return str(row.whole_number(cell))
    except UserError:
        return row.text(cell)


def _read_expression(
    row: SheetRow, span: tuple[str, str], videos: _Videos, name: str
) -> tuple[ClipRecord, list[str]]:
    """One expression in a row as a record."""
    subject, video = _subject_in(row.numeral("Subject")), row.text("Filename")
    if subject is None:
        raise UserError(f"Subject must be a number such as 1, got {row.text('Subject')!r}")
    emotion = _EMOTIONS.get(row.text("Emotion").lower())
    if emotion is None:
        rule = "Emotion must be negative, positive or surprise (or ne, po, sur)"
        raise UserError(f"{rule}, got {row.text('Emotion')!r}")
    wrong = _contradiction(video, subject, emotion, "its row")
    if wrong:
        raise UserError(wrong)
    onset, offset = row.frame_number(span[0]), row.frame_number(span[1])
    frames = videos.frames(subject, video)
    shown = frames.between(onset, offset)
    record = ClipRecord(name, subject, f"{video}_{onset}", shown, onset, None, offset, (), emotion)
    check_on_disk(frames, onset=onset, offset=offset)
    return record, []
