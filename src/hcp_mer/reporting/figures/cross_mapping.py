"""Emotions and action units (Fig. 6): a heat map, and both directions of the mapping as lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from hcp_mer.errors import UserError
from hcp_mer.reporting.figures.theme import (
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

_WIDEST_POINTS = 9.0


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
    counts = np.asarray(counts)
    share = _share(counts, num_clips)
    height_inches = 0.7 + 0.42 * len(classes)
    figure, (axes,) = empty_figure(height_inches, theme, width_inches=PAGE_INCHES)

    def text(row: int, column: int) -> str:
        return f"{counts[row, column]}\n{share[row, column]:.0%}" if counts[row, column] else ""

    heat_map(axes, share, text, theme, size=8 if len(units) <= 20 else 6.5)
    axes.set_aspect("auto")
    axes.set_xticks(range(len(units)), map(str, units))
    axes.set_yticks(range(len(classes)), _sized(classes, num_clips))
    axes.set(xlabel="action unit", ylabel="class (clips)")
    return figure


def bipartite_figure(
    counts: ArrayLike,
    num_clips: Sequence[int],
    classes: Sequence[str],
    units: Sequence[int],
    theme: Theme = LIGHT,
) -> Figure:
    """Classes joined to the action units that they show, as wide as the share of their clips.

    Left, (a) many to one: the lines of the action unit that stands in most classes. Right, (b) one
    to many: those of the class that shows most action units. Their shares are written.

    Args: as for `cross_mapping_figure`.
    Raises:
        UserError: no clip shows any action unit.
    """
    counts = np.asarray(counts)
    share = _share(counts, num_clips)
    if not counts.any():
        raise UserError(
            "no clip has an action unit, so there is no mapping to draw: give pairs with a column "
            "action_units"
        )
    rows = max(len(classes), 0.62 * len(units))
    figure, panels = empty_figure(
        0.9 + 0.36 * rows, theme, width_inches=PAGE_INCHES, columns=2, share_y=True
    )
    unit = max(
        range(len(units)), key=lambda u: (np.count_nonzero(counts[:, u]), counts[:, u].sum())
    )
    richest = max(range(len(classes)), key=lambda c: (np.count_nonzero(counts[c]), counts[c].sum()))
    shown = np.zeros((2, *counts.shape), bool)
    shown[0, :, unit], shown[1, richest] = True, True
    names = _sized(classes, num_clips)
    for axes, marked in zip(panels, shown, strict=True):
        _join(axes, share, marked, names, units, theme)
    many = np.count_nonzero(counts[:, unit])
    title(panels[0], f"(a) many to one: AU{units[unit]} in {many} of {len(classes)} classes", theme)
    number = np.count_nonzero(counts[richest])
    title(panels[1], f"(b) one to many: {classes[richest]} in {number} action units", theme)
    return figure


def _join(
    axes: Axes,
    share: np.ndarray,
    marked: np.ndarray,
    names: Sequence[str],
    units: Sequence[int],
    theme: Theme,
) -> None:
    """One panel: a line for each share > 0, those `marked` in the model's colour and written."""
    left, right = _places(len(names)), _places(len(units))
    for row, column in zip(*np.nonzero(share), strict=True):
        strong = marked[row, column]
        axes.plot(
            [0, 1],
            [left[row], right[column]],
            color=theme.model if strong else theme.faint,
            linewidth=max(0.4, _WIDEST_POINTS * share[row, column]),
            alpha=0.85 if strong else 0.4,
            solid_capstyle="butt",
            zorder=2 if strong else 1,
        )
    # At the end where the marked lines lie apart.
    at_classes = np.count_nonzero(marked.any(axis=1)) > 1
    for row, column in zip(*np.nonzero(share * marked), strict=True):
        along = 0.12 if at_classes else 0.88
        height = left[row] + along * (right[column] - left[row])
        axes.text(
            along,
            height,
            f"{share[row, column]:.0%}",
            size=8,
            color=theme.ink,
            ha="center",
            va="center",
            zorder=3,
            bbox={"boxstyle": "round,pad=0.15", "facecolor": theme.page, "edgecolor": "none"},
        )
    strong_rows, strong_columns = marked.any(axis=1), (share * marked).any(axis=0)
    for row, name in enumerate(names):
        weight = "bold" if strong_rows[row] and (share * marked)[row].any() else "normal"
        axes.text(-0.03, left[row], name, ha="right", va="center", color=theme.ink, size=9,
                  weight=weight)  # fmt: skip
    for column, unit in enumerate(units):
        weight = "bold" if strong_columns[column] else "normal"
        axes.text(1.03, right[column], f"AU{unit}", ha="left", va="center", color=theme.ink,
                  size=9, weight=weight)  # fmt: skip
    axes.set(xlim=(-0.45, 1.2), ylim=(1.05, -0.05))
    axes.set_axis_off()


def _places(number: int) -> np.ndarray:
    """Heights in [0, 1] of so many names, the first on top; a single one in the middle."""
    return np.linspace(0, 1, number) if number > 1 else np.array([0.5])


def _share(counts: np.ndarray, num_clips: Sequence[int]) -> np.ndarray:
    clips = np.asarray(num_clips)[:, None]
    return np.divide(counts, clips, out=np.zeros(counts.shape), where=clips > 0)


def _sized(classes: Sequence[str], num_clips: Sequence[int]) -> list[str]:
    return [f"{name} ({number})" for name, number in zip(classes, num_clips, strict=True)]
