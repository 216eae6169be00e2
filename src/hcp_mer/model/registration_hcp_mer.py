"""The head's own movement between onset and apex: undone in the frame, taken out of the flow.

An expression moves parts of a face, the head moves all of it. Both steps fit one affine movement
to the whole face so robustly that the parts are outliers and stay: `register` on the pixels,
before flow is measured, for heads that move by pixels; `remove_head_motion` on the flow, for the
rest, which is smaller than pixels can tell.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from .frames_hcp_mer import check_flow, check_frame_pair, pixel_grid

WIDTHS_PX = (28, 56, 112)  # coarse to fine; twice as fine cost four times the time, gained nothing
PRE_BLUR_PX = 0.8
MOST_STEPS, SETTLED_PX, UNSETTLED_PX = 10, 0.01, 0.1  # per width; size of the last step
OUTLIER_SPREADS = 1.5  # residuals beyond it, times their median, hardly count
LEAST_TEXTURE = 0.5  # (levels/px)², mean squared gradient: below it there is nothing to hold on to
LEAST_LIKENESS = 0.5  # correlation once registered; a face under strong noise has 0.98, noise 0
MOST_MOTION = 0.2  # share of the frame's width that a corner of it may move
ALONG_X = np.array([[1, -8, 0, 8, -1]], np.float32) / 12  # of fourth order
DERIVATIVES = (ALONG_X, ALONG_X.T)
HEAD_MOTION_STEPS = 30


class Registration(NamedTuple):
    """The apex on the onset's grid and in its light, and how it came there.

    Attributes: `apex`, uint8 (H, W, 3); `affine`, float64 (2, 3), so that what is at (x, y) in the
    onset was at affine · (x, y, 1) in the apex; `found`, False where no movement could be made
    out: the apex then is as it was, the affine the identity.
    """

    apex: np.ndarray
    affine: np.ndarray
    found: bool


def register(onset: np.ndarray, apex: np.ndarray, mask: np.ndarray) -> Registration:
    """Move the apex onto the onset by the affine movement of the face as a whole.

    Gauss–Newton on the pixels inside the mask, all three colours, from coarse to fine, with a gain
    and an offset for the exposure and Geman–McClure weights, see `_fit_step`. Both are applied,
    too: where brightness has a slope, a face that is 1 % brighter seems to move.
    The apex is read once, with Lanczos weights, and rounded once; that OpenCV rounds the places to
    1/32 px changes the measured flow by less than 0.001 px.

    Args: frames uint8 RGB of one size; `mask` (H, W) in [0, 1], the face. Flat frames, different
    pictures and heads that turn away are no error: see `found`.
    Raises ValueError for frames that are no such arrays and a mask of another size.
    """
    check_frame_pair(onset, apex)
    height, width = onset.shape[:2]
    if mask.shape != (height, width):
        raise ValueError(f"mask must have the frames' size {(height, width)}, got {mask.shape}.")
    affine, light, found = np.eye(3), (1.0, 0.0), False
    for level_px in sorted({min(level_px, width) for level_px in WIDTHS_PX}):
        size = (level_px, max(1, round(height * level_px / width)))
        frames = [_shrunk(frame, size) for frame in (onset, apex)]
        inside = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.5
        shrink = _shrinking(size[0] / width, size[1] / height)
        start = shrink @ affine @ np.linalg.inv(shrink)
        there, light, settled = _fit_pixels(*frames, inside, start)
        fitted = np.linalg.inv(shrink) @ there @ shrink
        found = settled and _is_plausible(fitted, mask)
        affine = fitted if found else affine
    if not found:
        return Registration(apex.copy(), np.eye(2, 3), False)
    gain, offset = light
    moved = gain * _read_through(apex.astype(np.float32), affine) + offset
    return Registration(np.clip(np.rint(moved), 0, 255).astype(np.uint8), affine[:2], True)


def _shrunk(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The frame at (width, height) `size`, float32, blurred a little as for flow."""
    smaller = cv2.resize(frame, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    return cv2.GaussianBlur(smaller, (0, 0), PRE_BLUR_PX)


def _shrinking(across: float, down: float) -> np.ndarray:
    """(3, 3): a place in a frame → the same place in the shrunk frame; pixels' centres count."""
    return np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])


