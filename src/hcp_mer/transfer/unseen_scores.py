"""How well an unseen class was told from its texts, beside those that were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hcp_mer.metrics.over_subjects import (
    auc,
    auc_interval_over_subjects,
    interval_over_subjects,
)

if TYPE_CHECKING:
    import pandas

SUBJECT = ["dataset", "subject"]


def score_unseen(table: pandas.DataFrame, name: str, classes: tuple[str, ...]) -> dict[str, Any]:
    """Generalised zero-shot scores of one table of answers.

    Returns: "recall_of_class", of the class; "recall_of_others", the mean over the other classes;
        "harmonic_mean" of both (Xian et al. 2019); "auc" of the class's similarity over all clips,
        and "auc_of_margin", of its lead over the best other class; with "…_interval_95".
    """
    scores = {}
    per_seed = [own for _, own in table.groupby("seed")]
    sums = np.stack([_hits_and_clips(own, classes) for own in _aligned(per_seed)])
    index = classes.index(name)
    total = sums.sum(axis=1)[None]  # (1, num_seeds, 2 × classes)
    for key, statistic in _statistics(index, len(classes)).items():
        scores[key] = float(statistic(total).mean())
        scores[f"{key}_interval_95"] = _listed(interval_over_subjects(sums, statistic))
    for key, of in {"auc": _similarity, "auc_of_margin": _margin}.items():
        ranked = [of(own, name, classes) for own in per_seed]
        positive = [(own["label"] == name).to_numpy() for own in per_seed]
        subjects = [_subjects(own) for own in per_seed]
        scores[key] = float(np.mean([auc(r, p) for r, p in zip(ranked, positive)]))
        interval = auc_interval_over_subjects(ranked, positive, subjects)
        scores[f"{key}_interval_95"] = _listed(interval)
    return scores


def chance(num_classes: int) -> dict[str, float]:
    """What guessing evenly among all classes comes to."""
    share = 1 / num_classes
    recalls = dict.fromkeys(("recall_of_class", "recall_of_others", "harmonic_mean"), share)
    return {**recalls, "auc": 0.5, "auc_of_margin": 0.5}


def _statistics(index: int, num_classes: int):
    """Name → statistic of (…, 2 × classes): hits of every class, then clips of every class."""

    def recalls(sums: NDArray) -> NDArray:
        hits, clips = sums[..., :num_classes], sums[..., num_classes:]
        return np.divide(hits, clips, out=np.full(hits.shape, np.nan), where=clips > 0)

    def of_class(sums: NDArray) -> NDArray:
        return recalls(sums)[..., index]

    def of_others(sums: NDArray) -> NDArray:
        return np.delete(recalls(sums), index, axis=-1).mean(axis=-1)

    def harmonic(sums: NDArray) -> NDArray:
        ours, theirs = of_class(sums), of_others(sums)
        total = ours + theirs
        mean = np.divide(2 * ours * theirs, total, out=np.zeros_like(total), where=total > 0)
        return np.where(np.isnan(total), np.nan, mean)

    return {
        "recall_of_class": of_class,
        "recall_of_others": of_others,
        "harmonic_mean": harmonic,
    }


def _aligned(tables: list[pandas.DataFrame]) -> list[pandas.DataFrame]:
    return [own.assign(who=_subjects(own)).sort_values("who") for own in tables]


def _hits_and_clips(table: pandas.DataFrame, classes: tuple[str, ...]) -> NDArray:
    """(num_subjects, 2 × classes), subjects in order of name."""
    hit = table["label"] == table["prediction"]
    parts = []
    for counted in (hit, hit | True):
        of_classes = [
            (counted & (table["label"] == name)).groupby(table["who"]).sum() for name in classes
        ]
        parts += [own.to_numpy() for own in of_classes]
    return np.stack(parts, axis=-1)


def _subjects(table: pandas.DataFrame) -> list[str]:
    return table[SUBJECT].astype(str).agg("/".join, axis=1).tolist()


def _similarity(table: pandas.DataFrame, name: str, classes: tuple[str, ...]) -> NDArray:
    return table[f"similarity_{name}"].to_numpy()


def _margin(table: pandas.DataFrame, name: str, classes: tuple[str, ...]) -> NDArray:
    others = [f"similarity_{other}" for other in classes if other != name]
    return _similarity(table, name, classes) - table[others].max(axis=1).to_numpy()


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return interval and list(interval)


def verdict(name: str, systems: Mapping[str, Mapping[str, Any]], num_classes: int) -> str:
    """In words: does the unseen class's text rank its clips, and does it win against the others?

    The two may differ: training draws clips to the classes that it has, and the unseen class,
    however well it ranks, then loses against them.
    """
    unseen = systems["unseen"]
    interval = unseen["auc_of_margin_interval_95"]
    if interval is None:
        return f"{name}: one subject alone, nothing can be said."
    low, high = interval
    ranks = "ranks" if low > 0.5 else "does not clearly rank" if high > 0.5 else "fails to rank"
    recall = {system: f"{own['recall_of_class']:.2f}" for system, own in systems.items()}
    return (
        f"{name}, never trained on: its text {ranks} its clips above others (AUC of its lead "
        f"{unseen['auc_of_margin']:.2f} [{low:.2f}, {high:.2f}]); among all classes it is the "
        f"answer for {recall['unseen']} of its clips (guessing {1 / num_classes:.2f}, before any "
        f"training {recall['untrained']}, trained on it {recall['trained_on_it']})."
    )
