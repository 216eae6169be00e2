"""Example clips for the report: what the model saw, what it answered, where it is most wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.reporting.scores import BRANCHES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas

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

    predictions = _of_lowest_seed(run_folder)
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


def attention_rows(pairs: Any, run_folder: Path, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Mean attribution of each class's held-out clips, with the surest recognised one as example.

    Args: as for `choose_examples`.
    Returns: what `figures.attention_figure` takes; [] where the run has no attention.parquet, or
        pairs are not at hand.
    Raises:
        UserError: the file is damaged, or is about clips that the pairs lack.
    """
    import pandas

    path = run_folder / "attention.parquet"
    if pairs is None or not path.is_file():
        return []
    try:
        attention = pandas.read_parquet(path)
        attention["clip"] = list(zip(*(attention[c] for c in ("dataset", "subject", "clip_id"))))
    except (ValueError, OSError, KeyError) as error:
        raise UserError(
            f"{path} is damaged ({error!r}): delete it, or train the run again"
        ) from error
    predictions = _of_lowest_seed(run_folder)
    best = {clip.label: clip for clip in _surest_first(predictions, classes)[::-1]}
    rows = _rows_of(pairs)
    made = []
    for name in classes:
        own = attention[attention["label"] == name]
        if len(own):
            example = best.get(name)
            identity = own["clip"].iloc[0] if example is None else _identity(example)
            views = {v: pairs.image(_row(rows, identity), v) for v in ("magnified", "flow")}
            means = {branch: _mean_map(own[branch]) for branch in BRANCHES if branch in own}
            made.append({"label": name, "num_clips": own["clip"].nunique(), **views, **means})
    return made


def _of_lowest_seed(run_folder: Path) -> pandas.DataFrame:
    import pandas

    predictions = pandas.read_parquet(run_folder / "predictions.parquet")
    return predictions[predictions["seed"] == predictions["seed"].min()]


def _surest_first(predictions: pandas.DataFrame, classes: Sequence[str]) -> list[Any]:
    """Clips that were recognised, by the probability of their class."""
    columns = [f"prob_{name}" for name in classes if f"prob_{name}" in predictions]
    right = predictions[predictions["label"] == predictions["prediction"]]
    order = right[columns].max(axis=1).sort_values(ascending=False, kind="stable").index
    return [right.loc[index] for index in order]


def _mean_map(maps: pandas.Series) -> np.ndarray | None:
    """(side, side) mean of row-major lists; None where the branch is off."""
    maps = maps.dropna()
    if not len(maps):
        return None
    mean = np.stack(maps.to_numpy()).astype(float).mean(axis=0)
    side = round(len(mean) ** 0.5)
    return mean.reshape(side, side)


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
