"""The difference of two runs on the same subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hcp_mer.reporting.figures.scores import Intervals, Scores
from hcp_mer.reporting.figures.theme import LIGHT, Theme, empty_figure, grid, title

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def comparison_figure(
    rows: Sequence[tuple[str, Scores, Intervals]],
    score_titles: Mapping[str, str],
    names: tuple[str, str] = ("A", "B"),
    theme: Theme = LIGHT,
) -> Figure:
    """Paired differences with their 95 % intervals, one panel per score; zero is no difference.

    A difference whose interval holds zero is drawn hollow: it may be none.

    Args:
        rows: of what (all clips, a corpus), differences, their intervals.
        score_titles: key of a score → its title, one panel each.
        names: the two runs; right of zero the first is better.
    """
    number = len(score_titles)
    height_inches = 0.7 + number * (0.35 + 0.27 * len(rows))
    figure, panels = empty_figure(height_inches, theme, rows=number, share_x=True)
    widest = max(
        0.05,
        *(abs(v) for _, d, i in rows for key in score_titles for v in (d[key], *(i[key] or ()))),
    )
    for axes, (key, name) in zip(panels, score_titles.items(), strict=True):
        for place, (_, differences, intervals) in enumerate(rows):
            value, interval = differences[key], intervals[key]
            shown = interval is not None and not interval[0] <= 0 <= interval[1]
            colour = theme.model if shown else theme.other
            if interval is not None:
                axes.plot(interval, [place, place], color=colour, linewidth=2)
            face = colour if shown else theme.page
            axes.plot(value, place, "o", color=colour, markerfacecolor=face, markersize=6)
            axes.annotate(
                f"{value:+.3f}".replace("-", "−"), (1.01, place),
                xycoords=("axes fraction", "data"), va="center", size=8.5, color=theme.ink,
            )  # fmt: skip
        axes.axvline(0, color=theme.ink, linewidth=1)
        title(axes, name, theme)
        axes.set_yticks(range(len(rows)), [row[0] for row in rows])
        axes.set(xlim=(-1.1 * widest, 1.1 * widest), ylim=(len(rows) - 0.5, -0.5))
        grid(axes, theme, "x")
        axes.tick_params(axis="y", length=0)
    panels[-1].set_xlabel(f"← {names[1]} better      {names[0]} better →")
    return figure
