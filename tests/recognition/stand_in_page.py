"""What tests of the page share: a pipeline that says what it is told, and uploads to give it."""

from __future__ import annotations

import base64
import io
import re
from types import SimpleNamespace

import cv2
import numpy as np
from PIL import Image

from hcp_mer.model.motion_hcp_mer import MotionSettings
from hcp_mer.recognition.answer import Course, Recognition, Views
from tests.films import noise_frames, write_film

MOTION = MotionSettings(alpha=3.0).to_dict()
ABOUT = {"model_name": "a model", "classes": "negative, surprise", "trained": "It learnt little."}
SCORES = [{"label": "surprise", "score": 0.9}, {"label": "negative", "score": 0.1}]
UNITS = [
    {"action_unit": "AU1", "name": "inner brow raiser", "log_odds": 2.5},
    {"action_unit": "AU25", "name": "lips part", "log_odds": -1.0},
]


def two_frames(by_px=1.0):
    """A random texture, and the same with a blob of its middle moved up."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.uniform(40, 215, (112, 112, 3)).astype(np.float32), (0, 0), 1.5)
    y, x = np.mgrid[:112, :112].astype(np.float32)
    blob = np.exp(-((y - 56) ** 2 + (x - 56) ** 2) / 300).astype(np.float32)
    moved = cv2.remap(texture, x, y + by_px * blob, cv2.INTER_LINEAR)
    return [frame.clip(0, 255).astype(np.uint8) for frame in (texture, moved)]


def recognition(name="clip.mp4", answer="surprise", **changes):
    onset, apex = two_frames()
    course = Course([4, 5, 6], [0.0, 0.05, 0.1], np.array([0.0, 0.5, 0.2]), 0.1, 0, 1, 2)
    views = Views(apex, apex, onset, apex)
    found = {"explanation": {"action_units": UNITS}, "course": course, "views": views}
    found |= {"frames": [onset, apex, onset], "scores": SCORES, "reason": "it moved 0.5 px"}
    return Recognition(name, answer, **{**found, **changes})


class Pipe:
    """Answers every film with what it was told, and counts how often it was asked."""

    def __init__(self):
        self.says, self.asked = recognition, 0
        self.image_processor = SimpleNamespace(motion=MOTION)

    def recognise(self, film, attention):
        self.asked += 1
        said = self.says
        if isinstance(said, Exception):
            raise said
        return said(film.name)


def arrive(arrivals, name="clip.mkv"):
    (arrivals / "a1b2").mkdir(exist_ok=True)
    return write_film(arrivals / "a1b2" / name, noise_frames())


def contents(*folders):
    """All files in which something is: Gradio leaves an empty one behind for each upload."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return sorted(path for path in files if path.stat().st_size)


def pixels(html):
    """The picture in a piece of HTML."""
    content = re.search(r'src="data:image/webp;base64,([^"]+)"', html)[1]
    return np.array(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
