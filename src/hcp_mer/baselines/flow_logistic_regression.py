"""Logistic regression on the flow image: the peer that every flow-based model must beat."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from hcp_mer.training.loso import LosoRun

if TYPE_CHECKING:
    from hcp_mer.data.pairs import Pairs

_SIDE = 16
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
_INNER_FOLDS = 3


class FlowLogisticRegression:
    """Logistic regression (Cox 1958) on flow images at 16×16, standardised.

    C is chosen by UF1 inside the training subjects. No mirrored clips: see `FlowSvm` for these.
    """

    name = "flow_logistic_regression"
    heavy = False
    num_parameters: int | None = None

    def __init__(self) -> None:
        self._pixels: np.ndarray | None = None
        self._seen: Pairs | None = None

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None:
        from sklearn.dummy import DummyClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        pixels, labels = self._flow_pixels(run)[rows], run.labels.numpy()[rows]
        subjects = run.subjects[rows]
        if len(set(labels)) == 1:
            self._classifier, self.num_parameters = DummyClassifier().fit(pixels, labels), 1
            return
        classifier = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=200)
        )
        rarest = min(np.unique(labels, return_counts=True)[1])
        num_inner = min(_INNER_FOLDS, len(set(subjects)), rarest)
        if num_inner > 1:  # otherwise C stays 1
            inner = StratifiedGroupKFold(num_inner, shuffle=True, random_state=seed % 2**32)
            grid = {"logisticregression__C": list(_STRENGTHS)}
            classifier = GridSearchCV(classifier, grid, scoring="f1_macro", cv=inner)
        with warnings.catch_warnings():
            # Not converged at the weakest regularisation, or a rare class absent from an inner
            # fold: both only cost that setting its place in the choice of C.
            warnings.simplefilter("ignore")
            classifier.fit(pixels, labels, **({"groups": subjects} if num_inner > 1 else {}))
        self._classifier = classifier
        chosen = getattr(classifier, "best_estimator_", classifier)[-1]
        self.num_parameters = chosen.coef_.size + chosen.intercept_.size

    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        return self._classifier.predict(self._flow_pixels(run)[rows])

    def _flow_pixels(self, run: LosoRun) -> np.ndarray:
        """(clips, 768) float32 in [0, 1], computed once for each set of pairs."""
        if self._seen is not run.pairs:
            import cv2

            images = [run.pairs.image(row, "flow") for row in run.labelled.rows]
            small = [cv2.resize(i, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for i in images]
            self._pixels = np.stack(small).reshape(len(small), -1).astype(np.float32) / 255
            self._seen = run.pairs
        return self._pixels
