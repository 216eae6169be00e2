"""Face detectors by name: a frame in, the place of its one face out.

A new detector is a class with `find` and `find_all`, made from the file of its weights, or None.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.motion.alignment import Face
from hcp_mer.motion.cascade import Cascade
from hcp_mer.motion.methods import chosen

YUNET_FILE = "face_detection_yunet_2023mar.onnx"


class Detector(Protocol):
    """What finds a face."""

    def find(self, frame: np.ndarray) -> Face | None:
        """The face in a frame, uint8 RGB (H, W, 3), the largest of several; None without one."""
        ...

    def find_all(self, frame: np.ndarray) -> list[Face]:
        """The face that `find` returns, then those of other people in the frame."""
        ...


class YuNet:
    """OpenCV's FaceDetectorYN (Wu et al. 2023), with the user's own copy of its network."""

    LONGEST_SIDE_PX = 400  # it finds faces of 10 to 300 px, so a large frame is shrunk
    LEAST_SCORE = 0.7

    def __init__(self, weights: str | None) -> None:
        """Raises UserError where the file is not named, missing, or no such network."""
        wanted = f"the face detector 'yunet' needs {YUNET_FILE} from OpenCV's model zoo"
        if not weights:
            raise UserError(f"{wanted}: download it and give its path (--face_weights FILE).")
        if not Path(weights).is_file():
            raise UserError(f"{wanted}: download it, {weights} is no file.")
        level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        try:
            self._network = cv2.FaceDetectorYN.create(
                str(weights), "", (320, 320), score_threshold=self.LEAST_SCORE
            )
        except cv2.error:
            raise UserError(f"{wanted}: download it again, {weights} is another file.") from None
        finally:
            cv2.utils.logging.setLogLevel(level)

    def find(self, frame: np.ndarray) -> Face | None:
        """See Detector. Raises UserError where the network is not YuNet's."""
        return next(iter(self._largest_first(frame)), None)

    def find_all(self, frame: np.ndarray) -> list[Face]:
        """See Detector. Raises UserError where the network is not YuNet's."""
        faces = self._largest_first(frame)
        return [face for face in faces if face] if faces and faces[0] else []

    def _largest_first(self, frame: np.ndarray) -> list[Face | None]:
        """Everyone's face, None where its eyes are beyond the frame or upside down."""
        height, width = frame.shape[:2]
        shrink = min(1.0, self.LONGEST_SIDE_PX / max(height, width))
        size = tuple(max(1, round(shrink * side)) for side in (width, height))
        small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        self._network.setInputSize(size)
        try:
            _, rows = self._network.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        except cv2.error:
            raise UserError(f"the file given to 'yunet' is not {YUNET_FILE}.") from None
        faces = []
        for row in sorted([] if rows is None else rows, key=lambda row: -row[2] * row[3]):
            # A row: x, y, width, height, then five places of which the person's right eye comes
            # first, which is the one at the left of the image, and then the left eye.
            eyes = row[4:8].reshape(2, 2) * (width / size[0], height / size[1])
            inside = ((eyes >= 0) & (eyes <= (width, height))).all()
            faces.append(Face(eyes=eyes) if inside and eyes[0, 0] < eyes[1, 0] else None)
        return faces


DETECTORS: Mapping[str, Callable[[str | None], Detector]] = {"cascade": Cascade, "yunet": YuNet}


def detector(name: str, weights: str | None = None) -> Detector:
    """The detector of that name, made once per process.

    Raises UserError with the closest name if there is none, and where it cannot be made.
    """
    kind = chosen("face detector", DETECTORS, name)
    # A forked process makes its own: OpenCV's networks own threads that do not live on in it.
    return _made(kind, weights, os.getpid())


@lru_cache(maxsize=4)
def _made(kind: Callable[[str | None], Detector], weights: str | None, process: int) -> Detector:
    return kind(weights)
