"""Does a score of 0.7 mean right in 7 of 10? One temperature, and how far off the scores are.

Temperature scaling (Guo et al. 2017): scores are softmax(logits / T), with the T that makes the
labels of held-out clips likeliest. One number for all classes leaves their order alone, so every
answer, and with it accuracy, UF1 and UAR, stays what it was. Logits are taken to be log
probabilities, which differ from the model's by a constant of each clip that softmax does not see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Of a calibrated score: below it an answer is likelier wrong than right, whatever the number of
# classes and however seldom a model gets there. It is a rule, not fitted: nothing can overfit it.
UNSURE_BELOW = 0.5
# Few clips, or none that is wrong, can call for T = 0 (always certain) or ∞ (knows nothing).
TEMPERATURE_BOUNDS = (0.05, 20.0)
NUM_BINS = 15  # equal widths, as Guo et al. have them
_SUM_TOLERANCE = 1e-3  # a float32 softmax is within 1e-6; what is further off is something else
_SMALLEST = float(np.finfo(np.float32).tiny)  # what a float32 softmax rounds to 0 is not impossible


def fit_temperature(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """The T within `TEMPERATURE_BOUNDS` that makes the labels likeliest.

    Every answer counts the same, whatever its class: weights would calibrate for a world in which
    all classes are as frequent as each other. Where no T explains the labels better, T is 1.

    Args:
        probabilities: (n, num_classes) of clips that the model never saw; labels: (n,) indices.
    Raises:
        ValueError: no answers, or something that is no probability.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    log_probs, labels = _log_probs(probabilities), np.asarray(labels)
    rows = np.arange(len(labels))

    def loss(temperature: float) -> float:
        return -float(log_softmax(log_probs / temperature, axis=1)[rows, labels].mean())

    # The loss is convex in 1 / T, so it has one valley in log T too.
    found = minimize_scalar(
        lambda log_t: loss(np.exp(log_t)),
        bounds=np.log(TEMPERATURE_BOUNDS),
        method="bounded",
        options={"xatol": 1e-6},
    )
    # The search stays inside its bounds; of equals `min` takes the first.
    return min((1.0, *TEMPERATURE_BOUNDS, float(np.exp(found.x))), key=loss)


def temperatures_of_others(
    probabilities: ArrayLike, labels: ArrayLike, people: ArrayLike
) -> NDArray[np.float64]:
    """For each answer, the temperature that the answers of all other people lead to, (n,).

    Args: people: (n,) who each clip shows, two or more; all answers of one count as that person's.
    Raises:
        ValueError: one person alone: nobody is left to fit on.
    """
    probabilities, labels, people = map(np.asarray, (probabilities, labels, people))
    names, person = np.unique(people, return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"a temperature from other people needs two or more of them, got {len(names)}"
        )
    each = [
        fit_temperature(probabilities[person != index], labels[person != index])
        for index in range(len(names))
    ]
    return np.array(each)[person]


def calibrated(probabilities: ArrayLike, temperature: ArrayLike) -> NDArray[np.float64]:
    """softmax(log p / T), (n, num_classes); T: one, or (n,) one for each answer."""
    from scipy.special import softmax

    divisors = np.asarray(temperature, dtype=np.float64)[..., None]
    return softmax(_log_probs(probabilities) / divisors, axis=1)


def reliability(
    probabilities: ArrayLike, labels: ArrayLike, num_bins: int = NUM_BINS
) -> dict[str, list[Any]]:
    """Answers binned by their score, the probability of the likeliest class: a reliability diagram.

    Returns: lists of `num_bins`, from the lowest scores to the highest: "count" of answers, their
        mean "score" and the "accuracy" among them, None in an empty bin. Bins have equal widths,
        and a score on an edge belongs below it: (0, 1/15], (1/15, 2/15], ….
    """
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    scores, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    inner_edges = np.linspace(0, 1, num_bins + 1)[1:-1]
    place = np.digitize(scores, inner_edges, right=True)
    counts = np.bincount(place, minlength=num_bins)

    def means(values: NDArray) -> list[float | None]:
        sums = np.bincount(place, weights=values, minlength=num_bins)
        return [float(s / n) if n else None for s, n in zip(sums, counts, strict=True)]

    return {"count": counts.tolist(), "score": means(scores), "accuracy": means(right)}


def expected_calibration_error(bins: dict[str, list[Any]]) -> float:
    """ECE: |accuracy − mean score| of the bins of `reliability`, weighted by their answers.

    In [0, 1]. Chance alone keeps it above 0 with few answers, be they ever so well calibrated.
    """
    gaps = [
        n * abs(accuracy - score)
        for n, score, accuracy in zip(bins["count"], bins["score"], bins["accuracy"], strict=True)
        if n
    ]
    return float(sum(gaps) / sum(bins["count"]))


def negative_log_likelihood(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean −log p of the true class, in nats."""
    of_truth = np.asarray(probabilities)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(of_truth, _SMALLEST)).mean())


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean over the answers of Σ_classes (p − truth)², in [0, 2] (Brier 1950)."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    truth = np.eye(probabilities.shape[1])[np.asarray(labels)]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def _log_probs(probabilities: ArrayLike) -> NDArray[np.float64]:
    """Their logarithms; ValueError for what is no probability."""
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if probabilities.ndim != 2 or not len(probabilities):
        raise ValueError(
            "probabilities must have shape (answers, classes), with one answer or more; got "
            f"{probabilities.shape}"
        )
    sums = probabilities.sum(axis=1)  # NaN fails every comparison
    fair = (probabilities >= 0).all(axis=1) & (np.abs(sums - 1) < _SUM_TOLERANCE)
    if not fair.all():
        raise ValueError(
            "probabilities must not be negative and must add up to 1; got "
            f"{probabilities[fair.argmin()].tolist()}"
        )
    return np.log(np.maximum(probabilities, _SMALLEST))
