"""The eyes' centres inside a face that was found: two dark discs, and where they may be.

After Timm & Barth (2011): gradients around an iris point away from its centre. Every place counts
such gradients on a ring of an iris's size. Brows, lids and glasses have edges above and below, an
iris has edges to its left and right too: the sides of the ring are counted apart and multiplied.
Where the counts say little (closed eyes, dark glasses), the mean face decides.
"""

from __future__ import annotations

import cv2
import numpy as np

# Lengths are shares of the side of the cascade's box, which spans brows to chin.
EYE_DISTANCE, EYES_ABOVE_CENTRE = 0.41, 0.12
SEARCH_ACROSS, SEARCH_DOWN = 0.11, 0.10  # from the mean place, to both sides
RING = (0.015, 0.045)  # around the radius of an iris, 0.037 in adults
# How much faces differ from the mean one, and the box from the face; standard deviations.
SPREADS = {"across": 0.03, "down": 0.035, "distance": 0.03, "slope": 0.02}
TRUST = 0.2  # of these against what is seen
UNSEEN = 0.05  # share of a ring's side that is counted where nothing is
PX_PER_BOX = 100
BLUR_PX = 1.2


def locate_eyes(upright: np.ndarray) -> tuple[np.ndarray, float]:
    """Centres of both eyes in an upright face, and how much they look like eyes.

    Args: the face's box, float (PX_PER_BOX, PX_PER_BOX), grey, turned so that the head is upright.
    Returns: float64 (2, 2), image-left first, in shares; and a number above 0, about 0.8 for open
    eyes, 0.6 for closed ones and 0.5 where there is no face.
    """
    maps, places = [], []
    for side in (-0.5, 0.5):
        x, y = 0.5 + side * EYE_DISTANCE, 0.5 - EYES_ABOVE_CENTRE
        columns, rows = _search(x, SEARCH_ACROSS), _search(y, SEARCH_DOWN)
        maps.append(np.log(_iris_likeness(upright, columns, rows)).ravel())
        grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
        places.append((grid + 0.5) / PX_PER_BOX)
    left, right = places
    seen = maps[0][:, None] + maps[1][None, :]
    middle = (left[:, None] + right[None, :]) / 2 - (0.5, 0.5 - EYES_ABOVE_CENTRE)
    apart = right[None, :] - left[:, None] - (EYE_DISTANCE, 0)
    unusual = (
        (middle[..., 0] / SPREADS["across"]) ** 2
        + (middle[..., 1] / SPREADS["down"]) ** 2
        + (apart[..., 0] / SPREADS["distance"]) ** 2
        + (apart[..., 1] / SPREADS["slope"]) ** 2
    )
    first, second = np.unravel_index(np.argmax(seen - TRUST / 2 * unusual), seen.shape)
    return np.stack([left[first], right[second]]), float(np.exp(seen[first, second] / 2))


def _search(middle: float, reach: float) -> np.ndarray:
    """Pixel indices within `reach` of `middle`."""
    first, last = (round((middle + step) * PX_PER_BOX) for step in (-reach, reach))
    return np.arange(first, last + 1)


def _iris_likeness(face: np.ndarray, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How much each place looks like an iris's centre, (len(rows), len(columns)), above 0 to 1."""
    smooth = cv2.GaussianBlur(face.astype(np.float32), (0, 0), BLUR_PX)
    slope_x, slope_y = (cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1)))
    size = np.hypot(slope_x, slope_y) + 1e-9
    reach = round(RING[1] * PX_PER_BOX)
    around = (
        slice(rows[0] - reach, rows[-1] + reach + 1),
        slice(columns[0] - reach, columns[-1] + reach + 1),
    )
    weight = np.minimum(size / np.quantile(size[around], 0.9), 1)  # a strong edge is one edge
    slope_x, slope_y = slope_x / size, slope_y / size
    counted = {side: np.zeros((len(rows), len(columns)), np.float32) for side in _SIDES}
    shares = dict.fromkeys(_SIDES, 0.0)
    for x, y, radius, side in _ring(reach):
        there = (
            slice(rows[0] + y, rows[-1] + y + 1),
            slice(columns[0] + x, columns[-1] + x + 1),
        )
        outward = (slope_x[there] * x + slope_y[there] * y) / radius
        counted[side] += np.maximum(outward, 0) ** 2 * weight[there] / radius
        shares[side] += 1 / radius
    product = np.ones((len(rows), len(columns)), np.float32)
    for side in _SIDES:
        product *= counted[side] / shares[side] + UNSEEN
    return np.cbrt(product)


_SIDES = ("left", "right", "below")  # the upper lid often covers what is above


def _ring(reach: int) -> list[tuple[int, int, float, str]]:
    """Offsets (x, y) on the ring, their distance and the side that they lie on."""
    ring = []
    for y in range(-reach, reach + 1):
        for x in range(-reach, reach + 1):
            radius = float(np.hypot(x, y))
            if not RING[0] * PX_PER_BOX <= radius <= RING[1] * PX_PER_BOX:
                continue
            if abs(x) >= abs(y):
                ring.append((x, y, radius, "left" if x < 0 else "right"))
            elif y > 0:
                ring.append((x, y, radius, "below"))
    return ring
