"""The default magnification: Lagrangian, the apex warped along the flow; no weights."""

from __future__ import annotations

import cv2
import numpy as np

from .frames_hcp_mer import check_alpha, check_flow, check_frame, check_positive, read_at

WARP_STEPS = 20


def magnify(apex: np.ndarray, flow_px: np.ndarray, alpha: float) -> np.ndarray:
    """The apex as if the motion since the onset were `alpha` times as large, uint8 (H, W, 3).

    Lagrangian: the magnified frame is onset(y − W(y)) with W(y) = α·u(y − W(y)), found by fixed
    point. It is read from the apex, where the same spot of skin lies at y − W(y)·(α − 1)/α, so
    that α = 1 returns the apex unchanged. The warp folds where α·|∇u| reaches 1: `limited_alpha`.

    Raises ValueError for alpha < 1 and for shapes that do not fit.
    """
    check_frame("apex", apex)
    check_flow(flow_px, apex[..., 0])
    check_alpha(alpha)
    scaled_px = (alpha * flow_px).astype(np.float32)
    warp_px = scaled_px
    for _ in range(WARP_STEPS):
        before_px, warp_px = warp_px, read_at(scaled_px, -warp_px[..., 0], -warp_px[..., 1])
        if np.abs(warp_px - before_px).max() < 0.01:  # remap resolves 1/32 px
            break
    added_px = warp_px * np.float32((alpha - 1) / alpha)
    return read_at(apex, -added_px[..., 0], -added_px[..., 1], cv2.INTER_LANCZOS4)


def limited_alpha(flow_px: np.ndarray, alpha: float, max_displacement_px: float) -> float:
    """The factor up to `alpha` at which (α − 1)·max|u| is within the limit; never below 1.

    Raises ValueError for alpha < 1 or a limit that is not positive.
    """
    check_flow(flow_px)
    check_alpha(alpha)
    check_positive("max_displacement_px", max_displacement_px)
    largest_px = float(np.hypot(flow_px[..., 0], flow_px[..., 1]).max())
    if (alpha - 1) * largest_px <= max_displacement_px:
        return float(alpha)
    return 1 + max_displacement_px / largest_px
