"""Where a face is in a camera's frame, and the aligned square that it is brought into.

In the aligned square the eyes' centres lie at EYE_SHARES, so that a place on the face is the same
pixel in all clips. Places in a frame are in px, (0, 0) being the outer corner of the top-left
pixel, whose centre is (0.5, 0.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.face_regions_hcp_mer import EYE_SHARES

Point = tuple[float, float]

# Eyes in a tight box from the brows to the chin and from temple to temple, as shares of its sides:
# the mean of the procedural faces (0.287, 0.713, 0.15) and of adults as they are measured
# (pupils 63 mm apart, 139 mm from cheekbone to cheekbone).
EYES_IN_BOX = ((0.28, 0.165), (0.72, 0.165))


@dataclass(frozen=True)
class Face:
    """A face that was given or found, in px of its frame: its eyes, a box round it, or both.

    Attributes: `eyes`, the centres of the eye at the left of the image and of the other;
    `box`, (x, y, width, height) from the brows to the chin, read only where there are no eyes.
    Raises UserError where both are missing, for numbers that are not finite, a box without extent,
    and eyes that coincide or are not in the image's order from left to right.
    """

    eyes: tuple[Point, Point] | None = None
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        if self.eyes is None and self.box is None:
            raise UserError("a face needs eyes or a box, got neither.")
        if self.eyes is not None:
            object.__setattr__(self, "eyes", _checked_eyes(self.eyes))
        if self.box is not None:
            object.__setattr__(self, "box", _checked_box(self.box))

    @property
    def eye_places(self) -> tuple[Point, Point]:
        """The eyes, or, from a box alone, where they are in a mean face; px."""
        if self.eyes is not None:
            return self.eyes
        x, y, width, height = self.box
        # The box's width gives the scale: what counts as a face's top and bottom varies more.
        return tuple((x + across * width, y + down * height) for across, down in EYES_IN_BOX)


def _checked_eyes(eyes: tuple[Point, Point]) -> tuple[Point, Point]:
    numbers = np.asarray(eyes, np.float64)
    if numbers.shape != (2, 2) or not np.isfinite(numbers).all():
        raise UserError(f"eyes must be two points of finite numbers, ((x, y), (x, y)), got {eyes}.")
    (left, top), (right, bottom) = numbers.tolist()
    if left >= right:
        raise UserError(
            f"eyes must be two places, the one at the left of the image first, got {eyes}. "
            "Swap them where they are a person's left and right."
        )
    return (left, top), (right, bottom)


def _checked_box(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    numbers = np.asarray(box, np.float64)
    if numbers.shape != (4,) or not np.isfinite(numbers).all():
        raise UserError(f"a face's box must be four finite numbers, x y width height, got {box}.")
    if min(numbers[2:]) <= 0:
        raise UserError(f"a face's box must have a width and a height above 0 px, got {box}.")
    return tuple(numbers.tolist())


def face_transform(frame: np.ndarray, face: Face) -> np.ndarray:
    """The similarity from px of the frame to shares of the aligned square, float64 (2, 3).

    Rotation, one scale and translation, which put the eyes at EYE_SHARES; from a box alone there
    is no rotation and the eyes are assumed at a mean face's places.
    Raises UserError for a face whose eyes are not inside the frame.
    """
    height, width = frame.shape[:2]
    eyes = face.eye_places
    if not all(0 <= x <= width and 0 <= y <= height for x, y in eyes):
        where = f"a frame of {width}×{height} px"
        raise UserError(f"{face} does not lie in {where}. Give it in px of the clip's frames.")
    # As complex numbers a similarity is one factor and one summand.
    left, right = (complex(*eye) for eye in eyes)
    left_share, right_share = (complex(*share) for share in EYE_SHARES)
    turn = (right_share - left_share) / (right - left)
    shift = left_share - turn * left
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def centre_transform(frame: np.ndarray) -> np.ndarray:
    """From px to shares of the largest square in the middle of the frame, float64 (2, 3)."""
    height, width = frame.shape[:2]
    side = min(height, width)
    corner = np.array([width - side, height - side]) / 2
    return np.column_stack([np.eye(2), -corner]) / side


def align(frame: np.ndarray, transform: np.ndarray, size: int) -> np.ndarray:
    """The aligned square, (size, size, 3), of a frame (H, W, 3); so for a grey picture (H, W).

    Beyond the frame's border, the border's values.

    Where the face is larger than the square, areas are averaged before the rest is interpolated.
    OpenCV interpolates at places rounded to 1/32 px and by a kernel that is not exact. One
    transform serves all frames of a clip, so that is the same in all of them: it moves nothing.

    Args: a transform from px of the frame to shares of the square, see `face_transform`.
    """
    to_square = size * np.asarray(transform, np.float64)
    part, to_square = _needed_part(frame, to_square, size)
    growth = math.sqrt(np.linalg.det(to_square[:, :2]))  # px of the square per px of the frame
    if growth < 1:
        height, width = part.shape[:2]
        smaller = tuple(max(1, round(growth * side)) for side in (width, height))
        part = cv2.resize(part, smaller, interpolation=cv2.INTER_AREA)
        to_square[:, :2] *= (width / smaller[0], height / smaller[1])
    # OpenCV counts from the centre of the first pixel, in both pictures.
    to_square[:, 2] += to_square[:, :2] @ (0.5, 0.5) - 0.5
    return cv2.warpAffine(
        part,
        to_square,
        (size, size),
        flags=cv2.INTER_LANCZOS4,
        borderMode=cv2.BORDER_REPLICATE,
    )


def places_in_frame(shares: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """The places (n, 2) that a transform (2, 3) takes to `shares` (n, 2)."""
    return (np.asarray(shares) - transform[:, 2]) @ np.linalg.inv(transform[:, :2]).T


def _needed_part(
    frame: np.ndarray, to_square: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """The part of the frame that the square shows, with some margin, and its own transform."""
    corners = np.array([(0, 0), (size, 0), (0, size), (size, size)], np.float64)
    places = places_in_frame(corners, to_square)
    margin = 6 * max(1.0, float(np.ptp(places[:, 0])) / size)  # the kernel reaches 4 px
    height, width = frame.shape[:2]
    low = np.floor(places.min(axis=0) - margin).astype(int)
    high = np.ceil(places.max(axis=0) + margin).astype(int)
    x, y = np.clip(low, 0, (width - 1, height - 1)).tolist()
    right, bottom = np.clip(high, (x + 1, y + 1), (width, height)).tolist()
    moved = to_square.copy()
    moved[:, 2] += to_square[:, :2] @ (x, y)
    return frame[y:bottom, x:right], moved
