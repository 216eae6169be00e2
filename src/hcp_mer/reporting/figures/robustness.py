"""UF1 under disturbances of growing size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hcp_mer.reporting.figures.theme import (
    LIGHT,
    PAGE_INCHES,
    Theme,
    empty_figure,
    grid,
    kind_styles,
    title,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve = Sequence[tuple[float, float, float | None, float | None]]
_MOST_COLUMNS = 3


def robustness_figure(
    curves: Mapping[str, Curve],
    units: Mapping[str, str],
    theme: Theme = LIGHT,
    others: Mapping[str, Mapping[str, Curve]] | None = None,
) -> Figure:
    """One panel per disturbance: UF1 with its 95 % interval against the disturbance's level.

    Args:
        curves: disturbance → (level, UF1, low, high) of the model; low and high None where there
            is no interval.
        units: disturbance → what its level is measured in, e.g. "frames", "px".
        others: name of another system → its curves, for the disturbances that it has.
    """
    systems = {"HCP_MER": curves, **(others or {})}
    columns = min(_MOST_COLUMNS, len(curves))
    rows = -(-len(curves) // columns)
    figure, places = empty_figure(
        0.4 * (len(systems) > 1) + 2.7 * rows,
        theme,
        width_inches=PAGE_INCHES * columns / _MOST_COLUMNS,
        rows=rows,
        columns=columns,
        share_y=True,
    )
    styles = kind_styles(len(systems), theme)
    for axes, name in zip(places, curves, strict=False):
        for (system, own), (colour, marker) in zip(systems.items(), styles, strict=True):
            if name in own:
                _draw(axes, own[name], colour, marker, system)
        title(axes, name.replace("_", " "), theme)
        axes.set(xlabel=units.get(name, "level"), ylim=(0, 1))
        grid(axes, theme)
    for axes in places[::columns]:
        axes.set_ylabel("UF1")
    for axes in places[len(curves) :]:
        axes.set_visible(False)
    if len(systems) > 1:
        figure.legend(
            *places[0].get_legend_handles_labels(),
            loc="outside upper center",
            ncols=len(systems),
            frameon=False,
            fontsize=9,
            labelcolor=theme.ink,
        )
    return figure


def _draw(axes, curve: Curve, colour: str, marker: str, name: str) -> None:
    levels, values, low, high = zip(*sorted(curve), strict=True)
    axes.plot(levels, values, marker=marker, color=colour, linewidth=1.6, markersize=5, label=name)
    if None not in (*low, *high):
        axes.fill_between(levels, low, high, color=colour, alpha=0.18, linewidth=0)
