"""A stack that is stopped goes on where it stood, to the last bit."""

import os
import signal

import numpy as np
import pytest
import torch

from hcp_mer.training.snapshot import Snapshots
from hcp_mer.training.stacked import Optimisation, TrainingSet, train_stacked

OPTIMISATION = Optimisation(epochs=4, batch_size=8, learning_rate=5e-3, weight_decay=0.05)


def make_sets():
    """Ragged: the folds end at different steps."""
    torch.manual_seed(3)
    return [
        TrainingSet(
            name=f"fold {i}",
            seed=100 + i,
            inputs={branch: torch.randn(size, 24) for branch in ("holistic", "componential")},
            labels=torch.arange(size) % 3,
            subjects=np.array([f"s{row % 3}" for row in range(size)]),
        )
        for i, size in enumerate((11, 16, 13))
    ]


def assert_equal(states, others):
    for state, other in zip(states, others, strict=True):
        assert state.keys() == other.keys()
        assert all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize("stop_after", [1, 4, 7])
def test_ctrl_c_saves_and_the_next_run_goes_on_from_there(make_model, tmp_path, stop_after):
    model, sets = make_model(), make_sets()
    expected = train_stacked(model, sets, OPTIMISATION)
    steps = []

    def press_ctrl_c(step, num_steps, loss):
        steps.append(step)
        if len(steps) == stop_after:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train_stacked(model, sets, OPTIMISATION, press_ctrl_c, Snapshots(tmp_path))
    assert steps == list(range(stop_after))
    rest = []
    states = train_stacked(
        model, sets, OPTIMISATION, lambda step, *_: rest.append(step), Snapshots(tmp_path)
    )
    assert rest == list(range(stop_after, 8))  # no step is taken twice
    assert_equal(states, expected)


def test_a_stack_that_had_ended_is_not_trained_again(make_model, tmp_path):
    model, sets = make_model(), make_sets()
    expected = train_stacked(model, sets, OPTIMISATION, snapshots=Snapshots(tmp_path))
    taken = []
    states = train_stacked(
        model, sets, OPTIMISATION, lambda *step: taken.append(step), Snapshots(tmp_path)
    )
    assert taken == []
    assert_equal(states, expected)


def test_word_is_left_at_intervals_too(make_model, tmp_path, monkeypatch):
    saves = []
    monkeypatch.setattr(Snapshots, "save", lambda self, file, state: saves.append(file))
    train_stacked(make_model(), make_sets(), OPTIMISATION, snapshots=Snapshots(tmp_path, 0.0))
    assert len(saves) == 8  # always due


def test_another_stack_does_not_go_on_from_it(tmp_path):
    sets = make_sets()
    snapshots = Snapshots(tmp_path)
    own = snapshots.file(sets, OPTIMISATION)
    others = [
        snapshots.file(sets[:2], OPTIMISATION),
        snapshots.file(sets[::-1], OPTIMISATION),
        snapshots.file([sets[0].part(np.arange(10)), *sets[1:]], OPTIMISATION),
        snapshots.file(sets, Optimisation(4, 8, 5e-4, 0.05)),
    ]
    shuffled = TrainingSet(**{**vars(sets[0]), "labels": sets[0].labels.flip(0)})
    others.append(snapshots.file([shuffled, *sets[1:]], OPTIMISATION))
    assert len({own, *others}) == 6


def test_a_snapshot_that_was_cut_short_counts_as_none(make_model, tmp_path):
    model, sets = make_model(), make_sets()
    expected = train_stacked(model, sets, OPTIMISATION, snapshots=Snapshots(tmp_path))
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-500])
    assert_equal(train_stacked(model, sets, OPTIMISATION, snapshots=Snapshots(tmp_path)), expected)


def test_nothing_is_left_when_the_folds_are_saved(make_model, tmp_path):
    snapshots = Snapshots(tmp_path)
    train_stacked(make_model(), make_sets(), OPTIMISATION, snapshots=snapshots)
    assert list(tmp_path.iterdir())
    snapshots.clear()
    assert not list(tmp_path.iterdir())


def test_ctrl_c_is_heard_as_before_afterwards(make_model):
    before = signal.getsignal(signal.SIGINT)
    train_stacked(make_model(), make_sets(), OPTIMISATION)
    assert signal.getsignal(signal.SIGINT) is before
