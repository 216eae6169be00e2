"""Temperature and calibration error, where the right value is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import brier_score_loss, log_loss

from hcp_mer.metrics.calibration import (
    TEMPERATURE_BOUNDS,
    brier_score,
    calibrated,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    temperatures_of_others,
)

LOWEST, HIGHEST = TEMPERATURE_BOUNDS


def drawn(temperature, num_answers=20_000, num_classes=3, seed=0):
    """Probabilities of a model whose logits are too large by that factor, and true labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=3, size=(num_answers, num_classes))
    truth = softmax(logits / temperature, axis=1)
    labels = (rng.random((num_answers, 1)) > truth.cumsum(axis=1)).sum(axis=1)
    return softmax(logits, axis=1), labels


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("num_classes", [3, 7])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature, num_classes):
    found = fit_temperature(*drawn(temperature, num_classes=num_classes))
    assert found == pytest.approx(temperature, rel=0.03)


@pytest.mark.slow
def test_no_temperature_on_a_grid_explains_the_labels_better():
    probabilities, labels = drawn(2.5, num_answers=200)
    grid = np.geomspace(LOWEST, HIGHEST, 1001)
    losses = [log_loss(labels, softmax(np.log(probabilities) / t, axis=1)) for t in grid]
    found = fit_temperature(probabilities, labels)
    assert found == pytest.approx(grid[np.argmin(losses)], rel=6e-3)  # the grid's own step
    assert log_loss(labels, calibrated(probabilities, found)) <= min(losses) + 1e-9


def test_by_hand_two_of_three_right_at_four_to_one():
    # p = 0.8 and 0.2; two of three right need σ(log(4) / T) = 2/3, so T = log 4 / log 2 = 2.
    temperature = fit_temperature([[0.8, 0.2]] * 3, [0, 0, 1])
    assert temperature == pytest.approx(2, rel=1e-4)
    assert calibrated([[0.8, 0.2]], 2.0)[0] == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize(
    ("answers", "labels", "expected"),
    [
        ([[0.8, 0.1, 0.1]] * 5, [0] * 5, LOWEST),  # all right: never sure enough
        ([[0.8, 0.1, 0.1]], [0], LOWEST),
        ([[0.8, 0.1, 0.1]] * 5, [1] * 5, HIGHEST),  # all wrong: never unsure enough
        ([[1.0, 0.0, 0.0]] * 5, [1] * 5, HIGHEST),  # what it called impossible
        ([[1.0, 0.0, 0.0]] * 5, [0] * 5, 1.0),  # nothing can be gained
        ([[1 / 3, 1 / 3, 1 / 3]] * 5, [0, 1, 2, 0, 0], 1.0),  # nothing depends on it
    ],
)
def test_answers_that_set_no_bound_get_a_finite_temperature(answers, labels, expected):
    assert fit_temperature(answers, labels) == expected


def test_one_sure_mistake_is_not_drowned_by_many_right_answers():
    # Logits 2 and, once, 80. At T = 0.05 the mistake costs 1600 nats of the mean, at 2 it costs 40.
    logits = np.array([[2.0, 0.0]] * 99 + [[80.0, 0.0]])
    grid = np.geomspace(LOWEST, HIGHEST, 4001)
    losses = [np.logaddexp(0, -2 / t) * 99 + np.logaddexp(0, 80 / t) for t in grid]
    found = fit_temperature(softmax(logits, axis=1), [0] * 99 + [1])
    assert found == pytest.approx(grid[np.argmin(losses)], rel=2e-3)


def test_answers_stay_what_they_were():
    probabilities, _ = drawn(1.0, num_answers=500, num_classes=7)
    for temperature in (LOWEST, 0.7, 3.0, HIGHEST):
        scores = calibrated(probabilities, temperature)
        assert (scores.argmax(axis=1) == probabilities.argmax(axis=1)).all()
        assert scores.sum(axis=1) == pytest.approx(np.ones(500))
    assert calibrated(probabilities, 1.0) == pytest.approx(probabilities)


def test_each_answer_may_have_a_temperature_of_its_own():
    probabilities, _ = drawn(1.0, num_answers=2)
    both = calibrated(probabilities, [2.0, 0.5])
    for row, temperature in enumerate((2.0, 0.5)):
        assert both[row] == pytest.approx(softmax(np.log(probabilities[row]) / temperature))


