"""What can go wrong with a clip before its motion is measured, by name and by degree.

Level 0 is the clip as it is. Everything random follows from the clip's name alone, so that a level
is the same whenever it is run, and a higher level is more of the same noise, not another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.motion.alignment import Face
from hcp_mer.motion.frames import Frames
from hcp_mer.motion.methods import chosen as method_chosen
from hcp_mer.motion.pair import KeyFrames


class Clip(NamedTuple):
    """A clip as its pair was made from it.

    Attributes: `dataset`, its corpus; `name`, "dataset/subject/clip_id"; `frames` that exist, by
    number; `onset` and `apex`, frame numbers; `face`, where somebody said where it is.
    """

    dataset: str
    name: str
    frames: Frames
    onset: int
    apex: int
    face: Face | None = None


@dataclass(frozen=True)
class Disturbance:
    """One thing that goes wrong.

    Attributes:
        what: in a sentence; unit: of the levels, for an axis; levels: those that are run by
            default; least, most: those that mean anything.
        frames_off: by how many frames onset and apex are off at level 1.
        on_frame: (frame as decoded, level, generator) → frame; on_crop: the same on the aligned
            square, onset and apex alike. Images are uint8 RGB (H, W, 3).
    """

    what: str
    unit: str
    levels: tuple[float, ...]
    least: float = 0.0
    most: float = np.inf
    whole: bool = False
    frames_off: tuple[int, int] = (0, 0)
    on_frame: Callable[[np.ndarray, float, np.random.Generator], np.ndarray] | None = None
    on_crop: Callable[[np.ndarray, float, np.random.Generator], np.ndarray] | None = None

    def check(self, name: str, level: float) -> None:
        """Raise UserError for a level that means nothing."""
        if not self.least <= level <= self.most or (self.whole and level != round(level)):
            kind = "a whole number" if self.whole else "a number"
            most = "" if self.most == np.inf else f" and at most {self.most:g}"
            least = "" if self.least == -np.inf else f" of at least {self.least:g}{most}"
            raise UserError(f"{name} takes {kind}{least} ({self.unit}), got {level:g}.")


def moved(clip: Clip, onset_by: int, apex_by: int) -> Clip:
    """The clip with onset and apex off by some frames, as far as the clip has frames.

    Onset stays before apex; where both are off alike, their distance is kept. Gaps in the
    numbering do not count.
    """
    numbers = list(clip.frames.numbers)
    onset, apex, last = numbers.index(clip.onset), numbers.index(clip.apex), len(numbers) - 1
    if onset_by == apex_by:
        by = int(np.clip(onset_by, -onset, last - apex))
        return clip._replace(onset=numbers[onset + by], apex=numbers[apex + by])
    onset = int(np.clip(onset + onset_by, 0, apex - 1)) if onset_by else onset
    apex = int(np.clip(apex + apex_by, onset + 1, last)) if apex_by else apex
    return clip._replace(onset=numbers[onset], apex=numbers[apex])


def add_noise(frame: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian sensor noise, independent from pixel to pixel; a grey frame stays grey."""
    is_grey = bool((frame == frame[..., :1]).all())
    noise = rng.standard_normal((*frame.shape[:2], 1 if is_grey else 3), dtype=np.float32)
    return np.rint(frame + sigma * noise).clip(0, 255).astype(np.uint8)


