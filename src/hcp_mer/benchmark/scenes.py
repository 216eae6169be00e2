"""Clips whose motion is known exactly: faces warped by formula, filmed by an imperfect camera."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from hcp_mer.data.synthetic.actions import ACTION_UNITS, action_field
from hcp_mer.data.synthetic.faces import render_face
from hcp_mer.data.synthetic.identity import make_identity
from hcp_mer.errors import UserError

SIZE = 224
TO_APEX, AFTER_APEX = 15, 15  # frames; the expression grows and fades along half a cosine each
Motion = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (columns, rows) → (H, W, 2) in px


class Face:
    """A face that can be looked at between its pixels: a quintic spline through a picture.

    Args:
        picture: (S, S, 3), as a lens would have it after a blur of ½ px at 224 px a side, so that
            a sensor of this resolution can film it without aliases.
    """

    def __init__(self, name: str, picture: np.ndarray) -> None:
        self.name, self._side = name, len(picture)
        from scipy.ndimage import spline_filter

        seen = cv2.GaussianBlur(picture.astype(np.float64), (0, 0), 0.5 * self._side / SIZE)
        self._splines = [spline_filter(plane, order=5) for plane in np.moveaxis(seen, -1, 0)]

    def at(self, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Colours at real positions in a frame of 224 px, float64 (H, W, 3), 0 to 255."""
        from scipy.ndimage import map_coordinates

        scale = self._side / SIZE
        places = [(axis + 0.5) * scale - 0.5 for axis in (rows, columns)]
        return np.stack(
            [
                map_coordinates(spline, places, order=5, mode="mirror", prefilter=False)
                for spline in self._splines
            ],
            axis=-1,
        )


@dataclass(frozen=True)
class Conditions:
    """What stands between a face and its frames.

    Attributes:
        noise: standard deviation of the sensor's, in grey levels, per channel and frame.
        jpeg_quality: of OpenCV's encoder; None for frames as they were.
        light: whether brightness, its offset and its gradient over the face drift by about 1 %.
        head: whether the head drifts by about 1 px and 0.3° and shakes by 0.1 px.
    """

    noise: float = 0.0
    jpeg_quality: int | None = None
    light: bool = False
    head: bool = False


