"""A whole clip as one block of grey frames, for descriptors that read all of its movement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import cv2
import numpy as np

from hcp_mer.data.corpora import READERS, read_corpus
from hcp_mer.data.records import ClipRecord
from hcp_mer.errors import UserError
from hcp_mer.motion.alignment import align
from hcp_mer.motion.face import FaceSettings, find_alignment
from hcp_mer.motion.frames import FrameError

Clip = tuple[str, str, str]  # dataset, subject, clip_id


def clips_in_corpora(places: Iterable[str]) -> dict[Clip, ClipRecord]:
    """The clips of corpora on disk, by dataset, subject and clip_id.

    Args: each "CORPUS=FOLDER", or "CORPUS:NAME=FOLDER" where the pairs were prepared with --name.
    Raises:
        UserError: another form, an unknown corpus, or a folder that is not one.
    """
    found: dict[Clip, ClipRecord] = {}
    for place in places:
        corpus, _, folder = place.partition("=")
        reader, _, name = corpus.partition(":")
        if not folder or not reader:
            raise UserError(
                f"a corpus is given as CORPUS=FOLDER or CORPUS:NAME=FOLDER, got {place!r}. CORPUS "
                f"is one of {', '.join(READERS)}."
            )
        reading = read_corpus(reader, folder, name or None)
        found |= {(r.dataset, r.subject, r.clip_id): r for r in reading.records}
    return found


def face_settings(pair_settings: Mapping[str, Any], weights: str | None = None) -> FaceSettings:
    """How the pairs' faces were found, from their settings; `weights` of a detector that reads any.

    Pairs that others made say nothing: then frames are taken to be cropped faces.
    """
    face = pair_settings.get("face") or {}
    named = {key: face[key] for key in ("detector", "centre_crop") if key in face}
    return FaceSettings(**named, weights=weights)


def grey_volume(
    record: ClipRecord, face: FaceSettings, side_px: int, num_frames: int
) -> np.ndarray:
    """A clip from onset to offset, float32 levels (num_frames, side_px, side_px).

    Frames are brought to the geometry of the pair: one transform for all, from the onset frame.
    In time they are resampled evenly, a frame between two being their weighted mean.
    Raises:
        UserError: fewer than two frames, no face, or frames that are missing, damaged or of two
            sizes.
    """
    numbers = [n for n in record.frames.numbers if record.onset <= n <= record.offset]
    if len(numbers) < 2 or record.onset not in record.frames:
        clip = f"{record.subject}/{record.clip_id}"
        raise FrameError(
            f"{clip} has {len(numbers)} frames from onset {record.onset} to offset "
            f"{record.offset}; the onset and at least one more are needed."
        )
    first = record.frames.read(record.onset)
    transform, _ = find_alignment(first, record.frames.path(record.onset), face, record.face)
    frames: dict[int, np.ndarray] = {}

    def frame(index: int) -> np.ndarray:
        if index not in frames:
            frames[index] = _grey_square(record, numbers[index], transform, first.shape, side_px)
        return frames[index]

    times = np.linspace(numbers[0], numbers[-1], num_frames)
    after = np.searchsorted(numbers, times).clip(1, len(numbers) - 1)
    volume = []
    for time, index in zip(times, after, strict=True):
        start, end = numbers[index - 1], numbers[index]
        share = (time - start) / (end - start)
        volume.append((1 - share) * frame(index - 1) + share * frame(index))
    return np.stack(volume).astype(np.float32)


def _grey_square(
    record: ClipRecord,
    number: int,
    transform: np.ndarray | None,
    onset_shape: tuple[int, ...],
    side_px: int,
) -> np.ndarray:
    image = record.frames.read(number)
    if image.shape != onset_shape:
        raise FrameError(
            f"{record.frames.path(number)} is of another size than the onset frame of its clip. "
            "Give frames of one size."
        )
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if transform is not None:
        return align(grey, transform, side_px).astype(np.float32)
    return cv2.resize(grey.astype(np.float32), (side_px, side_px), interpolation=cv2.INTER_AREA)
