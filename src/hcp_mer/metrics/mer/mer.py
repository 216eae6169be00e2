"""The scores of micro-expression recognition as a module of the `evaluate` library.

    import evaluate
    mer = evaluate.load("src/hcp_mer/metrics/mer")
    mer.compute(references=[0, 0, 1, 2], predictions=[0, 1, 1, 2])
    # {"accuracy": 0.75, "uf1": 0.777…, "uar": 0.833…}

`evaluate` copies this file and `scores.py` out of the folder, so nothing else may be imported here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate
import numpy as np

from .scores import (
    accuracy,
    confusion_matrix,
    f1_per_class,
    precision_per_class,
    recall_per_class,
    uar,
    uf1,
)

_DESCRIPTION = """
Accuracy, unweighted F1 (UF1) and unweighted average recall (UAR) of micro-expression recognition.
Give the predictions of all folds of leave-one-subject-out at once: the field pools them and scores
once. A class that neither occurs nor is predicted is left out of UF1; UAR averages over the true
classes that occur.
"""

_INPUTS = """
Args:
    references (list of int, or of str): true class of each clip, an index or a name.
    predictions (list of int, or of str): predicted class of each clip.
    num_classes (int, optional): indices must be below it; otherwise any index ≥ 0 is taken.
    labels (list of int, or of str, optional): the classes in use, in the order of the confusion
        matrix, when they are not 0, 1, 2, …; any other class is an error. Names need none: they
        are then taken in alphabetical order.
    details (bool): return the confusion matrix and the scores of each class, too.
    groups (list of str, optional): what each clip belongs to, its corpus for example; the scores
        of each group are returned, too.
Returns:
    accuracy, uf1, uar (float): each in [0, 1].
    confusion_matrix (list of lists of int): with details; rows true, columns predicted.
    per_class (dict): with details; class → precision, recall, f1 (None for 0/0) and num_clips.
    per_group (dict): with groups; group → accuracy, uf1, uar and num_clips.
"""

_CITATION = """
@inproceedings{see2019megc,
  title = {{MEGC} 2019 -- The Second Facial Micro-Expressions Grand Challenge},
  author = {See, John and Yap, Moi Hoon and Li, Jingting and Hong, Xiaopeng and Wang, Su-Jing},
  booktitle = {IEEE International Conference on Automatic Face and Gesture Recognition},
  year = {2019}
}
"""


_SCORES = {"accuracy": accuracy, "uf1": uf1, "uar": uar}


class MicroExpressionScores(evaluate.Metric):
    """`evaluate` wrapper around the functions of `scores.py`; holds no arithmetic of its own."""

    def _info(self) -> evaluate.MetricInfo:
        columns = ("predictions", "references")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=[
                datasets.Features({name: datasets.Value(kind) for name in columns})
                for kind in ("int64", "string")
            ],
        )

    def _compute(
        self,
        predictions: Sequence[int] | Sequence[str],
        references: Sequence[int] | Sequence[str],
        num_classes: int | None = None,
        labels: Sequence[int] | Sequence[str] | None = None,
        details: bool = False,
        groups: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Score pooled predictions; see `_INPUTS`.

        Raises:
            ValueError: both num_classes and labels given, a class outside them, or not one group
                for each clip.
        """
        if labels is not None and num_classes is not None:
            raise ValueError("give num_classes or labels, not both: labels says how many")
        references, predictions = np.asarray(references), np.asarray(predictions)
        if labels is None and references.dtype.kind in "US":
            labels = sorted({*references.tolist(), *predictions.tolist()})
        if labels is not None:
            references, predictions = (_positions(x, labels) for x in (references, predictions))
            num_classes = len(labels)
        if num_classes is None:
            num_classes = 1 + int(max(references.max(), predictions.max()))
        confusion = confusion_matrix(references, predictions, num_classes)
        found: dict[str, Any] = _scores(confusion)
        if details:
            found["confusion_matrix"] = confusion.tolist()
            found["per_class"] = _per_class(confusion, labels or range(num_classes))
        if groups is not None:
            found["per_group"] = _per_group(references, predictions, num_classes, groups)
        return found


def _scores(confusion: np.ndarray) -> dict[str, float]:
    return {name: float(score(confusion)) for name, score in _SCORES.items()}


def _per_class(confusion: np.ndarray, labels: Sequence[Any]) -> dict[Any, dict[str, Any]]:
    """Precision, recall and F1 of each class, None where they do not exist; its clips."""
    ratios = {
        "precision": precision_per_class(confusion),
        "recall": recall_per_class(confusion),
        "f1": f1_per_class(confusion),
    }
    return {
        label: {
            **{name: _number(values[index]) for name, values in ratios.items()},
            "num_clips": int(confusion[index].sum()),
        }
        for index, label in enumerate(labels)
    }


def _per_group(
    references: np.ndarray, predictions: np.ndarray, num_classes: int, groups: Sequence[str]
) -> dict[str, dict[str, float]]:
    groups = np.asarray(groups)
    if groups.shape != references.shape:
        raise ValueError(
            f"got {len(references)} references and {len(groups)} groups: give one group per clip, "
            "in the same order"
        )
    found = {}
    for group in sorted(set(groups.tolist())):
        own = groups == group
        confusion = confusion_matrix(references[own], predictions[own], num_classes)
        found[group] = {**_scores(confusion), "num_clips": int(own.sum())}
    return found


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _positions(classes: np.ndarray, labels: Sequence[Any]) -> np.ndarray:
    """Replace each class by its position in `labels`."""
    position = {label: index for index, label in enumerate(labels)}
    if len(position) < len(labels):
        raise ValueError(f"labels must be different classes, got {list(labels)}")
    unknown = sorted(set(classes.tolist()) - set(position))
    if unknown:
        raise ValueError(f"class {unknown[0]} is not in labels {list(labels)}: add it there")
    return np.asarray([position[label] for label in classes.tolist()])
