"""A linear support vector machine on the flow image, with mirrored clips."""

from __future__ import annotations

import numpy as np

from hcp_mer.model.flow_image_hcp_mer import ZERO_LEVEL, flip_flow_image
from hcp_mer.training.loso import LosoRun

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
        self._views: np.ndarray | None = None

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None:
        views, products = self._prepared(run)
        labels, subjects = run.labels.numpy(), run.subjects
        self._train = rows
        self._classes = np.unique(labels[rows])
        if len(self._classes) == 1:
            self._machine, self.num_parameters = None, 1
            return
        self.strength = _choose_strength(products, labels, subjects, rows)
        self._machine = _fit(products, labels, rows, self.strength)
        pairs = len(self._classes) * (len(self._classes) - 1) // 2
        self.num_parameters = pairs * (views.shape[-1] + 1)

    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        if self._machine is None:
            return np.full(len(rows), self._classes[0])
        _, products = self._prepared(run)
        return _predict(self._machine, products, self._train, rows)

    def _prepared(self, run: LosoRun) -> tuple[np.ndarray, np.ndarray]:
        """Views and their scalar products, of every clip, computed once.

        A product of two clips depends on these two alone, so that a fold's part of the table is
        what it would compute from its own clips.
        """
        if self._views is None:
            self._views = flow_views(run, _SIDE)
            flat = self._views.reshape(-1, self._views.shape[-1])
            products = (flat @ flat.T).astype(np.float64)
            num_clips = len(self._views)
            self._products = products.reshape(num_clips, 2, num_clips, 2)
        return self._views, self._products


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


def _choose_strength(
    products: np.ndarray, labels: np.ndarray, subjects: np.ndarray, rows: np.ndarray
) -> float:
    """The C with the best UF1 on left-out training subjects, the smallest of those that tie."""
    from sklearn.metrics import f1_score

    halves = _subject_folds(labels[rows], subjects[rows])
    if not halves:
        return _STRENGTHS[len(_STRENGTHS) // 2]
    scores = []
    for strength in _STRENGTHS:
        answers = np.zeros(len(rows), dtype=int)
        for train, test in halves:
            machine = _fit(products, labels, rows[train], strength)
            answers[test] = _predict(machine, products, rows[train], rows[test])
        scores.append(f1_score(labels[rows], answers, average="macro", zero_division=0))
    return _STRENGTHS[int(np.argmax(scores))]


def _subject_folds(labels: np.ndarray, subjects: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Splits of clips by subject that have two classes or more to train on; none: no split has."""
    import warnings

    from sklearn.model_selection import StratifiedGroupKFold

    rarest = min(np.unique(labels, return_counts=True)[1])
    number = min(_INNER_FOLDS, len(set(subjects)), rarest)
    if number < 2:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a rare class is absent from a split
        splits = list(StratifiedGroupKFold(number).split(labels, labels, subjects))
    return [part for part in splits if len(part[1]) and len(set(labels[part[0]])) > 1]


def _fit(products: np.ndarray, labels: np.ndarray, rows: np.ndarray, strength: float):
    """A machine on the clips `rows` and their mirror images."""
    from sklearn.svm import SVC

    kernel = products[np.ix_(rows, (0, 1), rows, (0, 1))].reshape(2 * len(rows), -1)
    machine = SVC(C=strength, kernel="precomputed", class_weight="balanced")
    return machine.fit(kernel, labels[rows].repeat(2))


def _predict(machine, products: np.ndarray, train: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Classes by the mean decision value of each clip and its mirror image."""
    kernel = products[np.ix_(rows, (0, 1), train, (0, 1))].reshape(2 * len(rows), -1)
    values = machine.decision_function(kernel)
    values = np.stack([-values, values], axis=-1) if values.ndim == 1 else values
    mean = values.reshape(len(rows), 2, -1).mean(axis=1)
    return machine.classes_[mean.argmax(axis=-1)]
