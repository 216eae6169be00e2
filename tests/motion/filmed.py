"""Films of a procedural face that does what a test says: parts of it move, the lids close, the
head turns. Nothing here is shared with what measures it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from hcp_mer.data.synthetic.actions import action_field
from hcp_mer.data.synthetic.faces import Tonic, render_face
from hcp_mer.data.synthetic.identity import make_identity
from hcp_mer.data.synthetic.warps import double_resolution, pixel_grid, sample_at

SIZE = 224
CLOSED = -2.9  # the tonic lid at which hardly a slit is left


def bump(count: int, onset: int, apex: int, offset: int) -> np.ndarray:
    """Strengths (count,): half a cosine from the onset up to the apex, another down to the end."""
    at = np.arange(count)
    return 0.5 - 0.5 * np.cos(np.pi * np.interp(at, [onset, apex, offset], [0.0, 1.0, 0.0]))


def depth() -> np.ndarray:
    """How much nearer to the camera each pixel is than the neck, mean 1: a dome with a nose."""
    x, y = np.moveaxis((pixel_grid(SIZE) + 0.5) / SIZE * 2 - 1, -1, 0)
    dome = np.sqrt(np.clip(1 - (x / 0.66) ** 2 - (y / 0.9) ** 2, 0.03, None))
    nose = 0.3 * np.exp(-((x / 0.09) ** 2) - ((y - 0.12) / 0.14) ** 2)
    near = 0.8 + dome + nose
    return (near / near[60:180, 60:165].mean()).astype(np.float32)


@dataclass
class Film:
    """A film of `count` frames of one person.

    Attributes: `person`, a seed; `parts`, (action units, strength in px per frame (count,)) each;
    `lids`, (count,), 0 open … 1 closed; `head`, (count, 2), px right and down of a head that turns
    about its neck; `shift`, (count, 2), of one that is shifted; `noise`, in levels; `light`,
    (count,), the exposure.
    """

    person: int
    count: int
    parts: Sequence[tuple[Sequence[int], np.ndarray]] = ()
    lids: np.ndarray | None = None
    head: np.ndarray | None = None
    shift: np.ndarray | None = None
    noise: float = 2.0
    light: np.ndarray | None = None
    seed: int = 0
    _faces: dict[float, np.ndarray] = field(default_factory=dict)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.frame(at) for at in range(self.count))

    def frame(self, at: int) -> np.ndarray:
        """One frame, uint8 (224, 224, 3)."""
        gone = np.zeros((SIZE, SIZE, 2), np.float32)
        if self.head is not None:
            gone += _arrived(depth()[..., None] * np.float32(self.head[at]))
        if self.shift is not None:
            gone += np.float32(self.shift[at])
        place = pixel_grid(SIZE) - gone
        skin = np.zeros((SIZE, SIZE, 2), np.float32)
        for units, strength_px in self.parts:
            for unit in units:
                skin += np.float32(strength_px[at]) * _field(self.person, unit)
        closed = 0.0 if self.lids is None else round(float(self.lids[at]), 2)
        levels = 255 * sample_at(self._face(closed), place - _at(skin, place))
        levels *= 1 if self.light is None else np.float32(self.light[at])
        levels += np.random.default_rng([self.seed, at]).normal(0, self.noise, levels.shape)
        return np.clip(np.rint(levels), 0, 255).astype(np.uint8)

    def _face(self, closed: float) -> np.ndarray:
        if closed not in self._faces:
            face = render_face(make_identity(self.person), Tonic(lid=CLOSED * closed), SIZE)
            self._faces[closed] = double_resolution(face)
        return self._faces[closed]


_FIELDS: dict[tuple[int, int], np.ndarray] = {}


def _field(person: int, unit: int) -> np.ndarray:
    if (person, unit) not in _FIELDS:
        _FIELDS[person, unit] = action_field(make_identity(person), unit, SIZE)
    return _FIELDS[person, unit]


def _at(field_px: np.ndarray, place: np.ndarray) -> np.ndarray:
    planes = (
        cv2.remap(np.ascontiguousarray(plane), place, None, cv2.INTER_LINEAR)
        for plane in np.moveaxis(field_px, -1, 0)
    )
    return np.stack([*planes], axis=-1)


def _arrived(moved_px: np.ndarray) -> np.ndarray:
    """Of where each pixel goes, where what is there afterwards came from."""
    back = moved_px
    for _ in range(4):
        back = _at(moved_px, pixel_grid(SIZE) - back)
    return back
