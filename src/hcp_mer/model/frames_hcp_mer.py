"""What frames and flows are: what all steps of motion share, checks, places and resizing."""

from __future__ import annotations

import cv2
import numpy as np

REFERENCE_WIDTH_PX = 224  # the settings' lengths are px at this width
SMALLEST_SIDE_PX = 32


def pixel_grid(height: int, width: int) -> list[np.ndarray]:
    """Column and row of every pixel, each float32 (height, width)."""
    return np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))


def read_at(
    image: np.ndarray, dx_px: np.ndarray, dy_px: np.ndarray, interpolation: int = cv2.INTER_LINEAR
) -> np.ndarray:
    """image(x + d); beyond the border, the border's values."""
    columns, rows = pixel_grid(*dx_px.shape)
    columns, rows = columns + dx_px, rows + dy_px
    return cv2.remap(image, columns, rows, interpolation, borderMode=cv2.BORDER_REPLICATE)


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


def check_trackable(onset: np.ndarray, apex: np.ndarray) -> None:
    check_frame_pair(onset, apex)
    if min(onset.shape[:2]) < SMALLEST_SIDE_PX:
        rule = f"frames must be at least {SMALLEST_SIDE_PX} px a side, got {onset.shape[:2]}."
        raise ValueError(f"{rule} Take them before they were shrunk.")


def check_alpha(alpha: float) -> None:
    if not 1 <= alpha < float("inf"):
        raise ValueError(f"alpha must be at least 1, which changes nothing, got {alpha}.")


def check_positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be more than 0 px, got {value}.")
