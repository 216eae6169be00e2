"""Scores of several systems with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hcp_mer.reporting.figures.theme import LIGHT, Theme, empty_figure, grid, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scores = Mapping[str, float]
Intervals = Mapping[str, Sequence[float] | None]


def scores_figure(
    systems: Sequence[tuple[str, Scores, Intervals]],
    score_titles: Mapping[str, str],
    theme: Theme = LIGHT,
) -> Figure:
    """Dot and whisker (95 % interval) per system, one panel per score.

    Args:
        systems: name, scores, intervals; the model first: it is drawn filled, the others hollow.
        score_titles: key of a score → its title, one panel each.
    """
    number = len(score_titles)
    height_inches = 0.5 + number * (0.35 + 0.24 * len(systems))
    figure, panels = empty_figure(height_inches, theme, rows=number, share_x=True)
    for axes, (key, name) in zip(panels, score_titles.items(), strict=True):
        for row, (_, scores, intervals) in enumerate(systems):
            colour = theme.model if row == 0 else theme.other
            if intervals[key] is not None:
                axes.plot(intervals[key], [row, row], color=colour, linewidth=2)
            face = colour if row == 0 else theme.page
            axes.plot(scores[key], row, "o", color=colour, markerfacecolor=face, markersize=6)
        title(axes, name, theme)
        axes.set_yticks(range(len(systems)), [name for name, _, _ in systems])
        axes.set(xlim=(0, 1), ylim=(len(systems) - 0.5, -0.5))
        grid(axes, theme, "x")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
    return figure
