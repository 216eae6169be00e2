"""How large the leak is that choosing the epoch on the held-out subject opens: a diagnostic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hcp_mer.reporting.figures.theme import LIGHT, Theme, empty_figure, grid

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# Column → what it is, colour index, marker, line style.
_LINES = {
    "leaky": ("best epoch so far, chosen on the held-out subject (leaky)", 1, "^", "-"),
    "honest": ("this epoch for everybody (honest)", 0, "o", "-"),
    "guessing_chosen": ("guesses, the best so far chosen (leaky)", 4, "v", "--"),
    "guessing_not_chosen": ("guesses", 6, "s", ":"),
}


def leak_figure(rows: pd.DataFrame, theme: Theme = LIGHT) -> Figure:
    """UF1 of training to an epoch, against choosing each subject's best epoch up to it.

    The gap at the right end is what reports gain that choose on the test subject; guessing gains
    the same way, without having learnt anything. The legend has the values of the last epoch.

    Args:
        rows: `epoch` (from 1), `honest`, `leaky` and perhaps `guessing_chosen` and
            `guessing_not_chosen`: UF1 of the pooled predictions.
    """
    figure, (axes,) = empty_figure(3.9, theme)
    rows = rows.sort_values("epoch")
    every = max(1, len(rows) // 8)
    for column, (name, colour, marker, style) in _LINES.items():
        if column not in rows:
            continue
        # The ends may lie on each other, so their values stand in the legend.
        axes.plot(
            rows["epoch"], rows[column], style, marker=marker, markevery=every, markersize=5,
            color=theme.kinds[colour], linewidth=1.6, label=f"{rows[column].iloc[-1]:.3f}  {name}",
        )  # fmt: skip
    axes.set(xlabel="epochs", ylabel="UF1", ylim=(0, 1))
    axes.margins(x=0.02)
    axes.xaxis.get_major_locator().set_params(integer=True)
    grid(axes, theme)
    figure.legend(loc="outside upper left", frameon=False, fontsize=8.5, labelcolor=theme.ink)
    return figure
