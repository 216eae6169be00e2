"""Benchmarks as figures: of motion against the size of the movement, of branches side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours; a marker each besides, for a grey printer.
STYLES = tuple(
    zip(
        ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#5d6670"),
        "xos^Dv*P",
        strict=True,
    )
)


def flow_figure(result: dict[str, Any]) -> Figure:
    """`run_flow`'s errors against the peak of the movement, a panel for each noise."""
    errors = result["errors"]
    noises = dict.fromkeys(e["conditions"] for e in errors if e["conditions"].startswith("noise"))
    figure, panels = _panels(1, len(noises))
    for axes, noise in zip(panels[0], noises, strict=True):
        rows = [error for error in errors if error["conditions"] == noise]
        _draw(axes, rows, "mean_px", "standard_error_px")
        axes.set(title=f"{noise.replace('noise', 'noise σ =')} levels")
        _make_logarithmic(axes)
    panels[0][0].set_ylabel("mean end-point error, px")
    return _finished(figure, panels)


def magnify_figure(result: dict[str, Any]) -> Figure:
    """`run_magnify`'s PSNR and displacement against the peak, a column for each noise."""
    quality = result["quality"]
    noises = dict.fromkeys(row["noise"] for row in quality)
    figure, panels = _panels(2, len(noises))
    for column, noise in enumerate(noises):
        rows = [row for row in quality if row["noise"] == noise]
        _draw(panels[0][column], rows, "psnr_db")
        _draw(panels[1][column], rows, "mean_px", "standard_error_px")
        panels[0][column].set_title(f"noise σ = {noise:g} levels")
        _make_logarithmic(panels[1][column])
    panels[0][0].set_ylabel("PSNR where it moves, dB")
    panels[1][0].set_ylabel("displaced from the truth, px")
    return _finished(figure, panels)


def branches_figure(result: dict[str, Any]) -> Figure:
    """`run_branches`'s UF1 with its interval, variant below variant, a panel for each kind."""
    from matplotlib.figure import Figure

    kinds = result["kinds"]
    figure = Figure((2.7 * len(kinds) + 1.8, 3.2), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharex=True, sharey=True, squeeze=False)[0]
    for axes, (kind, entry) in zip(panels, kinds.items(), strict=True):
        for row, variant in enumerate(entry["variants"]):
            colour = STYLES[2 if variant["name"] == entry["better"] else 1][0]
            axes.plot(variant["interval"], [row, row], color=colour, linewidth=1.4)
            axes.plot(variant["uf1"], row, color=colour, marker="o", markersize=5)
        axes.axvline(entry["chance"], color=STYLES[-1][0], linestyle=":", linewidth=1)
        axes.set(title=kind, xlabel="UF1", xlim=(0, 1.02))
        axes.set_yticks(range(len(entry["variants"])), [v["name"] for v in entry["variants"]])
        axes.grid(axis="x", color="#b9c0c8", linewidth=0.5, alpha=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].invert_yaxis()
    return figure


def check_can_plot(path: Path) -> None:
    """Raise UserError where matplotlib is missing, or the file is no PNG."""
    if path.suffix.lower() != ".png":
        raise UserError(f"--plot writes a PNG: name it {path.stem}.png, not {path.name}.")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UserError('--plot needs matplotlib: pip install "hcp_mer[report]".') from None


def save(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG; the same figure always gives the same bytes."""
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _panels(rows: int, columns: int) -> tuple[Figure, Sequence[Sequence[Axes]]]:
    from matplotlib.figure import Figure

    figure = Figure((3.3 * columns + 2.2, 3.4 * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, sharex=True, sharey="row", squeeze=False)


def _draw(axes: Axes, rows: list[dict[str, Any]], value: str, spread: str | None = None) -> None:
    """A line for each method, with a bar of one standard error where there is one."""
    methods = dict.fromkeys(row["method"] for row in rows)
    for method, (colour, marker) in zip(methods, STYLES, strict=False):
        own = [row for row in rows if row["method"] == method]
        axes.errorbar(
            [row["peak_px"] for row in own],
            [row[value] for row in own],
            [row[spread] for row in own] if spread else None,
            color=colour, marker=marker, markersize=5, linewidth=1.2, elinewidth=0.8, label=method,
        )  # fmt: skip
    peaks_px = sorted({row["peak_px"] for row in rows})
    axes.set_xscale("log")
    axes.set_xticks(peaks_px, [f"{peak_px:g}" for peak_px in peaks_px])
    axes.minorticks_off()
    axes.grid(color="#b9c0c8", linewidth=0.5, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _make_logarithmic(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.minorticks_off()


def _finished(figure: Figure, panels: Sequence[Sequence[Axes]]) -> Figure:
    for axes in panels[-1]:
        axes.set_xlabel("peak of the true movement, px")
    figure.legend(
        *panels[0][0].get_legend_handles_labels(), loc="outside right upper", frameon=False
    )
    return figure
