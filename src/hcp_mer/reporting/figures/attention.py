"""Where the branches look (Fig. 5): attributions over the patches of an example of each emotion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcp_mer.errors import UserError
from hcp_mer.reporting.figures.theme import LIGHT, Theme, empty_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BRANCHES = ("holistic", "componential")
_TITLES = {"magnified": "magnified apex", "flow": "optical flow"}
_HEAT = "OrRd"  # ever darker, so that a grey printer keeps the order
_PANEL_INCHES = 1.75


def attention_figure(rows: Sequence[Mapping[str, Any]], theme: Theme = LIGHT) -> Figure:
    """Mean attribution of each branch over the patches of its view, one row per emotion.

    Colour says how many times its even share a patch has, on one scale for all panels; the outline
    holds the fewest patches that have half of the attribution, and below stands how many they
    are: few for a branch that looks at one place, half of all for one that looks everywhere.

    Args:
        rows: {"label", "num_clips", "magnified" and "flow": an example (H, W, 3) uint8,
            "holistic" and "componential": (side, side) ≥ 0 over all clips of the class, None for
            a branch that is off; "holistic_view": what the holistic branch saw, if not the
            magnified apex}.
    Raises:
        UserError: no rows, or an attribution of another shape.
    """
    branches = [name for name in _BRANCHES if any(row.get(name) is not None for row in rows)]
    if not branches:
        raise UserError("there is no attribution to draw: give rows with holistic or componential")
    lifts = {
        (index, name): _lift(row[name], f"{name} of {row['label']}")
        for index, row in enumerate(rows)
        for name in branches
        if row.get(name) is not None
    }
    highest = max(2.0, *(float(lift.max()) for lift in lifts.values()))
    columns = 2 * len(branches)
    figure, places = empty_figure(
        0.6 + len(rows) * (_PANEL_INCHES + 0.28),
        theme,
        width_inches=columns * _PANEL_INCHES + 1.4,
        rows=len(rows),
        columns=columns,
    )
    panels = iter(places)
    for index, row in enumerate(rows):
        for name in branches:
            plain, overlay = next(panels), next(panels)
            seen = row.get("holistic_view", "magnified") if name == "holistic" else "flow"
            view = np.asarray(row[seen])
            _show(plain, view, theme)
            _overlay(overlay, view, lifts.get((index, name)), highest, theme)
            if index == 0:
                plain.set_title(_TITLES[seen], color=theme.ink, size=9)
                overlay.set_title(f"{name} branch", color=theme.ink, size=9)
        first = places[index * columns]
        first.set_ylabel(f"{row['label']}\n{row['num_clips']} clips", size=9)
    _colour_bar(figure, places, highest, theme)
    return figure


def half_of(attribution: ArrayLike) -> NDArray[np.bool_]:
    """The fewest patches that together have at least half of an attribution (side, side) ≥ 0."""
    values = np.asarray(attribution, float)
    order = np.argsort(-values, axis=None, kind="stable")
    before = np.cumsum(values.flat[order]) - values.flat[order]
    chosen = np.zeros(values.size, bool)
    chosen[order[before < values.sum() / 2]] = True
    return chosen.reshape(values.shape)


def _lift(attribution: ArrayLike, what: str) -> NDArray:
    """Each patch's attribution as a multiple of its even share, (side, side); 1 is even."""
    values = np.asarray(attribution, float)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or not (values >= 0).all():
        raise UserError(
            f"the attribution {what} must be (side, side) numbers ≥ 0, got shape {values.shape}"
        )
    total = values.sum()
    return values * values.size / total if total > 0 else np.zeros_like(values)


def _show(axes: Axes, image: NDArray, theme: Theme) -> None:
    axes.imshow(image)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _overlay(
    axes: Axes, image: NDArray, lift: NDArray | None, highest: float, theme: Theme
) -> None:
    """The image in pale grey, darkened by the heat of its patches, with the outline of half."""
    if lift is None:
        axes.set_visible(False)
        return
    from matplotlib import colormaps

    side, height, width = len(lift), *image.shape[:2]
    # Not matplotlib's transparency: a product keeps dark heat dark on dark and on bright skin.
    pale = 0.6 + 0.4 * (image[..., :3] @ (0.299, 0.587, 0.114)) / 255
    rows = np.arange(height) * side // height
    columns = np.arange(width) * side // width
    heat = colormaps[_HEAT](lift[np.ix_(rows, columns)] / highest)[..., :3]
    axes.imshow(pale[..., None] * heat, extent=(0, side, side, 0))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    inside = half_of(lift)
    if not lift.any():
        axes.set_xlabel("nothing", size=8, color=theme.ink)
        return
    _outline(axes, inside)
    text = f"half in {np.count_nonzero(inside)} of {side * side} patches"
    axes.set_xlabel(text, size=8, color=theme.ink)


def _outline(axes: Axes, inside: NDArray[np.bool_]) -> None:
    """A line along every edge between a patch inside and one outside."""
    from matplotlib.collections import LineCollection

    padded = np.pad(inside, 1)
    across = np.argwhere(padded[:, 1:] != padded[:, :-1])  # edges left of column, row + 1
    down = np.argwhere(padded[1:] != padded[:-1])
    edges = [[(x, y - 1), (x, y)] for y, x in across] + [[(x - 1, y), (x, y)] for y, x in down]
    for colour, width in (("white", 3.0), ("black", 1.4)):
        lines = LineCollection(edges, colors=colour, linewidths=width, capstyle="projecting")
        axes.add_collection(lines, autolim=False)


def _colour_bar(figure: Figure, places: Sequence[Axes], highest: float, theme: Theme) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(
        ScalarMappable(Normalize(0, highest), _HEAT),
        ax=list(places),
        location="right",
        fraction=0.03,
        shrink=0.8 if len(places) > 4 else 1.0,
    )
    bar.set_label("attribution, times a patch's even share", color=theme.ink, size=8)
    bar.ax.tick_params(colors=theme.ink, labelsize=8)
    bar.outline.set_visible(False)
