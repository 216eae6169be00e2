"""Each clip → one row of the pairs: the images, how they came about, or why there are none."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from hcp_mer.data.records import ClipRecord
from hcp_mer.motion.apex_plot import plot_energy
from hcp_mer.motion.face import FaceError
from hcp_mer.motion.frames import Frames
from hcp_mer.motion.pair import ClipPair, KeyFrames, PairSettings, make_pairs, read_key_frames

_THUMBNAIL_PX = 240
MISTAKES = (ValueError, OSError, cv2.error)  # of a clip, which the others must not pay for


class _TimedFrames:
    """A clip's frames, and how long it took to decode those that were asked for."""

    def __init__(self, frames: Frames) -> None:
        self._frames, self.seconds, self.decoded = frames, 0.0, 0

    def __getattr__(self, name: str):
        return getattr(self._frames, name)

    def __contains__(self, number: object) -> bool:
        return number in self._frames

    def read(self, number: int) -> np.ndarray:
        start = time.perf_counter()
        frame = self._frames.read(number)
        self.seconds += time.perf_counter() - start
        self.decoded += 1
        return frame


def make_rows(
    records: Sequence[ClipRecord], settings: PairSettings, plots: Path | None = None
) -> list[dict]:
    """The rows of some clips, with the columns of `MicroExpressionPairs`.

    One that cannot be read is a row too: `problem` says why, and its images are missing. Where
    there is no face, `no_face` is true and `onset_frame` a thumbnail of what was searched. The
    energy curve of a spotted apex is drawn in the folder `plots`, if there is one. Networks are
    given all clips at once; a clip that they refuse takes no other with it.
    """
    works = [_Work(record, settings) for record in records]
    _measure([work for work in works if work.key_frames], settings)
    return [work.row(plots) for work in works]


class _Work:
    """A clip on its way to its row: what was read, made, and why not, and how long it took."""

    def __init__(self, record: ClipRecord, settings: PairSettings) -> None:
        self.record, self.frames = record, _TimedFrames(record.frames)
        self.key_frames: KeyFrames | None = None
        self.pair: ClipPair | None = None
        self.error: Exception | None = None
        start = time.perf_counter()
        try:
            self.key_frames = read_key_frames(
                self.frames, record.onset, record.apex, record.offset, settings, record.face
            )
        except MISTAKES as error:
            self.error = error
        self.seconds = time.perf_counter() - start

    def row(self, plots: Path | None) -> dict:
        start, record = time.perf_counter(), self.record
        made = self._made(self.pair, plots) if self.pair else self._failed()
        return {
            "emotion": record.emotion,
            "subject": record.subject,
            "dataset": record.dataset,
            "clip_id": record.clip_id,
            "action_units": list(record.action_units),
            "onset": record.onset,
            "offset": record.offset,
            **made,
            "seconds": self.seconds + time.perf_counter() - start,
            "decoding_seconds": self.frames.seconds,
            "decoded": self.frames.decoded,
        }

    def _made(self, pair: ClipPair, plots: Path | None) -> dict:
        if plots and pair.energies_px:
            clip = f"{self.record.dataset} {self.record.subject} {self.record.clip_id}"
            picture = plots / f"{quote(clip, safe=' ')}.png"
            numbers, energies_px = list(pair.energies_px), list(pair.energies_px.values())
            plot_energy(numbers, energies_px, pair.apex, picture, clip)
        return {
            "magnified": _png(pair.magnified),
            "flow": _png(pair.flow_image),
            "onset_frame": _png(pair.onset_frame),
            "apex": pair.apex,
            "apex_source": pair.apex_source,
            "alignment": pair.alignment,
            "flow_scale_px": pair.flow_scale_px,
            "problem": None,
            "no_face": False,
        }

    def _failed(self) -> dict:
        no_face = isinstance(self.error, FaceError)
        empty = dict.fromkeys(("magnified", "flow", "apex_source", "alignment", "flow_scale_px"))
        searched = _thumbnail(self.frames.read(self.record.onset)) if no_face else None
        return {
            **empty,
            "onset_frame": searched,
            "apex": self.record.apex,
            "problem": " ".join(str(self.error).split()),
            "no_face": no_face,
        }


def _measure(works: Sequence[_Work], settings: PairSettings) -> None:
    """Make the pairs of clips that were read; where that fails, one by one."""
    if not works:
        return
    start = time.perf_counter()
    try:
        pairs = make_pairs([work.key_frames for work in works], settings)
    except MISTAKES as error:
        if len(works) == 1:
            works[0].error = error
            return
        for work in works:
            _measure([work], settings)
        return
    seconds = (time.perf_counter() - start) / len(works)
    for work, pair in zip(works, pairs, strict=True):
        work.pair, work.seconds = pair, work.seconds + seconds


def _thumbnail(frame: np.ndarray) -> dict:
    scale = _THUMBNAIL_PX / max(frame.shape[:2])
    return _png(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _png(image: np.ndarray) -> dict:
    """Lossless: the pair that trains must be the pair that inference computes."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return {"bytes": encoded.tobytes(), "path": None}