def compress(frame: np.ndarray, loss: float, rng: np.random.Generator) -> np.ndarray:
    """JPEG at quality 100 − loss, written and read again."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, round(100 - loss)]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def blur(frame: np.ndarray, sigma_px: float, rng: np.random.Generator) -> np.ndarray:
    """A Gaussian lens blur."""
    return cv2.GaussianBlur(frame, (0, 0), sigma_px)


def shift_crop(square: np.ndarray, by_px: float, rng: np.random.Generator) -> np.ndarray:
    """The face moved left, right, up or down in its square; the edge is repeated."""
    x, y = ((1, 0), (-1, 0), (0, 1), (0, -1))[rng.integers(4)]
    x, y = round(x * by_px), round(y * by_px)
    height, width = square.shape[:2]
    rows, columns = np.arange(height) - y, np.arange(width) - x
    return square[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]


_FRAMES = {
    "unit": "frames, − early, + late",
    "levels": (-10, -5, -2, -1, 1, 2, 5, 10),
    "least": -np.inf,
    "whole": True,
}
DISTURBANCES: Mapping[str, Disturbance] = {
    "onset_off": Disturbance("onset off by some frames", frames_off=(1, 0), **_FRAMES),
    "apex_off": Disturbance("apex off by some frames", frames_off=(0, 1), **_FRAMES),
    "both_off": Disturbance("onset and apex off together", frames_off=(1, 1), **_FRAMES),
    "noise": Disturbance(
        "sensor noise in every frame", "σ in grey levels", (1, 2, 4, 8, 16), on_frame=add_noise
    ),
    "jpeg": Disturbance(
        "frames compressed as JPEG",
        "100 − quality",
        (5, 25, 50, 75, 90),
        most=99,
        whole=True,
        on_frame=compress,
    ),
    "blur": Disturbance("blurred frames", "σ in px of the frame", (0.5, 1, 2, 4), on_frame=blur),
    "crop_shift": Disturbance(
        "the face off its place in the crop",
        "px of the crop",
        (1, 2, 4, 8, 16),
        whole=True,
        on_crop=shift_crop,
    ),
}


class DisturbedFrames:
    """A clip's frames as a disturbance leaves them; whatever else is asked is the frames' own."""

    def __init__(self, clip: Clip, disturbance: Disturbance, level: float) -> None:
        self._clip, self._disturbance, self._level = clip, disturbance, level

    def __getattr__(self, name: str):
        return getattr(self._clip.frames, name)

    def read(self, number: int) -> np.ndarray:
        frame = self._clip.frames.read(number)
        if self._disturbance.on_frame is None or not self._level:
            return frame
        rng = _generator(self._clip.name, number)
        return self._disturbance.on_frame(frame, self._level, rng)


def with_shifted_crop(
    key_frames: KeyFrames, clip: Clip, disturbance: Disturbance, level: float
) -> KeyFrames:
    """What `on_crop` makes of the aligned squares: onset and apex in the same direction."""
    if disturbance.on_crop is None or not level:
        return key_frames
    onset, apex = (
        disturbance.on_crop(image, level, _generator(clip.name))
        for image in (key_frames.onset_frame, key_frames.apex_frame)
    )
    return replace(key_frames, onset_frame=onset, apex_frame=apex)


def _generator(*names: object) -> np.random.Generator:
    digest = hashlib.blake2b("\x1f".join(map(str, names)).encode(), digest_size=8).digest()
    return np.random.default_rng(int.from_bytes(digest))


def levels_asked(names: Sequence[str] | None, chosen: Sequence[str]) -> dict[str, list[float]]:
    """Disturbance → its levels, ascending.

    Args:
        names: of DISTURBANCES; None: those of `chosen`, or all where nothing is chosen.
        chosen: "noise=1,2,4" in place of a disturbance's own levels; 0 is always there.
    Raises:
        UserError: an unknown disturbance, or a level that means nothing.
    """
    own: dict[str, list[float]] = {}
    for text in chosen:
        name, separator, values = text.partition("=")
        if not separator:
            raise UserError(f"--levels takes NAME=LEVEL,…, for example noise=1,2,4; got {text!r}.")
        disturbance = method_chosen("disturbance", DISTURBANCES, name)
        try:
            levels = sorted({float(value) for value in values.split(",")} - {0.0})
        except ValueError as error:
            raise UserError(f"levels of {name} must be numbers, got {values!r}.") from error
        for level in levels:
            disturbance.check(name, level)
        own[name] = levels
    for name in names if names is not None else own or DISTURBANCES:
        default = method_chosen("disturbance", DISTURBANCES, name).levels
        own.setdefault(name, [float(level) for level in default])
    return own
