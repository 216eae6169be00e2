"""One clip → one row of the pairs: the images, how they came about, or why there are none."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np

from hcp_mer.data.records import ClipRecord
from hcp_mer.errors import UserError
from hcp_mer.motion.apex_plot import plot_energy
from hcp_mer.motion.face import FaceError
from hcp_mer.motion.frames import Frames
from hcp_mer.motion.pair import PairSettings, make_pair

_THUMBNAIL_PX = 240


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


def make_row(record: ClipRecord, settings: PairSettings, plots: Path | None = None) -> dict:
    """A clip's row, with the columns of `MicroExpressionPairs`.

    One that cannot be read is a row too: `problem` says why, and its images are missing. Where
    there is no face, `no_face` is true and `onset_frame` a thumbnail of what was searched. The
    energy curve of a spotted apex is drawn in the folder `plots`, if there is one.
    """
    start, frames = time.perf_counter(), _TimedFrames(record.frames)
    made = _pair_columns(record, frames, settings, plots)
    return {
        "emotion": record.emotion,
        "subject": record.subject,
        "dataset": record.dataset,
        "clip_id": record.clip_id,
        "action_units": list(record.action_units),
        "onset": record.onset,
        "offset": record.offset,
        **made,
        "seconds": time.perf_counter() - start,
        "decoding_seconds": frames.seconds,
        "decoded": frames.decoded,
    }


def _pair_columns(
    record: ClipRecord, frames: _TimedFrames, settings: PairSettings, plots: Path | None
) -> dict:
    """The columns that are measured; where that fails, why."""
    try:
        pair = make_pair(
            frames, record.onset, record.apex, record.offset, settings, given=record.face
        )
    except (UserError, OSError, cv2.error) as error:
        no_face = isinstance(error, FaceError)
        empty = dict.fromkeys(("magnified", "flow", "apex_source", "alignment", "flow_scale_px"))
        return {
            **empty,
            "onset_frame": _thumbnail(frames.read(record.onset)) if no_face else None,
            "apex": record.apex,
            "problem": " ".join(str(error).split()),
            "no_face": no_face,
        }
    if plots and pair.energies_px:
        clip = f"{record.dataset} {record.subject} {record.clip_id}"
        picture = plots / f"{quote(clip, safe=' ')}.png"
        plot_energy(
            list(pair.energies_px), list(pair.energies_px.values()), pair.apex, picture, clip
        )
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


def _thumbnail(frame: np.ndarray) -> dict:
    scale = _THUMBNAIL_PX / max(frame.shape[:2])
    return _png(cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _png(image: np.ndarray) -> dict:
    """Lossless: the pair that trains must be the pair that inference computes."""
    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return {"bytes": encoded.tobytes(), "path": None}
