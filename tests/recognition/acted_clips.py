"""Procedural clips of people whom no corpus and no pretraining shows, as films to be answered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hcp_mer.data.synthetic.clips import MICRO_STYLE, render_clip
from hcp_mer.data.synthetic.identity import make_identity
from tests.films import write_film

UNSEEN = 2**50  # seeds of people from here up belong to nobody else
CLASSES = {"negative": ("disgust", "sadness", "anger"), "positive": ("happiness",),
           "surprise": ("surprise",)}  # fmt: skip


@dataclass(frozen=True, eq=False)
class ActedClip:
    """Frames, RGB uint8 (S, S, 3), the index of the apex, and the class that is acted."""

    frames: list[np.ndarray]
    apex: int
    label: str


def acted_clip(number: int, size: int = 224, num_frames: int = 20) -> ActedClip:
    """Clip `number`, with a movement of 1.5 to 3 px at its peak; three classes in turn."""
    label = list(CLASSES)[number % 3]
    emotions = CLASSES[label]
    emotion = emotions[number // 3 % len(emotions)]
    style = replace(MICRO_STYLE, peak_range_px=(1.5, 3.0))
    clip = render_clip(
        make_identity(UNSEEN + number),
        emotion,
        seed=number,
        size=size,
        num_frames=num_frames,
        style=style,
    )
    return ActedClip(list(clip.frames), clip.apex, label)


def write_acted_clip(folder: Path, number: int, codec: str = "FFV1", suffix: str = ".mkv", **how):
    """The clip as a film, and what is acted in it."""
    clip = acted_clip(number, **how)
    path = folder / f"clip {number:03d}{suffix}"
    write_film(path, clip.frames, codec, fps_hz=100.0)
    return path, clip