def test_nobody_has_a_say_in_the_temperature_of_its_own_scores():
    probabilities, labels = drawn(2.5, num_answers=120)
    people = np.repeat(["a", "b", "c", "d"], 30)
    before = temperatures_of_others(probabilities, labels, people)
    own = people == "b"
    assert before[own] == pytest.approx(fit_temperature(probabilities[~own], labels[~own]))
    labels[own] = (labels[own] + 1) % 3
    probabilities[own] = probabilities[own][::-1, ::-1]
    after = temperatures_of_others(probabilities, labels, people)
    assert (after[own] == before[own]).all()
    assert (after[~own] != before[~own]).all()


def test_one_person_alone_leaves_nobody_to_fit_on():
    with pytest.raises(ValueError, match="two or more of them, got 1"):
        temperatures_of_others([[0.5, 0.5]] * 2, [0, 1], ["a", "a"])


def test_the_calibration_error_by_hand():
    # Five bins. (0.4, 0.6]: scores 0.55 and 0.6, one right. (0.8, 1]: 0.9, 0.9, 1.0, all right.
    probabilities = [[0.55, 0.45], [0.4, 0.6], [0.9, 0.1], [0.1, 0.9], [1.0, 0.0]]
    bins = reliability(probabilities, [0, 0, 0, 1, 0], num_bins=5)
    assert bins["count"] == [0, 0, 2, 0, 3]
    assert bins["score"] == [None, None, pytest.approx(0.575), None, pytest.approx(2.8 / 3)]
    assert bins["accuracy"] == [None, None, 0.5, None, 1.0]
    by_hand = (2 * 0.075 + 3 * (1 - 2.8 / 3)) / 5  # 0.07
    assert expected_calibration_error(bins) == pytest.approx(by_hand) == pytest.approx(0.07)


def test_there_are_fifteen_bins_and_an_edge_belongs_below():
    third, sure = [[1 / 3 + 1e-9, 1 / 3, 1 / 3 - 1e-9]], [[1.0, 0.0, 0.0]]
    bins = reliability([*third, *sure, [0.6, 0.2, 0.2]], [0, 0, 1])
    assert len(bins["count"]) == 15
    assert [place for place, count in enumerate(bins["count"]) if count] == [5, 8, 14]


def test_scores_that_are_probabilities_have_next_to_no_error():
    probabilities, labels = drawn(1.0, num_answers=50_000)
    assert expected_calibration_error(reliability(probabilities, labels)) < 0.01
    too_sure, labels = drawn(2.5, num_answers=50_000)
    assert expected_calibration_error(reliability(too_sure, labels)) > 0.1
    softened = calibrated(too_sure, fit_temperature(too_sure, labels))
    assert expected_calibration_error(reliability(softened, labels)) < 0.01


def test_likelihood_and_brier_score_are_those_of_scikit_learn():
    probabilities, labels = drawn(2.5, num_answers=300)
    assert negative_log_likelihood(probabilities, labels) == pytest.approx(
        log_loss(labels, probabilities)
    )
    of_two = np.stack([probabilities[:, 0], 1 - probabilities[:, 0]], axis=1)
    is_second = (labels != 0).astype(int)
    # Of two classes the sum over both is twice the error of one.
    assert brier_score(of_two, is_second) == pytest.approx(
        2 * brier_score_loss(is_second, of_two[:, 1])
    )
    assert brier_score([[0.5, 0.3, 0.2]], [0]) == pytest.approx(0.25 + 0.09 + 0.04)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([[0.9, 0.0, 0.0]], r"add up to 1; got \[0.9, 0.0, 0.0\]"),
        ([[0.5, 0.5], [1.2, -0.2]], r"must not be negative .*; got \[1.2, -0.2\]"),
        ([[0.5, 0.5], [np.nan, 1.0]], r"got \[nan, 1.0\]"),
        (np.zeros((0, 3)), r"one answer or more; got \(0, 3\)"),
        ([0.5, 0.5], r"shape \(answers, classes\)"),
    ],
)
def test_what_is_no_probability_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(wrong, [0] * len(wrong))
