"""Colours, sizes and empty panels of every figure; no pyplot, no global state."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hcp_mer.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# As wide as a column of the report and as the whole report, so that text keeps its size there.
COLUMN_INCHES = 5.6
PAGE_INCHES = 10.5
MARKERS = "osDv^P*X<>"
SMALL_MARKERS = "v^*<>"  # of the same nominal size they have less ink


@dataclass(frozen=True)
class Theme:
    """Colours of a figure: page, text, weaker text, the model, everything it is compared with.

    Attributes:
        kinds: colours for things that must be told apart, in this order; each also has a marker.
    """

    page: str
    ink: str
    faint: str
    model: str
    other: str
    kinds: tuple[str, ...]


# Okabe and Ito's colours. Their black is the ink, their yellow is for dark pages alone.
LIGHT = Theme(
    page="#ffffff",
    ink="#1b1f24",
    faint="#b9c0c8",
    model="#0072b2",
    other="#5d6670",
    kinds=("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1b1f24", "#5d6670"),
)
DARK = Theme(
    page="#171b20",
    ink="#e4e8ec",
    faint="#4a535d",
    model="#56b4e9",
    other="#aab3bc",
    kinds=("#56b4e9", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#f0e442", "#e4e8ec", "#8a949e"),
)


def kind_styles(number: int, theme: Theme) -> list[tuple[str, str]]:
    """A (colour, marker) for each of `number` kinds; no two kinds share both."""
    return [
        (theme.kinds[index % len(theme.kinds)], MARKERS[index % len(MARKERS)])
        for index in range(number)
    ]


def render(figure: Figure, image_format: str) -> bytes:
    """The figure as "png" (200 dpi), "svg" or "pdf"; the same figure gives the same bytes."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    # Without a salt and with a date, an SVG would differ at every writing, and a PDF too.
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    with rc_context({"svg.hashsalt": "hcp_mer"}):
        figure.savefig(
            buffer,
            format=image_format,
            dpi=200,
            metadata=metadata.get(image_format, {"Software": None}),
        )
    return buffer.getvalue()


def empty_figure(
    height_inches: float,
    theme: Theme,
    *,
    width_inches: float = COLUMN_INCHES,
    rows: int = 1,
    columns: int = 1,
    share_x: bool = False,
    share_y: bool = False,
) -> tuple[Figure, list[Axes]]:
    """An empty figure in the theme's colours, and its panels row by row.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise UserError(
            'the report draws with matplotlib, which is absent: pip install "hcp_mer[report]"'
        ) from error
    figure = Figure((width_inches, height_inches), facecolor=theme.page, layout="constrained")
    panels = figure.subplots(rows, columns, sharex=share_x, sharey=share_y, squeeze=False)
    for axes in panels.flat:
        axes.set_facecolor(theme.page)
        axes.tick_params(colors=theme.ink, labelsize=9)
        axes.xaxis.label.set_color(theme.ink)
        axes.yaxis.label.set_color(theme.ink)
        axes.spines[:].set_color(theme.faint)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, list(panels.flat)


def title(axes: Axes, text: str, theme: Theme, size: float = 10) -> None:
    """A panel's title, left above it."""
    axes.set_title(text, color=theme.ink, size=size, loc="left")


def add_note(figure: Figure, text: str, theme: Theme) -> None:
    """A sentence in small letters below a figure, such as that its clips are synthetic."""
    before = figure.get_supxlabel()
    whole = f"{before}\n{text}" if before else text
    figure.supxlabel(whole, x=0.01, ha="left", size=8, color=theme.other)


def grid(axes: Axes, theme: Theme, axis: str = "both") -> None:
    axes.grid(axis=axis, color=theme.faint, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)


def heat_map(
    axes: Axes, share: np.ndarray, text: Callable[[int, int], str], theme: Theme, size: float
) -> None:
    """Cells whose colour is a share in [0, 1] and which say `text(row, column)`, size in points."""
    from matplotlib.colors import LinearSegmentedColormap

    shades = LinearSegmentedColormap.from_list("share", [theme.page, theme.model])
    axes.imshow(share, cmap=shades, vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(share):
        colour = most_legible(shades(value)[:3])
        axes.text(column, row, text(row, column), ha="center", va="center", color=colour, size=size)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def most_legible(background: Sequence[float]) -> str:
    """Black or white, whichever has the higher WCAG contrast on an RGB colour in [0, 1]."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in background]
    luminance = float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
    # (L + 0.05) / 0.05 against black, 1.05 / (L + 0.05) against white: one is always above 4.5.
    return "black" if (luminance + 0.05) ** 2 > 0.05 * 1.05 else "white"
