"""What covers the head: skin, lips, brows, eyes, hair and, with some, a beard or glasses.

Skin takes its colour from what absorbs light in it: a bright dermis seen through melanin and
blood, by Beer and Lambert's law, both with noise of several octaves. Hair is drawn as strokes.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np

from hcp_mer.domains.head import Head, View, face_grid, half_width, soft_step

_DERMIS = np.array([0.93, 0.84, 0.78], np.float32)
_MELANIN = np.array([0.34, 0.62, 1.00], np.float32)  # absorption of red, green and blue
_BLOOD = np.array([0.07, 0.52, 0.42], np.float32)
_IRISES = ((0.22, 0.13, 0.07), (0.13, 0.08, 0.05), (0.30, 0.42, 0.52), (0.34, 0.36, 0.22))
_OCTAVES = ((0.9, 0.5), (0.3, 0.3), (0.1, 0.25), (0.045, 0.3))  # wavelength, weight


class Layers(NamedTuple):
    """What is moved and seen of a person; colours are of light reflected, 0…1, float32.

    Attributes: `skin` (2S, 2S, 4), colour and the eyes' opening; `rigid` (2S, 2S, 3), the eyeballs;
    `glasses` (2S, 2S, 4) or None, colour and cover; `body` (S, S), where the relief is shaded.
    """

    skin: np.ndarray
    rigid: np.ndarray
    glasses: np.ndarray | None
    body: np.ndarray


@lru_cache(maxsize=2)
def layers_of(head: Head, view: View, side: int) -> Layers:
    """The layers of a person in a frame of S = `side` px."""
    rng = np.random.default_rng([head.seed, 2])
    x, y = face_grid(view, 2 * side)
    skin = _skin(head, x, y, rng)
    hair = _hair_colour(head, rng)
    if head.beard:
        skin = _blended(skin, hair, _beard(head, x, y, rng))
    skin = _blended(skin, 0.8 * hair, _brows(head, view, 2 * side, rng))
    skin, opening = _lids(head, x, y, skin)
    skin, body = _surroundings(head, x, y, skin, hair, rng)
    glasses = _glasses(head, view, 2 * side, rng) if head.glasses else None
    return Layers(
        np.dstack([skin, opening]).astype(np.float32),
        _eyeballs(head, x, y, rng),
        glasses,
        cv2.resize(body.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA),
    )


def _blended(under: np.ndarray, over: np.ndarray, cover: np.ndarray) -> np.ndarray:
    return under + (over - under) * cover[..., None]


def _noise(x: np.ndarray, wavelength: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit variance, as large as x, with this wavelength in eye distances."""
    extent = float(x[0, -1] - x[0, 0])
    count = max(3, round(2 * extent / wavelength))
    drawn = rng.standard_normal((count, count), np.float32)
    noise = cv2.resize(drawn, x.shape[::-1], interpolation=cv2.INTER_CUBIC)
    return noise / noise.std()


