"""95 % intervals, over subjects, of what no confusion matrix holds: AUC, and scores of one class.

As in `intervals`, the subject with all its clips is what is drawn again. A rare class may be absent
from a draw: there the score does not exist (0/0), and the draw is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

NUM_RESAMPLES = 9999


def interval_over_subjects(
    sums: ArrayLike,
    statistic: Callable[[NDArray], NDArray],
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Interval of a score that is made of sums over clips.

    Args:
        sums: (num_seeds, num_subjects, k), what each subject's clips add up to.
        statistic: sums over the drawn subjects (draws, num_seeds, k) → (draws, num_seeds), NaN
            where the score does not exist; seeds are averaged.
    Returns: (low, high); None with fewer than two subjects, or where no draw has a score.
    """
    sums = np.asarray(sums, float)
    draws = _draws(sums.shape[1], num_resamples, seed)
    return _interval(statistic(np.einsum("rs,nsk->rnk", draws, sums)), sums.shape[1])


def auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Area under the ROC curve: how often a positive clip has the higher score.

    Raises:
        ValueError: all clips are positive, or none is.
    """
    from sklearn.metrics import roc_auc_score

    if len(set(np.asarray(positive, bool).tolist())) < 2:
        raise ValueError("an AUC needs clips that are positive and clips that are not")
    return float(roc_auc_score(positive, scores))


def auc_interval_over_subjects(
    scores: Sequence[ArrayLike],
    positive: Sequence[ArrayLike],
    subjects: Sequence[Sequence[str]],
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:
    """Interval of an AUC; each argument has one entry per seed, and there one value per clip."""
    names = sorted(set(subjects[0]))
    wins = np.stack([_wins(*own, names) for own in zip(scores, positive, subjects, strict=True)])
    counts = np.stack(
        [_counts(p, s, names) for p, s in zip(positive, subjects, strict=True)]
    )  # (num_seeds, num_subjects, 2)
    draws = _draws(len(names), num_resamples, seed)
    # In two steps: at once, numpy would walk through draws × subjects × subjects.
    won = (np.einsum("rs,nst->nrt", draws, wins) * draws).sum(-1).T
    positives, negatives = np.moveaxis(np.einsum("rs,nsk->rnk", draws, counts), -1, 0)
    return _interval(_ratio(won, positives * negatives), len(names))


def _wins(
    scores: ArrayLike, positive: ArrayLike, subjects: Sequence[str], names: list[str]
) -> NDArray:
    """(S, S): pairs of one subject's positive and another's negative clip that are in order."""
    scores, positive = np.asarray(scores, float), np.asarray(positive, bool)
    who = np.searchsorted(names, subjects)
    difference = scores[positive][:, None] - scores[~positive]
    in_order = (difference > 0) + 0.5 * (difference == 0)
    wins = np.zeros((len(names), len(names)))
    np.add.at(wins, (who[positive][:, None], who[~positive][None]), in_order)
    return wins


def _counts(positive: ArrayLike, subjects: Sequence[str], names: list[str]) -> NDArray:
    """(S, 2): positive and other clips of each subject."""
    positive, who = np.asarray(positive, bool), np.searchsorted(names, subjects)
    return np.stack(
        [np.bincount(who[which], minlength=len(names)) for which in (positive, ~positive)], -1
    )


def _draws(num_subjects: int, num_resamples: int, seed: int) -> NDArray:
    """(draws, subjects): how often each subject was drawn."""
    rng = np.random.default_rng(seed)
    each = np.full(num_subjects, 1 / num_subjects)
    return rng.multinomial(num_subjects, each, size=num_resamples).astype(float)


def _interval(values: NDArray, num_subjects: int) -> tuple[float, float] | None:
    """Of (draws, num_seeds): the mean over seeds, where every seed has a score."""
    means = values.mean(axis=-1)
    means = means[np.isfinite(means)]
    if num_subjects < 2 or not len(means):
        return None
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _ratio(numerator: NDArray, denominator: NDArray) -> NDArray:
    undefined = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)
