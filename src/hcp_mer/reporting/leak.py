"""What choosing the epoch on the held-out subject would add: a diagnostic beside the result."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hcp_mer.errors import UserError
from hcp_mer.metrics.mer.scores import uar, uf1

if TYPE_CHECKING:
    import pandas as pd

LEAKY_EPOCHS = "leaky_epochs.parquet"
_COLUMNS = ["fold", "clip_id", "label", "prediction", "epoch", "seed"]
_GUESSES = 20  # how often guessing is repeated; its mean is told


def read_leaky_epochs(run_folder: Path) -> pd.DataFrame | None:
    """What every epoch's model said of held-out clips; None where it was not measured.

    Raises:
        UserError: the file is damaged.
    """
    import pandas as pd

    path = run_folder / LEAKY_EPOCHS
    if not path.is_file():
        return None
    try:
        return pd.read_parquet(path, columns=[*_COLUMNS, "dataset", "subject"])
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path} is damaged ({error}): delete it and train with --measure_leak again."
        ) from error


def leak_scores(epochs: pd.DataFrame, classes: Sequence[str], seed: int = 0) -> dict[str, Any]:
    """The honest score of the last epoch, the leaky one of each fold's best, and guessing's.

    Means over seeds of pooled scores. Guesses are uniform over the classes; "chosen" takes of each
    fold the best of as many guesses as there are epochs, "not_chosen" the last.

    Args:
        epochs: as `read_leaky_epochs`; classes: in the order of the task.
        seed: of the guesses.
    """
    curve = leak_curve(epochs, classes, seed)
    last = curve.iloc[-1]
    return {
        "leaky_best_epoch_uf1": float(last["leaky"]),
        "leaky_best_epoch_uar": float(last["leaky_uar"]),
        "last_epoch_uf1": float(last["honest"]),
        "last_epoch_uar": float(last["honest_uar"]),
        "num_epochs": int(last["epoch"]),
        "guessing_uf1": {
            "chosen": float(last["guessing_chosen"]),
            "not_chosen": float(last["guessing_not_chosen"]),
        },
    }


def leak_curve(epochs: pd.DataFrame, classes: Sequence[str], seed: int = 0) -> pd.DataFrame:
    """The same, had training ended at each epoch: what `figures.leak_figure` draws.

    Folds may have different numbers of epochs; one that has ended keeps its last answers.

    Returns: epoch (from 1), honest, honest_uar, leaky, leaky_uar, guessing_chosen,
        guessing_not_chosen; UF1 where nothing else is said.
    """
    import pandas as pd

    num_epochs = int(epochs["epoch"].max())
    index = {name: position for position, name in enumerate(classes)}
    coded = epochs.assign(
        label=epochs["label"].map(index), prediction=epochs["prediction"].map(index)
    )
    seeds = sorted(coded["seed"].unique())
    per_seed = [_confusions(coded[coded["seed"] == s], num_epochs, len(classes)) for s in seeds]
    columns: dict[str, Any] = {"epoch": np.arange(1, num_epochs + 1)}
    for name, position in (("honest", 0), ("leaky", 1)):
        pooled = np.stack([both[position] for both in per_seed])  # (seeds, epochs, C, C)
        columns[name] = uf1(pooled).mean(axis=0)
        columns[f"{name}_uar"] = uar(pooled).mean(axis=0)
    labels = [
        rows["label"].to_numpy()
        for _, rows in coded[(coded["seed"] == seeds[0]) & (coded["epoch"] == 1)].groupby("fold")
    ]
    guessed = _guess(labels, num_epochs, len(classes), np.random.default_rng(seed))
    columns["guessing_not_chosen"], columns["guessing_chosen"] = guessed
    return pd.DataFrame(columns)


def _confusions(rows: pd.DataFrame, num_epochs: int, num_classes: int) -> tuple[NDArray, NDArray]:
    """Pooled over folds, (epochs, C, C) each: of every epoch, and of the best epochs up to it."""
    honest = leaky = 0
    for _, fold in rows.groupby("fold"):
        table = fold.pivot(
            index=["dataset", "subject", "clip_id"], columns="epoch", values="prediction"
        )
        answers = table.to_numpy().T  # (epochs of this fold, clips)
        answers = np.concatenate([answers, answers[-1:].repeat(num_epochs - len(answers), axis=0)])
        first = fold[fold["epoch"] == fold["epoch"].min()]
        labels = first.set_index(["dataset", "subject", "clip_id"])["label"].loc[table.index]
        own, best = _of_fold(answers, labels.to_numpy(), num_classes)
        honest, leaky = honest + own, leaky + best
    return honest, leaky


def _of_fold(answers: NDArray, labels: NDArray, num_classes: int) -> tuple[NDArray, NDArray]:
    """Confusion matrices (epochs, C, C) of each epoch and of the most accurate one up to it."""
    one_of = np.eye(num_classes, dtype=np.int64)
    own = one_of[labels].T @ one_of[answers]  # (C, clips) @ (epochs, clips, C)
    hits = (answers == labels).sum(axis=1)
    improved = np.r_[True, hits[1:] > np.maximum.accumulate(hits)[:-1]]
    best = np.maximum.accumulate(np.where(improved, np.arange(len(hits)), 0))
    return own, own[best]  # the first of equally good epochs stays


def _guess(
    labels: list[NDArray], num_epochs: int, num_classes: int, rng: np.random.Generator
) -> tuple[NDArray, NDArray]:
    """UF1 of guesses at each epoch, and of each fold's best guesses up to it: means (epochs,)."""
    scores = []
    for _ in range(_GUESSES):
        pairs = [
            _of_fold(rng.integers(num_classes, size=(num_epochs, len(own))), own, num_classes)
            for own in labels
        ]
        scores.append([uf1(sum(pair[side] for pair in pairs)) for side in (0, 1)])
    return tuple(np.mean(scores, axis=0))
