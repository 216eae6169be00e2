"""Onset and apex in, magnified apex and flow image out: the model's two views of a clip.

The paper takes its motion-magnified apex from MagNet and its flow from FlowNet (§3.2); both need
weights. These are the defaults that need none, made for motion far below a pixel: a regularised
Lucas–Kanade flow and a Lagrangian magnification. The file travels with every checkpoint, so that
training and inference prepare a clip by the very same code, `motion_pair`.

Frames are RGB uint8, (H, W, 3). A flow is float32, (H, W, 2), its last axis (dx, dy) in px, x to
the right and y down, on the onset's grid: onset(x) = apex(x + u(x)).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import cv2
import numpy as np

from .face_regions_hcp_mer import eye_mask, face_mask
from .flow_hcp_mer import estimate_flow
from .flow_image_hcp_mer import check_encoding, flow_to_image
from .frames_hcp_mer import (
    REFERENCE_WIDTH_PX,
    check_alpha,
    check_flow,
    check_positive,
    check_trackable,
)
from .magnification_hcp_mer import limited_alpha, magnify
from .registration_hcp_mer import register, remove_head_motion


@dataclass(frozen=True)
class MotionSettings:
    """How a pair is made; lengths hold for a frame 224 px wide and scale with its width.

    Attributes: `alpha`, magnification factor of the apex, 1 for none; `max_displacement_px`, the
    most that magnification may add, the factor gives way to it; `flow_floor_px`, least scale of
    the flow image, so that noise is not stretched into motion; `register`, whether the apex is
    moved onto the onset before flow is measured; `mask_eyes`, whether movements at the eyes
    (EYE_SHARES; aligned faces only) count as blinks and are left out; `flow_encoding`, see
    `flow_to_image`; `flow_scale_px`, one scale for all flow images in place of each clip's own.
    Raises ValueError for alpha < 1, lengths that are not positive, switches that are no bool and
    an unknown encoding.
    """

    alpha: float = 8.0
    max_displacement_px: float = 10.0
    flow_floor_px: float = 0.25
    register: bool = False
    mask_eyes: bool = False
    flow_encoding: str = "uv_strain"
    flow_scale_px: float | None = None

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_positive("max_displacement_px", self.max_displacement_px)
        check_positive("flow_floor_px", self.flow_floor_px)
        _check_switch("register", self.register)
        _check_switch("mask_eyes", self.mask_eyes)
        check_encoding(self.flow_encoding)
        if self.flow_scale_px is not None:
            check_positive("flow_scale_px", self.flow_scale_px)

    def to_dict(self) -> dict[str, float | bool | str | None]:
        """The settings as plain values, for a config file."""
        return asdict(self)


class MotionPair(NamedTuple):
    """The model's two views of a clip, each uint8 (H, W, 3), and the second one's scale."""

    magnified: np.ndarray  # the apex, RGB
    flow_image: np.ndarray  # see flow_to_image
    flow_scale_px: float  # the displacement at level 255


Frames = Sequence[np.ndarray]
FlowEstimator = Callable[[Frames, Frames], Sequence[np.ndarray]]
Magnifier = Callable[[Frames, Frames, Sequence[np.ndarray], Sequence[float]], Frames]


def motion_pair(
    onset: np.ndarray, apex: np.ndarray, settings: MotionSettings | None = None
) -> MotionPair:
    """`motion_pairs` of one clip by the defaults: what inference does with a raw clip."""
    return motion_pairs([onset], [apex], settings)[0]


def motion_pairs(
    onsets: Frames,
    apexes: Frames,
    settings: MotionSettings | None = None,
    *,
    flow_estimator: FlowEstimator | None = None,
    magnifier: Magnifier | None = None,
) -> list[MotionPair]:
    """The composition used in training and inference alike: flow, head motion out, both views.

    Where `register` finds no movement of the head, the apex is taken as it is.
    Args: onset and apex of each clip, uint8 RGB of one size; `flow_estimator(onsets, apexes)` and
    `magnifier(onsets, apexes, flows_px, alphas)` replace the defaults, for example by networks,
    which are faster on many at once.
    Raises ValueError for frames that `estimate_flow` refuses.
    """
    settings = settings or MotionSettings()
    for onset, apex in zip(onsets, apexes, strict=True):
        check_trackable(onset, apex)
    masks = [_counted(onset, settings) for onset in onsets]
    prepared = [_prepare_apex(*clip, settings) for clip in zip(onsets, apexes, masks, strict=True)]
    apexes, tracked = [apex for apex, _ in prepared], [tracked for _, tracked in prepared]
    flows_px = [
        mask_flow(remove_head_motion(raw_px, mask), mask)
        for raw_px, mask in zip((flow_estimator or _flows)(onsets, tracked), masks, strict=True)
    ]
    alphas = [_alpha(flow_px, settings) for flow_px in flows_px]
    magnified = (magnifier or _magnified)(onsets, apexes, flows_px, alphas)
    return [
        MotionPair(view, *_flow_image(flow_px, settings))
        for view, flow_px in zip(magnified, flows_px, strict=True)
    ]


def _flows(onsets: Frames, apexes: Frames) -> list[np.ndarray]:
    return [estimate_flow(*clip) for clip in zip(onsets, apexes, strict=True)]


def _magnified(
    onsets: Frames, apexes: Frames, flows_px: Sequence[np.ndarray], alphas: Sequence[float]
) -> list[np.ndarray]:
    return [magnify(*clip) for clip in zip(apexes, flows_px, alphas, strict=True)]


def _counted(onset: np.ndarray, settings: MotionSettings) -> np.ndarray:
    """(H, W), 1 where movements count: on the face, and not at the eyes if these are masked."""
    height, width = onset.shape[:2]
    mask = face_mask(height, width)
    return mask * (1 - eye_mask(height, width)) if settings.mask_eyes else mask


def _alpha(flow_px: np.ndarray, settings: MotionSettings) -> float:
    px = flow_px.shape[1] / REFERENCE_WIDTH_PX
    return limited_alpha(flow_px, settings.alpha, settings.max_displacement_px * px)


def _flow_image(flow_px: np.ndarray, settings: MotionSettings) -> tuple[np.ndarray, float]:
    px = flow_px.shape[1] / REFERENCE_WIDTH_PX
    scale_px = None if settings.flow_scale_px is None else settings.flow_scale_px * px
    return flow_to_image(flow_px, settings.flow_floor_px * px, settings.flow_encoding, scale_px)


def _prepare_apex(
    onset: np.ndarray, apex: np.ndarray, mask: np.ndarray, settings: MotionSettings
) -> tuple[np.ndarray, np.ndarray]:
    """The apex to magnify and the apex to measure flow on, which differ in masked eyes only."""
    if not (settings.register or settings.mask_eyes):
        return apex, apex
    registered, affine, _ = register(onset, apex, mask)
    if settings.register:
        apex, affine = registered, np.eye(2, 3)
    return apex, _with_eyes_of(onset, apex, affine) if settings.mask_eyes else apex


def _with_eyes_of(onset: np.ndarray, apex: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The apex with the onset's eyes laid over its own, moved there by the affine (2, 3).

    To leave flow out afterwards is not enough: flow is measured in windows, and a blink spreads to
    the brows. What does not differ does not move.
    """
    height, width = onset.shape[:2]
    onset_there = cv2.warpAffine(
        onset, affine, (width, height), flags=cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REPLICATE
    )
    eyes_there = cv2.warpAffine(eye_mask(height, width), affine, (width, height))[..., None]
    return np.rint(apex + eyes_there * (onset_there.astype(np.float32) - apex)).astype(np.uint8)


def mask_flow(flow_px: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The flow (H, W, 2) times the mask (H, W). Raises ValueError where they do not fit."""
    check_flow(flow_px, mask)
    return (flow_px * mask[..., None]).astype(np.float32)


def _check_switch(name: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}.")