def _spot(x: np.ndarray, y: np.ndarray, place: tuple[float, ...]) -> np.ndarray:
    cx, cy, sx, sy = place
    return np.exp(-(((np.abs(x) - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)


def _skin(head: Head, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) skin and lips."""
    melanin = np.full_like(x, float(np.exp(-1.0 + 0.75 * head.melanin)))
    blood = np.full_like(x, head.blood)
    for wavelength, weight in _OCTAVES:
        melanin *= 1 + 0.16 * weight * _noise(x, wavelength, rng)
        blood *= 1 + 0.30 * weight * _noise(x, wavelength, rng)
    if rng.random() < 0.4:  # freckles on cheeks and nose
        dense = _spot(x, y, (0.35, 0.42, 0.6, 0.35))
        spots = soft_step(_noise(x, 0.06, rng) - 2.3 + 0.9 * dense, 0.4)
        melanin += rng.uniform(0.15, 0.4) * spots * dense
    for cx, cy in rng.uniform((-0.9, -0.9), (0.9, 1.6), (int(rng.integers(0, 5)), 2)):  # moles
        melanin += 0.9 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.022**2)
    blood += 0.22 * _spot(x, y, (0.68, 0.52, 0.3, 0.26))
    blood += 0.20 * _spot(x, y, (0.0, head.nose_tip_y, 0.22, 0.16))
    melanin += 0.10 * _spot(x, y, (0.46, 0.17, 0.22, 0.08))  # below the eyes
    lips, line = _lips(head, x, y)
    blood += (0.75 + 0.15 * _noise(x, 0.06, rng)) * lips
    melanin += 0.15 * lips + 1.8 * line
    nostril = _spot(x, y, (0.42 * head.nose_width, head.nose_tip_y + 0.055, 0.055, 0.026))
    melanin += 1.6 * nostril
    blood += 0.5 * nostril
    return _DERMIS * np.exp(-melanin[..., None] * _MELANIN - blood[..., None] * _BLOOD)


def _lips(head: Head, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where lips are, and the line between them, (H, W) each."""
    t = x / head.mouth_width
    shape = np.sqrt(np.clip(1 - t**2, 0, 1))
    middle = head.mouth_y + 0.012 * np.cos(2 * np.pi * t) - head.mouth_curve * t**2
    bow = 1 - 0.25 * np.exp(-((x / 0.07) ** 2))
    top, bottom = middle - head.upper_lip * shape**1.4 * bow, middle + head.lower_lip * shape
    inside = soft_step(y - top, 0.02) * soft_step(bottom - y, 0.025) * (np.abs(t) < 1)
    ends = soft_step(1.06 - np.abs(t), 0.06)
    return inside, ends * np.exp(-(((y - middle) / 0.017) ** 2))


def _hair_colour(head: Head, rng: np.random.Generator) -> np.ndarray:
    fair = max(0.0, rng.normal(0.10, 0.25)) if head.melanin < 0.3 else 0.03
    red = rng.uniform(0.9, 1.25)
    base = np.array([0.12, 0.09, 0.07]) + min(fair, 0.5) * np.array([0.95 * red, 0.75, 0.45])
    return base.astype(np.float32)


def _strokes(view: View, side: int, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Cover (side, side) of hairs from starts (n, 2) to ends (n, 2), in eye distances."""
    canvas = np.zeros((side, side), np.uint8)
    unit = view.eye_distance * side
    shift = 16.0 * np.array([0.5 * side - 0.5, view.eye_height * side - 0.5])
    ends_px, starts_px = (np.rint(16 * unit * p + shift).astype(int) for p in (ends, starts))
    for start, end in zip(starts_px.tolist(), ends_px.tolist(), strict=True):
        cv2.line(canvas, start, end, 255, 1, cv2.LINE_AA, 4)
    return canvas.astype(np.float32) / 255


def _brows(head: Head, view: View, side: int, rng: np.random.Generator) -> np.ndarray:
    """Cover of both brows: strokes upwards at the inner end, outwards at the outer one."""
    count = int(0.9 * view.eye_distance * side) + 40
    starts, ends = [], []
    for sign in (-1, 1):
        t = rng.uniform(0, 1, count) ** 0.9
        spread = rng.uniform(-1, 1, count) * head.brow_thickness * (1 - 0.7 * t**2)
        start_x = 0.19 + head.brow_length * t
        start_y = head.brow_y + 0.03 - head.brow_arch * np.sin(np.pi * (0.1 + 0.72 * t)) + spread
        angle = np.deg2rad(70 - 85 * t + rng.normal(0, 10, count))
        length = rng.uniform(0.08, 0.15, count)
        end = np.stack([start_x + length * np.cos(angle), start_y - length * np.sin(angle) * 0.7])
        starts.append(np.stack([sign * start_x, start_y], axis=-1))
        ends.append((end * np.array([[sign], [1]])).T)
    cover = _strokes(view, side, np.concatenate(starts), np.concatenate(ends))
    return np.clip(rng.uniform(0.55, 0.95) * cv2.GaussianBlur(cover, (0, 0), 0.7) * 1.4, 0, 1)


def _beard(head: Head, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cover of beard and moustache: short hairs, denser with `head.beard`."""
    cheek = 0.62 + 0.55 * soft_step(0.75 - np.abs(x), 0.4)
    jaw = soft_step(y - cheek - 0.05, 0.12)
    moustache = soft_step(y - head.nose_tip_y - 0.12, 0.06) * soft_step(0.5 - np.abs(x), 0.1)
    lips, _ = _lips(head, x, y)
    bare = cv2.GaussianBlur(lips.astype(np.float32), (0, 0), 2)
    hairs = 0.6 + 0.4 * soft_step(_noise(x, 0.05, rng), 1.0)
    return 0.85 * head.beard * np.maximum(jaw, moustache) * hairs * np.clip(1 - 1.6 * bare, 0, 1)


def _opening(head: Head, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """t, −1…1 along each eye, and the heights of its upper and lower lid."""
    t = (np.abs(x) - 0.5) / head.eye_width
    arc = np.clip(1 - t**2, 0, 1)
    slant = -head.eye_slant * t * head.eye_width
    return t, slant - head.eye_opening * arc**0.8, slant + 0.8 * head.eye_opening * arc


def _lids(
    head: Head, x: np.ndarray, y: np.ndarray, skin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The skin with lashes and the lid's crease, and the eyes' opening (H, W)."""
    t, upper, lower = _opening(head, x, y)
    opening = soft_step(y - upper, 0.012) * soft_step(lower - y, 0.012) * (np.abs(t) < 1)
    ends = soft_step(1.08 - np.abs(t), 0.08)
    lash = ends * np.exp(-(((y - upper + 0.008) / 0.022) ** 2))
    under = ends * np.exp(-(((y - lower - 0.006) / 0.014) ** 2))
    crease = ends * np.exp(-(((y - upper + 0.085) / 0.02) ** 2))
    dark = 1 - np.clip(0.75 * lash + 0.3 * under + 0.28 * crease, 0, 0.85)
    return skin * dark[..., None], opening


def _eyeballs(head: Head, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    t, upper, _ = _opening(head, x, y)
    gaze = rng.normal(0, (0.012, 0.006))
    dx, dy = x - np.sign(x) * 0.5 - gaze[0], y + 0.012 - gaze[1]
    radius = np.hypot(dx, dy)
    white = np.array([0.84, 0.80, 0.77]) * (1 - 0.25 * t**2)[..., None]
    colour = np.array(_IRISES[int(rng.integers(len(_IRISES)))]) * rng.uniform(0.8, 1.2)
    spokes = 1 + 0.2 * np.sin(23 * np.arctan2(dy, dx) + 3 * _noise(x, 0.1, rng))
    ring = 1 - 0.6 * soft_step(radius - 0.085, 0.02)
    eye = _blended(white, colour * (spokes * ring)[..., None], soft_step(0.098 - radius, 0.01))
    eye = _blended(eye, np.array([0.03, 0.03, 0.03]), soft_step(0.04 - radius, 0.008))
    glint = np.exp(-((dx + 0.03) ** 2 + (dy + 0.035) ** 2) / 0.016**2)
    shadow = 1 - 0.45 * np.exp(-np.clip(y - upper, 0, None) / 0.035)
    return (eye * shadow[..., None] + 0.7 * glint[..., None]).clip(0, 1).astype(np.float32)


def _surroundings(
    head: Head,
    x: np.ndarray,
    y: np.ndarray,
    skin: np.ndarray,
    hair: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """The skin with neck, ears, hair and background, and where the relief is (H, W)."""
    outline = half_width(head, y)
    face = soft_step(outline - np.abs(x), 0.03) * (y < head.chin_y)
    backdrop = rng.uniform(0.25, 0.75) + rng.normal(0, 0.04, 3)
    picture = np.ones_like(skin) * backdrop * (1 + 0.04 * _noise(x, 2.0, rng))[..., None]
    tone = np.median(skin[face > 0.9], axis=0)
    neck_width = 0.72 * head.jaw_width + 0.12 * np.clip(y - head.chin_y, 0, None) ** 2
    neck = soft_step(neck_width - np.abs(x), 0.04) * (y > 1.0)
    picture = _blended(picture, 0.62 * tone, neck)
    ear = _spot(x, y, (head.cheek_width + 0.03, 0.18, 0.16, 0.42)) > np.exp(-1)
    picture = _blended(picture, 0.8 * tone, cv2.GaussianBlur(ear.astype(np.float32), (0, 0), 1.5))
    strands = np.ones_like(x)
    for wavelength, weight in ((0.05, 0.16), (0.13, 0.12)):
        # Noise that is drawn out downwards along the head looks like strands.
        columns = rng.standard_normal((1, round(2 * float(np.ptp(x)) / wavelength)), np.float32)
        stretched = cv2.resize(columns, (4 * x.shape[1], 1), interpolation=cv2.INTER_CUBIC)[0]
        bent = x / (1 + 0.15 * np.cos(y))
        index = (bent - x.min()) / np.ptp(x) * (len(stretched) - 1)
        strands += weight * stretched[np.clip(index, 0, len(stretched) - 1).astype(int)]
    long = rng.random() < 0.45
    hairline = head.hairline_y + rng.uniform(0.1, 0.45) * (x / head.cheek_width) ** 2
    hairline += 0.012 * _noise(x, 0.12, rng)
    reach, end = (0.28, rng.uniform(1.2, 3.0)) if long else (0.10, rng.uniform(-0.1, 0.2))
    cap_width = half_width(head, np.minimum(y, 0.3)) + reach
    cap = soft_step(cap_width - np.abs(x), 0.05) * soft_step(end - y, 0.1)
    cap *= y > head.crown_y - 0.2
    behind = cap * (1 - face)
    front = face * soft_step(hairline - y, 0.05)
    shine = 1 + 0.5 * np.exp(-(((y - head.hairline_y + 0.25) / 0.16) ** 2))
    locks = hair * (strands * shine)[..., None]
    picture = _blended(picture, locks, behind)
    picture = _blended(picture, skin, face)
    picture = _blended(picture, locks, front)
    # A little beyond the face, so that its edge is no bright line.
    body = soft_step(outline + 0.08 - np.abs(x), 0.04) * soft_step(head.chin_y + 0.02 - y, 0.04)
    return np.clip(picture, 0, 1), body * (1 - 0.7 * front)


def _glasses(head: Head, view: View, side: int, rng: np.random.Generator) -> np.ndarray:
    """(side, side, 4): two rims, a bridge and temples; the lenses reflect a little."""
    unit = view.eye_distance * side
    rim, lens = np.zeros((side, side), np.uint8), np.zeros((side, side), np.uint8)
    thickness = max(1, round(rng.uniform(0.03, 0.055) * unit))
    radii = (rng.uniform(0.36, 0.41), rng.uniform(0.24, 0.33))
    t = np.linspace(0, 2 * np.pi, 60)
    power = rng.uniform(0.55, 1.0)  # 1 is round, less is squarer
    circle = np.stack([np.cos(t), np.sin(t)], axis=-1)
    ring = np.abs(circle) ** power * np.sign(circle) * radii

    def places(points: np.ndarray) -> np.ndarray:
        corner = np.array([0.5 * side - 0.5, view.eye_height * side - 0.5])
        return np.rint(16 * (unit * points + corner)).astype(np.int32)

    for sign in (-1, 1):
        outline = places(ring + np.array([sign * 0.5, 0.05]))
        cv2.fillPoly(lens, [outline], 255, cv2.LINE_AA, 4)
        cv2.polylines(rim, [outline], True, 255, thickness, cv2.LINE_AA, 4)
        temple = np.array([(sign * (0.5 + radii[0]), 0.0), (sign * 1.3, -0.04)])
        cv2.polylines(rim, [places(temple)], False, 255, thickness, cv2.LINE_AA, 4)
    bridge = np.array([(-0.5 + radii[0], 0.0), (0.0, -0.05), (0.5 - radii[0], 0.0)])
    cv2.polylines(rim, [places(bridge)], False, 255, thickness, cv2.LINE_AA, 4)
    cover = np.maximum(rim.astype(np.float32), 0.07 * lens) / 255
    colour = np.where(rim[..., None] > 40, rng.uniform(0.03, 0.25, 3), (0.85, 0.9, 0.95))
    return np.dstack([colour, cover]).astype(np.float32)
