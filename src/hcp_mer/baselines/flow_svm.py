"""A linear support vector machine on the flow image, with mirrored clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hcp_mer.baselines.inner_folds import subject_folds
from hcp_mer.model.flow_image_hcp_mer import ZERO_LEVEL, flip_flow_image
from hcp_mer.training.loso import LosoRun

if TYPE_CHECKING:
    from sklearn.svm import SVC

    from hcp_mer.data.pairs import Pairs

_SIDE = 28
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_INNER_FOLDS = 5


class FlowSvm:
    """Linear SVM (Cortes & Vapnik 1995) on flow images at 28×28.

    Each training clip counts a second time mirrored, u negated; at test the decision values of a
    clip and its mirror image are averaged. C is chosen by UF1 on training subjects, a few of whom
    are left out at a time, pooled as the protocol pools. Levels are centred at no motion and not
    standardised: where hardly anything moves there is noise, which would then count as much.
    """

    name = "flow_svm"
    heavy = False
    deterministic = True
    num_parameters: int | None = None

    def __init__(self) -> None:
        self._seen: Pairs | None = None

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None:
        views, labels = self._views_of(run), run.labels.numpy()[rows]
        self._classes = np.unique(labels)
        if len(self._classes) == 1:
            self._machine, self.num_parameters = None, 1
            return
        products = self._products[np.ix_(rows, (0, 1), rows, (0, 1))]
        self.strength = _choose_strength(products, labels, run.subjects[rows])
        self._machine, self._train = _fit(products, labels, self.strength), views[rows]
        pairs = len(self._classes) * (len(self._classes) - 1) // 2
        self.num_parameters = pairs * (views.shape[-1] + 1)

    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        if self._machine is None:
            return np.full(len(rows), self._classes[0])
        return _predict(self._machine, _products(self._views_of(run)[rows], self._train))

    def _views_of(self, run: LosoRun) -> np.ndarray:
        """`flow_views` and their products, computed once for each set of pairs.

        A product of two clips depends on these two alone, so that a fold's part of the table is
        what it would compute from its own clips.
        """
        if self._seen is not run.pairs:
            self._views = flow_views(run, _SIDE)
            self._products = _products(self._views, self._views)
            self._seen = run.pairs
        return self._views


def flow_views(run: LosoRun, side: int) -> np.ndarray:
    """Flow images and their mirror images, (clips, 2, side · side · 3) float32.

    Levels as shares of the scale: u and v in [−1, 1], 0 where nothing moves; the third channel in
    [0, 1]. Of an `hsv` image all channels are in [0, 1].
    """
    import cv2

    motion = run.pairs.settings.get("motion") or {}
    encoding = motion.get("flow_encoding", "uv_strain")
    zero, reach = (0, 255) if encoding == "hsv" else ((ZERO_LEVEL, ZERO_LEVEL, 0), (127, 127, 255))
    views = []
    for row in run.labelled.rows:
        image = run.pairs.image(row, "flow")
        both = (image, flip_flow_image(image, encoding))
        small = [
            cv2.resize(view.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
            for view in both
        ]
        views.append([((view - zero) / reach).ravel() for view in small])
    return np.array(views, dtype=np.float32)


def _products(views: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Scalar products, (clips, 2, other clips, 2) float64."""
    flat, other = (both.reshape(-1, both.shape[-1]) for both in (views, others))
    return (flat @ other.T).astype(np.float64).reshape(len(views), 2, len(others), 2)


def _choose_strength(products: np.ndarray, labels: np.ndarray, subjects: np.ndarray) -> float:
    """The C with the best UF1 on left-out training subjects, the smallest of those that tie.

    Args: products (clips, 2, clips, 2), labels and subjects (clips,): of training clips alone.
    """
    from sklearn.metrics import f1_score

    splits = subject_folds(labels, subjects, _INNER_FOLDS)
    if not splits:
        return _STRENGTHS[len(_STRENGTHS) // 2]
    left_out = np.concatenate([test for _, test in splits])
    scores = []
    for strength in _STRENGTHS:
        answers = []
        for train, test in splits:
            machine = _fit(products[train][:, :, train], labels[train], strength)
            answers.append(_predict(machine, products[test][:, :, train]))
        known, said = labels[left_out], np.concatenate(answers)
        scores.append(f1_score(known, said, average="macro", zero_division=0))
    return _STRENGTHS[int(np.argmax(scores))]


def _fit(products: np.ndarray, labels: np.ndarray, strength: float) -> SVC:
    """A machine on clips and their mirror images; products (clips, 2, clips, 2)."""
    from sklearn.svm import SVC

    machine = SVC(C=strength, kernel="precomputed", class_weight="balanced")
    return machine.fit(products.reshape(2 * len(labels), -1), labels.repeat(2))


def _predict(machine: SVC, products: np.ndarray) -> np.ndarray:
    """Classes by the mean decision value of each clip and its mirror image.

    Args: products (clips, 2, training clips, 2). Returns: (clips,).
    """
    values = machine.decision_function(products.reshape(2 * len(products), -1))
    values = np.stack([-values, values], axis=-1) if values.ndim == 1 else values
    mean = values.reshape(len(products), 2, -1).mean(axis=1)
    return machine.classes_[mean.argmax(axis=-1)]
