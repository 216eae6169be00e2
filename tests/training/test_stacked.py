"""Training folds side by side is exactly training each alone, the straightforward way."""

import numpy as np
import pytest
import torch

from hcp_mer.errors import UserError
from hcp_mer.model.losses_hcp_mer import balanced_alpha
from hcp_mer.training.folds import batch_schedule
from hcp_mer.training.stacked import Optimisation, TrainingSet, train_stacked
from tests.training.straightforward import train_one_fold

SIZES = (11, 16, 13)  # ragged: last batches of 3, none and 5 rows, so the folds end at other steps
OPTIMISATION = Optimisation(epochs=4, batch_size=8, learning_rate=5e-3, weight_decay=0.05)


@pytest.fixture
def clips():
    torch.manual_seed(3)
    total = sum(SIZES)
    images, flows = torch.randn(2, total, 3, 32, 32)
    return images, flows, torch.arange(total) % 3


def training_sets(model, clips):
    images, flows, labels = clips
    with torch.no_grad():
        features = {
            branch: model.encode_images(pixels).pooled
            for branch, pixels in (("holistic", images), ("componential", flows))
        }
    starts = [sum(SIZES[:i]) for i in range(len(SIZES))]
    spans = [slice(start, start + size) for start, size in zip(starts, SIZES)]
    sets = [
        TrainingSet(
            name=f"fold {i}",
            seed=100 + i,
            inputs={branch: values[span] for branch, values in features.items()},
            labels=labels[span],
            subjects=np.array([f"s{row % 3}" for row in range(SIZES[i])]),
        )
        for i, span in enumerate(spans)
    ]
    return sets, spans


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"adapter_depth": 2, "adapter_zero_init": False},
        {"use_holistic": False},
        {"use_adapter": False},
        {"use_focal": False, "gate_reading": "convex"},
        {"contrastive_reading": "in_batch", "consistency_reading": "mutual"},
        {"contrastive_reading": "class+branch", "response_reading": "probabilities"},
        {"context_scope": "per_class", "use_consistency": False},
    ],
    ids=str,
)
def test_stacked_training_equals_each_fold_alone(make_model, clips, options):
    model = make_model(**options)
    sets, spans = training_sets(model, clips)
    stacked = train_stacked(model, sets, OPTIMISATION)
    for fold, span, state in zip(sets, spans, stacked):
        alone = make_model(**options)
        alone.head = alone.new_head(fold.seed)
        alone.focal_alpha.copy_(balanced_alpha(fold.labels.bincount(minlength=3)))
        rows, valid = batch_schedule(len(fold.labels), 4, 8, fold.seed)
        batches = [row[ok].tolist() for row, ok in zip(rows, valid)]
        train_one_fold(alone, *(part[span] for part in clips), batches, 5e-3, 0.05)
        expected = {k: v for k, v in alone.state_dict().items() if not k.startswith("clip.")}
        assert state.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.allclose(state[name], value, atol=2e-5), (fold.name, name)


def test_a_fold_is_the_same_alone_and_in_any_company(make_model, clips):
    model = make_model()
    sets, _ = training_sets(model, clips)
    together = train_stacked(model, sets, OPTIMISATION)
    backwards = train_stacked(model, sets[::-1], OPTIMISATION)[::-1]
    for index, fold in enumerate(sets):
        (alone,) = train_stacked(model, [fold], OPTIMISATION)
        for name, value in alone.items():
            assert torch.allclose(together[index][name], value, atol=2e-6), name
            assert torch.allclose(backwards[index][name], value, atol=2e-6), name


def test_training_leaves_the_model_as_it_was(make_model, clips):
    model = make_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_stacked(model, training_sets(model, clips)[0], OPTIMISATION)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_training_learns(make_model, clips):
    model = make_model()
    sets, _ = training_sets(model, clips)
    seen = []
    long = Optimisation(epochs=60, batch_size=8, learning_rate=1e-2, weight_decay=0.0)
    train_stacked(model, sets, long, lambda step, num_steps, loss: seen.append(loss))
    assert seen[-1] < 0.5 * seen[0]


def test_a_loss_that_is_not_finite_names_fold_and_step(make_model, clips):
    model = make_model()
    sets, _ = training_sets(model, clips)
    sets[1].inputs["holistic"][0] = torch.nan
    with pytest.raises(UserError, match=r"loss of fold fold 1 is nan at step 0.*learning_rate"):
        train_stacked(model, sets, OPTIMISATION)


def test_a_handful_of_clips_gets_epochs_until_it_has_enough_steps():
    short = Optimisation(epochs=2, batch_size=8, learning_rate=1e-3, weight_decay=0.0, min_steps=7)
    rows, _ = short.schedule(num_clips=16, seed=0)
    assert len(rows) == 8  # 2 steps an epoch: four epochs
    rows, _ = short.schedule(num_clips=64, seed=0)
    assert len(rows) == 16  # two epochs are enough
