"""A picture of how an apex was spotted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hcp_mer.errors import UserError


def check_can_plot() -> None:
    """Raise UserError where matplotlib is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise UserError(
            'plots of the apex need matplotlib: pip install "hcp_mer[report]", or leave them out.'
        ) from None


def plot_energy(
    numbers: Sequence[int], energies_px: Sequence[float], apex: int, path: Path, title: str
) -> None:
    """Write the energy curve of a clip as a PNG, the apex marked.

    Args: numbers: the frames' numbers; energies_px: the motion energy of each, see `energy_curve`.
    Raises UserError where matplotlib is missing.
    """
    check_can_plot()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(numbers, energies_px, color="0.35", marker=".")
    axes.axvline(apex, color="tab:red", linewidth=1, label=f"apex spotted: {apex}")
    axes.set(xlabel="frame", ylabel="motion since the onset, px", title=title)
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
