"""The panels of a picture: a face, its movement, where a branch looked, the course, bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hcp_mer.model.flow_image_hcp_mer import ZERO_LEVEL
from hcp_mer.recognition.answer import Course

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

# Okabe and Ito's colours, which colour-blind readers tell apart, as in the report's figures.
INK, WEAK, FAINT, BLUE, ORANGE = "#1b1f24", "#5d6670", "#d3d8dd", "#0072b2", "#d55e00"
SMALL_PT, USUAL_PT, TITLE_PT = 8.5, 9.5, 10.5
BAR_ROW_INCHES = 0.42
_MOVEMENT_COLOURS, _LOOK_COLOURS = "Blues", "OrRd"  # ever darker: a grey printer keeps the order
_ARROWS_ACROSS = 15
_LEAST_ARROW = 0.15  # of the longest one; below it a face is full of arrows that say nothing
_OF_ZERO = 16  # levels: how far a flow image's resting skin may lie from ZERO_LEVEL
_MOST_DOTS = 80  # of a course; more frames are a line alone
_HEADROOM = 1.45  # of a course's axes over its highest value
LONG_S = 10.0  # courses from here on are told in seconds, shorter ones in ms


@dataclass(frozen=True)
class Bar:
    """A row of a chart of bars: what it is, its value in words, its length; strong: highlighted."""

    label: str
    value: str
    length: float
    strong: bool = False


def write(axes: Axes, x: float, y: float, words: str, **looks: Any) -> Text:
    """Words at a place in the axes' own shares; never read as a formula, whatever is in them."""
    looks = {"size": SMALL_PT, "color": WEAK, "transform": axes.transAxes, **looks}
    return axes.text(x, y, words, parse_math=False, **looks)


def paint_face(axes: Axes, image: np.ndarray) -> None:
    """A frame as it is, uint8 RGB (H, W, 3)."""
    axes.imshow(image)
    _bare(axes)


def paint_movement(axes: Axes, flow_image: np.ndarray, face: np.ndarray | None) -> None:
    """Where the skin goes: arrows, and the darker, the farther, over a pale face.

    A flow image of which the directions cannot be told, see `decoded_flow`, is shown as it is.

    Args: flow_image, uint8 (H, W, 3); face, a frame of the same size or None.
    """
    flow = decoded_flow(flow_image)
    if flow is None:
        axes.imshow(flow_image)
        _bare(axes)
        write(axes, 0, -0.045, "the flow image, as the model reads it", va="top")
        return
    speed = np.hypot(flow[..., 0], flow[..., 1])
    speed /= max(float(speed.max()), 1e-9)
    if face is None or face.shape != flow_image.shape:
        face = np.full_like(flow_image, 255)
    axes.imshow(_tinted(face, speed, _MOVEMENT_COLOURS))
    _bare(axes)
    _arrows(axes, flow, speed)
    _key(axes, _MOVEMENT_COLOURS, "from still to what moves most")


def decoded_flow(flow_image: np.ndarray) -> np.ndarray | None:
    """u and v of a flow image, (H, W, 2) in shares of its scale, −1…1; None if it has no such.

    `flow_to_image` gives resting skin level 128 in both, and most of a picture rests; colour
    wheels and images stretched from their least to their largest value have other middles.
    """
    middle = np.median(flow_image[..., :2], axis=(0, 1))
    if (np.abs(middle - ZERO_LEVEL) > _OF_ZERO).any():
        return None
    return np.clip((flow_image[..., :2].astype(np.float32) - ZERO_LEVEL) / 127, -1, 1)


def _arrows(axes: Axes, flow: np.ndarray, speed: np.ndarray) -> None:
    """Arrows on an even grid, the longest as long as the grid is wide."""
    from matplotlib.patheffects import withStroke

    height, width = speed.shape
    spacing_px = width / _ARROWS_ACROSS
    columns = (spacing_px * (np.arange(_ARROWS_ACROSS) + 0.5)).astype(int)
    rows = (spacing_px * (np.arange(int(height / spacing_px)) + 0.5)).astype(int)
    grid = np.ix_(rows, columns)
    shown = speed[grid] > _LEAST_ARROW
    if not shown.any():
        return
    y, x = (axis[shown] for axis in np.meshgrid(rows, columns, indexing="ij"))
    u, v = (flow[..., axis][grid][shown] for axis in (0, 1))
    longest = np.hypot(u, v).max() / (1.15 * spacing_px)
    arrows = axes.quiver(
        x, y, u, v, color=INK, angles="xy", scale_units="xy", scale=longest, width=0.0065,
        headwidth=3.4, headlength=3.4, headaxislength=3.0, minlength=0.5,
    )  # fmt: skip
    arrows.set_path_effects([withStroke(linewidth=1.4, foreground="white")])


