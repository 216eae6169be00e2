"""A corpus of tiny clips on disk: a random texture, of which each class moves another part."""

import csv

import cv2
import numpy as np
from PIL import Image

CLASSES = ("negative", "positive", "surprise")
UNITS = {"negative": "4", "positive": "6+12", "surprise": "1+2"}
_PLACES = {"negative": (20, 20), "positive": (46, 32), "surprise": (20, 44)}  # y, x
FIRST, ONSET, APEX, LAST = 10, 10, 14, 16  # frame numbers of every clip


def write_moving_corpus(folder, subjects=("s01", "s02", "s03"), clips_per_class=2, size=64, seed=0):
    """`metadata.csv` and PNG frames, as the folder reader takes them; the apex moves most."""
    rng = np.random.default_rng(seed)
    rows = []
    for subject in subjects:
        for label in CLASSES:
            for number in range(clips_per_class):
                clip = f"{label[0]}{number}"
                place = folder / "clips" / subject / clip
                place.mkdir(parents=True)
                texture = rng.uniform(40, 215, (size, size, 3)).astype(np.float32)
                texture = cv2.GaussianBlur(texture, (0, 0), 1.5) * 2 - 127
                for frame in range(FIRST, LAST + 1):
                    by_px = 1.5 * (1 - abs(frame - APEX) / 4)
                    image = _moved(texture, _PLACES[label], by_px).clip(0, 255)
                    Image.fromarray(image.astype(np.uint8)).save(place / f"img{frame}.png")
                ids = {"subject": subject, "clip": clip, "frames": f"clips/{subject}/{clip}"}
                numbers = {"onset": ONSET, "apex": APEX, "offset": LAST}
                rows.append({**ids, **numbers, "emotion": label, "action_units": UNITS[label]})
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return folder


def _moved(texture, place, by_px):
    y, x = np.mgrid[: len(texture), : len(texture)].astype(np.float32)
    blob = np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / (2 * 9.0**2))
    return cv2.remap(texture, x, y - (by_px * blob).astype(np.float32), cv2.INTER_LINEAR)
