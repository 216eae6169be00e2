"""AUC and other scores over drawn subjects, against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from hcp_mer.metrics.over_subjects import (
    _draws,
    auc,
    auc_interval_over_subjects,
    interval_over_subjects,
)


def test_auc_by_hand():
    # Positive 3 and 1, others 2 and 1: 3 beats both, 1 loses to 2 and ties with 1.
    assert auc([3, 1, 2, 1], [1, 1, 0, 0]) == pytest.approx(2.5 / 4)
    for positive in ([1, 1], [0, 0]):
        with pytest.raises(ValueError, match="clips that are positive and clips that are not"):
            auc([1, 2], positive)


@pytest.fixture
def clips():
    rng = np.random.default_rng(1)
    positive = rng.random(60) < 0.4
    scores = np.round(positive + rng.normal(0, 1, 60), 1)  # rounded: some are equal
    return scores, positive, rng.integers(0, 6, 60).astype(str)


def test_the_interval_is_that_of_aucs_of_clips_drawn_with_their_subjects(clips):
    scores, positive, subjects = clips
    names = sorted(set(subjects))
    expected = [
        roc_auc_score(positive, scores, sample_weight=draw[np.searchsorted(names, subjects)])
        for draw in _draws(6, 300, seed=5)
    ]
    found = auc_interval_over_subjects([scores], [positive], [subjects], 300, seed=5)
    assert found == pytest.approx(np.percentile(expected, [2.5, 97.5]))


def test_two_seeds_are_averaged_within_every_draw(clips):
    scores, positive, subjects = clips
    other = -scores
    low, high = auc_interval_over_subjects([scores, other], [positive] * 2, [subjects] * 2, 200)
    assert low == pytest.approx(0.5)  # one ranks as badly as the other ranks well
    assert high == pytest.approx(0.5)


def test_draws_without_a_score_are_left_out():
    # Two subjects; only the first has clips of the class, of which it hits 1 of 2.
    sums = [[[1, 2], [0, 0]]]

    def recall(total):
        undefined = np.full(total.shape[:-1], np.nan)
        return np.divide(total[..., 0], total[..., 1], out=undefined, where=total[..., 1] > 0)

    assert interval_over_subjects(sums, recall, 50) == (0.5, 0.5)
    assert interval_over_subjects([[[1, 2]]], recall, 50) is None  # one subject
    assert interval_over_subjects([[[0, 0], [0, 0]]], recall, 50) is None


def test_every_draw_has_as_many_subjects_as_there_are():
    draws = _draws(7, 500, seed=0)
    assert (draws.sum(axis=1) == 7).all()
    assert draws.mean(axis=0) == pytest.approx(np.ones(7), abs=0.15)
