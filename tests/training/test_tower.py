"""A tower that folds train themselves: the straightforward loop, whatever else is trained."""

import numpy as np
import pytest
import torch

from hcp_mer.model.losses_hcp_mer import balanced_alpha
from hcp_mer.training.checkpoint import apply_trained_part
from hcp_mer.training.folds import batch_schedule
from hcp_mer.training.stacked import Optimisation, TrainingSet
from hcp_mer.training.tower import FrozenTower, LoraTower
from tests.training.straightforward import train_one_fold

OPTIMISATION = Optimisation(epochs=3, batch_size=8, learning_rate=5e-3, weight_decay=0.05)
LORA = {"r": 2, "lora_alpha": 4}


def silent(step, num_steps, loss):
    pass


@pytest.fixture
def fold():
    torch.manual_seed(3)
    images, flows = torch.randn(2, 13, 3, 32, 32)
    return TrainingSet(
        name="fold",
        seed=100,
        inputs={"holistic": images, "componential": flows},
        labels=torch.arange(13) % 3,
        subjects=np.array([f"s{row % 3}" for row in range(13)]),
    )


def test_a_lora_tower_trains_as_the_straightforward_loop_does(make_model, fold):
    model = make_model()
    seen = []
    (state,) = LoraTower(model, LORA).train(
        [fold], OPTIMISATION, lambda step, num_steps, loss: seen.append(loss)
    )
    oracle = make_model()
    oracle.head = oracle.new_head(fold.seed)
    oracle.focal_alpha.copy_(balanced_alpha(fold.labels.bincount()))
    torch.manual_seed(fold.seed)
    oracle.add_vision_lora(LORA)
    rows, valid = batch_schedule(13, 3, 8, fold.seed)
    batches = [row[keep].tolist() for row, keep in zip(rows, valid)]
    losses = train_one_fold(oracle, *fold.inputs.values(), fold.labels, batches, 5e-3, 0.05)
    assert np.abs(np.subtract(seen, losses)).max() <= 1e-5
    trained = make_model()
    apply_trained_part(trained, state, LORA)
    for name, value in oracle.state_dict().items():
        assert torch.allclose(trained.state_dict()[name], value, atol=1e-5), name
    assert max(v.abs().max() for n, v in state.items() if "lora_B" in n) > 1e-3  # it did move


def test_without_its_lora_a_tower_of_ones_own_is_the_frozen_tower(make_model, fold, monkeypatch):
    """The two trainers agree on what they share: heads, contexts, schedule, losses."""
    model = make_model()
    with torch.no_grad():
        features = {b: model.encode_images(pixels).pooled for b, pixels in fold.inputs.items()}
    frozen = TrainingSet(fold.name, fold.seed, features, fold.labels, fold.subjects)
    (expected,) = FrozenTower(model).train([frozen], OPTIMISATION, silent)
    monkeypatch.setattr(type(model), "add_vision_lora", lambda self, settings: None)
    (state,) = LoraTower(model, LORA).train([fold], OPTIMISATION, silent)
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(state[name], value, atol=2e-5), name


def test_a_fold_is_the_same_alone_and_after_others(make_model, fold):
    tower = LoraTower(make_model(), {**LORA, "lora_dropout": 0.3})
    other = TrainingSet("other", 7, fold.inputs, fold.labels.flip(0), fold.subjects)
    (alone,) = tower.train([fold], OPTIMISATION, silent)
    _, after = tower.train([other, fold], OPTIMISATION, silent)
    assert all(torch.equal(alone[name], after[name]) for name in alone)


def test_features_are_those_of_the_folds_own_tower(make_model, fold):
    model = make_model()
    tower = LoraTower(model, LORA)
    (state,) = tower.train([fold], OPTIMISATION, silent)
    features = tower.features(state, fold.inputs)
    trained = make_model()
    apply_trained_part(trained, state, LORA)
    with torch.no_grad():
        expected = trained.encode_images(fold.inputs["holistic"]).pooled
        untrained = model.encode_images(fold.inputs["holistic"]).pooled
    assert torch.allclose(features["holistic"], expected, atol=1e-6)
    assert not torch.allclose(features["holistic"], untrained, atol=1e-3)
