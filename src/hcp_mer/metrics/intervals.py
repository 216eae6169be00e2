"""How sure is a pooled score? 95 % bootstrap intervals over subjects.

Clips of one subject resemble each other, so the unit that is drawn again is the subject with all
its clips. The interval answers: with other subjects from the same population, and the same trained
folds, where would the score lie? It does not cover retraining, other seeds or another corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Statistic = Callable[[NDArray], NDArray]
"""From confusion matrices (..., num_classes, num_classes) to one score each, (...)."""


def bootstrap_over_subjects(
    confusions: ArrayLike,
    statistic: Statistic,
    *,
    num_resamples: int = 9999,
    seed: int | np.random.Generator = 0,
) -> tuple[float, float] | None:
    """95 % percentile interval of a pooled score when subjects are drawn with replacement.

    Args:
        confusions: (num_subjects, C, C) counts, or (num_seeds, num_subjects, C, C): then the score
            is the mean over seeds of each seed's pooled score, and every seed sees the same draw.
        statistic: score of pooled matrices, e.g. `hcp_mer.metrics.mer.scores.uf1`.
    Returns:
        (low, high); None with fewer than two subjects, because one subject says nothing about
        how subjects differ.
    """
    confusions = _with_seed_axis(confusions)

    def score(draws: NDArray) -> NDArray:
        return _mean_over_seeds(confusions, draws, statistic)

    return _percentile_interval(score, [confusions.shape[1]], num_resamples, seed)


def bootstrap_difference_over_subjects(
    confusions: ArrayLike,
    other_confusions: ArrayLike,
    statistic: Statistic,
    *,
    num_resamples: int = 9999,
    seed: int | np.random.Generator = 0,
) -> tuple[float, float] | None:
    """95 % interval of (score − other score), both from the same drawn subjects.

    Two systems on the same clips err on the same hard subjects; the paired difference takes that
    out, where comparing two separate intervals would not.

    Args:
        confusions, other_confusions: as for `bootstrap_over_subjects`, with the same subjects in
            the same order; the numbers of seeds may differ.
    Returns:
        (low, high), or None with fewer than two subjects.
    Raises:
        ValueError: the numbers of subjects differ.
    """
    confusions, others = _with_seed_axis(confusions), _with_seed_axis(other_confusions)
    if confusions.shape[1] != others.shape[1]:
        raise ValueError(
            "a paired difference needs the same subjects on both sides, got "
            f"{confusions.shape[1]} and {others.shape[1]}: score both systems on the same clips"
        )

    def difference(draws: NDArray) -> NDArray:
        ours = _mean_over_seeds(confusions, draws, statistic)
        return ours - _mean_over_seeds(others, draws, statistic)

    return _percentile_interval(difference, [confusions.shape[1]], num_resamples, seed)


def bootstrap_mean_difference(
    corpora: Sequence[tuple[ArrayLike, ArrayLike]],
    statistic: Statistic,
    *,
    num_resamples: int = 9999,
    seed: int | np.random.Generator = 0,
) -> tuple[float, float] | None:
    """95 % interval of the mean over corpora of (score − other score).

    Args:
        corpora: of each, confusions and other_confusions, as for
            `bootstrap_difference_over_subjects`. Subjects are drawn within their own corpus: the
            corpora are those that there are.
    Returns:
        (low, high), or None where a corpus has fewer than two subjects.
    """
    pairs = [(_with_seed_axis(own), _with_seed_axis(other)) for own, other in corpora]

    def mean_difference(*draws: NDArray) -> NDArray:
        differences = [
            _mean_over_seeds(own, drawn, statistic) - _mean_over_seeds(other, drawn, statistic)
            for (own, other), drawn in zip(pairs, draws, strict=True)
        ]
        return np.mean(differences, axis=0)

    counts = [own.shape[1] for own, _ in pairs]
    return _percentile_interval(mean_difference, counts, num_resamples, seed)


def _percentile_interval(
    score: Callable[..., NDArray],
    num_subjects: Sequence[int],
    num_resamples: int,
    seed: int | np.random.Generator,
) -> tuple[float, float] | None:
    """Let scipy draw subjects of each group; `score` maps draws, (num_draws, num_subjects) of each
    group, to (num_draws,).
    """
    from scipy.stats import bootstrap

    if min(num_subjects) < 2:
        return None

    def score_of_indices(*groups: NDArray, axis: int = -1) -> NDArray:
        draws = []  # how often each subject was drawn
        for indices, count in zip(groups, num_subjects):
            rows = indices.reshape(-1, count)
            draws.append(np.stack([np.bincount(row, minlength=count) for row in rows]))
        return score(*draws)

    interval = bootstrap(
        tuple(np.arange(count) for count in num_subjects),
        score_of_indices,
        n_resamples=num_resamples,
        confidence_level=0.95,
        method="percentile",
        vectorized=True,
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _mean_over_seeds(confusions: NDArray, draws: NDArray, statistic: Statistic) -> NDArray:
    pooled = np.tensordot(draws, confusions, axes=(-1, 1))  # (num_draws, num_seeds, C, C)
    return statistic(pooled).mean(axis=-1)


def _with_seed_axis(confusions: ArrayLike) -> NDArray:
    confusions = np.asarray(confusions)
    if confusions.ndim == 3:
        confusions = confusions[None]
    if confusions.ndim != 4 or confusions.shape[-1] != confusions.shape[-2]:
        raise ValueError(
            "confusions must have shape (num_subjects, C, C) or (num_seeds, num_subjects, C, C), "
            f"got {confusions.shape}: keep one matrix per subject, do not pool them first"
        )
    return confusions
