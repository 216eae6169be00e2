"""The film that somebody gave, whatever it is: a video, a folder of pictures, or pictures."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hcp_mer.motion.film_pictures import IMAGE_SUFFIXES, ArrayFilm, FolderFilm
from hcp_mer.motion.film_source import LEAST_FRAMES, Film, FilmFrame, shown_name
from hcp_mer.motion.film_video import VideoFilm
from hcp_mer.motion.frames import FrameError

__all__ = [
    "LEAST_FRAMES",
    "ArrayFilm",
    "Film",
    "FilmFrame",
    "FolderFilm",
    "VideoFilm",
    "open_film",
    "shown_name",
]


def open_film(source: Any, fps_hz: float | None = None) -> Film:
    """A film from what it is given as.

    Args: `source`: the path of a video or of a folder of pictures; a sequence of paths, PIL images
    or RGB or grey uint8 arrays; one array of them all, (n, H, W, 3) or (n, H, W); `fps_hz`, frames
    per second in reality, which outdoes what a video says of itself.
    Raises FrameError, one line that names the file without its folders, for all that is no film of
    at least three frames of one size.
    """
    if isinstance(source, (str, os.PathLike)):
        return _opened(source, fps_hz)
    if isinstance(source, Image.Image):
        raise _single("one image")
    if isinstance(source, np.ndarray):
        if source.ndim < 3 or (source.ndim == 3 and source.shape[2] in (1, 3, 4)):
            raise _single(f"an array of shape {source.shape}")
        return ArrayFilm(source, fps_hz)
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray, dict)):
        return ArrayFilm(source, fps_hz)
    kind = type(source).__name__
    raise FrameError(f"a film is a video, a folder or a sequence of pictures, got {kind}.")


def _opened(source: str | os.PathLike[str], fps_hz: float | None) -> Film:
    path = Path(source)
    if not os.fspath(source) or not os.path.lexists(path):
        raise FrameError(f"{shown_name(path)} does not exist. Check the path.")
    if path.is_dir():
        return FolderFilm(path, fps_hz)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        raise _single(shown_name(path))
    return VideoFilm(path, fps_hz)


def _single(what: str) -> FrameError:
    ways = "give a video, a folder of frames or several pictures"
    return FrameError(f"{what} is a single picture and shows no movement: {ways}.")
