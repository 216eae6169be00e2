"""The peer must end on whatever pairs the model ends on, and learn when there is something."""

from types import SimpleNamespace

import numpy as np
import torch

from hcp_mer.baselines.flow_logistic_regression import FlowLogisticRegression


def run_of(labels, subjects, seed=0):
    """A run with flow images whose mean colour is the class."""
    rng = np.random.default_rng(seed)
    images = [
        np.clip(60 + 60 * label + rng.normal(0, 20, (20, 20, 3)), 0, 255).astype(np.uint8)
        for label in labels
    ]
    return SimpleNamespace(
        labels=torch.tensor(labels),
        subjects=np.array(subjects),
        labelled=SimpleNamespace(rows=list(range(len(labels)))),
        pairs=SimpleNamespace(image=lambda row, view: images[row]),
    )


def answers(labels, subjects, num_train):
    run, peer = run_of(labels, subjects), FlowLogisticRegression()
    peer.fit(run, np.arange(num_train), seed=1)
    return peer.predict(run, np.arange(num_train, len(labels))).tolist()


def test_it_learns_what_the_flow_shows():
    labels = [0, 1, 2] * 8
    subjects = [f"s{i // 6}" for i in range(24)]
    assert answers(labels, subjects, 18) == labels[18:]


def test_one_clip_per_class_and_one_class_alone_are_answered():
    assert len(answers([0, 1, 2, 0, 1], list("abcde"), 3)) == 2
    assert answers([1, 1, 1, 0], list("aabc"), 3) == [1]


def test_its_seed_changes_nothing():
    """It is run for one seed alone: then no other may have said anything else."""
    labels, subjects = [0, 1, 2] * 10, [f"s{i // 6}" for i in range(30)]
    weights = []
    for seed in (0, 7):
        peer = FlowLogisticRegression()
        peer.fit(run_of(labels, subjects), np.arange(24), seed)
        weights.append(peer._classifier.best_estimator_[-1].coef_)
    assert np.array_equal(*weights)
