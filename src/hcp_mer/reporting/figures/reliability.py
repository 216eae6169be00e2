"""Whether answers with a score of 0.7 are right in 7 of 10 cases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hcp_mer.reporting.figures.theme import LIGHT, PAGE_INCHES, Theme, empty_figure, grid, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANELS = {"raw": "as trained", "calibrated": "calibrated"}


def reliability_figure(calibration: Mapping[str, Any], theme: Theme = LIGHT) -> Figure:
    """Share of right answers in each bin of scores, before and after the temperature.

    Where scores can be believed, bars end at the dashed diagonal, and at the mark that shows the
    mean score of their bin. The number of answers stands above each bar; below the dotted line an
    answer is called unsure.

    Args: calibration: as `hcp_mer.reporting.calibration.calibrate` returns it.
    """
    figure, panels = empty_figure(3.4, theme, width_inches=PAGE_INCHES, columns=2, share_y=True)
    for axes, (name, words) in zip(panels, _PANELS.items(), strict=True):
        _bars(axes, calibration["bins"][name], theme)
        title(axes, f"{words}: ECE {calibration['ece'][name]:.3f}", theme)
        axes.set(xlim=(0, 1), ylim=(0, 1.09), xlabel="score of the answer")
        axes.set_yticks(np.linspace(0, 1, 6))
        axes.yaxis.set_major_formatter("{x:.0%}")
        grid(axes, theme)
    panels[0].set_ylabel("right answers")
    panels[1].axvline(calibration["unsure_below"], color=theme.ink, linestyle=":", linewidth=1.2)
    return figure


def _bars(axes: Axes, bins: Mapping[str, list[Any]], theme: Theme) -> None:
    """Bars of the bins that are not empty; a bar of nothing right has its number alone."""
    width = 1 / len(bins["count"])
    axes.plot([0, 1], [0, 1], color=theme.ink, linestyle="--", linewidth=1)
    for place, (count, score, accuracy) in enumerate(
        zip(bins["count"], bins["score"], bins["accuracy"], strict=True)
    ):
        if not count:
            continue
        left = place * width
        axes.bar(left, accuracy, width, align="edge", color=theme.model, edgecolor=theme.page)
        mark = [left + 0.1 * width, left + 0.9 * width]
        axes.plot(mark, [score, score], color=theme.kinds[1], linewidth=2)
        axes.annotate(
            str(count), (left + width / 2, max(accuracy, score)), xytext=(0, 3),
            textcoords="offset points", ha="center", size=7.5, color=theme.ink,
        )  # fmt: skip
