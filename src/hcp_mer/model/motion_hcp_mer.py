"""Onset and apex in, magnified apex and flow image out: the model's two views of a clip.

The paper takes its motion-magnified apex from MagNet and its flow from FlowNet (§3.2); both need
weights. These are the defaults that need none, made for motion far below a pixel: a refined
Lucas–Kanade flow and a Lagrangian magnification. The file travels with every checkpoint, so that
training and inference prepare a clip by the very same code, `motion_pair`.

Frames are RGB uint8, (H, W, 3). A flow is float32, (H, W, 2), its last axis (dx, dy) in px, x to
the right and y down, on the onset's grid: onset(x) = apex(x + u(x)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

import cv2
import numpy as np

from .frames_hcp_mer import check_flow, check_frame, check_frame_pair, pixel_grid
from .registration_hcp_mer import register, remove_head_motion

REFERENCE_WIDTH_PX = 224  # the settings' lengths are px at this width
SMALLEST_SIDE_PX = 32

# Lucas–Kanade and its refinement: the best of 30 variants on sub-pixel warps of a face.
PRE_BLUR_PX, WINDOW_SIGMA_PX = 0.8, 10.0
FULL_STEPS, INCREMENT_STEPS = 4, 2
RIDGE = 0.255  # (levels/px)²: keeps the 2 × 2 system solvable where there is no texture
FIRST_DERIVATIVE = np.array([[1, -8, 0, 8, -1]], np.float32) / 12  # both of fourth order
SECOND_DERIVATIVE = np.array([[-1, 16, -30, 16, -1]], np.float32) / 12
FACE_HALF_WIDTH, FACE_HALF_HEIGHT, FACE_EDGE = 0.33, 0.43, 0.05  # shares of the frame's sides
EYE_SHARES = ((0.36, 0.415), (0.64, 0.415))  # eye centres in an aligned face, image-left first
EYE_HALF_WIDTH, EYE_HALF_HEIGHT = 0.08, 0.04  # shares of the frame's sides
EYE_EDGE = 0.15  # share of these
WARP_STEPS = 20
ZERO_LEVEL = 128  # of u and v in a flow image: symmetric, since levels 1 and 255 are ∓ the scale
STRAIN_REACH_PX = 6.0  # strain times this length, at the reference width, is comparable with u


@dataclass(frozen=True)
class MotionSettings:
    """How a pair is made; lengths hold for a frame 224 px wide and scale with its width.

    Attributes: `alpha`, magnification factor of the apex, 1 for none; `max_displacement_px`, the
    most that magnification may add, the factor gives way to it; `flow_floor_px`, least scale of
    the flow image, so that noise is not stretched into motion; `register`, whether the apex is
    moved onto the onset before flow is measured; `mask_eyes`, whether movements at the eyes
    (EYE_SHARES; aligned faces only) count as blinks and are left out.
    Raises ValueError for alpha < 1, lengths that are not positive and switches that are no bool.
    """

    alpha: float = 8.0
    max_displacement_px: float = 10.0
    flow_floor_px: float = 0.25
    register: bool = False
    mask_eyes: bool = False

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)
        _check_positive("max_displacement_px", self.max_displacement_px)
        _check_positive("flow_floor_px", self.flow_floor_px)
        _check_switch("register", self.register)
        _check_switch("mask_eyes", self.mask_eyes)

    def to_dict(self) -> dict[str, float | bool]:
        """The settings as plain values, for a config file."""
        return asdict(self)


class MotionPair(NamedTuple):
    """The model's two views of a clip, each uint8 (H, W, 3), and the second one's scale."""

    magnified: np.ndarray  # the apex, RGB
    flow_image: np.ndarray  # u, v and strain, see flow_to_image
    flow_scale_px: float  # the displacement at level 255


FlowEstimator = Callable[[np.ndarray, np.ndarray], np.ndarray]
Magnifier = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]


def motion_pair(
    onset: np.ndarray,
    apex: np.ndarray,
    settings: MotionSettings | None = None,
    *,
    flow_estimator: FlowEstimator | None = None,
    magnifier: Magnifier | None = None,
) -> MotionPair:
    """The composition used in training and inference alike: flow, head motion out, both views.

    Where `register` finds no movement of the head, the apex is taken as it is.
    Args: onset and apex, uint8 RGB of one size; `flow_estimator(onset, apex)` and
    `magnifier(onset, apex, flow_px, alpha)` replace the defaults, for example by networks.
    Raises ValueError for frames that `estimate_flow` refuses.
    """
    settings = settings or MotionSettings()
    _check_trackable(onset, apex)
    height, width = onset.shape[:2]
    mask = face_mask(height, width)
    if settings.mask_eyes:
        mask = mask * (1 - eye_mask(height, width))
    apex, tracked = _prepare_apex(onset, apex, mask, settings)
    raw_flow_px = (flow_estimator or estimate_flow)(onset, tracked)
    flow_px = mask_flow(remove_head_motion(raw_flow_px, mask), mask)

    px = width / REFERENCE_WIDTH_PX
    alpha = limited_alpha(flow_px, settings.alpha, settings.max_displacement_px * px)
    magnifier = magnifier or (lambda _onset, *rest: magnify(*rest))
    magnified = magnifier(onset, apex, flow_px, alpha)
    return MotionPair(magnified, *flow_to_image(flow_px, settings.flow_floor_px * px))


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


def resize_frame(frame: np.ndarray, size: int) -> np.ndarray:
    """A frame of any aspect ratio as (size, size, 3) uint8; the aspect ratio is not kept.

    Averages areas where a side shrinks, else interpolates bicubically. Raises ValueError for
    anything but a uint8 RGB frame and a size of at least 1.
    """
    check_frame("frame", frame)
    if size < 1:
        raise ValueError(f"size must be at least 1 px, got {size}. Give the model's image size.")
    interpolation = cv2.INTER_AREA if size < max(frame.shape[:2]) else cv2.INTER_CUBIC
    return cv2.resize(frame, (size, size), interpolation=interpolation)


def estimate_flow(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
    """Raw flow from onset to apex, float32 (H, W, 2) in px; head motion is left in.

    Lucas & Kanade (1981) with a Gaussian window of σ = 10 px, all three colour channels and the
    mean of both frames' gradients, from zero; then two steps in increment form, which undo the
    window's smoothing; then OpenCV's variational refinement (after Brox et al. 2004). There is no
    pyramid: it is meant for movements of a few px at most, on frames about 224 px wide.

    Raises ValueError for frames that are not uint8 RGB, of one size and at least 32 px a side.
    """
    _check_trackable(onset, apex)
    onset_planes, apex_planes = _blurred_planes(onset), _blurred_planes(apex)
    templates = [(plane, *_derivatives(plane, FIRST_DERIVATIVE)) for plane in onset_planes]
    curvatures = [_derivatives(plane, SECOND_DERIVATIVE) for plane in apex_planes]
    targets = [cv2.merge([plane, *curved]) for plane, curved in zip(apex_planes, curvatures)]
    flow_px = np.zeros((2, *onset.shape[:2]), np.float32)  # (dx and dy, H, W)
    for step in range(FULL_STEPS + INCREMENT_STEPS):
        flow_px = _lucas_kanade_step(templates, targets, flow_px, increment=step >= FULL_STEPS)
    return _refine_variationally(onset_planes, apex_planes, cv2.merge(list(flow_px)))


def _blurred_planes(frame: np.ndarray) -> list[np.ndarray]:
    """R, G and B, each float32 (H, W), blurred a little: differences then are derivatives."""
    return list(cv2.split(cv2.GaussianBlur(frame.astype(np.float32), (0, 0), PRE_BLUR_PX)))


def _derivatives(plane: np.ndarray, stencil: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return cv2.filter2D(plane, -1, stencil), cv2.filter2D(plane, -1, stencil.T)


def _lucas_kanade_step(
    templates: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    targets: list[np.ndarray],
    flow_px: np.ndarray,
    increment: bool,
) -> np.ndarray:
    """One Gauss–Newton step, (2, H, W) to (2, H, W).

    The full form solves for the flow itself, so the window smooths it anew; the increment form
    solves for what `flow_px` lacks. Per channel, `templates` has the onset and its derivatives,
    `targets` the apex as `_sample` wants it.
    """
    # OpenCV 4 rounds remap's coordinates to 1/32 px; sampling there and reckoning with the rounded
    # displacement makes that harmless.
    sampled_px = np.round(flow_px * 32) / 32
    base_px = flow_px if increment else np.zeros_like(flow_px)
    offset_x, offset_y = sampled_px - base_px
    sums = np.zeros((5, *flow_px.shape[1:]), np.float32)
    for (template, template_x, template_y), target in zip(templates, targets):
        warped = _sample(target, sampled_px)
        warped_x, warped_y = _derivatives(warped, FIRST_DERIVATIVE)
        grad_x, grad_y = (template_x + warped_x) / 2, (template_y + warped_y) / 2
        residual = template - warped + grad_x * offset_x + grad_y * offset_y
        sums += (grad_x**2, grad_x * grad_y, grad_y**2, grad_x * residual, grad_y * residual)
    return base_px + _solve_in_window(sums)


def _sample(target: np.ndarray, flow_px: np.ndarray) -> np.ndarray:
    """apex(x + u), (H, W), of third order: bilinear minus ½·t(1 − t) times the second derivative.

    OpenCV's own bicubic kernel (a = −0.75) moves a small shift half as far again, which would cost
    half of the accuracy. `target` stacks the apex and its second derivatives along x and y.
    """
    value, value_xx, value_yy = cv2.split(_read_at(target, *flow_px))
    fraction_px = flow_px - np.floor(flow_px)
    weight_x, weight_y = fraction_px * (1 - fraction_px) / 2
    return value - weight_x * value_xx - weight_y * value_yy


def _read_at(
    image: np.ndarray, dx_px: np.ndarray, dy_px: np.ndarray, interpolation: int = cv2.INTER_LINEAR
) -> np.ndarray:
    """image(x + d); beyond the border, the border's values."""
    columns, rows = pixel_grid(*dx_px.shape)
    columns, rows = columns + dx_px, rows + dy_px
    return cv2.remap(image, columns, rows, interpolation, borderMode=cv2.BORDER_REPLICATE)


