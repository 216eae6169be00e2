"""What every film is: frames of one size in order, read from the start as often as one likes.

Messages call a film by its own name, not by its path: pages show them to whoever gave the file.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hcp_mer.motion.frames import FrameError
from hcp_mer.motion.video import printable

LEAST_FRAMES = 3


@dataclass(frozen=True, eq=False)
class FilmFrame:
    """One frame.

    Attributes: `number`, as the source counts: from 0 in a video, the file's own number in a
    folder; `time_s`, since the film's first frame, None where it is unknown; `image`, RGB uint8
    (H, W, 3).
    """

    number: int
    time_s: float | None
    image: np.ndarray


class Film(ABC):
    """Frames of one size, in order, of which only one at a time is in memory.

    Attributes: `name`, the file's or folder's own name without its path, one line; `fps_hz`,
    frames per second, None where nobody says.
    """

    name: str
    fps_hz: float | None

    @property
    @abstractmethod
    def notes(self) -> list[str]:
        """What one should know of the film, in sentences. A video may be decoded once for it."""

    @property
    @abstractmethod
    def promised(self) -> Sequence[int]:
        """Numbers of its frames, ascending; of a video as its header has them, which may err."""

    @abstractmethod
    def __len__(self) -> int:
        """How many frames there are. A video is decoded once for it, if it was not yet."""

    @abstractmethod
    def picked(self, numbers: Collection[int]) -> Iterator[FilmFrame]:
        """The frames of these numbers, as far as there are, in one go through the film.

        Raises FrameError for damage.
        """

    @abstractmethod
    def _between(self, first: int | None, last: int | None) -> Iterator[FilmFrame]: ...

    def frames(self, first: int | None = None, last: int | None = None) -> Iterator[FilmFrame]:
        """The frames numbered from `first` to `last`, both included; the whole film without them.

        Raises FrameError for a `last` before `first`, either of them outside of the film (of a
        video, when its end is reached), and damage that cannot be seen without decoding.
        """
        check_order(first, last)
        return self._between(first, last)


def shown_name(path: Path | str) -> str:
    """A file's own name as one line that can be printed; of `.` and `..` the folder's."""
    path = Path(path)
    name = path.name if path.name not in ("", "..") else path.resolve().name or "/"
    return "".join(sign if sign.isprintable() else " " for sign in printable(name))


@contextmanager
def named_alone(path: Path) -> Iterator[None]:
    """Inside, a FrameError that names this path names the file without its folders."""
    try:
        yield
    except FrameError as error:
        message = str(error).replace(printable(path), shown_name(path))
        raise FrameError(message.replace(str(path), shown_name(path))) from None


def checked_fps(fps_hz: float | None) -> float | None:
    """Raises FrameError for frames per second that are none."""
    if fps_hz is None:
        return None
    is_number = isinstance(fps_hz, (int, float, np.number)) and not isinstance(fps_hz, bool)
    if not is_number or not 0 < fps_hz < math.inf:
        raise FrameError(f"frames per second must be a number above 0, got {fps_hz!r}.")
    return float(fps_hz)


def check_order(first: int | None, last: int | None) -> None:
    """Raises FrameError for a last frame before the first one."""
    if first is not None and last is not None and last < first:
        raise FrameError(f"the last frame, {last}, is before the first, {first}. Swap them.")


def check_length(name: str, count: int, where: str = "") -> None:
    """Raises FrameError for fewer than three frames.

    Args: `where`, put behind their number, as " that can be decoded".
    """
    if count < LEAST_FRAMES:
        frames = f"{count} frame{'' if count == 1 else 's'}{where}"
        rule = f"too short to show a movement; give at least {LEAST_FRAMES}"
        raise FrameError(f"{name}: {frames}, {rule}.")


def missing(name: str, number: int, low: int, high: int) -> FrameError:
    """What to raise for a frame outside of a film."""
    return FrameError(f"frame {number} is missing: {name} has frames from {low} to {high}.")
