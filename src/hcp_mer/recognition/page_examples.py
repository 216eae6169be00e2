"""Clips to try a page with: faces drawn by a program, written as small videos when it starts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hcp_mer.data.synthetic.camera import Camera, MovingFace, Timing
from hcp_mer.data.synthetic.clips import ClipStyle, render_clip
from hcp_mer.data.synthetic.faces import Tonic, render_face
from hcp_mer.data.synthetic.identity import make_identity
from hcp_mer.data.synthetic.warps import double_resolution
from hcp_mer.errors import UserError

SIZE_PX, NUM_FRAMES, FPS_HZ, PICTURE_PX = 320, 24, 60.0, 160
# WebM with VP8 plays in every browser, and OpenCV writes it in a tenth of the time that VP9 takes.
CODEC, SUFFIX = "VP80", ".webm"
NOBODY = 2**51  # seeds of people from here up are in no corpus and in no pretraining
LID_SHUT = -4.0
_SENSOR = 0.005
_STYLE = ClipStyle(
    peak_range_px=(1.35, 1.35),
    noise_std=_SENSOR,
    extra_action_probability=0.0,
    one_sided_probability=0.0,
)


@dataclass(frozen=True)
class Example:
    """A clip to be drawn.

    Attributes: `name`, of its file; `title`, what it shows; `person`, who; `emotion` and
    `action_units`, what is acted, or None where nothing is; `blinks`.
    """

    name: str
    title: str
    person: int
    emotion: str | None = None
    action_units: tuple[str, ...] = ()
    blinks: bool = False

    def frames(self) -> list[np.ndarray]:
        """Its frames, uint8 RGB (320, 320, 3), the same at every call."""
        identity = make_identity(NOBODY + self.person)
        if self.emotion is not None:
            clip = render_clip(
                identity,
                self.emotion,
                seed=self.person,
                size=SIZE_PX,
                num_frames=NUM_FRAMES,
                style=_STYLE,
                action_units=self.action_units,
            )
            return clip.frames
        return _at_rest(identity, self.person, self.blinks)


EXAMPLES = (
    Example("brows-lowered", "Brows lowered", 1, "disgust", ("4", "9")),
    Example("mouth-corners-up", "Mouth corners up", 2, "happiness", ("6", "12")),
    Example("brows-raised", "Brows raised", 3, "surprise", ("1", "2")),
    Example("blink", "A blink", 4, blinks=True),
    Example("still", "Nothing at all", 5),
)


def _at_rest(identity, seed: int, blinks: bool) -> list[np.ndarray]:
    """A face that does nothing but, perhaps, blink; the head drifts a little all the same."""
    camera = Camera(
        NUM_FRAMES, np.array([0.3, 0.2], np.float32), 0.001, 0.005, 0.0, _SENSOR, noise_seed=seed
    )
    timing = Timing(0, NUM_FRAMES // 2, NUM_FRAMES - 1)
    nowhere = np.zeros((SIZE_PX, SIZE_PX, 2), np.float32)
    no_crease = np.zeros((SIZE_PX, SIZE_PX, 1), np.float32)
    frames = []
    for index in range(NUM_FRAMES):
        shut = _shut(index - timing.apex) if blinks else 0.0
        face = render_face(identity, Tonic(lid=LID_SHUT * shut), SIZE_PX)
        frames.append(
            camera.film(MovingFace(double_resolution(face), nowhere, no_crease), index, timing)
        )
    return frames


def _shut(frames_away: int) -> float:
    """How far lids are shut, 0…1, so many frames before or after the middle of a blink."""
    return float(np.clip(1.5 - abs(frames_away) / 3, 0, 1))


@dataclass(frozen=True, eq=False)
class WrittenExample:
    """An example on disk: what it shows, its video, and its middle frame, RGB uint8, small."""

    title: str
    path: Path
    picture: np.ndarray


def write_examples(folder: Path, examples: Sequence[Example] = EXAMPLES) -> list[WrittenExample]:
    """Draw the examples into a folder that exists.

    Raises UserError where OpenCV cannot write them, as on a full disk.
    """
    written = []
    for one in examples:
        frames, path = one.frames(), folder / f"{one.name}{SUFFIX}"
        _write(path, frames)
        # Near the apex, and with the lids shut in a blink.
        middle = cv2.resize(
            frames[NUM_FRAMES // 2], (PICTURE_PX,) * 2, interpolation=cv2.INTER_AREA
        )
        written.append(WrittenExample(one.title, path, middle))
    return written


def _write(path: Path, frames: Sequence[np.ndarray]) -> None:
    size = frames[0].shape[1::-1]
    with _silent_stderr():
        fourcc = cv2.VideoWriter.fourcc(*CODEC)
        writer = cv2.VideoWriter(str(path.absolute()), cv2.CAP_FFMPEG, fourcc, FPS_HZ, size)
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    if not path.is_file() or path.stat().st_size == 0:
        raise UserError(
            f"the example {path.name} cannot be written: OpenCV lacks VP8 here, or the disk is "
            "full. Make room, or install opencv-python."
        )


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """OpenCV prints that WebM has no tags for codecs, past its own log and Python's stderr."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
