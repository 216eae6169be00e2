"""Which subjects carry the score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from hcp_mer.reporting.figures.theme import LIGHT, PAGE_INCHES, Theme, empty_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def subjects_figure(per_subject: Sequence[Mapping[str, Any]], theme: Theme = LIGHT) -> Figure:
    """One bar per subject, as wide as the subject has clips and as high as its accuracy.

    The coloured area is then the share of clips recognised: it shows which subjects carry the
    pooled accuracy (dashed line), and how many have too few clips to say anything.

    Args:
        per_subject: {"dataset", "subject", "num_clips", "accuracy"} each.
    """
    subjects = sorted(per_subject, key=lambda row: (-row["num_clips"], -row["accuracy"]))
    num_clips = np.array([row["num_clips"] for row in subjects])
    accuracy = np.array([row["accuracy"] for row in subjects])
    left = np.cumsum(num_clips) - num_clips
    figure, (axes,) = empty_figure(3.2, theme, width_inches=PAGE_INCHES)
    # Between many narrow bars, gaps of full width would cover the bars themselves.
    gap_points = min(0.8, 16 / len(subjects))
    style = {"align": "edge", "edgecolor": theme.page, "linewidth": gap_points}
    axes.bar(left, np.ones_like(accuracy), num_clips, color=theme.faint, alpha=0.35, **style)
    axes.bar(left, accuracy, num_clips, color=theme.model, **style)
    pooled = float((accuracy * num_clips).sum() / num_clips.sum())
    axes.axhline(pooled, color=theme.ink, linestyle="--", linewidth=1)
    axes.set_title(f"dashed: all clips, {pooled:.1%}", color=theme.ink, size=9, loc="right")
    _name_wide_bars(axes, subjects, left + num_clips / 2, num_clips)
    axes.set(xlim=(0, num_clips.sum()), ylim=(0, 1), ylabel="accuracy")
    axes.set_xlabel("subjects, most clips first; width = number of clips")
    axes.yaxis.set_major_formatter("{x:.0%}")
    return figure


def _name_wide_bars(
    axes: Axes, subjects: Sequence[Mapping[str, Any]], centres: ArrayLike, num_clips: ArrayLike
) -> None:
    """Write a subject's name below its bar where the bar is wide enough for upright text."""
    wide = np.flatnonzero(np.asarray(num_clips) >= np.sum(num_clips) / 75)
    several = len({row["dataset"] for row in subjects}) > 1
    keys = ("dataset", "subject") if several else ("subject",)
    names = ["/".join(str(subjects[index][key]) for key in keys) for index in wide]
    axes.set_xticks(np.asarray(centres)[wide], names, rotation=90)
    axes.tick_params(axis="x", length=0, labelsize=8)