@dataclass(frozen=True)
class Scene:
    """A face that makes one movement: a point x of the onset is at x + u(x) at the apex."""

    face: Face
    motion: Motion

    @cached_property
    def true_px(self) -> np.ndarray:
        """u, float64 (224, 224, 2) in px."""
        return self.motion(*_grid())

    @property
    def moving(self) -> np.ndarray:
        """Where |u| exceeds a quarter of its peak, bool (224, 224)."""
        speed_px = np.linalg.norm(self.true_px, axis=-1)
        return speed_px > speed_px.max() / 4

    def shown(self, times: float, columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The face after `times` its motion at these places: shown(x + times · u(x)) = face(x)."""
        back_px = times * self.motion(columns, rows)
        for _ in range(60):
            before_px = back_px
            back_px = times * self.motion(columns - back_px[..., 0], rows - back_px[..., 1])
            if np.abs(back_px - before_px).max() < 1e-7:
                break
        return self.face.at(columns - back_px[..., 0], rows - back_px[..., 1])

    def moved(self, times: float) -> np.ndarray:
        """A frame without noise after `times` the motion, float64 (224, 224, 3)."""
        return self.shown(times, *_grid())

    def film(self, conditions: Conditions, seed: int) -> list[np.ndarray]:
        """31 frames, uint8: onset (index 0), apex (index 15), and back to rest."""
        rng = np.random.default_rng(seed)
        light, head = _light(rng), _head(rng)
        frames = []
        for index, time in enumerate(np.arange(TO_APEX + AFTER_APEX + 1) / TO_APEX):
            level = self._still_head[min(index, 2 * TO_APEX - index)]
            if conditions.head:
                level = self.shown(_strength(time), *head(time))
            if conditions.light:
                level = light(time, level)
            frames.append(_sensed(level, rng, conditions))
        return frames

    @cached_property
    def _still_head(self) -> list[np.ndarray]:
        return [self.moved(_strength(index / TO_APEX)) for index in range(TO_APEX + 1)]


def faces() -> list[Face]:
    """Two portraits that dependencies ship, and three faces drawn by this package.

    Raises UserError where scikit-image or matplotlib are missing.
    """
    try:
        from matplotlib import cbook
        from PIL import Image
        from skimage import data
    except ModuleNotFoundError as error:
        raise UserError(
            'portraits come with scikit-image and matplotlib: pip install "hcp_mer[report,face]"'
        ) from error
    hopper = Image.open(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
    drawn = [Face(f"drawn {seed}", 255 * _drawn(seed)) for seed in (900, 901, 902)]
    return [
        Face("astronaut", data.astronaut()[0:256, 96:352]),
        Face("hopper", np.asarray(hopper)[30:330, 100:400]),
        *drawn,
    ]


def bumps(seed: int, peak_px: float) -> Motion:
    """One to three Gaussian bumps of σ 12–32 px on the face, as wide as muscles' are."""
    rng = np.random.default_rng(seed)
    shapes = [
        (*rng.uniform(60, 164, 2), rng.uniform(12, 32), rng.uniform(0, 2 * np.pi), weight)
        for weight in rng.uniform(0.4, 1, rng.integers(1, 4))
    ]

    def unscaled(columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        total = np.zeros((*columns.shape, 2))
        for column, row, sigma_px, angle, weight in shapes:
            squared = (columns - column) ** 2 + (rows - row) ** 2
            bump = weight * np.exp(-squared / (2 * sigma_px**2))
            total += bump[..., None] * (np.cos(angle), np.sin(angle))
        return total

    return _of_peak(unscaled, peak_px)


def action_units(seed: int, peak_px: float) -> Motion:
    """One to three action units of a drawn face, each at a strength of its own."""
    from scipy.ndimage import map_coordinates, spline_filter

    rng, identity = np.random.default_rng(seed), make_identity(seed)
    units = rng.choice(ACTION_UNITS, rng.integers(1, 4), replace=False)
    field = sum(rng.uniform(0.7, 1.15) * action_field(identity, int(unit), SIZE) for unit in units)
    splines = [spline_filter(field[..., axis], order=3) for axis in (0, 1)]

    def unscaled(columns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        places = (rows, columns)
        read = [map_coordinates(s, places, mode="nearest", prefilter=False) for s in splines]
        return np.stack(read, axis=-1)

    return _of_peak(unscaled, peak_px)


def _drawn(seed: int) -> np.ndarray:
    return render_face(make_identity(seed), size=2 * SIZE)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[0:SIZE, 0:SIZE].astype(np.float64)
    return columns, rows


def _of_peak(unscaled: Motion, peak_px: float) -> Motion:
    times = peak_px / np.linalg.norm(unscaled(*_grid()), axis=-1).max()
    return lambda columns, rows: times * unscaled(columns, rows)


def _strength(time: float) -> float:
    """Of the expression: 0 at the onset (time 0), 1 at the apex (1), 0 again at time 2."""
    return (1 - np.cos(np.pi * time)) / 2


def _light(rng: np.random.Generator) -> Callable[[float, np.ndarray], np.ndarray]:
    """Brightness that drifts with time, by about 1 % and one level, not alike everywhere."""
    phase, (slope_x, slope_y) = rng.uniform(0, 2 * np.pi), rng.normal(0, 1, 2)
    columns, rows = _grid()
    ramp = 1 + slope_x * (columns / SIZE - 0.5) + slope_y * (rows / SIZE - 0.5)

    def lit(time: float, level: np.ndarray) -> np.ndarray:
        drift = np.sin(2 * time + phase) - np.sin(phase)
        return level * (1 + 0.01 * drift) + drift * ramp[..., None]

    return lit


def _head(rng: np.random.Generator) -> Callable[[float], tuple[np.ndarray, np.ndarray]]:
    """Where on the face each pixel looks, at rest at time 0: a slow drift, turn and tremor."""
    drift_px, turn_deg = rng.normal(0, 1, 2), 0.3 * rng.normal()
    columns, rows = (axis - (SIZE - 1) / 2 for axis in _grid())

    def places(time: float) -> tuple[np.ndarray, np.ndarray]:
        way = np.sin(1.6 * time)
        angle = np.deg2rad(turn_deg * way)
        shift_px = drift_px * way + (rng.normal(0, 0.1, 2) if time else 0)
        x = columns * np.cos(angle) - rows * np.sin(angle) - shift_px[0]
        y = columns * np.sin(angle) + rows * np.cos(angle) - shift_px[1]
        return x + (SIZE - 1) / 2, y + (SIZE - 1) / 2

    return places


def _sensed(level: np.ndarray, rng: np.random.Generator, conditions: Conditions) -> np.ndarray:
    noisy = level + conditions.noise * rng.standard_normal(level.shape, np.float32)
    frame = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    if conditions.jpeg_quality is None:
        return frame
    quality = [cv2.IMWRITE_JPEG_QUALITY, conditions.jpeg_quality]
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality)
    return cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
