"""Example clips for the report: what the model saw, what it answered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_RIGHT_PER_CLASS, _WRONG = 1, 3


def choose_examples(pairs: Any, run_folder: Path, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One clip of each class that was recognised, and a few that were not, surest first.

    Args:
        pairs: prepared pairs (`table`, and `image(row, view)` as uint8 RGB).
        run_folder: a run with predictions.parquet.
    Returns: what `write_report` takes: {"clip", "label", "prediction", "onset" | None,
        "magnified", "flow"}.
    """
    import pandas

    predictions = pandas.read_parquet(run_folder / "predictions.parquet")
    predictions = predictions[predictions["seed"] == predictions["seed"].min()]
    sureness = predictions[[f"prob_{name}" for name in classes]].max(axis=1)
    ranked = predictions.assign(sureness=sureness).sort_values("sureness", ascending=False)
    right = ranked["label"] == ranked["prediction"]
    per_class = [
        ranked[right & (ranked["label"] == name)].head(_RIGHT_PER_CLASS) for name in classes
    ]
    chosen = pandas.concat([*per_class, ranked[~right].head(_WRONG)])
    ids = zip(*(pairs.table[name] for name in ("dataset", "subject", "clip_id")))
    row_of = {identity: row for row, identity in enumerate(ids)}
    return [_example(pairs, row_of, clip) for clip in chosen.itertuples()]


def _example(pairs: Any, row_of: dict, clip: Any) -> dict[str, Any]:
    row = row_of[clip.dataset, clip.subject, clip.clip_id]
    onset = None
    # Of several corpora only some may have it.
    if "onset_frame" in pairs.table.column_names and pairs.table[row]["onset_frame"]:
        onset = pairs.image(row, "onset_frame")
    return {
        "clip": f"{clip.dataset}/{clip.subject}/{clip.clip_id}",
        "label": clip.label,
        "prediction": clip.prediction,
        "onset": onset,
        "magnified": pairs.image(row, "magnified"),
        "flow": pairs.image(row, "flow"),
    }
