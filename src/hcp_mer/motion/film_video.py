"""A video as a film: decoded from its start, with the times at which its frames are shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np

from hcp_mer.motion.film_source import (
    Film,
    FilmFrame,
    check_length,
    checked_fps,
    missing,
    named_alone,
    shown_name,
)
from hcp_mer.motion.frames import FrameError
from hcp_mer.motion.video import opened_video

_FIRST_LOOK = 8  # frames that are decoded to see whether and how fast time passes
_SLACK_S = 0.25  # by which a header's length may err
_TEXT_BYTES = 4096
_MOST_PIXELS = 8192 * 4320  # of a frame: 8K. One that is larger takes a machine's memory


class VideoFilm(Film):
    """A video's frames, numbered from 0 in the order in which they are shown.

    Each reading has its own decoder. A rotation that the file asks for is applied, as players do.
    Times are the container's, so that they are right where the frame rate varies; where it has
    none, or `fps_hz` is given, they are number / fps_hz.
    """

    def __init__(self, path: Path | str, fps_hz: float | None = None) -> None:
        """Look at the header and the first frames.

        Args: `fps_hz`, frames per second in reality, which outdoes what the file says.
        Raises FrameError for a file that is missing, empty or no video, and fewer than 3 frames.
        """
        self._path, self.name = Path(path), shown_name(path)
        given_hz = checked_fps(fps_hz)
        with self._opened() as capture:
            self._check_size(capture)
            count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            self._header_hz = _header_fps(capture)
            times_s = []
            while len(times_s) < _FIRST_LOOK and capture.grab():
                times_s.append(_position_s(capture))
        self._promised = int(count) if 0 < count < 2**31 else 0
        lost = self._promised > len(times_s)
        of = f" of {self._promised} that can be decoded" if lost else ""
        check_length(self.name, len(times_s), of)
        steps_s = np.diff(times_s)
        self._has_times = given_hz is None and bool((steps_s > 0).all())
        self.fps_hz = given_hz or _nominal_fps(self._header_hz, steps_s, self._has_times)
        self._count: int | None = None
        self._breaks_off = False

    def _check_size(self, capture: cv2.VideoCapture) -> None:
        width = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        if width * height > _MOST_PIXELS:
            raise FrameError(
                f"{self.name} is {width}×{height} px, more than {_MOST_PIXELS // 10**6} million "
                "pixels a frame. Give a smaller video."
            )

    @property
    def notes(self) -> list[str]:
        """See Film: whether the video breaks off."""
        count = len(self)
        if not self._breaks_off:
            return []
        of = f" of {self._promised}" if self._promised > count else ""
        return [f"{self.name} breaks off after {count}{of} frames: the rest cannot be decoded."]

    @property
    def promised(self) -> Sequence[int]:
        """See Film."""
        return range(self._count or self._promised or len(self))

    def __len__(self) -> int:
        if self._count is None:
            for _ in self._decoded(lambda number: False, None):
                pass
        return self._count

    def picked(self, numbers: Collection[int]) -> Iterator[FilmFrame]:
        """See Film."""
        return self._decoded(lambda number: number in numbers, max(numbers, default=-1))

    def _between(self, first: int | None, last: int | None) -> Iterator[FilmFrame]:
        start = 0 if first is None else first
        if start < 0:
            raise missing(self.name, start, 0, len(self) - 1)
        yield from self._decoded(lambda number: number >= start, last)
        end = start if last is None else last
        if self._count is not None and end >= self._count:
            raise missing(self.name, max(start, end), 0, self._count - 1)

    def _decoded(self, wanted: Callable[[int], bool], last: int | None) -> Iterator[FilmFrame]:
        """The wanted frames up to `last`; where that is beyond the end, the end is noted."""
        number, start_s, position_s, time_s, shape = 0, 0.0, 0.0, 0.0, None
        with self._opened() as capture:
            while last is None or number <= last:
                if not capture.grab():
                    goes_on = capture.grab()  # behind damage
                    self._note_end(number, goes_on or self._is_cut_short(number, position_s))
                    return
                position_s = _position_s(capture)
                if number == 0:
                    start_s = position_s
                else:
                    time_s = self._time_s(number, time_s, position_s - start_s)
                if wanted(number):
                    decoded, image = capture.retrieve()
                    if not decoded:
                        self._note_end(number, breaks_off=True)
                        return
                    shape = shape or image.shape
                    if image.shape != shape:
                        raise self._of_another_size(number, image.shape, shape)
                    known_s = time_s if self.fps_hz else None
                    yield FilmFrame(number, known_s, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
                number += 1

    def _time_s(self, number: int, before_s: float, position_s: float) -> float:
        """When a frame is shown; time never stands still or runs back."""
        if self._has_times:
            return position_s if position_s > before_s else before_s + 1 / self.fps_hz
        return number / self.fps_hz if self.fps_hz else 0.0

    def _note_end(self, count: int, breaks_off: bool) -> None:
        self._count, self._breaks_off = count, breaks_off

    def _is_cut_short(self, count: int, last_s: float) -> bool:
        """Whether the header promises more frames, and more time for them, than there are."""
        if count >= self._promised or not self._header_hz:
            return False
        step_s = 1 / self._header_hz
        promised_s = _edited_s(self._path) or self._promised * step_s
        last_s = max(last_s, (count - 1) * step_s)
        return promised_s - last_s > step_s + min(_SLACK_S, promised_s / 20)

    def _of_another_size(self, number: int, *shapes: tuple[int, ...]) -> FrameError:
        sizes = [f"{width}×{height} px" for height, width, _ in shapes]
        rule = f"frame {number} of {self.name} is {sizes[0]}, those before it {sizes[1]}"
        return FrameError(f"{rule}. Give a video of one size.")

    @contextmanager
    def _opened(self) -> Iterator[cv2.VideoCapture]:
        with named_alone(self._path):
            _refuse_text(self._path)
            with opened_video(self._path) as capture:
                yield capture


def _position_s(capture: cv2.VideoCapture) -> float:
    """When the frame that was grabbed last is shown; 0 where the container does not say."""
    position_s = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
    return position_s if math.isfinite(position_s) else 0.0


def _header_fps(capture: cv2.VideoCapture) -> float | None:
    """Frames per second as the header has them, None where that cannot be."""
    fps_hz = capture.get(cv2.CAP_PROP_FPS)
    return fps_hz if 0 < fps_hz < 1e6 else None


def _nominal_fps(header_hz: float | None, steps_s: np.ndarray, timed: bool) -> float | None:
    """Frames per second: the header's, unless the first frames are much slower.

    Files that a browser recorded have the clock's ticks there, 1000 Hz.
    """
    if not timed:
        return header_hz
    seen_hz = 1 / float(np.median(steps_s))
    return header_hz if header_hz and header_hz < 3 * seen_hz else seen_hz


def _edited_s(path: Path) -> float | None:
    """How long an MP4 or MOV shows its pictures, None where no edit list says.

    Its header counts frames that the list cuts away, too.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head, place = file.read(8), 0
        while len(head) == 8 and head[4:] != b"moov":
            length = int.from_bytes(head[:4])
            length = int.from_bytes(file.read(8)) if length == 1 else length
            place += length
            if length < 8 or place >= size:  # damage, or the last box
                return None
            file.seek(place)
            head = file.read(8)
        header = file.read(max(0, int.from_bytes(head[:4]) - 8))
    clock = _box(header, b"mvhd")
    ticks_per_s = int.from_bytes(clock[20:24] if clock[:1] == b"\1" else clock[12:16])
    for kind, track in _boxes(header):
        if kind == b"trak" and _box(track, b"mdia", b"hdlr")[8:12] == b"vide":
            return sum(_edits(_box(track, b"edts", b"elst"))) / max(1, ticks_per_s) or None
    return None


