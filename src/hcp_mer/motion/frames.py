"""Frames of a clip: numbered image files, decoded when asked for, and refused when damaged."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from hcp_mer.errors import UserError


class FrameError(UserError):
    """A frame that is missing, damaged or of no use; the message names the file."""


class Frames(Protocol):
    """Frames of one clip by number: image files (FrameSequence) or a video (VideoSequence).

    Attributes: `numbers`, ascending and unique; `files`, what on disk the frames depend on.
    """

    @property
    def numbers(self) -> Sequence[int]: ...

    @property
    def files(self) -> tuple[Path, ...]: ...

    def __len__(self) -> int: ...

    def __contains__(self, number: object) -> bool: ...

    def path(self, number: int) -> Path:
        """The file that a frame is in. Raises FrameError where there is no such frame."""
        ...

    def extent_px(self, number: int) -> tuple[int, int]:
        """Width and height of a frame, from the file's header. Raises FrameError like `read`."""
        ...

    def read(self, number: int) -> np.ndarray:
        """Decode one frame: RGB uint8 (H, W, 3). Raises FrameError where that cannot be done."""
        ...


@dataclass(frozen=True)
class FrameSequence:
    """Numbered frames of one clip on disk.

    The corpora number frames as their annotations do, often from other than 0 and with gaps.

    Attributes: `numbers`, ascending and unique; `paths`, the file of each.
    Raises FrameError where the two do not fit.
    """

    numbers: tuple[int, ...]
    paths: tuple[Path, ...]

    def __post_init__(self) -> None:
        if len(self.numbers) != len(self.paths):
            counts = f"{len(self.numbers)} numbers and {len(self.paths)} paths"
            raise FrameError(f"frames need one path per number, got {counts}.")
        for before, after in zip(self.numbers, self.numbers[1:]):
            if before >= after:
                rule = f"frame numbers must ascend and be unique, got {after} after {before}"
                raise FrameError(f"{rule} ({self.paths[0].parent}). Sort them, drop duplicates.")

    @classmethod
    def from_folder(
        cls, folder: Path | str, pattern: re.Pattern[str], example: str | None = None
    ) -> FrameSequence:
        """The files in `folder` whose whole name matches `pattern`, sorted by frame number.

        Args: `pattern` has one group, the number: `re.compile(r"img(\\d+)\\.jpg")`. The match must
        cover the whole name, so `reg_img1.jpg` or `._img1.jpg` do not slip in beside `img1.jpg`.
        `example` of such a name is shown where none matches, instead of the pattern.
        Raises FrameError for a missing folder, no match, or two files of one number.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise FrameError(f"{folder} is not a folder of frames. Check the corpus path.")
        found: dict[int, Path] = {}
        for path in sorted(folder.iterdir()):
            match = pattern.fullmatch(path.name)
            if match is None or not path.is_file():
                continue
            number = int(match[1])
            if number in found:
                names = f"{found[number].name} and {path.name}"
                raise FrameError(f"{names} in {folder} are both frame {number}. Remove one.")
            found[number] = path
        if not found:
            raise FrameError(f"no file in {folder} is named like {example or pattern.pattern}.")
        numbers = tuple(sorted(found))
        return cls(numbers, tuple(found[number] for number in numbers))

    @property
    def files(self) -> tuple[Path, ...]:
        """The same as `paths`."""
        return self.paths

    def between(self, first: int, last: int) -> FrameSequence:
        """The frames numbered from `first` to `last`, both included: a clip of a long video."""
        kept = [index for index, number in enumerate(self.numbers) if first <= number <= last]
        return FrameSequence(
            tuple(self.numbers[index] for index in kept), tuple(self.paths[index] for index in kept)
        )

    def __len__(self) -> int:
        return len(self.numbers)

    def __contains__(self, number: object) -> bool:
        return number in self.numbers

    def path(self, number: int) -> Path:
        """The file of a frame. Raises FrameError where there is none."""
        if number not in self.numbers:
            raise FrameError(f"frame {number} is missing: {self._summary()}. Check the annotation.")
        return self.paths[self.numbers.index(number)]

    def extent_px(self, number: int) -> tuple[int, int]:
        """Width and height of a frame as `read` gives it; only the file's header is read.

        Raises FrameError for a number that is not there and for files without such a header.
        """
        with _opened(self.path(number)) as image:
            return shown_extent_px(image)

    def read(self, number: int) -> np.ndarray:
        """Decode one frame: RGB uint8 (H, W, 3); a grey image gives three equal channels.

        Raises FrameError for a number that is not there and for files that `read_frame` refuses.
        """
        return read_frame(self.path(number))

    def _summary(self) -> str:
        if not self.numbers:
            return "the clip has no frames"
        span = f"{len(self)} frames from {self.numbers[0]} to {self.numbers[-1]}"
        return f"{self.paths[0].parent} has {span}"


def read_frame(path: Path) -> np.ndarray:
    """Decode an image file strictly: RGB uint8 (H, W, 3).

    A rotation that the file's EXIF asks for is applied, as it is at inference.
    Pillow is used rather than OpenCV, which fills the missing part of a truncated JPEG with grey
    and only warns. Raises FrameError for a file that is missing, empty, cut short, no image, or
    has more than 8 bits a channel.
    """
    with _opened(path) as image:
        return rgb_frame(image, str(path))


def rgb_frame(image: Image.Image, called: str) -> np.ndarray:
    """A picture as RGB uint8 (H, W, 3), turned as its EXIF asks for.

    Args: what messages call it. Raises FrameError for more than 8 bits a channel.
    """
    if image.mode.startswith(("I", "F")):
        raise FrameError(f"{called} has pixels of mode {image.mode}. Give 8-bit frames.")
    return np.array(ImageOps.exif_transpose(image).convert("RGB"))


def shown_extent_px(image: Image.Image) -> tuple[int, int]:
    """Width and height of a picture as `rgb_frame` gives it; its pixels are not decoded."""
    # Pillow would decode a whole PNG to see whether EXIF follows its pixels.
    has_exif = image.format != "PNG" or "exif" in image.info
    lies = has_exif and image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
    return (image.height, image.width) if lies else image.size


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image file for reading; whatever is wrong with it becomes a FrameError."""
    again = "Copy it again."
    try:
        if path.stat().st_size == 0:
            raise FrameError(f"{path} is empty (0 bytes). {again}")
        with Image.open(path) as image:
            yield image
    except FileNotFoundError:
        raise FrameError(f"{path} does not exist. {again}") from None
    except UnidentifiedImageError:
        raise FrameError(f"{path} is not an image. {again}") from None
    except FrameError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        # Pillow's ways to say that data are damaged.
        raise FrameError(f"{path} is damaged or cut short ({error}). {again}") from None
