"""Splits of a fold's training clips by subject, for settings that are chosen among them."""

from __future__ import annotations

import warnings

import numpy as np


def subject_folds(
    labels: np.ndarray, subjects: np.ndarray, most: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Splits in which every subject is left out once, at most `most`; the same at every call.

    Args: labels, subjects (clips,), of training clips alone.
    Returns: indices of clips to train on and to ask about; empty where there is one subject, or a
        class with one clip. Splits without two classes to train on are left out.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    rarest = min(np.unique(labels, return_counts=True)[1])
    number = min(most, len(set(subjects)), rarest)
    if number < 2:
        return []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a rare class is absent from a split
        splits = list(StratifiedGroupKFold(number).split(labels, labels, subjects))
    return [part for part in splits if len(part[1]) and len(set(labels[part[0]])) > 1]
