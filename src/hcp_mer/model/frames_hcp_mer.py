"""What a frame and a flow are: the checks that all steps of motion share, and pixels' places."""

from __future__ import annotations

import numpy as np


def pixel_grid(height: int, width: int) -> list[np.ndarray]:
    """Column and row of every pixel, each float32 (height, width)."""
    return np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))


def check_frame(name: str, frame: np.ndarray) -> None:
    """Raises ValueError for anything but uint8 (H, W, 3); the message begins with `name`."""
    dtype = getattr(frame, "dtype", type(frame).__name__)
    if dtype != np.uint8:
        raise ValueError(f"{name} must be a uint8 array, got {dtype}. Give levels 0 to 255.")
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.size == 0:
        rule = f"{name} must have shape (H, W, 3), got {frame.shape}."
        raise ValueError(f"{rule} Give RGB; stack a grey frame three times.")


def check_frame_pair(onset: np.ndarray, apex: np.ndarray) -> None:
    """Raises ValueError for anything but two uint8 (H, W, 3) of one size."""
    check_frame("onset", onset)
    check_frame("apex", apex)
    if onset.shape != apex.shape:
        sizes = f"{onset.shape[:2]} and {apex.shape[:2]}"
        raise ValueError(f"onset and apex must have one size, got {sizes}. Resize both alike.")


def check_flow(flow_px: np.ndarray, companion: np.ndarray | None = None) -> None:
    """Refuse what is no flow, or has another size than `companion`, a mask or an image plane.

    Raises ValueError; so it does where the flow (H, W, 2) is not finite.
    """
    shape = np.shape(flow_px)
    if len(shape) != 3 or shape[2] != 2:
        raise ValueError(f"flow_px must have shape (H, W, 2), got {shape}. Put (dx, dy) last.")
    if companion is not None and companion.shape != shape[:2]:
        sizes = f"{shape[:2]} and {companion.shape}"
        raise ValueError(f"flow_px and the frame or mask with it must have one size, got {sizes}.")
    if not np.isfinite(flow_px).all():
        raise ValueError("flow_px must be finite, got NaN or infinity. Mend the flow estimator.")
