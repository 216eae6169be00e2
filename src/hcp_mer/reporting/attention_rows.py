"""Attributions of a run by emotion, each with an example to draw them on (Fig. 5)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hcp_mer.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

ATTENTION = "attention.parquet"
_CLIP = ["dataset", "subject", "clip_id"]
_BRANCHES = ("holistic", "componential")


def attention_rows(run_folder: Path, pairs: Any, classes: Sequence[str]) -> list[dict[str, Any]]:
    """What `figures.attention_figure` draws: of each class the mean over its held-out clips.

    Each clip counts the same: its attribution is first divided by its sum. The example is the
    recognised clip of the class that the model was surest of, or its surest clip.

    Args:
        run_folder: with attention.parquet and predictions.parquet; pairs: the run's prepared pairs
            (`column`, and `image(row, view)` as uint8 RGB).
    Returns: a row for each class that has clips, in the order of `classes`; [] where the run has
        no attention.parquet.
    Raises:
        UserError: a damaged table, or pairs that lack a clip of it.
    """
    import pandas as pd

    if not (run_folder / ATTENTION).is_file():
        return []
    try:
        attention = pd.read_parquet(run_folder / ATTENTION)
        attention[[*_CLIP, "label", *_BRANCHES]]
    except (ValueError, OSError, KeyError) as error:
        raise UserError(
            f"{run_folder / ATTENTION} is damaged ({error}): delete it and run "
            f"scripts/write_attention.py --run {run_folder} again"
        ) from error
    examples = _examples(pd.read_parquet(run_folder / "predictions.parquet"))
    ids = zip(*(map(str, pairs.column(name)) for name in _CLIP))
    row_of = {identity: row for row, identity in enumerate(ids)}
    return [
        {
            "label": label,
            "num_clips": len(own),
            **{
                view: pairs.image(_row(row_of, examples[label]), view)
                for view in ("magnified", "flow")
            },
            **{branch: _mean(own[branch]) for branch in _BRANCHES},
            "holistic_view": own["holistic_view"].iloc[0]
            if "holistic_view" in own
            else "magnified",
        }
        for label in classes
        if len(own := attention[attention["label"] == label])
    ]


def _examples(predictions: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Class → the clip of it that is shown."""
    own = predictions[predictions["seed"] == predictions["seed"].min()]
    probabilities = own[[name for name in own if name.startswith("prob_")]]
    ranked = own.assign(
        right=own["label"] == own["prediction"], sureness=probabilities.max(axis=1)
    ).sort_values(["right", "sureness"], ascending=False, kind="stable")
    return {label: tuple(map(str, rows[_CLIP].iloc[0])) for label, rows in ranked.groupby("label")}


def _mean(attributions: pd.Series) -> NDArray | None:
    """(side, side), sum 1; None where the branch is off. A clip without any does not count."""
    if attributions.isna().any():
        return None
    maps = np.stack([np.asarray(own, float) for own in attributions])  # (clips, side · side)
    sums = maps.sum(axis=1, keepdims=True)
    side = round(maps.shape[1] ** 0.5)
    shares = (maps / np.where(sums > 0, sums, 1))[sums[:, 0] > 0]
    return (shares.mean(axis=0) if len(shares) else np.zeros(side * side)).reshape(side, side)


def _row(row_of: dict[tuple[str, ...], int], clip: tuple[str, ...]) -> int:
    if clip not in row_of:
        raise UserError(
            f"the pairs have no clip {'/'.join(clip)}: give those that the run was trained on"
        )
    return row_of[clip]
