"""Films of single pictures: those in a folder, or paths, PIL images and arrays one by one."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hcp_mer.motion.film_source import (
    Film,
    FilmFrame,
    check_length,
    checked_fps,
    missing,
    named_alone,
    shown_name,
)
from hcp_mer.motion.frames import FrameError, FrameSequence, read_frame, rgb_frame, shown_extent_px
from hcp_mer.motion.video import VIDEO_SUFFIXES

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


class PictureFilm(Film):
    """What a folder and a list of pictures have in common: each is read when it is asked for."""

    def __init__(self, name: str, numbers: Sequence[int], fps_hz: float | None) -> None:
        """Raises FrameError for fewer than three pictures, and for pictures of different sizes."""
        self.name, self.fps_hz = name, checked_fps(fps_hz)
        self._numbers, self._notes = list(numbers), []
        check_length(name, len(self._numbers))
        first = self._extent_px(0)
        for index in range(1, len(self._numbers)):
            if (extent := self._extent_px(index)) != first:
                sizes = [f"{width}×{height} px" for width, height in (extent, first)]
                raise FrameError(
                    f"{name}: {self._called(index)} is {sizes[0]}, {self._called(0)} {sizes[1]}. "
                    "Give frames of one size."
                )

    @abstractmethod
    def _extent_px(self, index: int) -> tuple[int, int]: ...

    @abstractmethod
    def _read(self, index: int) -> np.ndarray: ...

    @abstractmethod
    def _called(self, index: int) -> str: ...

    @property
    def notes(self) -> list[str]:
        """See Film."""
        return list(self._notes)

    @property
    def promised(self) -> Sequence[int]:
        """See Film."""
        return self._numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def picked(self, numbers: Collection[int]) -> Iterator[FilmFrame]:
        """See Film."""
        for index, number in enumerate(self._numbers):
            if number in numbers:
                yield self._frame(index)

    def _between(self, first: int | None, last: int | None) -> Iterator[FilmFrame]:
        low, high = self._numbers[0], self._numbers[-1]
        for number in (first, last):
            if number is not None and not low <= number <= high:
                raise missing(self.name, number, low, high)
        first, last = low if first is None else first, high if last is None else last
        wanted = [index for index, n in enumerate(self._numbers) if first <= n <= last]
        return (self._frame(index) for index in wanted)

    def _frame(self, index: int) -> FilmFrame:
        # A number that is left out is a moment that was not kept.
        since_first = self._numbers[index] - self._numbers[0]
        time_s = None if self.fps_hz is None else since_first / self.fps_hz
        return FilmFrame(self._numbers[index], time_s, self._read(index))


class FolderFilm(PictureFilm):
    """The pictures in a folder in the order in which people count: 2 comes before 10.

    Numbers are those that end the files' names; where not every name ends in one, or they do not
    count up, they are 0, 1, 2, … and a note says so.
    """

    def __init__(self, folder: Path | str, fps_hz: float | None = None) -> None:
        """Raises FrameError as PictureFilm, for no pictures, two of one name, and two clips."""
        folder = Path(folder)
        name = shown_name(folder)
        files, others = _files_of(folder, name)
        numbers, note = _numbers_of(files, name)
        self._files = FrameSequence(tuple(range(len(files))), tuple(files))
        super().__init__(name, numbers, fps_hz)
        if note:
            self._notes.append(note)
        if others:
            named = ", ".join(map(shown_name, others[:3])) + (", …" if len(others) > 3 else "")
            self._notes.append(f"{name} has other files too, which are not read: {named}.")

    def _extent_px(self, index: int) -> tuple[int, int]:
        with named_alone(self._files.path(index)):
            return self._files.extent_px(index)

    def _read(self, index: int) -> np.ndarray:
        with named_alone(self._files.path(index)):
            return self._files.read(index)

    def _called(self, index: int) -> str:
        return shown_name(self._files.path(index))


class ArrayFilm(PictureFilm):
    """Pictures given one by one, numbered from 0: paths, PIL images, RGB or grey uint8 arrays."""

    def __init__(
        self, pictures: Iterable[Any], fps_hz: float | None = None, name: str = "frames given"
    ) -> None:
        """Raises FrameError as PictureFilm, and for a picture of another kind or other levels."""
        self._pictures = [_checked(picture, index) for index, picture in enumerate(pictures)]
        super().__init__(name, range(len(self._pictures)), fps_hz)

    def _extent_px(self, index: int) -> tuple[int, int]:
        picture = self._pictures[index]
        if isinstance(picture, Path):
            with named_alone(picture):
                return FrameSequence((0,), (picture,)).extent_px(0)
        if isinstance(picture, np.ndarray):
            return picture.shape[1], picture.shape[0]
        return shown_extent_px(picture)

    def _read(self, index: int) -> np.ndarray:
        picture = self._pictures[index]
        if isinstance(picture, Path):
            with named_alone(picture):
                return read_frame(picture)
        if isinstance(picture, np.ndarray):
            three = np.broadcast_to(np.atleast_3d(picture), (*picture.shape[:2], 3))
            return np.ascontiguousarray(three)
        called = self._called(index)
        try:
            return rgb_frame(picture, called)
        except FrameError:
            raise
        except (OSError, SyntaxError, ValueError) as error:  # Pillow decodes as late as here
            raise FrameError(f"{called} is damaged or cut short ({error}).") from None

    def _called(self, index: int) -> str:
        picture = self._pictures[index]
        return shown_name(picture) if isinstance(picture, Path) else f"frame {index}"


def _checked(picture: Any, index: int) -> Path | Image.Image | np.ndarray:
    """A picture that can be read later. Raises FrameError for anything else."""
    if isinstance(picture, (str, os.PathLike)):
        return _checked_file(Path(picture))
    if isinstance(picture, Image.Image):
        return picture
    if not isinstance(picture, np.ndarray):
        kind = type(picture).__name__
        raise FrameError(f"frame {index} must be a path, a PIL image or an array, got {kind}.")
    if picture.dtype != np.uint8:
        rule = f"frame {index} must be a uint8 array, got {picture.dtype}"
        raise FrameError(f"{rule}. Give levels 0 to 255.")
    channels = picture.shape[2:] or (1,)
    if picture.size == 0 or picture.ndim not in (2, 3) or channels[0] not in (1, 3):
        rule = f"frame {index} must have shape (H, W, 3) or (H, W), got {picture.shape}"
        raise FrameError(f"{rule}. Give RGB or grey.")
    return picture


def _checked_file(path: Path) -> Path:
    name = shown_name(path)
    if path.is_dir():
        raise FrameError(f"{name} is a folder in a list of pictures: give it alone.")
    if path.suffix.lower() in VIDEO_SUFFIXES:
        raise FrameError(f"{name} is a video in a list of pictures: give it alone.")
    return path


def _files_of(folder: Path, name: str) -> tuple[list[Path], list[Path]]:
    """The pictures in a folder in their natural order, and the other files that people see there.

    Raises FrameError where there are no pictures.
    """
    try:
        entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise FrameError(f"{name} cannot be read as a folder ({error.strerror}).") from None
    files = sorted((path for path in entries if path.is_file()), key=_natural)
    pictures = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if pictures:
        return pictures, [path for path in files if path.suffix.lower() not in IMAGE_SUFFIXES]
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    if videos:
        given = "that file itself" if len(videos) == 1 else "one of its videos itself"
        example = f"{name}/{shown_name(videos[0])}"
        raise FrameError(f"{name} is a folder without pictures: give {given}, as in {example}.")
    kinds = ", ".join(suffix[1:] for suffix in IMAGE_SUFFIXES)
    inner = " Give one of the folders in it." if any(path.is_dir() for path in entries) else ""
    raise FrameError(f"{name} is a folder without pictures ({kinds}) and without a video.{inner}")


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    """A key that sorts `img2` before `img10`."""
    parts = re.split(r"([0-9]+)", path.stem.casefold())
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts], path.name


def _numbers_of(files: Sequence[Path], name: str) -> tuple[list[int], str | None]:
    """The number of each picture, and a note where it is not the one in its name.

    Raises FrameError for two files of one name, and for names that count more than one clip.
    """
    counted, note = (
        list(range(len(files))),
        "so its frames are counted from 0 in their names' order.",
    )
    ends = [re.search(r"[0-9]+$", file.stem) for file in files]
    numbers = [int(end[0]) for end in ends if end]
    together = list(pairwise(files))
    for before, after in together:
        if before.stem == after.stem:
            both = f"{shown_name(before)} and {shown_name(after)}"
            raise FrameError(f"{name}: {both} are one frame twice. Remove one.")
    if len(numbers) < len(files):
        return counted, f"not every name in {name} ends in a number, {note}"
    for (before, after), number, following in zip(together, numbers, numbers[1:]):
        if number < following:
            continue
        if re.sub(r"[0-9]+", "", before.stem) == re.sub(r"[0-9]+", "", after.stem):
            return counted, f"the numbers that end the names in {name} do not count up, {note}"
        both = f"{shown_name(before)} and {shown_name(after)}"
        raise FrameError(f"{name} has frames of more than one clip, as {both}. Give one clip's.")
    return numbers, None
