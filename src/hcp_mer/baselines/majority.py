"""The class that is most common among the training clips: the floor under every accuracy."""

from __future__ import annotations

import numpy as np

from hcp_mer.training.loso import LosoRun


class Majority:
    """One answer for all clips: the most common training class, the first of those that tie."""

    name = "majority"
    heavy = False
    deterministic = True
    num_parameters = 1

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None:
        counts = np.bincount(run.labels.numpy()[rows], minlength=len(run.classes))
        self._answer = int(counts.argmax())

    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        return np.full(len(rows), self._answer)
