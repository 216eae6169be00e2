"""What a domain's camera and its file format do to a frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class CameraStyle:
    """In the order in which it happens; px and levels are those of the domain's own frames.

    Attributes: `blur_px`, standard deviation of the lens's blur; `contrast`, about the middle
    grey; `noise_levels`, standard deviation of the sensor's noise; `grey`, without colour;
    `jpeg_quality`, None for none.
    """

    blur_px: float = 0.0
    contrast: float = 1.0
    noise_levels: float = 0.0
    grey: bool = False
    jpeg_quality: int | None = None

    def film(self, levels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The frame as it is stored, uint8 RGB (H, W, 3), from grey levels 0…255."""
        levels = np.asarray(levels, np.float32)
        if self.blur_px:
            levels = cv2.GaussianBlur(levels, (0, 0), self.blur_px)
        levels = 128 + self.contrast * (levels - 128)
        if self.noise_levels:
            noise = rng.standard_normal(levels.shape, np.float32)
            levels = levels + np.float32(self.noise_levels) * noise
        if self.grey:
            levels = np.repeat(levels @ np.float32([[0.299], [0.587], [0.114]]), 3, axis=-1)
        frame = np.rint(np.clip(levels, 0, 255)).astype(np.uint8)
        if self.jpeg_quality is None:
            return frame
        options = [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality]
        _, encoded = cv2.imencode(".jpg", frame[..., ::-1], options)
        return np.ascontiguousarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1])
