"""The flow to beat: Lucas–Kanade in a wide window, then OpenCV's variational refinement.

The best of 30 variants of what OpenCV and a page of code can do, and this package's default before
`estimate_flow`. It stays as the yardstick that the default is measured against.
"""

from __future__ import annotations

import cv2
import numpy as np

from hcp_mer.model.frames_hcp_mer import read_at

PRE_BLUR_PX, WINDOW_SIGMA_PX = 0.8, 10.0
FULL_STEPS, INCREMENT_STEPS = 4, 2
RIDGE = 0.255  # (levels/px)²: keeps the 2 × 2 system solvable where there is no texture
FIRST_DERIVATIVE = np.array([[1, -8, 0, 8, -1]], np.float32) / 12  # both of fourth order
SECOND_DERIVATIVE = np.array([[-1, 16, -30, 16, -1]], np.float32) / 12


def refined_lucas_kanade(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
    """Raw flow from onset to apex, float32 (H, W, 2) in px, of uint8 RGB frames.

    Lucas & Kanade (1981) with a Gaussian window of σ = 10 px, all three colour channels and the
    mean of both frames' gradients, from zero; then two steps in increment form, which undo the
    window's smoothing; then OpenCV's variational refinement (after Brox et al. 2004).
    """
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
    value, value_xx, value_yy = cv2.split(read_at(target, *flow_px))
    fraction_px = flow_px - np.floor(flow_px)
    weight_x, weight_y = fraction_px * (1 - fraction_px) / 2
    return value - weight_x * value_xx - weight_y * value_yy


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