def _solve_in_window(sums: np.ndarray) -> np.ndarray:
    """Sum the five products (5, H, W) in the window and solve per pixel: (2, H, W) in px.

    Done at half the size: next to this window that changes the flow by less than 0.1 % and saves
    most of the time. The halving's own variance, ¼ px², is taken off the window's.
    """
    height, width = sums.shape[1:]
    sigma_px = (WINDOW_SIGMA_PX**2 - 0.25) ** 0.5 / 2  # half-size px
    half = (width // 2, height // 2)
    halves = [cv2.resize(plane, half, interpolation=cv2.INTER_AREA) for plane in sums]
    xx, xy, yy, xr, yr = (cv2.GaussianBlur(plane, (0, 0), sigma_px) for plane in halves)
    xx, yy = xx + RIDGE, yy + RIDGE
    determinant = xx * yy - xy * xy
    steps_px = (yy * xr - xy * yr) / determinant, (xx * yr - xy * xr) / determinant
    return np.stack([cv2.resize(step_px, (width, height)) for step_px in steps_px])


def _refine_variationally(
    onset_planes: list[np.ndarray], apex_planes: list[np.ndarray], flow_px: np.ndarray
) -> np.ndarray:
    """OpenCV's variational refinement of flow_px (H, W, 2), on the blurred frames in grey."""
    refinement = cv2.VariationalRefinement_create()
    refinement.setAlpha(80.0)
    refinement.setDelta(5.0)
    refinement.setGamma(10.0)
    refinement.setFixedPointIterations(10)
    refinement.setSorIterations(5)
    onset_grey = cv2.cvtColor(cv2.merge(onset_planes), cv2.COLOR_RGB2GRAY)
    apex_grey = cv2.cvtColor(cv2.merge(apex_planes), cv2.COLOR_RGB2GRAY)
    return refinement.calc(onset_grey, apex_grey, flow_px)


def face_mask(height: int, width: int) -> np.ndarray:
    """Soft ellipse in the middle of an aligned face crop, float32 (H, W) in [0, 1].

    The ½ contour has semi-axes of 0.33 widths and 0.43 heights. Beside the face the background is
    often flat, and flow there is noise.
    """
    columns, rows = pixel_grid(height, width)
    across = ((columns + 0.5) / width - 0.5) / FACE_HALF_WIDTH
    down = ((rows + 0.5) / height - 0.5) / FACE_HALF_HEIGHT
    beyond = (np.hypot(across, down) - 1) / FACE_EDGE
    return 1 / (1 + np.exp(np.clip(beyond, -30, 30)))


def eye_mask(height: int, width: int) -> np.ndarray:
    """Two soft ellipses over the eyes of an aligned face, float32 (H, W) in [0, 1].

    Their ½ contours have semi-axes of 0.08 widths and 0.04 heights. The procedural faces' eyes
    reach 0.073 to the sides and 0.032 up at most; over the eye their brows begin 0.051 above its
    centre (median; 0.032 for the lowest 5 %), and what moves a brow lies 0.08 above it.
    """
    columns, rows = pixel_grid(height, width)
    mask = np.zeros((height, width), np.float32)
    for share_x, share_y in EYE_SHARES:
        across = ((columns + 0.5) / width - share_x) / EYE_HALF_WIDTH
        down = ((rows + 0.5) / height - share_y) / EYE_HALF_HEIGHT
        beyond = (np.hypot(across, down) - 1) / EYE_EDGE
        mask = np.maximum(mask, 1 / (1 + np.exp(np.clip(beyond, -30, 30))))
    return mask


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


def magnify(apex: np.ndarray, flow_px: np.ndarray, alpha: float) -> np.ndarray:
    """The apex as if the motion since the onset were `alpha` times as large, uint8 (H, W, 3).

    Lagrangian: the magnified frame is onset(y − W(y)) with W(y) = α·u(y − W(y)), found by fixed
    point. It is read from the apex, where the same spot of skin lies at y − W(y)·(α − 1)/α, so
    that α = 1 returns the apex unchanged. The warp folds where α·|∇u| reaches 1: `limited_alpha`.

    Raises ValueError for alpha < 1 and for shapes that do not fit.
    """
    check_frame("apex", apex)
    check_flow(flow_px, apex[..., 0])
    _check_alpha(alpha)
    scaled_px = (alpha * flow_px).astype(np.float32)
    warp_px = scaled_px
    for _ in range(WARP_STEPS):
        before_px, warp_px = warp_px, _read_at(scaled_px, -warp_px[..., 0], -warp_px[..., 1])
        if np.abs(warp_px - before_px).max() < 0.01:  # remap resolves 1/32 px
            break
    added_px = warp_px * np.float32((alpha - 1) / alpha)
    return _read_at(apex, -added_px[..., 0], -added_px[..., 1], cv2.INTER_LANCZOS4)


def limited_alpha(flow_px: np.ndarray, alpha: float, max_displacement_px: float) -> float:
    """The factor up to `alpha` at which (α − 1)·max|u| is within the limit; never below 1.

    Raises ValueError for alpha < 1 or a limit that is not positive.
    """
    check_flow(flow_px)
    _check_alpha(alpha)
    _check_positive("max_displacement_px", max_displacement_px)
    largest_px = float(np.hypot(flow_px[..., 0], flow_px[..., 1]).max())
    if (alpha - 1) * largest_px <= max_displacement_px:
        return float(alpha)
    return 1 + max_displacement_px / largest_px


def flow_to_image(flow_px: np.ndarray, floor_px: float) -> tuple[np.ndarray, float]:
    """Flow as an image, u, v and optical strain, uint8 (H, W, 3), and its scale in px.

    The scale is the 99th percentile of |u|, at least `floor_px`. In u and v level 128 is 0 px,
    levels 1 and 255 are ∓ the scale and what lies beyond it; level 0 is unused. Strain starts at
    level 0 and reaches 255 where strain times 6 px (at width 224) equals the scale.

    Raises ValueError for a flow that is not (H, W, 2) and finite, or a floor that is not positive.
    """
    check_flow(flow_px)
    _check_positive("floor_px", floor_px)
    u_px, v_px = (np.ascontiguousarray(flow_px[..., axis], np.float32) for axis in (0, 1))
    scale_px = max(float(np.percentile(np.hypot(u_px, v_px), 99)), float(floor_px))
    reach_px = STRAIN_REACH_PX * flow_px.shape[1] / REFERENCE_WIDTH_PX
    shares = np.stack([u_px, v_px, _strain(u_px, v_px) * reach_px], axis=-1) / scale_px
    levels = np.clip(shares, -1, 1) * (127, 127, 255) + (ZERO_LEVEL, ZERO_LEVEL, 0)
    return np.rint(levels).astype(np.uint8), scale_px


def _strain(u_px: np.ndarray, v_px: np.ndarray) -> np.ndarray:
    """Optical strain √(u_x² + v_y² + ½(u_y + v_x)²), (H, W), Shreve et al. (2011)."""
    u_x, v_x = (cv2.Sobel(field, cv2.CV_32F, 1, 0, scale=1 / 8) for field in (u_px, v_px))
    u_y, v_y = (cv2.Sobel(field, cv2.CV_32F, 0, 1, scale=1 / 8) for field in (u_px, v_px))
    return np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)


def flip_flow_image(image: np.ndarray) -> np.ndarray:
    """The flow image of the mirrored face: mirrored left to right, u negated (level k → 256 − k).

    Exact and its own inverse on images of `flow_to_image`; a foreign image's level 0 saturates
    at 255. Raises ValueError for anything but uint8 (H, W, 3).
    """
    check_frame("image", image)
    mirrored = image[:, ::-1].copy()
    mirrored[..., 0] = np.minimum(2 * ZERO_LEVEL - mirrored[..., 0].astype(np.int16), 255)
    return mirrored


def _check_trackable(onset: np.ndarray, apex: np.ndarray) -> None:
    check_frame_pair(onset, apex)
    if min(onset.shape[:2]) < SMALLEST_SIDE_PX:
        rule = f"frames must be at least {SMALLEST_SIDE_PX} px a side, got {onset.shape[:2]}."
        raise ValueError(f"{rule} Take them before they were shrunk.")


def _check_alpha(alpha: float) -> None:
    if not 1 <= alpha < float("inf"):
        raise ValueError(f"alpha must be at least 1, which changes nothing, got {alpha}.")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be more than 0 px, got {value}.")


def _check_switch(name: str, value: bool) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, got {value!r}.")
