"""Training losses of all folds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.reporting.figures.theme import LIGHT, Theme, empty_figure, grid

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOGARITHMIC_FROM = 10.0  # highest over lowest loss


def learning_curves_figure(curves: pd.DataFrame, theme: Theme = LIGHT) -> Figure:
    """Mean training loss of each epoch: every fold (and seed) a thin line, their median thick.

    It says whether folds have converged and whether one runs off; of held-out clips it says
    nothing. The axis is logarithmic, and says so, where the losses span a factor of ten.

    Args:
        curves: with `dataset`, `subject`, `seed`, `epoch` (from 1) and `loss`.
    Raises:
        UserError: no rows, or a loss that is not finite.
    """
    losses = curves["loss"].to_numpy(float)
    if not len(curves) or not np.isfinite(losses).all():
        raise UserError(
            "the learning curves have no rows or a loss that is not finite: train the run again"
        )
    figure, (axes,) = empty_figure(3.4, theme)
    folds = curves.sort_values("epoch").groupby(["dataset", "subject", "seed"])
    alpha = float(np.clip(8 / len(folds), 0.12, 0.6))
    for _, fold in folds:
        axes.plot(fold["epoch"], fold["loss"], color=theme.other, linewidth=0.7, alpha=alpha)
    by_epoch = curves.groupby("epoch")["loss"]
    # Where most folds have ended, a median would be that of other people.
    median = by_epoch.median()[by_epoch.count() * 2 >= len(folds)]
    axes.plot(median.index, median, color=theme.model, linewidth=2.4)
    last = median.iloc[-1]
    axes.annotate(f" {last:.3g}", (median.index[-1], last), va="center", size=9, color=theme.ink)
    axes.set_ylabel("training loss")
    if losses.min() > 0 and losses.max() >= _LOGARITHMIC_FROM * losses.min():
        _make_logarithmic(axes)
        axes.set_ylabel("training loss (logarithmic)")
    else:
        axes.set_ylim(min(0.0, losses.min()), None)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="epoch", xlim=(min(1, curves["epoch"].min()), None))
    number = f"{len(folds)} folds" + (" and seeds" if curves["seed"].nunique() > 1 else "")
    axes.set_title(f"thin: {number}; thick: median", color=theme.ink, size=9, loc="right")
    grid(axes, theme)
    return figure


def _make_logarithmic(axes: Axes) -> None:
    """Ticks at 1, 2 and 5 of each decade, as plain numbers."""
    from matplotlib.ticker import LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:g}")
