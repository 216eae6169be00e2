"""A support vector machine on histograms, as the hand-crafted peers use it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from hcp_mer.baselines.inner_folds import subject_folds

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

_COSTS = (1.0, 1e2, 1e4)
_INNER_FOLDS = 3


def fit_svm(
    features: np.ndarray,
    labels: np.ndarray,
    subjects: np.ndarray,
    kernel: Literal["linear", "precomputed"] = "linear",
) -> ClassifierMixin:
    """A support vector machine with balanced classes; nothing is drawn.

    C is one of 1, 100 and 10000, by UF1 on subjects that are held out of the training subjects, and
    10000 where nobody can be.

    Args: `features` of the training clips alone, (clips, size), or, precomputed, how similar each
        is to each, (clips, clips); labels and subjects (clips,).
    """
    from sklearn.dummy import DummyClassifier
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    if len(set(labels)) == 1:
        return DummyClassifier().fit(features, labels)
    machine = SVC(kernel=kernel, C=_COSTS[-1], class_weight="balanced")
    splits = subject_folds(labels, subjects, _INNER_FOLDS)
    if not splits:
        return machine.fit(features, labels)
    search = GridSearchCV(machine, {"C": list(_COSTS)}, scoring="f1_macro", cv=splits)
    return search.fit(features, labels).best_estimator_


def num_fitted(machine: ClassifierMixin) -> int:
    """How many numbers were fitted: the weights of the support vectors, and the offsets."""
    if not hasattr(machine, "dual_coef_"):
        return 0
    return int(machine.dual_coef_.size + machine.intercept_.size)
