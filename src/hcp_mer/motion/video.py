"""Frames of a clip in a video file, decoded one after the other and never sought."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from hcp_mer.motion.frames import FrameError

VIDEO_SUFFIXES = (
    *(".avi", ".mp4", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv"),
    *(".3gp", ".mts", ".m2ts", ".ts", ".vob"),
)
_AGAIN = "Copy it again, or save it as another kind of video."


@dataclass(frozen=True, init=False)
class VideoSequence:
    """Frames of a video, numbered from 0 in the order in which they are shown.

    A rotation that the file asks for is applied, as players do. Seeking lands beside the wanted
    frame in many codecs, so frames are decoded in order up to the one that is asked for: reading
    forward is cheap, going back starts over.

    Attributes: `file`, the video; `numbers`, those that its header promises or that were counted.
    """

    file: Path
    numbers: range

    def __init__(self, path: Path | str, up_to: int | None = None) -> None:
        """Look at a video's header, and count its frames where that is not enough.

        Args: `up_to`, a frame that must be there for the header's count to do. Headers may lie:
        without it, or where they promise less, frames are counted by decoding them all.
        Raises FrameError for a file that is missing, empty or no video.
        """
        object.__setattr__(self, "file", Path(path))
        with opened_video(self.file) as capture:
            count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
            if up_to is None or up_to >= count:
                count = 0
                while capture.grab():
                    count += 1
        if count == 0:
            raise FrameError(f"no frame of {self.file} can be decoded. {_AGAIN}")
        object.__setattr__(self, "numbers", range(count))

    @property
    def files(self) -> tuple[Path, ...]:
        """The video."""
        return (self.file,)

    def __len__(self) -> int:
        return len(self.numbers)

    def __contains__(self, number: object) -> bool:
        return number in self.numbers

    def path(self, number: int) -> Path:
        """The video. Raises FrameError for a frame beyond its last."""
        if number not in self.numbers:
            span = f"frames from 0 to {len(self) - 1}"
            raise FrameError(f"frame {number} is missing: {self.file} has {span}.")
        return self.file

    def extent_px(self, number: int) -> tuple[int, int]:
        """Width and height of a frame as `read` gives it, from the header.

        Raises FrameError for a number that is not there and for a file that is no video.
        """
        with opened_video(self.path(number)) as capture:
            sides = (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
            width, height = (int(capture.get(side)) for side in sides)
            return width, height

    def read(self, number: int) -> np.ndarray:
        """Decode one frame: RGB uint8 (H, W, 3); a grey video gives three equal channels.

        Raises FrameError for a number that is not there, a file that is no video any more, and
        where decoding breaks off before that frame. Damage that a codec paints over is not seen.
        """
        file = self.path(number)
        try:
            stat = file.stat()
        except OSError as error:
            raise FrameError(f"{file} cannot be read ({error.strerror}). {_AGAIN}") from None
        return _decoder(file, stat.st_size, stat.st_mtime_ns, os.getpid()).read(number)


@lru_cache(maxsize=1)
def _decoder(file: Path, size: int, changed: int, process: int) -> _Decoder:
    """The video read last stays open: clips of one recording are read in one go.

    Only one, since a decoder holds many frames. A forked process must not share its parent's
    place in the file, so its id is part of the key, as are marks of the file's content.
    """
    return _Decoder(file)


class _Decoder:
    """An open video and how far it was read."""

    def __init__(self, file: Path) -> None:
        self._file, self._lock = file, threading.Lock()
        self._capture, self._next = _open(file), 0

    def read(self, number: int) -> np.ndarray:
        with self._lock:
            if number < self._next:
                self._capture, self._next = _open(self._file), 0
            while self._next <= number:
                if not self._capture.grab():
                    # Another grab would go on behind the damage, and every number would be off.
                    self._capture.release()
                    raise FrameError(
                        f"frame {number} of {self._file} cannot be decoded: the video breaks off "
                        f"after {self._next} frames. {_AGAIN}"
                    )
                self._next += 1
            decoded, frame = self._capture.retrieve()
        if not decoded:
            raise FrameError(f"frame {number} of {self._file} cannot be decoded. {_AGAIN}")
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)


def printable(path: Path | str) -> str:
    """A path with `?` for every byte that is no UTF-8 text, which cannot be printed."""
    return str(path).encode("utf-8", "replace").decode()


@contextmanager
def opened_video(file: Path) -> Iterator[cv2.VideoCapture]:
    """A video at its first frame, released at the end. Raises FrameError where there is none."""
    capture = _open(file)
    try:
        yield capture
    finally:
        capture.release()


def _open(file: Path) -> cv2.VideoCapture:
    """A video at its first frame. Raises FrameError where there is none."""
    if printable(file.absolute()) != str(file.absolute()):  # OpenCV would end the whole process
        raise FrameError(
            f"{printable(file)} has a name or a folder that is no UTF-8 text. Rename it."
        )
    if not file.is_file():
        raise FrameError(f"{file} does not exist or is no file. Check the path.")
    if file.stat().st_size == 0:
        raise FrameError(f"{file} is empty (0 bytes). {_AGAIN}")
    # FFmpeg and OpenCV print what is wrong with a file; the error below says it.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        # By its own thread only: threads of a decoder do not live on in a forked process.
        capture = cv2.VideoCapture(
            str(file.absolute()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1]
        )
    finally:
        cv2.utils.logging.setLogLevel(level)
    if not capture.isOpened():
        what = "no video that OpenCV can read: damaged, of an unknown kind, or sound alone"
        raise FrameError(f"{file} is {what}. {_AGAIN}")
    return capture