def _edits(box: bytes) -> Iterator[int]:
    """How many ticks each entry of an edit list shows; those that show nothing are left out."""
    wide = 8 if box[:1] == b"\1" else 4
    for place in range(8, len(box) - 2 * wide, 2 * wide + 4):
        start = int.from_bytes(box[place + wide : place + 2 * wide], signed=True)
        if start >= 0:
            yield int.from_bytes(box[place : place + wide])


def _box(data: bytes, *kinds: bytes) -> bytes:
    """The content of a box in a box in …; empty where there is none."""
    for kind in kinds:
        data = next((content for name, content in _boxes(data) if name == kind), b"")
    return data


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while (length := int.from_bytes(data[place : place + 4])) >= 8:
        yield data[place + 4 : place + 8], data[place + 8 : place + length]
        place += length


def _refuse_text(path: Path) -> None:
    """FFmpeg draws text as a film, and opens the files that a playlist names.

    Raises FrameError for text. That a file is missing is said elsewhere.
    """
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            head = file.read(_TEXT_BYTES)
    except OSError as error:
        raise FrameError(f"{path} cannot be read ({error.strerror}).") from None
    is_list = head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"#EXTM3U", b"ffconcat"))
    is_text = bool(head) and not _NEVER_IN_TEXT & set(head)
    if is_list or (is_text and not head.startswith(b"YUV4MPEG2")):
        raise FrameError(f"{path} is a text file, not a video.")


_NEVER_IN_TEXT = set(range(9)) | set(range(14, 27)) | set(range(28, 32))
