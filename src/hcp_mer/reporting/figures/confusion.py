"""Confusion matrices: one, or those of several tasks and corpora side by side (Fig. 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from hcp_mer.reporting.figures.theme import (
    COLUMN_INCHES,
    LIGHT,
    PAGE_INCHES,
    Theme,
    empty_figure,
    heat_map,
    title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_COLUMNS = 3
_FEW_CLASSES = 4


def confusion_figure(confusion: ArrayLike, classes: Sequence[str], theme: Theme = LIGHT) -> Figure:
    """Confusion matrix: each cell says its count and its share of the row; colour is the share.

    Args:
        confusion: (num_classes, num_classes) counts, rows true, columns predicted; with several
            seeds their mean, so not always whole numbers.
    """
    figure, (axes,) = empty_figure(0.85 * COLUMN_INCHES, theme)
    _draw(axes, confusion, classes, theme, size=8.5 if len(classes) > _FEW_CLASSES else 10)
    return figure


def confusion_grid_figure(
    panels: Sequence[tuple[str, ArrayLike, Sequence[str]]], theme: Theme = LIGHT
) -> Figure:
    """Confusion matrices of several runs, each as in `confusion_figure`, at most three in a row.

    Args:
        panels: title, confusion and classes of each; tasks may differ.
    """
    columns = min(_MOST_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width_inches = PAGE_INCHES * columns / _MOST_COLUMNS
    figure, places = empty_figure(
        rows * 0.36 * PAGE_INCHES, theme, width_inches=width_inches, rows=rows, columns=columns
    )
    for axes, (name, confusion, classes) in zip(places, panels, strict=False):
        _draw(axes, confusion, classes, theme, size=6 if len(classes) > _FEW_CLASSES else 8.5)
        axes.tick_params(labelsize=8)
        title(axes, name, theme)
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    return figure


def _draw(
    axes: Axes, confusion: ArrayLike, classes: Sequence[str], theme: Theme, size: float
) -> None:
    confusion = np.asarray(confusion, float)
    num_clips = confusion.sum(axis=1, keepdims=True)
    share = np.divide(confusion, num_clips, out=np.zeros_like(confusion), where=num_clips > 0)

    def text(row: int, column: int) -> str:
        count = _count(confusion[row, column])
        return f"{count}\n{share[row, column]:.0%}" if num_clips[row] else count

    heat_map(axes, share, text, theme, size)
    small = len(classes) > _FEW_CLASSES
    ticks = range(len(classes))
    axes.set_xticks(ticks, classes, rotation=40 if small else 0, ha="right" if small else "center")
    axes.set_yticks(ticks, classes)
    axes.set(xlabel="predicted", ylabel="true")


def _count(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.1f}"
