"""From scores to matplotlib figures: no pyplot, no global state, a light and a dark theme.

Colours are Okabe and Ito's, which colour-blind readers tell apart; every value that a colour shows
is also written or marked by shape, so that the figures survive a grey printer.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from hcp_mer.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# As wide as a column of the report and as the whole report, so that text keeps its size there.
COLUMN_INCHES = 5.6
PAGE_INCHES = 10.5


@dataclass(frozen=True)
class Theme:
    """Colours of a figure: page, text, weaker text, the model, everything it is compared with."""

    page: str
    ink: str
    faint: str
    model: str
    other: str


LIGHT = Theme(page="#ffffff", ink="#1b1f24", faint="#b9c0c8", model="#0072b2", other="#5d6670")
DARK = Theme(page="#171b20", ink="#e4e8ec", faint="#4a535d", model="#56b4e9", other="#aab3bc")


def confusion_figure(confusion: ArrayLike, classes: Sequence[str], theme: Theme = LIGHT) -> Figure:
    """Confusion matrix: each cell says its count and its share of the row; colour is the share.

    Args:
        confusion: (num_classes, num_classes) counts, rows true, columns predicted; with several
            seeds their mean, so not always whole numbers.
    """
    confusion = np.asarray(confusion, float)
    num_clips = confusion.sum(axis=1, keepdims=True)
    share = np.divide(confusion, num_clips, out=np.zeros_like(confusion), where=num_clips > 0)
    figure, (axes,) = _figure(0.85 * COLUMN_INCHES, theme)
    small = len(classes) > 4

    def text(row: int, column: int) -> str:
        count = _count(confusion[row, column])
        return f"{count}\n{share[row, column]:.0%}" if num_clips[row] else count

    _heat_map(axes, share, text, theme, size=8.5 if small else 10)
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=40 if small else 0, ha="right" if small else "center")
    axes.set_yticks(ticks, classes)
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def cross_mapping_figure(
    counts: ArrayLike,
    num_clips: Sequence[int],
    classes: Sequence[str],
    units: Sequence[int],
    theme: Theme = LIGHT,
) -> Figure:
    """Class by action unit: each cell says its clips and their share of the class's clips.

    Args:
        counts: (num_classes, num_units) clips that show a unit; a clip shows several, so a row's
            shares add up to more than one. num_clips: of each class, those with any annotation.
    """
    counts, clips = np.asarray(counts), np.asarray(num_clips)[:, None]
    share = np.divide(counts, clips, out=np.zeros(counts.shape), where=clips > 0)
    height_inches = 0.7 + 0.42 * len(classes)
    figure, (axes,) = _figure(height_inches, theme, width_inches=PAGE_INCHES)

    def text(row: int, column: int) -> str:
        return f"{counts[row, column]}\n{share[row, column]:.0%}" if counts[row, column] else ""

    _heat_map(axes, share, text, theme, size=8 if len(units) <= 20 else 6.5)
    axes.set_aspect("auto")
    axes.set_xticks(range(len(units)), map(str, units))
    names = [f"{name} ({number})" for name, number in zip(classes, num_clips, strict=True)]
    axes.set_yticks(range(len(classes)), names)
    axes.set(xlabel="action unit", ylabel="class (annotated clips)")
    return figure


def subjects_figure(per_subject: Sequence[Mapping[str, Any]], theme: Theme = LIGHT) -> Figure:
    """One bar per subject, as wide as the subject has clips and as high as its accuracy.

    The coloured area is then the share of clips recognised: it shows which subjects carry the
    pooled accuracy (dashed line), and how many have too few clips to say anything.

    Args:
        per_subject: {"dataset", "subject", "num_clips", "accuracy"} each.
    """
    subjects = sorted(per_subject, key=lambda row: (-row["num_clips"], -row["accuracy"]))
    num_clips = np.array([row["num_clips"] for row in subjects])
    accuracy = np.array([row["accuracy"] for row in subjects])
    left = np.cumsum(num_clips) - num_clips
    figure, (axes,) = _figure(3.2, theme, width_inches=PAGE_INCHES)
    # Between many narrow bars, gaps of full width would cover the bars themselves.
    gap_points = min(0.8, 16 / len(subjects))
    style = {"align": "edge", "edgecolor": theme.page, "linewidth": gap_points}
    axes.bar(left, np.ones_like(accuracy), num_clips, color=theme.faint, alpha=0.35, **style)
    axes.bar(left, accuracy, num_clips, color=theme.model, **style)
    pooled = float((accuracy * num_clips).sum() / num_clips.sum())
    axes.axhline(pooled, color=theme.ink, linestyle="--", linewidth=1)
    axes.set_title(f"dashed: all clips, {pooled:.1%}", color=theme.ink, size=9, loc="right")
    _name_wide_bars(axes, subjects, left + num_clips / 2, num_clips)
    axes.set(xlim=(0, num_clips.sum()), ylim=(0, 1), ylabel="accuracy")
    axes.set_xlabel("subjects, most clips first; width = number of clips")
    axes.yaxis.set_major_formatter("{x:.0%}")
    return figure


def scores_figure(
    systems: Sequence[tuple[str, Mapping[str, float], Mapping[str, Sequence[float] | None]]],
    score_titles: Mapping[str, str],
    theme: Theme = LIGHT,
) -> Figure:
    """Dot and whisker (95 % interval) per system, one panel per score.

    Args:
        systems: name, scores, intervals; the model first: it is drawn filled, the others hollow.
        score_titles: key of a score → its title, one panel each.
    """
    height_inches = 0.5 + len(score_titles) * (0.35 + 0.24 * len(systems))
    figure, panels = _figure(height_inches, theme, num_panels=len(score_titles))
    for axes, (key, title) in zip(panels, score_titles.items(), strict=True):
        for row, (_, scores, intervals) in enumerate(systems):
            colour = theme.model if row == 0 else theme.other
            if intervals[key] is not None:
                axes.plot(intervals[key], [row, row], color=colour, linewidth=2)
            face = colour if row == 0 else theme.page
            axes.plot(scores[key], row, "o", color=colour, markerfacecolor=face, markersize=6)
        axes.set_title(title, color=theme.ink, size=10, loc="left")
        axes.set_yticks(range(len(systems)), [name for name, _, _ in systems])
        axes.set(xlim=(0, 1), ylim=(len(systems) - 0.5, -0.5))
        axes.grid(axis="x", color=theme.faint, linewidth=0.5, alpha=0.6)
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return figure


def render(figure: Figure, image_format: str) -> bytes:
    """The figure as "png" (200 dpi) or "svg"; the same figure always gives the same bytes."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    # Without a salt and with a date, an SVG would differ at every writing.
    metadata = {"Date": None} if image_format == "svg" else {"Software": None}
    with rc_context({"svg.hashsalt": "hcp_mer"}):
        figure.savefig(buffer, format=image_format, dpi=200, metadata=metadata)
    return buffer.getvalue()


