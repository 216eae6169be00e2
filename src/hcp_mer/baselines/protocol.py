"""What every peer looks like, so that it runs on the same folds as the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from tqdm import tqdm

from hcp_mer.training.loso import LosoRun

if TYPE_CHECKING:
    import pandas


class Peer(Protocol):
    """A method that learns from the training clips of a fold and answers for the others.

    `rows` index the run's labelled clips, as `Fold.train` and `Fold.test` do; a peer reads
    labels of training clips only.
    """

    name: str

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None: ...

    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        """Class indices (len(rows),)."""
        ...


def run_peer(peer: Peer, run: LosoRun) -> None:
    """Every fold of a run with a peer; writes baselines/<name>.parquet unless it is there."""
    import pandas

    destination = f"baselines/{peer.name}.parquet"
    if (run.folder.root / destination).is_file():
        return
    seed = run.recipe.seeds[0]
    tables: list[pandas.DataFrame] = []
    for fold in tqdm(run.folds, desc=peer.name.replace("_", " "), unit="fold"):
        peer.fit(run, fold.train, fold.seed(seed, peer.name))
        answers = [run.classes[index] for index in peer.predict(run, fold.test)]
        tables.append(
            pandas.DataFrame({**run.identities(fold), "prediction": answers, "seed": seed})
        )
    run.folder.save_table(pandas.concat(tables, ignore_index=True), destination)
