"""The gate that is fitted on held-out training subjects: whom it may see, what it learns."""

import numpy as np
import pytest
import torch

from hcp_mer.training.gate import fit_gate, halves, refit_gates
from hcp_mer.training.stacked import Optimisation, TrainingSet, train_stacked
from hcp_mer.training.tower import FrozenTower

OPTIMISATION = Optimisation(epochs=30, batch_size=12, learning_rate=1e-2, weight_decay=0.0)


def clips_where_only_flow_generalises(num_subjects=6, clips=9, seed=0):
    """Holistic features tell the clip apart but not the class; componential ones tell the class."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(3), num_subjects * clips // 3)
    subjects = np.repeat([f"s{i}" for i in range(num_subjects)], clips)
    identity = rng.normal(size=(len(labels), 24))
    motion = 3 * rng.normal(size=(3, 24))[labels] + rng.normal(size=(len(labels), 24))
    return TrainingSet(
        name="fold",
        seed=7,
        inputs={
            "holistic": torch.tensor(identity, dtype=torch.float32),
            "componential": torch.tensor(motion, dtype=torch.float32),
        },
        labels=torch.from_numpy(labels),
        subjects=subjects,
    )


def test_halves_are_of_whole_subjects_and_cover_all():
    fold = clips_where_only_flow_generalises(num_subjects=5)
    first, second = halves(fold)
    assert sorted([*first, *second]) == list(range(45))
    assert not set(fold.subjects[first]) & set(fold.subjects[second])
    assert len(set(fold.subjects[first])) == 2
    again = halves(fold)
    assert all(np.array_equal(one, other) for one, other in zip((first, second), again))


def test_the_gate_learns_whom_to_trust_on_strangers(make_model):
    """Trained jointly it cannot know: both branches are right on the clips that they learnt."""
    model = make_model()
    fold = clips_where_only_flow_generalises()
    joint = train_stacked(model, [fold], OPTIMISATION)
    (refitted,) = refit_gates(FrozenTower(model), [fold], joint, OPTIMISATION)
    strangers = clips_where_only_flow_generalises(seed=1)

    def weights(state):
        head = model.new_head(0)
        head.load_state_dict(
            {k.removeprefix("head."): v for k, v in state.items() if k.startswith("head.")}
        )
        texts = model.encode_prompts(state["prompts.context"])
        with torch.no_grad():
            return head.eval()(strangers.inputs, texts).gate_weights.mean(0)

    holistic, componential = weights(joint[0])
    assert abs(holistic - componential) < 0.2
    holistic, componential = weights(refitted)
    assert holistic < 0.5 * componential
    unchanged = [name for name in joint[0] if "gate" not in name]
    assert all(torch.equal(joint[0][name], refitted[name]) for name in unchanged)


def test_a_gate_with_nothing_to_say_stays_at_one_half(make_model):
    responses = [torch.zeros(6, 3), torch.zeros(6, 3)]
    gate = fit_gate(make_model(), responses, torch.tensor([0, 1, 2, 0, 1, 2]))
    assert all(value.abs().max() < 1e-3 for value in gate.values())


@pytest.mark.parametrize("options", [{"use_holistic": False}, {"gate_reading": "fixed"}], ids=str)
def test_models_without_a_learnt_gate_are_left_alone(make_model, options):
    model = make_model(**options)
    fold = clips_where_only_flow_generalises()
    short = Optimisation(epochs=1, batch_size=12, learning_rate=1e-2, weight_decay=0.0)
    states = train_stacked(model, [fold], short)
    assert refit_gates(FrozenTower(model), [fold], states, short) == states


def test_a_single_training_subject_cannot_be_split(make_model):
    model = make_model()
    fold = clips_where_only_flow_generalises(num_subjects=1)
    short = Optimisation(epochs=1, batch_size=4, learning_rate=1e-2, weight_decay=0.0)
    states = train_stacked(model, [fold], short)
    assert refit_gates(FrozenTower(model), [fold], states, short) == states
