"""From a camera's frame to the aligned square: who says where the face is, and what if nobody can.

The face is looked for once per clip, in its onset frame, and one transform serves all frames of the
clip: alignment must not add motion of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.motion.alignment import Face, centre_transform, face_transform
from hcp_mer.motion.face_detectors import DETECTORS, detector
from hcp_mer.motion.frames import FrameError
from hcp_mer.motion.methods import chosen

NONE, GIVEN = "none", "given"
CROPPED_ALREADY, CENTRE_CROP = "cropped already", "centre crop"


class FaceError(FrameError):
    """A frame in which no face was found, or a clip whose face is not given."""


@dataclass(frozen=True)
class FaceSettings:
    """Who says where the face is.

    Attributes: `detector`, "none" for frames that are face crops already and are only resized,
    "given" for the clip's own Face, or a name in DETECTORS; `weights`, the file that a detector
    reads, if it does; `centre_crop`, whether the largest square in the middle of the frame is
    taken where there is no face, rather than refusing the clip.
    Raises UserError for an unknown name, weights or a centre crop where they mean nothing, and a
    detector that cannot be made, since a file or a package is missing.
    """

    detector: str = NONE
    weights: str | None = None
    centre_crop: bool = False

    def __post_init__(self) -> None:
        chosen("face detector", {NONE: None, GIVEN: None, **DETECTORS}, self.detector)
        if self.centre_crop and self.detector == NONE:
            raise UserError(
                "centre_crop is for frames in which no face is found: name a face detector too."
            )
        if self.detector in DETECTORS:
            detector(self.detector, self.weights)
        elif self.weights:
            raise UserError(f"weights are for a face detector, {self.detector!r} reads none.")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values; of the weights the file's name alone, not its path."""
        return {**asdict(self), "weights": Path(self.weights).name if self.weights else None}


def find_alignment(
    onset: np.ndarray, path: Path, settings: FaceSettings, given: Face | None = None
) -> tuple[np.ndarray | None, str]:
    """How all frames of a clip are aligned, and by whose word.

    Args: its onset frame, uint8 RGB (H, W, 3); `path`, where that frame is from, for messages;
    `given`, read by the detector "given" alone.
    Returns: a transform for `align`, (2, 3), or None where frames are only resized; and "cropped
    already", "given", a detector's name or "centre crop".
    Raises FaceError where there is no face and `centre_crop` is off, and UserError for a given face
    outside of the frame.
    """
    if settings.detector == NONE:
        return None, CROPPED_ALREADY
    by_detector = settings.detector != GIVEN
    face = detector(settings.detector, settings.weights).find(onset) if by_detector else given
    if face is not None:
        return face_transform(onset, face), settings.detector
    if settings.centre_crop:
        return centre_transform(onset), CENTRE_CROP
    if by_detector:
        others = " or ".join(f"--face {name}" for name in DETECTORS if name != settings.detector)
        raise FaceError(
            f"no face found in {path} by {settings.detector}; try {others}, give boxes or eyes "
            "(--face given), or --centre_crop."
        )
    raise FaceError(
        f"no face is given for {path}; fill in its box or eyes, or try --face cascade or "
        "--centre_crop."
    )
