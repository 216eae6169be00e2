"""Ablations (Fig. 3): bars with intervals, one group per task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hcp_mer.reporting.figures.scores import Intervals, Scores
from hcp_mer.reporting.figures.theme import (
    COLUMN_INCHES,
    LIGHT,
    PAGE_INCHES,
    Theme,
    add_note,
    empty_figure,
    grid,
    title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rows = Sequence[tuple[str, Scores, Intervals]]
_SCORES = {"uf1": "UF1", "uar": "UAR"}  # those of the paper's figure


def ablation_figure(rows: Rows, title: str = "", theme: Theme = LIGHT) -> Figure:
    """Bars with 95 % intervals of the full model and of it with one part left out, in one task.

    Args:
        rows: name, scores ("uf1", "uar"), intervals; the full model first.
        title: of the task, e.g. "3-class".
    """
    return ablation_tasks_figure([(title, rows)], theme)


def ablation_tasks_figure(tasks: Sequence[tuple[str, Rows]], theme: Theme = LIGHT) -> Figure:
    """As `ablation_figure`, a group of bars for each task, UF1 left and UAR right.

    The dashed line is the full model: an interval that reaches over it is no proof either way,
    since the intervals of two systems on the same clips are not independent (the paired
    differences in the table are).
    """
    heights = [0.55 + 0.3 * len(rows) for _, rows in tasks]
    # Two narrow columns of bars beside their long names need more than a column of the report.
    width_inches = PAGE_INCHES if len(tasks) > 1 else 1.35 * COLUMN_INCHES
    figure, places = empty_figure(
        0.4 + sum(heights),
        theme,
        width_inches=width_inches,
        rows=len(tasks),
        columns=len(_SCORES),
        share_x=True,
        share_y="row",
    )
    panels = iter(places)
    for name, rows in tasks:
        for key, score_title in _SCORES.items():
            axes = next(panels)
            _draw_bars(axes, rows, key, theme)
            title(axes, f"{name}: {score_title}" if name else score_title, theme)
    add_note(figure, "whiskers: 95 % intervals over subjects; dashed: the full model", theme)
    return figure


def _draw_bars(axes: Axes, rows: Rows, key: str, theme: Theme) -> None:
    full = rows[0][1][key]
    for place, (_, scores, intervals) in enumerate(rows):
        colour = theme.model if place == 0 else theme.other
        axes.barh(
            place, scores[key], 0.66, color=colour if place == 0 else theme.faint,
            edgecolor=colour, linewidth=0.8,
        )  # fmt: skip
        end = scores[key]
        if intervals.get(key) is not None:
            low, high = intervals[key]
            axes.plot([low, high], [place, place], color=theme.ink, linewidth=1.4)
            axes.plot([low, high], [place, place], "|", color=theme.ink, markersize=6)
            end = max(end, high)
        axes.annotate(
            f"{scores[key]:.3f}", (end, place), (4, 0), textcoords="offset points",
            va="center", size=8, color=theme.ink, zorder=4,
            bbox={"facecolor": theme.page, "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
    axes.axvline(full, color=theme.model, linestyle="--", linewidth=1, zorder=0)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.set(xlim=(0, 1.12), ylim=(len(rows) - 0.5, -0.5))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.tick_params(axis="y", length=0)
    grid(axes, theme, "x")
