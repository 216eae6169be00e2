"""The one composition from a clip to the model's pair of views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.frames_hcp_mer import SMALLEST_SIDE_PX, resize_frame
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pair
from hcp_mer.motion.alignment import align
from hcp_mer.motion.apex import energy_curve, spot_in_curve
from hcp_mer.motion.face import NONE, Face, FaceSettings, find_alignment
from hcp_mer.motion.flow import DEFAULT_ESTIMATOR, estimator
from hcp_mer.motion.frames import FrameError, Frames
from hcp_mer.motion.magnify import DEFAULT_MAGNIFIER, magnifier

LEAST_CONTRAST = 1.0  # grey levels, standard deviation: below it a frame shows nothing


@dataclass(frozen=True)
class PairSettings:
    """How pairs are prepared.

    Attributes: `image_size`, side of the square that frames are brought to, in px; `motion`, see
    MotionSettings; `estimator` and `magnifier`, names in ESTIMATORS and MAGNIFIERS; `face`, how
    the face is found in a larger frame, see FaceSettings. Only the default estimator and magnifier
    travel with a checkpoint: other pairs are to be given to it ready-made.
    Raises UserError for a size below 32 px, unknown names, and masked eyes in frames where nobody
    says where the eyes are.
    """

    image_size: int = 224
    motion: MotionSettings = field(default_factory=MotionSettings)
    estimator: str = DEFAULT_ESTIMATOR
    magnifier: str = DEFAULT_MAGNIFIER
    face: FaceSettings = field(default_factory=FaceSettings)

    def __post_init__(self) -> None:
        if self.image_size < SMALLEST_SIDE_PX:
            rule = f"image_size must be at least {SMALLEST_SIDE_PX} px, got {self.image_size}."
            raise UserError(f"{rule} 224 is the default.")
        estimator(self.estimator)
        magnifier(self.magnifier)
        if self.motion.mask_eyes and (self.face.detector == NONE or self.face.centre_crop):
            without = "a face detector" if self.face.detector == NONE else "centre_crop off"
            raise UserError(
                f"mask_eyes needs {without}: only in an aligned face are the eyes at known places."
            )

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for a recipe, a card or a fingerprint."""
        return {**asdict(self), "face": self.face.to_dict()}


@dataclass(frozen=True, eq=False)
class ClipPair:
    """The views of one clip; images are uint8 (image_size, image_size, 3).

    Attributes: `onset_frame` and `magnified`, RGB; `flow_image`, u, v and strain, its level 255 at
    `flow_scale_px`; `apex`, a frame number; `apex_source`, "annotated" or "spotted"; `alignment`,
    "cropped already", "given", the name of the detector that found the face, or "centre crop";
    `energies_px`, frame number → motion energy, where the apex was spotted.
    """

    onset_frame: np.ndarray
    magnified: np.ndarray
    flow_image: np.ndarray
    flow_scale_px: float
    apex: int
    apex_source: str
    alignment: str
    energies_px: dict[int, float] = field(default_factory=dict)


def make_pair(
    frames: Frames,
    onset: int,
    apex: int | None,
    offset: int,
    settings: PairSettings | None = None,
    given: Face | None = None,
) -> ClipPair:
    """Read onset and apex of a clip and make its pair; where apex is None it is spotted.

    Only the onset and the apex are read, or, to spot it, every frame there is in (onset, offset].
    The face is looked for in the onset frame; all frames are then aligned alike.

    Args: frame numbers as annotated; `given`, the clip's face, for the detector "given".
    Raises UserError for an apex outside (onset, offset] and a given face outside the frame,
    FaceError where no face is found, and FrameError for a frame that is missing, unreadable, flat
    or of another size than the onset, or for no frame to spot in.
    """
    settings = settings or PairSettings()
    _check_order(onset, apex, offset)
    first = frames.read(onset)
    transform, alignment = find_alignment(first, frames.path(onset), settings.face, given)

    def square(number: int, frame: np.ndarray) -> np.ndarray:
        return _square(frame, frames.path(number), settings.image_size, transform, first.shape)

    onset_frame = square(onset, first)
    source, energies_px = "annotated", {}
    if apex is None:
        source = "spotted"
        apex, energies_px = _spot(frames, onset, onset_frame, offset, square, settings)
    pair = motion_pair(
        onset_frame,
        square(apex, frames.read(apex)),
        settings.motion,
        flow_estimator=estimator(settings.estimator),
        magnifier=magnifier(settings.magnifier),
    )
    return ClipPair(onset_frame, *pair, apex, source, alignment, energies_px)


def _spot(
    frames: Frames,
    onset: int,
    onset_frame: np.ndarray,
    offset: int,
    square: Callable[[int, np.ndarray], np.ndarray],
    settings: PairSettings,
) -> tuple[int, dict[int, float]]:
    """Number of the frame in (onset, offset] that moved most, and the energy of each in px.

    Gaps in the numbering are fine.
    """
    candidates = [number for number in frames.numbers if onset < number <= offset]
    if not candidates:
        where = frames.path(onset).parent
        raise FrameError(f"no frame in (onset, offset] = ({onset}, {offset}] in {where}.")
    images = (square(number, frames.read(number)) for number in candidates)
    energies_px = energy_curve(onset_frame, images, estimator(settings.estimator))
    apex = candidates[spot_in_curve(energies_px)]
    return apex, dict(zip(candidates, energies_px.tolist()))


def _square(
    frame: np.ndarray,
    path: Path,
    size: int,
    transform: np.ndarray | None,
    onset_shape: tuple[int, ...],
) -> np.ndarray:
    """A frame as (size, size, 3): aligned, or resized where there is no transform.

    Raises FrameError where it is flat, so that nothing can be tracked, or does not fit the onset.
    """
    if transform is None:
        frame = resize_frame(frame, size)
    elif frame.shape == onset_shape:
        frame = align(frame, transform, size)
    else:
        sizes = [f"{width}×{height}" for height, width, _ in (frame.shape, onset_shape)]
        rule = f"{path} is {sizes[0]} px, but the onset frame of its clip {sizes[1]} px"
        raise FrameError(
            f"{rule}: the face found there is elsewhere here. Give frames of one size."
        )
    if frame.mean(axis=-1).std() < LEAST_CONTRAST:
        raise FrameError(f"{path} is one flat colour, no motion can be seen in it.")
    return frame


def _check_order(onset: int, apex: int | None, offset: int) -> None:
    if offset <= onset:
        raise UserError(
            f"offset must come after onset {onset}, got {offset}. Check the annotation."
        )
    if apex is not None and not onset < apex <= offset:
        raise UserError(
            f"apex must lie in (onset, offset] = ({onset}, {offset}], got {apex}. "
            "Leave it empty (None) to have it spotted."
        )