def _read_through(frame: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """frame(affine · x) for every pixel x; beyond the border, the border's values."""
    flags = cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP
    size = frame.shape[1::-1]
    return cv2.warpAffine(frame, affine[:2], size, flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _fit_pixels(
    onset: np.ndarray, apex: np.ndarray, inside: np.ndarray, affine: np.ndarray
) -> tuple[np.ndarray, tuple[float, float], bool]:
    """Improve an affine (3, 3) step by step, and say whether that came to a good end.

    Args: float32 (h, w, 3) frames; `inside`, bool (h, w).
    Returns: the affine; gain and offset that bring the apex to the onset's light; the good end.
    """
    height, width = inside.shape
    centring = np.array([[1 / width, 0, -0.5], [0, 1 / width, -height / width / 2], [0, 0, 1]])
    columns, rows = pixel_grid(height, width)
    places = np.stack([columns, rows, np.ones_like(columns)], axis=-1)[inside]
    basis = (places @ centring.T).astype(np.float32)  # (n, 3): x and y about ±½, and 1
    weight, light, step_px = np.ones(len(basis), np.float32), (1.0, 0.0), np.inf
    for step in range(MOST_STEPS):
        moved = _read_through(apex, affine)
        mean = (onset + moved) / 2
        gradients = [cv2.filter2D(mean, -1, kernel)[inside] for kernel in DERIVATIVES]  # (n, 3)
        if not len(basis) or np.mean(np.square(gradients)) < LEAST_TEXTURE:
            return affine, light, False
        motion_px, light, weight = _fit_step(basis, gradients, onset[inside], moved[inside], weight)
        affine = affine @ (np.eye(3) + np.vstack([motion_px.T @ centring, np.zeros(3)]))
        step_px = np.abs(motion_px).max()
        if step >= 2 and step_px < SETTLED_PX:  # the weights, too, take a few steps
            break
    settled = step_px < UNSETTLED_PX and _likeness(onset[inside], moved[inside]) > LEAST_LIKENESS
    return affine, light, bool(settled)


def _fit_step(
    basis: np.ndarray,
    gradients: list[np.ndarray],
    onset: np.ndarray,
    moved: np.ndarray,
    weight: np.ndarray,
) -> tuple[np.ndarray, tuple[float, float], np.ndarray]:
    """One weighted least-squares step, and the weights (n,) that its residuals suggest.

    Args: of n pixels, `basis` (n, 3), gradients along x and y and colours (n, 3) each.
    Returns: coefficients (3, 2) in px on the basis, of what the apex has still to move; gain and
    offset of its light; the weights.
    """
    slopes = [gradient * place[:, None] for gradient in gradients for place in basis.T]
    columns = np.stack([*slopes, moved / 128, np.ones_like(moved)]).reshape(8, -1)  # gain, offset
    missing = (onset - moved).reshape(-1)
    weighted = columns * np.repeat(weight, 3)  # one weight per pixel, for its three colours
    products = (weighted @ columns.T).astype(np.float64)
    ridge = 1e-9 * np.trace(products) * np.eye(8)
    solved = np.linalg.solve(products + ridge, (weighted @ missing).astype(np.float64))
    unexplained = (missing - solved.astype(np.float32) @ columns).reshape(-1, 3)
    light = 1 + float(solved[6]) / 128, float(solved[7])
    weight = _geman_mcclure(np.linalg.norm(unexplained, axis=1), OUTLIER_SPREADS)
    return solved[:6].reshape(2, 3).T, light, weight


def _likeness(onset: np.ndarray, moved: np.ndarray) -> float:
    """Correlation of two frames' pixels, 0 where one of them is flat: steps settle on noise too."""
    one, other = (levels.ravel() - levels.mean() for levels in (onset, moved))
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other) + 1e-9))


def _geman_mcclure(residual: np.ndarray, spreads: float) -> np.ndarray:
    """Weights: near 1 for residuals below `spreads` times their median, near 0 far beyond it."""
    return 1 / (1 + (residual / (spreads * np.median(residual) + 1e-3)) ** 2) ** 2


def _is_plausible(affine: np.ndarray, mask: np.ndarray) -> bool:
    """Whether no corner of the frame moves by more than a head does from onset to apex."""
    height, width = mask.shape
    corners = np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    moved_px = np.abs((affine @ corners - corners)[:2])
    return bool(np.isfinite(affine).all() and moved_px.max() <= MOST_MOTION * width)


def remove_head_motion(flow_px: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The flow minus its robust affine part, float32 (H, W, 2).

    The affine part is fitted inside the mask (H, W) and subtracted everywhere. Raises ValueError
    for a wrong shape or an empty mask.
    """
    check_flow(flow_px, mask)
    height, width = flow_px.shape[:2]
    columns, rows = pixel_grid(height, width)
    basis = np.stack([columns / width - 0.5, rows / height - 0.5, np.ones_like(columns)], axis=-1)
    stride = max(1, width // 28)  # six parameters need no more than 28 × 28 points
    inside = np.zeros((height, width), bool)
    inside[::stride, ::stride] = mask[::stride, ::stride] > 0.5
    if np.count_nonzero(inside) < 3:
        raise ValueError("mask must cover a face, got one with (almost) nothing inside.")
    affine = _fit_robustly(basis[inside].astype(np.float64), flow_px[inside].astype(np.float64))
    return (flow_px - basis @ affine.astype(np.float32)).astype(np.float32)


def _fit_robustly(basis: np.ndarray, motion_px: np.ndarray) -> np.ndarray:
    """Coefficients (3, 2) of motion_px (n, 2) on basis (n, 3).

    Iteratively reweighted least squares with Geman–McClure weights: a local movement is an
    outlier to the head's, and so it stays in the flow.
    """
    weight = np.ones(len(basis))
    for _ in range(HEAD_MOTION_STEPS):
        weighted = basis * weight[:, None]
        affine = np.linalg.solve(basis.T @ weighted + 1e-9 * np.eye(3), weighted.T @ motion_px)
        weight = _geman_mcclure(np.linalg.norm(motion_px - basis @ affine, axis=1), spreads=1)
    return affine
