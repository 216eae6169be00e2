"""Logistic regression on the flow image: the peer that every flow-based model must beat."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from hcp_mer.baselines.inner_folds import subject_folds
from hcp_mer.training.loso import LosoRun

if TYPE_CHECKING:
    from hcp_mer.data.pairs import Pairs

_SIDE = 16
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
_INNER_FOLDS = 3


class FlowLogisticRegression:
    """Logistic regression (Cox 1958) on flow images at 16×16, standardised.

    C is chosen by UF1 on subjects that are held out of the training subjects, and is 1 where nobody
    can be. No mirrored clips: see `FlowSvm` for these.
    """

    name = "flow_logistic_regression"
    heavy = False
    deterministic = True
    num_parameters: int | None = None

    def __init__(self) -> None:
        self._pixels: np.ndarray | None = None
        self._seen: Pairs | None = None

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None:
        from sklearn.dummy import DummyClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        pixels, labels = self._flow_pixels(run)[rows], run.labels.numpy()[rows]
        if len(set(labels)) == 1:
            self._classifier, self.num_parameters = DummyClassifier().fit(pixels, labels), 1
            return
        classifier = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=200)
        )
        splits = subject_folds(labels, run.subjects[rows], _INNER_FOLDS)
        if splits:
            grid = {"logisticregression__C": list(_STRENGTHS)}
            classifier = GridSearchCV(classifier, grid, scoring="f1_macro", cv=splits)
        with warnings.catch_warnings():
            # Not converged at the weakest regularisation, or a rare class absent from an inner
            # fold: both only cost that setting its place in the choice of C.
            warnings.simplefilter("ignore")
            classifier.fit(pixels, labels)
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
