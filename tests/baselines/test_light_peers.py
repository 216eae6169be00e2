"""The peers without text: what they answer, and what they must not see."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from hcp_mer.baselines.flow_logistic_regression import FlowLogisticRegression
from hcp_mer.baselines.flow_svm import FlowSvm, flow_views
from hcp_mer.baselines.inner_folds import subject_folds
from hcp_mer.baselines.majority import Majority

SIDE = 28


def flow_image(u=0, v=0, left=True):
    """A face of which one half moves by u and v levels."""
    image = np.full((SIDE, SIDE, 3), (128, 128, 0), np.uint8)
    half = slice(0, SIDE // 2) if left else slice(SIDE // 2, SIDE)
    image[:, half, 0] = 128 + u
    image[:, half, 1] = 128 + v
    return image


def run_of(images, labels, subjects, settings=None):
    return SimpleNamespace(
        classes=("negative", "positive", "surprise"),
        labels=torch.tensor(labels),
        subjects=np.array(subjects),
        labelled=SimpleNamespace(rows=list(range(len(labels)))),
        pairs=SimpleNamespace(image=lambda row, view: images[row], settings=settings or {}),
    )


def noisy_run(seed=0, num_subjects=5, labels=None):
    """Three classes that show in u, v or neither, under noise; 6 clips a subject."""
    rng = np.random.default_rng(seed)
    labels = labels or [0, 1, 2] * (2 * num_subjects)
    moves = [{"u": 40}, {"v": 40}, {}]
    images = [
        np.clip(flow_image(**moves[label]) + rng.normal(0, 12, (SIDE, SIDE, 3)), 0, 255)
        for label in labels
    ]
    images = [image.astype(np.uint8) for image in images]
    return run_of(images, labels, [f"s{i // 6}" for i in range(len(labels))]), images


def test_the_majority_is_counted_among_the_training_clips():
    run = run_of([None] * 7, [2, 2, 1, 0, 0, 0, 0], list("aaabbbb"))
    peer = Majority()
    peer.fit(run, np.array([0, 1, 2]), seed=0)
    assert peer.predict(run, np.array([3, 4, 5, 6])).tolist() == [2, 2, 2, 2]
    peer.fit(run, np.array([1, 2]), seed=0)  # one each: the first class of the two
    assert peer.predict(run, np.array([3])).tolist() == [1]


def test_a_mirrored_flow_has_u_negated_and_v_kept():
    run = run_of([flow_image(u=127, v=-127)], [0], ["a"])
    views = flow_views(run, SIDE).reshape(2, SIDE, SIDE, 3)
    left, right = np.s_[:, : SIDE // 2], np.s_[:, SIDE // 2 :]
    as_is, mirrored = views
    assert np.unique(as_is[left], axis=None).tolist() == [-1, 0, 1]
    assert (as_is[left][..., :2] == (1, -1)).all()
    assert not as_is[right].any()
    assert (mirrored[right][..., :2] == (-1, -1)).all()
    assert not mirrored[left].any()


def test_the_svm_knows_a_movement_on_the_side_of_the_face_that_it_never_saw():
    towards = flow_image(u=60), flow_image(u=-60)
    images = [*towards * 3, flow_image(u=-60, left=False), flow_image(u=60, left=False)]
    run = run_of(images, [0, 1] * 4, list("aabbccdd"))
    peer = FlowSvm()
    peer.fit(run, np.arange(6), seed=0)
    assert peer.predict(run, np.array([6, 7])).tolist() == [0, 1]


def test_the_svm_learns_and_counts_its_weights():
    run, _ = noisy_run()
    peer = FlowSvm()
    peer.fit(run, np.arange(24), seed=0)
    assert peer.predict(run, np.arange(24, 30)).tolist() == [0, 1, 2] * 2
    assert peer.num_parameters == 3 * (SIDE * SIDE * 3 + 1)  # one machine for each pair of classes


def test_the_regression_counts_its_weights():
    run, _ = noisy_run()
    peer = FlowLogisticRegression()
    peer.fit(run, np.arange(24), seed=0)
    assert peer.num_parameters == 3 * (16 * 16 * 3 + 1)  # one row for each class
    one_class = np.flatnonzero(run.labels.numpy() == 1)
    peer.fit(run, one_class, seed=0)
    assert peer.num_parameters == 1


def test_the_svm_and_its_strength_never_see_the_held_out_subject():
    run, images = noisy_run(seed=1)
    rows, held_out = np.arange(24), np.arange(24, 30)
    rng = np.random.default_rng(7)
    others = [*images[:24], *rng.integers(0, 256, (6, SIDE, SIDE, 3), np.uint8)]
    labels = run.labels.tolist()
    changed = run_of(others, [*labels[:24], 2, 2, 2, 0, 0, 0], run.subjects)
    peers = FlowSvm(), FlowSvm()
    for peer, own in zip(peers, (run, changed)):
        peer.fit(own, rows, seed=0)
    assert peers[0].strength == peers[1].strength
    np.testing.assert_allclose(peers[0]._machine.dual_coef_, peers[1]._machine.dual_coef_)
    # The same classifier, asked about the same pictures: the other run's are others.
    said = [peer.predict(run, held_out).tolist() for peer in peers]
    assert said[0] == said[1]


def test_the_strength_is_chosen_on_subjects_that_the_machine_did_not_learn_from():
    subjects = np.array(list("aabbccddee"))
    labels = np.array([0, 1] * 5)
    splits = subject_folds(labels, subjects, 5)
    assert len(splits) == 5
    for train, test in splits:
        assert not set(subjects[train]) & set(subjects[test])
    assert sorted(np.concatenate([test for _, test in splits])) == list(range(10))


@pytest.mark.parametrize(
    ("labels", "subjects"),
    [([1, 1, 1], list("abc")), ([0, 1, 2], list("abc")), ([0, 0, 1, 1], list("aaaa"))],
    ids=["one class", "one clip of each class", "one subject"],
)
def test_the_svm_answers_on_the_least_that_it_can_be_given(labels, subjects):
    images = [flow_image(u=40 * (label - 1)) for label in labels]
    run = run_of([*images, images[0]], [*labels, labels[0]], [*subjects, "z"])
    peer = FlowSvm()
    peer.fit(run, np.arange(len(labels)), seed=0)
    assert peer.predict(run, np.array([len(labels)])).tolist() == [labels[0]]


def test_flow_that_is_the_same_everywhere_is_answered_with_a_training_class():
    run = run_of([flow_image()] * 9, [0, 2, 0] * 3, list("aaabbbccc"))
    peer = FlowSvm()
    peer.fit(run, np.arange(6), seed=0)
    assert set(peer.predict(run, np.arange(6, 9))) <= {0, 2}  # class 1 was never there