def _figure(
    height_inches: float,
    theme: Theme,
    *,
    width_inches: float = COLUMN_INCHES,
    num_panels: int = 1,
) -> tuple[Figure, list[Axes]]:
    """An empty figure with its panels below each other, in the theme's colours."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise UserError(
            'the report draws with matplotlib, which is absent: pip install "hcp_mer[report]"'
        ) from error
    figure = Figure((width_inches, height_inches), facecolor=theme.page, layout="constrained")
    panels = list(figure.subplots(num_panels, 1, sharex=True, squeeze=False)[:, 0])
    for axes in panels:
        axes.set_facecolor(theme.page)
        axes.tick_params(colors=theme.ink, labelsize=9)
        axes.xaxis.label.set_color(theme.ink)
        axes.yaxis.label.set_color(theme.ink)
        axes.spines[:].set_color(theme.faint)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _heat_map(
    axes: Axes, share: np.ndarray, text: Callable[[int, int], str], theme: Theme, size: float
) -> None:
    """Cells whose colour is a share in [0, 1] and which say `text(row, column)`, size in points."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("share", [theme.page, theme.model])
    axes.imshow(share, cmap=shades, vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(share):
        colour = _most_legible(shades(value)[:3])
        axes.text(column, row, text(row, column), ha="center", va="center", color=colour, size=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _name_wide_bars(
    axes: Axes, subjects: Sequence[Mapping[str, Any]], centres: ArrayLike, num_clips: ArrayLike
) -> None:
    """Write a subject's name below its bar where the bar is wide enough for upright text."""
    wide = np.flatnonzero(np.asarray(num_clips) >= np.sum(num_clips) / 75)
    several = len({row["dataset"] for row in subjects}) > 1
    keys = ("dataset", "subject") if several else ("subject",)
    names = ["/".join(str(subjects[index][key]) for key in keys) for index in wide]
    axes.set_xticks(np.asarray(centres)[wide], names, rotation=90)
    axes.tick_params(axis="x", length=0, labelsize=8)


def _most_legible(background: Sequence[float]) -> str:
    """Black or white, whichever has the higher WCAG contrast on an RGB colour in [0, 1]."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in background]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    # (L + 0.05) / 0.05 against black, 1.05 / (L + 0.05) against white: one is always above 4.5.
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"


def _count(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"
