"""How the fusion weighs the branches, emotion by emotion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hcp_mer.errors import UserError
from hcp_mer.reporting.figures.theme import LIGHT, Theme, empty_figure, grid, kind_styles

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_NAMES = {"holistic": r"$\alpha_h$, holistic", "componential": r"$\beta_c$, componential"}
_GOLDEN = 0.618034


def gates_figure(predictions: pd.DataFrame, classes: Sequence[str], theme: Theme = LIGHT) -> Figure:
    """Weights α_h and β_c of Eq. 4 of every held-out clip, by its true emotion; median written.

    Args:
        predictions: with `label`, `gate_holistic` and `gate_componential`; seeds are pooled.
    Raises:
        UserError: the model has one branch alone, so there is no gate.
    """
    columns = [f"gate_{branch}" for branch in _NAMES]
    if not set(columns) <= set(predictions) or predictions[columns].isna().any(axis=None):
        raise UserError(
            "these predictions have no gate weights: a model with one branch has no gate to draw"
        )
    figure, (axes,) = empty_figure(0.9 + 0.62 * len(classes), theme)
    for index, (branch, (colour, marker)) in enumerate(
        zip(_NAMES, kind_styles(len(_NAMES), theme), strict=True)
    ):
        for row, label in enumerate(classes):
            weights = predictions.loc[predictions["label"] == label, f"gate_{branch}"].to_numpy()
            centre = row + (-0.2, 0.2)[index]
            axes.scatter(
                weights, centre + 0.26 * (_spread(len(weights)) - 0.5), s=9, c=colour,
                marker=marker, alpha=0.65, linewidths=0,
                label=_NAMES[branch] if row == 0 else None,
            )  # fmt: skip
            if len(weights):
                median = float(np.median(weights))
                axes.plot([median] * 2, [centre - 0.17, centre + 0.17], color=theme.ink, lw=2)
                axes.annotate(
                    f"{median:.2f}", (1.01, centre), xycoords=("axes fraction", "data"),
                    va="center", size=8, color=theme.ink,
                )  # fmt: skip
    counts = predictions["label"].value_counts()
    names = [f"{label} ({counts.get(label, 0)})" for label in classes]
    axes.set_yticks(range(len(classes)), names)
    # The reading "literal" adds a bias outside the sigmoid: weights may leave [0, 1].
    values = predictions[columns].to_numpy()
    axes.set(xlim=(min(0.0, values.min()), max(1.0, values.max())))
    axes.set(ylim=(len(classes) - 0.5, -0.5), xlabel="gate weight; bar and number: median")
    axes.tick_params(axis="y", length=0)
    grid(axes, theme, "x")
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9,
                  labelcolor=theme.ink, markerscale=2)  # fmt: skip
    return figure


def _spread(number: int) -> NDArray:
    """Heights in [0, 1] that keep neighbours apart; the same for the same number."""
    return (np.arange(number) * _GOLDEN) % 1
