"""What training folds side by side does, beside being exact (test_exactness.py)."""

import numpy as np
import pytest
import torch

from hcp_mer.errors import UserError
from hcp_mer.training.stacked import Optimisation, TrainingSet, train_stacked

SIZES = (11, 16, 13)  # ragged: last batches of 3, none and 5 rows, so the folds end at other steps
OPTIMISATION = Optimisation(epochs=4, batch_size=8, learning_rate=5e-3, weight_decay=0.05)


@pytest.fixture
def sets():
    """Folds of random features: what the trainer makes of images, test_exactness.py shows."""
    generator = torch.Generator().manual_seed(3)
    return [
        TrainingSet(
            name=f"fold {index}",
            seed=100 + index,
            inputs={
                branch: torch.randn(size, 24, generator=generator)
                for branch in ("holistic", "componential")
            },
            labels=torch.arange(size) % 3,
            subjects=np.array([f"s{row % 3}" for row in range(size)]),
        )
        for index, size in enumerate(SIZES)
    ]


def test_training_leaves_the_model_as_it_was(make_model, sets):
    model = make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_stacked(model, sets, OPTIMISATION)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_training_learns(make_model, sets):
    model = make_model()
    seen = []
    long = Optimisation(epochs=60, batch_size=8, learning_rate=1e-2, weight_decay=0.0)
    train_stacked(model, sets, long, lambda step, num_steps, loss: seen.append(loss))
    assert seen[-1] < 0.5 * seen[0]


def test_a_loss_that_is_not_finite_names_fold_and_step(make_model, sets):
    model = make_model()
    sets[1].inputs["holistic"][0] = torch.nan
    with pytest.raises(UserError, match=r"loss of fold fold 1 is nan at step 0.*learning_rate"):
        train_stacked(model, sets, OPTIMISATION)


def test_a_handful_of_clips_gets_epochs_until_it_has_enough_steps():
    short = Optimisation(epochs=2, batch_size=8, learning_rate=1e-3, weight_decay=0.0, min_steps=7)
    rows, _ = short.schedule(num_clips=16, seed=0)
    assert len(rows) == 8  # 2 steps an epoch: four epochs
    rows, _ = short.schedule(num_clips=64, seed=0)
    assert len(rows) == 16  # two epochs are enough