def paint_look(axes: Axes, attention: np.ndarray, picture: np.ndarray) -> None:
    """What speaks for the answer, the darker, the more; the outline holds half of it.

    Args: attention, (S, S) numbers, of which those below 0 count as 0; picture, uint8 (H, W, 3).
    Raises ValueError for attention that is not finite.
    """
    if not np.isfinite(attention).all():
        raise ValueError("attention must be finite, got NaN or infinity.")
    weights = np.clip(np.asarray(attention, np.float64), 0, None)
    height, width = picture.shape[:2]
    rows, columns = (np.arange(n) * s // n for n, s in zip((height, width), weights.shape))
    laid = weights[np.ix_(rows, columns)]
    axes.imshow(_tinted(picture, laid / max(float(laid.max()), 1e-12), _LOOK_COLOURS))
    _bare(axes)
    if not laid.any():
        write(axes, 0, -0.045, "nothing in particular", va="top")
        return
    half = half_mask(laid)
    padded = np.pad(half.astype(float), 1)  # an outline along the border is closed, too
    for colour, line in (("white", 3.0), (INK, 1.3)):
        axes.contour(
            np.arange(-1, width + 1), np.arange(-1, height + 1), padded,
            levels=[0.5], colors=colour, linewidths=line,
        )  # fmt: skip
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    _key(axes, _LOOK_COLOURS, f"outline: half, on {100 * half.mean():.0f} % of area")


def half_mask(weights: np.ndarray) -> np.ndarray:
    """The fewest places that together have at least half of weights ≥ 0, bool of their shape."""
    order = np.argsort(-weights, axis=None, kind="stable")
    before = np.cumsum(weights.flat[order]) - weights.flat[order]
    chosen = np.zeros(weights.size, bool)
    chosen[order[before < weights.sum() / 2]] = True
    return chosen.reshape(weights.shape)


def _tinted(face: np.ndarray, share: np.ndarray, colours: str) -> np.ndarray:
    """A face in pale grey, darkened and coloured by shares in [0, 1]; floats (H, W, 3).

    A product, no transparency: dark heat stays dark on dark and on bright skin.
    """
    from matplotlib import colormaps

    pale = 0.55 + 0.45 * (face[..., :3] @ (0.299, 0.587, 0.114)) / 255
    tint = colormaps[colours](0.85 * share)[..., :3]  # darker still would hide lines above it
    return np.clip(pale[..., None] * tint, 0, 1)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _key(axes: Axes, colours: str, words: str) -> None:
    """A strip of the colours below a face, from pale to dark, and what they mean."""
    from matplotlib import colormaps

    strip = axes.inset_axes([0, -0.1, 0.2, 0.05])
    strip.imshow(colormaps[colours](0.85 * np.linspace(0, 1, 64))[None, :, :3], aspect="auto")
    strip.set(xticks=[], yticks=[])
    strip.spines[:].set_color(FAINT)
    write(axes, 0.225, -0.075, words, va="center_baseline")


def paint_course(axes: Axes, course: Course) -> None:
    """Movement over time, the clip's own noise, and where the three key frames lie."""
    x, unit = _along(course)
    energies_px = np.asarray(course.energies_px, float)
    highest = max(float(energies_px.max()), course.noise_px, 1e-6)
    axes.axhspan(0, course.noise_px, color=FAINT, alpha=0.55, linewidth=0)
    axes.axhline(course.noise_px, color=WEAK, linewidth=1, linestyle=(0, (4, 3)))
    few = len(x) <= _MOST_DOTS
    axes.plot(x, energies_px, color=INK, linewidth=1.5, marker="." if few else None, markersize=5)
    _mark_key_frames(axes, course, x, energies_px)
    axes.set(xlim=(x[0], max(x[-1], x[0] + 1e-6)), ylim=(0, _HEADROOM * highest))
    axes.set_xlabel(unit, size=SMALL_PT, color=WEAK, labelpad=2)
    axes.set_ylabel("px of a face 224 px wide", size=SMALL_PT, color=WEAK)
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.tick_params(colors=WEAK, labelsize=SMALL_PT)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.annotate(
        "noise", (1, course.noise_px), xycoords=("axes fraction", "data"), xytext=(-3, 2),
        textcoords="offset points", ha="right", va="bottom", size=SMALL_PT, color=WEAK,
    )  # fmt: skip


def _mark_key_frames(axes: Axes, course: Course, x: np.ndarray, energies_px: np.ndarray) -> None:
    """Onset, apex and offset on the course, and their key above it."""
    below_key = {"ymin": 0, "ymax": 1.08 / _HEADROOM}
    start, end = x[course.onset], x[course.offset]
    axes.axvspan(start, end, color=BLUE, alpha=0.07, linewidth=0, **below_key)
    looks = {"onset": (">", WEAK), "apex": ("o", ORANGE), "offset": ("<", WEAK)}
    for name, (marker, colour) in looks.items():
        index = getattr(course, name)
        axes.axvline(x[index], color=colour, linewidth=1, **below_key)
        axes.plot(
            x[index], energies_px[index], marker, color=colour, markersize=8,
            markeredgecolor="white", linestyle="none", label=f"{name}\n{_when(course, index)}",
            zorder=3, clip_on=False,
        )  # fmt: skip
    axes.legend(
        loc="upper center", ncols=3, frameon=False, fontsize=SMALL_PT, labelcolor=INK,
        handletextpad=0.3, columnspacing=1.6, borderaxespad=0.1,
    )  # fmt: skip


def _along(course: Course) -> tuple[np.ndarray, str]:
    """Where the frames lie along the axis, and what that is."""
    if course.times_s is None:
        return np.asarray(course.numbers, float), "frame"
    times_s = np.asarray(course.times_s, float)
    return (times_s, "time, s") if _is_long(course) else (1000 * times_s, "time, ms")


def _when(course: Course, index: int) -> str:
    frame = f"frame {course.numbers[index]}"
    if course.times_s is None:
        return frame
    time_s = course.times_s[index]
    return f"{time_s:.2f} s, {frame}" if _is_long(course) else f"{1000 * time_s:.0f} ms, {frame}"


def _is_long(course: Course) -> bool:
    """Whether its times are read in seconds."""
    return course.times_s[-1] - course.times_s[0] > LONG_S


def paint_bars(axes: Axes, bars: Sequence[Bar], rows: float, whole: float | None = None) -> None:
    """Bars under their names, values to the right of these.

    Args: rows, for how many there is room; whole, the length of a full bar, else the longest one.
        Lengths below 0 go to the left of a line at 0.
    """
    lengths = [bar.length for bar in bars]
    low = min(0.0, *lengths)
    high = max(0.0, *lengths) if whole is None else max(whole, *lengths)
    span = max(high - low, 1e-9)
    for row, bar in enumerate(bars):
        colour = BLUE if bar.strong else WEAK
        looks = {"size": USUAL_PT, "color": INK, "va": "center", "transform": axes.transData}
        weight = "bold" if bar.strong else "normal"
        write(axes, 0, row + 0.28, bar.label, weight=weight, **looks)
        write(axes, 1, row + 0.28, bar.value, weight=weight, ha="right", **looks)
        axes.barh(row + 0.68, 1, 0.2, color="#eef0f2", linewidth=0)
        axes.barh(
            row + 0.68, bar.length / span, 0.2, left=-low / span, color=colour, linewidth=0,
        )  # fmt: skip
    if low < 0:
        axes.plot([-low / span] * 2, [0.45, len(bars)], color=INK, linewidth=0.8)
    axes.set(xlim=(0, 1), ylim=(max(rows, len(bars)), 0))
    axes.set_axis_off()
