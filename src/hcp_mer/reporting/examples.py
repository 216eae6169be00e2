"""Example clips for the report: what the model saw, what it answered, where it is most wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.reporting.scores import BRANCHES

if TYPE_CHECKING:
    from collections.abc import Sequence

_RIGHT_PER_CLASS, _WRONG = 1, 6


def choose_examples(
    pairs: Any | None, run_folder: Path, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """One clip of each class that was recognised, and those that are most wrong.

    Most wrong are the clips whose predicted class, a wrong one, got the highest probability. Of
    several seeds the lowest answers.

    Args:
        pairs: prepared pairs (`table`, and `image(row, view)` as uint8 RGB); None: no pictures, so
            the wrong ones alone.
        run_folder: a run with predictions.parquet.
    Returns: what `write_report` takes: {"clip", "label", "prediction", "probability",
        "true_probability", "branches": [{"name", "prediction", "gate" or None}], "num_wrong"},
        and with pairs "onset" | None, "magnified", "flow".
    """
    import pandas

    predictions = pandas.read_parquet(run_folder / "predictions.parquet")
    predictions = predictions[predictions["seed"] == predictions["seed"].min()]
    columns = [f"prob_{name}" for name in classes]
    if not set(columns) <= set(predictions):
        return []
    sureness = predictions[columns].max(axis=1)
    ranked = predictions.assign(sureness=sureness).sort_values(
        "sureness", ascending=False, kind="stable"
    )
    right = ranked["label"] == ranked["prediction"]
    per_class = [
        ranked[right & (ranked["label"] == name)].head(0 if pairs is None else _RIGHT_PER_CLASS)
        for name in classes
    ]
    chosen = pandas.concat([*per_class, ranked[~right].head(_WRONG)])
    rows = _rows_of(pairs)
    number = {"num_wrong": int((~right).sum())}
    return [
        _in_words(clip) | number | _pictures(pairs, rows, clip) for _, clip in chosen.iterrows()
    ]


def _in_words(clip: Any) -> dict[str, Any]:
    branches = [
        {
            "name": branch,
            "prediction": clip[f"{branch}_prediction"],
            "gate": _number(clip.get(f"gate_{branch}")),
        }
        for branch in BRANCHES
        if isinstance(clip.get(f"{branch}_prediction"), str)
    ]
    return {
        "clip": "/".join(map(str, _identity(clip))),
        "label": clip["label"],
        "prediction": clip["prediction"],
        "probability": float(clip[f"prob_{clip['prediction']}"]),
        "true_probability": float(clip[f"prob_{clip['label']}"]),
        "branches": branches,
    }


def _pictures(pairs: Any | None, rows: dict, clip: Any) -> dict[str, Any]:
    if pairs is None:
        return {}
    row = _row(rows, _identity(clip))
    onset = None
    # Of several corpora only some may have it.
    if "onset_frame" in pairs.table.column_names and pairs.table[row]["onset_frame"]:
        onset = pairs.image(row, "onset_frame")
    views = {view: pairs.image(row, view) for view in ("magnified", "flow")}
    return {"onset": onset, **views}


def _identity(clip: Any) -> tuple[str, str, str]:
    return clip["dataset"], clip["subject"], clip["clip_id"]


def _rows_of(pairs: Any | None) -> dict[tuple[str, str, str], int]:
    if pairs is None:
        return {}
    ids = zip(*(pairs.table[name] for name in ("dataset", "subject", "clip_id")))
    return {identity: row for row, identity in enumerate(ids)}


def _row(rows: dict[tuple[str, str, str], int], identity: tuple[str, str, str]) -> int:
    if identity not in rows:
        raise UserError(
            f"the run predicted {'/'.join(map(str, identity))}, which its pairs lack: give it the "
            "pairs that it was trained on"
        )
    return rows[identity]


def _number(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else float(value)
