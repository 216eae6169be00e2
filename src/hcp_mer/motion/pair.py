"""The one composition from a clip to the model's pair of views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.frames_hcp_mer import SMALLEST_SIDE_PX, resize_frame
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pairs
from hcp_mer.motion.alignment import align
from hcp_mer.motion.apex import energy_curve, spot_in_curve
from hcp_mer.motion.face import NONE, Face, FaceSettings, find_alignment
from hcp_mer.motion.flow import DEFAULT_ESTIMATOR, ESTIMATORS, Estimator, estimator
from hcp_mer.motion.frames import FrameError, Frames
from hcp_mer.motion.magnify import DEFAULT_MAGNIFIER, MAGNIFIERS, Magnifier, magnifier
from hcp_mer.motion.methods import check_choice, weights_record

LEAST_CONTRAST = 1.0  # grey levels, standard deviation: below it a frame shows nothing


@dataclass(frozen=True)
class PairSettings:
    """How pairs are prepared.

    Attributes: `image_size`, side of the square that frames are brought to, in px; `motion`, see
    MotionSettings; `estimator` and `magnifier`, names in ESTIMATORS and MAGNIFIERS, with the
    weights that networks need; `face`, how the face is found in a larger frame, see FaceSettings.
    Only the default estimator and magnifier travel with a checkpoint: other pairs are to be given
    to it ready-made.
    Raises UserError for a size below 32 px, unknown names, weights that are missing or not wanted,
    and masked eyes in frames where nobody says where the eyes are.
    """

    image_size: int = 224
    motion: MotionSettings = field(default_factory=MotionSettings)
    estimator: str = DEFAULT_ESTIMATOR
    magnifier: str = DEFAULT_MAGNIFIER
    estimator_weights: str | None = None
    magnifier_weights: str | None = None
    face: FaceSettings = field(default_factory=FaceSettings)

    def __post_init__(self) -> None:
        if self.image_size < SMALLEST_SIDE_PX:
            rule = f"image_size must be at least {SMALLEST_SIDE_PX} px, got {self.image_size}."
            raise UserError(f"{rule} 224 is the default.")
        check_choice("flow estimator", ESTIMATORS, self.estimator, self.estimator_weights)
        check_choice("magnifier", MAGNIFIERS, self.magnifier, self.magnifier_weights)
        if self.motion.mask_eyes and (self.face.detector == NONE or self.face.centre_crop):
            without = "a face detector" if self.face.detector == NONE else "centre_crop off"
            raise UserError(
                f"mask_eyes needs {without}: only in an aligned face are the eyes at known places."
            )

    def methods(self) -> tuple[Estimator, Magnifier]:
        """Loaded once in every process; networks, on the GPU where there is one.

        Raises UserError for weights that are not such a network's.
        """
        return (
            estimator(self.estimator, self.estimator_weights),
            magnifier(self.magnifier, self.magnifier_weights),
        )

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain values, for a recipe, a card or a fingerprint.

        Of a network its variant, and its file's name and hash, not its path.
        """
        estimator, magnifier = self.methods()
        return {
            **asdict(self),
            "estimator_weights": weights_record(self.estimator_weights, estimator.variant),
            "magnifier_weights": weights_record(self.magnifier_weights, magnifier.variant),
            "face": self.face.to_dict(),
        }


@dataclass(frozen=True, eq=False)
class KeyFrames:
    """What motion is measured on; images are uint8 RGB (image_size, image_size, 3).

    Attributes: `onset_frame` and `apex_frame`, aligned; `apex`, a frame number; `apex_source`,
    "annotated" or "spotted"; `alignment`, "cropped already", "given", the name of the detector
    that found the face, or "centre crop"; `energies_px`, frame number → motion energy, where the
    apex was spotted.
    """

    onset_frame: np.ndarray
    apex_frame: np.ndarray
    apex: int
    apex_source: str
    alignment: str
    energies_px: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ClipPair:
    """The views of one clip; images are uint8 (image_size, image_size, 3).

    Attributes: `magnified`, RGB; `flow_image`, see `flow_to_image`, its scale `flow_scale_px`; and
    as in KeyFrames.
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
    """`read_key_frames` and `make_pairs` of one clip, with the same arguments and errors."""
    settings = settings or PairSettings()
    return make_pairs([read_key_frames(frames, onset, apex, offset, settings, given)], settings)[0]


def make_pairs(clips: Sequence[KeyFrames], settings: PairSettings) -> list[ClipPair]:
    """The pair of each clip; networks are given all of them at once."""
    estimator, magnifier = settings.methods()
    pairs = motion_pairs(
        [clip.onset_frame for clip in clips],
        [clip.apex_frame for clip in clips],
        settings.motion,
        flow_estimator=estimator.many,
        magnifier=magnifier.many,
    )
    return [
        ClipPair(
            clip.onset_frame,
            *pair,
            clip.apex,
            clip.apex_source,
            clip.alignment,
            clip.energies_px,
        )
        for clip, pair in zip(clips, pairs, strict=True)
    ]


def read_key_frames(
    frames: Frames,
    onset: int,
    apex: int | None,
    offset: int,
    settings: PairSettings,
    given: Face | None = None,
) -> KeyFrames:
    """Read onset and apex of a clip, aligned; where apex is None it is spotted.

    Only the onset and the apex are read, or, to spot it, every frame there is in (onset, offset].
    The face is looked for in the onset frame; all frames are then aligned alike.

    Args: frame numbers as annotated; `given`, the clip's face, for the detector "given".
    Raises UserError for an apex outside (onset, offset] and a given face outside the frame,
    FaceError where no face is found, and FrameError for a frame that is missing, unreadable, flat
    or of another size than the onset, or for no frame to spot in.
    """
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
    apex_frame = square(apex, frames.read(apex))
    return KeyFrames(onset_frame, apex_frame, apex, source, alignment, energies_px)


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
    energies_px = energy_curve(onset_frame, images, settings.methods()[0])
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
