"""What training saves (caching, shared beginnings, stacking, masks) changes nothing it says."""

import copy
import math
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from hcp_mer.model.adapter_hcp_mer import MaskedBatchNorm1d
from hcp_mer.model.configuration_hcp_mer import READINGS
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.checkpoint import apply_trained_part, load_head
from hcp_mer.training.features import read_pixels
from hcp_mer.training.fold_prompts import without_counts
from hcp_mer.training.folds import Fold, batch_schedule, fold_seed, leave_one_subject_out
from hcp_mer.training.gate import halves, refit_gates
from hcp_mer.training.stacked import LOSSES, Optimisation, TrainingSet, train_stacked
from hcp_mer.training.tower import FrozenTower
from tests.clip_at_true_size import write_random_clip
from tests.conftest import GROUPS
from tests.training import straightforward

# Batches of 6 rows from 14, 12, 15 and 10 training clips: a last batch that is left out (2 rows),
# full, of 3 and of 4 rows, so that folds end at other steps (4, 4, 6, 4) and need masks.
CLIPS_OF_SUBJECT = (3, 5, 2, 7)
OPTIMISATION = Optimisation(epochs=2, batch_size=6, learning_rate=5e-3, weight_decay=0.05)
REPOSITORY = Path(__file__).parents[2]
PROMPTS = REPOSITORY / "hub_configs" / "prompts"
ONE_SET_EACH = [{**group, "action_units": group["action_units"][:1]} for group in GROUPS]

SWITCHES = ("use_holistic", "use_componential", "use_adapter", "use_consistency", "use_focal")
ABLATIONS = [{name: False} for name in (*SWITCHES, "adapter_batchnorm", "adapter_zero_init")]
OTHER_READINGS = [
    {name: option, **({"use_focal": False} if name == "without_focal" else {})}
    for name, options in READINGS.items()
    for option in options[1:]
]
COMBINATIONS = [
    {},
    {"adapter_depth": 2, "adapter_zero_init": False},
    {"adapter_depth": 2, "adapter_batchnorm": False},
    {"context_text": "a photo", "context_scope": "per_class", "use_holistic": False},
    {"use_componential": False, "contrastive_reading": "in_batch", "use_focal": False},
    {"use_focal": False, "gate_reading": "convex", "response_reading": "probabilities"},
    {"similarity_scale": 100.0, "focal_gamma": 1.0, "consistency_weight": 2.0},
]


@dataclass(frozen=True)
class Corpus:
    """Clips of several subjects as pixels; every subject is held out once."""

    pixels: dict[str, Tensor]  # branch → (clips, 3, size, size)
    labels: Tensor
    subjects: np.ndarray
    folds: list[Fold]

    @classmethod
    def random(cls, num_classes: int, clips_of_subject=CLIPS_OF_SUBJECT, size: int = 32):
        generator = torch.Generator().manual_seed(3)
        total = sum(clips_of_subject)
        images, flows = torch.randn(2, total, 3, size, size, generator=generator)
        subjects = np.repeat([f"s{i}" for i in range(len(clips_of_subject))], clips_of_subject)
        labels = torch.arange(total) % num_classes
        # Only the last subject shows the last class: its own fold never sees that.
        labels[(labels == num_classes - 1) & torch.from_numpy(subjects != subjects[-1])] = 0
        folds = leave_one_subject_out([("corpus", subject) for subject in subjects])
        return cls({"holistic": images, "componential": flows}, labels, subjects, folds)

    def features(self, model) -> dict[str, Tensor]:
        with torch.no_grad():
            views = {"magnified": self.pixels["holistic"], "flow": self.pixels["componential"]}
            return {
                branch: model.encode_view(branch, views[model.config.view_of(branch)])
                for branch in model.config.branches
            }

    def training_sets(self, model) -> list[TrainingSet]:
        features = self.features(model)
        return [
            TrainingSet(
                name=fold.name,
                seed=100 + index,
                inputs={branch: values[fold.train] for branch, values in features.items()},
                labels=self.labels[fold.train],
                subjects=self.subjects[fold.train],
            )
            for index, fold in enumerate(self.folds)
        ]

    def held_out_logits(self, model, states: list[dict[str, Tensor]]) -> list[Tensor]:
        """The answers of trained parts to what they did not see, as a run gives them."""
        features = self.features(model)
        answers = []
        for fold, state in zip(self.folds, states):
            texts = model.encode_prompts(state["prompts.context"])
            held_out = {branch: values[fold.test] for branch, values in features.items()}
            with torch.no_grad():
                answers.append(load_head(model, state)(held_out, texts).logits)
        return answers

    def straightforward(self, model, index: int, optimisation: Optimisation):
        """One fold from pixels. Returns: losses, trained model, answers to its held-out clips."""
        fold, seed = self.folds[index], 100 + index
        oracle = copy.deepcopy(model)
        oracle.head = oracle.new_head(seed)
        rows, valid = batch_schedule(
            len(fold.train), optimisation.epochs, optimisation.batch_size, seed
        )
        losses = straightforward.train_one_fold(
            oracle,
            *(pixels[fold.train] for pixels in self.pixels.values()),
            self.labels[fold.train],
            [row[keep].tolist() for row, keep in zip(rows, valid)],
            optimisation.learning_rate,
            optimisation.weight_decay,
            kept_patches(model.config, seed, valid),
        )
        with torch.no_grad():
            held_out = (pixels[fold.test] for pixels in self.pixels.values())
            return losses, oracle, straightforward.answer(oracle, *held_out).logits


def kept_patches(config, seed: int, valid: np.ndarray) -> list[Tensor] | None:
    """Of each step, for the clips that count: patches that a fold of this seed shows."""
    if not config.adapter_dropout:
        return None
    drawn = (
        np.random.default_rng((8, seed, step)).random((len(keep), config.num_patches), np.float32)
        for step, keep in enumerate(valid)
    )
    return [torch.from_numpy(d >= config.adapter_dropout)[keep] for d, keep in zip(drawn, valid)]


@pytest.fixture
def double_precision():
    """New heads, random numbers and contexts in fp64, so that rounding hides no mistake."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def train(model, sets, optimisation=OPTIMISATION):
    """Trained parts, and the mean loss over folds of each step."""
    losses = []
    states = train_stacked(
        model, sets, optimisation, lambda step, num_steps, loss: losses.append(loss)
    )
    return states, losses


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def assert_whole_run_is_the_straightforward_one(model, corpus):
    states, losses = train(model, corpus.training_sets(model))
    answers = corpus.held_out_logits(model, states)
    alone = [corpus.straightforward(model, i, OPTIMISATION) for i in range(len(corpus.folds))]
    together = min(len(own) for own, _, _ in alone)  # until here every fold is under way
    expected = np.mean([own[:together] for own, _, _ in alone], axis=0)
    assert np.abs(losses[:together] - expected).max() <= 1e-9
    for state, answered, (own_losses, oracle, logits) in zip(states, answers, alone):
        assert np.abs(state.pop(LOSSES).numpy() - own_losses).max() <= 1e-9
        own = {k: v for k, v in oracle.state_dict().items() if not k.startswith("clip.")}
        assert largest_difference(state, own) <= 1e-9
        assert (answered - logits).abs().max() <= 1e-9
        assert torch.equal(answered.argmax(-1), logits.argmax(-1))


SETTINGS = [
    {"learn_context": False},
    {"adapter_input": "patches"},
    {
        "adapter_input": {"holistic": "pooled", "componential": "patches"},
        "adapter_layer": 1,
        "adapter_dropout": 0.2,
        "adapter_depth": 2,
        "holistic_input": "flow",
    },
    *COMBINATIONS,
    *(pytest.param(options, marks=pytest.mark.slow) for options in [*ABLATIONS, *OTHER_READINGS]),
]


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_a_whole_run_is_the_straightforward_one(double_precision, make_model, options):
    model = make_model(**options).double()
    assert_whole_run_is_the_straightforward_one(model, Corpus.random(num_classes=3))


@pytest.mark.parametrize("adapter_depth", [1, 2])
def test_a_whole_run_with_one_action_unit_set_per_class(
    double_precision, make_model, adapter_depth
):
    model = make_model(ONE_SET_EACH, adapter_depth=adapter_depth).double()
    assert_whole_run_is_the_straightforward_one(model, Corpus.random(num_classes=3))


@pytest.mark.slow
@pytest.mark.parametrize("sets", ["one", "several"])
@pytest.mark.parametrize("adapter_depth", [1, 2])
def test_a_whole_run_with_seven_classes(double_precision, make_model, sets, adapter_depth):
    groups = yaml.safe_load((PROMPTS / "facs-7class.yaml").read_text())
    groups = without_counts([{**group, "label": label} for label, group in groups.items()])
    if sets == "one":
        groups = [{**group, "action_units": group["action_units"][:1]} for group in groups]
    model = make_model(groups, adapter_depth=adapter_depth).double()
    assert_whole_run_is_the_straightforward_one(model, Corpus.random(num_classes=7))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_a_fold_is_the_same_alone_in_any_group_and_read_back(
    double_precision, make_model, tmp_path, dtype, tolerance
):
    torch.set_default_dtype(dtype)
    model = make_model(adapter_depth=2).to(dtype)
    corpus = Corpus.random(num_classes=3)
    sets = corpus.training_sets(model)
    groupings = ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0], [1, 3], [1, 0, 1])
    trained = {tuple(g): train(model, [sets[i] for i in g])[0] for g in groupings}
    for index, fold in enumerate(corpus.folds):
        (alone,), _ = train(model, [sets[index]])
        save_file(alone, tmp_path / "trained.safetensors")
        read = load_file(tmp_path / "trained.safetensors")
        assert all(torch.equal(alone[name], read[name]) for name in alone)
        resumed = copy.deepcopy(model)
        apply_trained_part(resumed, read)
        with torch.no_grad():
            pixels = [values[fold.test] for values in corpus.pixels.values()]
            expected = resumed.eval()(*pixels).logits.softmax(-1)
        for group, states in trained.items():
            for place in [p for p, member in enumerate(group) if member == index]:
                assert largest_difference(states[place], alone) <= tolerance, group
                every = [states[place]] * len(corpus.folds)
                answered = corpus.held_out_logits(model, every)[index].softmax(-1)
                assert (answered - expected).abs().max() <= tolerance
                assert torch.equal(answered.argmax(-1), expected.argmax(-1))


def test_every_loss_of_a_fold_is_the_straightforward_one(double_precision, make_model):
    """One fold at a time, so that the mean over folds is its own loss, to its last step."""
    model = make_model().double()
    corpus = Corpus.random(num_classes=3)
    for index, fold in enumerate(corpus.training_sets(model)):
        _, losses = train(model, [fold])
        expected, _, _ = corpus.straightforward(model, index, OPTIMISATION)
        assert len(losses) == len(expected)
        assert np.abs(np.subtract(losses, expected)).max() <= 1e-9


def test_the_table_of_a_run_is_what_the_straightforward_trainer_answers(
    foreign, tmp_path, run_loso
):
    """From images on disk to predictions.parquet, with the recipe's seeds and chance control."""
    run, _ = run_loso(foreign, tmp_path / "run", batch_size=8, epochs=2, seeds=[3, 5])
    pixels = read_pixels(run.model, run.processor, run.pairs, run.labelled.rows)
    for fold in run.folds:
        for seed in (3, 5):
            drawn = fold_seed(seed, fold.dataset, fold.subject)
            oracle = copy.deepcopy(run.model)
            oracle.head = oracle.new_head(drawn)
            rows, valid = batch_schedule(len(fold.train), 2, 8, drawn)
            straightforward.train_one_fold(
                oracle,
                *(values[fold.train] for values in pixels.values()),
                run.labels[fold.train],
                [row[keep].tolist() for row, keep in zip(rows, valid)],
                run.recipe.learning_rate,
                run.recipe.weight_decay,
            )
            with torch.no_grad():
                held_out = (values[fold.test] for values in pixels.values())
                expected = straightforward.answer(oracle, *held_out).logits.softmax(-1).numpy()
            table = pandas.read_parquet(run.folder.root / "predictions.parquet")
            own = table[(table["subject"] == fold.subject) & (table["seed"] == seed)]
            clips = run.identities(fold)["clip_id"]
            own = own.set_index("clip_id").loc[clips]
            names = [f"prob_{name}" for name in run.classes]
            assert np.abs(own[names].to_numpy() - expected).max() <= 1e-5
            assert own["prediction"].tolist() == [run.classes[i] for i in expected.argmax(-1)]


def test_a_gate_from_held_out_subjects_is_the_straightforward_minimum(double_precision, make_model):
    """Halves trained from pixels, and scipy at the focal loss of what they say of each other."""
    model = make_model(similarity_scale=30.0).double()
    corpus = Corpus.random(3, clips_of_subject=(6, 7, 5, 8))
    sets = corpus.training_sets(model)
    states, _ = train(model, sets)
    refitted = refit_gates(FrozenTower(model), sets, states, OPTIMISATION)
    for index, fold in enumerate(corpus.folds):
        cosines, labels = [], []
        sides = halves(sets[index])
        for own, other in (sides, sides[::-1]):
            part = replace(fold, train=fold.train[own], test=fold.train[other])
            half = replace(corpus, folds=[part] * (index + 1))
            _, oracle, _ = half.straightforward(model, index, OPTIMISATION)
            with torch.no_grad():
                unseen = (pixels[part.test] for pixels in corpus.pixels.values())
                cosines.append(torch.stack(straightforward.answer(oracle, *unseen).cosines))
            labels.append(corpus.labels[part.test])
        expected = best_gate(torch.cat(cosines, dim=1), torch.cat(labels), scale=30.0)
        gate = [refitted[index][f"head.gate.{name}"].ravel() for name in ("weight", "bias")]
        assert np.abs(torch.cat(gate).numpy() - expected).max() <= 1e-3
        assert np.abs(expected).max() > 0.1  # it did learn something


def best_gate(cosines: Tensor, labels: Tensor, scale: float) -> np.ndarray:
    """W (2, 2·num_classes), then b (2,), at the least focal loss of Eq. 5 with a ridge of 1e-3."""
    from scipy.optimize import minimize

    holistic, componential = cosines.numpy()
    counts = np.bincount(labels, minlength=3).clip(1)
    alpha = (1 / counts) / (1 / counts).mean()
    rows, labels = np.arange(len(labels)), labels.numpy()

    def loss(values: np.ndarray) -> float:
        weight, bias = values[:12].reshape(2, 6), values[12:]
        scores = np.concatenate([holistic, componential], axis=1) @ weight.T + bias
        gates = 1 / (1 + np.exp(-scores))
        fused = scale * (gates[:, :1] * holistic + gates[:, 1:] * componential)
        log_p = (fused - np.log(np.exp(fused).sum(1, keepdims=True)))[rows, labels]
        return float(np.mean(-alpha[labels] * (1 - np.exp(log_p)) ** 2 * log_p)) + 1e-3 * float(
            values @ values
        )

    return minimize(loss, np.zeros(14), method="BFGS", options={"gtol": 1e-7}).x


@pytest.mark.parametrize("padding", [0, 3], ids=["all rows valid", "rows that fill up"])
def test_masked_batchnorm_trains_as_torchs_does_on_the_valid_rows(double_precision, padding):
    torch.manual_seed(0)
    ours, theirs = MaskedBatchNorm1d(5), torch.nn.BatchNorm1d(5)
    for _ in range(4):
        rows = (3 * torch.randn(7, 5) + 1).requires_grad_()
        filled = torch.cat([rows.detach(), torch.full((padding, 5), 1e3)]).requires_grad_()
        valid = torch.arange(7 + padding) < 7
        direction = torch.randn(7, 5)
        out, expected = ours(filled, valid)[:7], theirs(rows)
        assert torch.allclose(out, expected, atol=1e-12)
        for norm, said in ((ours, out), (theirs, expected)):
            norm.zero_grad()
            (said.tanh() * direction).sum().backward()
        assert torch.allclose(filled.grad[:7], rows.grad, atol=1e-12)
        assert torch.equal(filled.grad[7:], torch.zeros(padding, 5))
        for name in ("weight", "bias"):
            gradients = [getattr(norm, name).grad for norm in (ours, theirs)]
            assert torch.allclose(*gradients, atol=1e-12)
            with torch.no_grad():
                for norm, gradient in zip((ours, theirs), gradients):
                    getattr(norm, name).sub_(0.1 * gradient)
        for name in ("running_mean", "running_var"):
            assert torch.allclose(getattr(ours, name), getattr(theirs, name), atol=1e-12)
    assert torch.allclose(ours.eval()(rows), theirs.eval()(rows), atol=1e-12)


@pytest.mark.slow
def test_two_processes_answer_as_one_does(foreign, tiny_backbone, tmp_path):
    prompts, recipe = tmp_path / "prompts.yaml", tmp_path / "recipe.yaml"
    prompts.write_text(yaml.safe_dump({group["label"]: group for group in GROUPS}))
    settings = {"task": "3-class", "prompts": str(prompts), "backbone": str(tiny_backbone)}
    recipe.write_text(yaml.safe_dump({**settings, "epochs": 2, "batch_size": 8}))
    one = [sys.executable]
    two = [*one, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    script = (
        "scripts/train_loso.py",
        "--quiet",
        "--no-controls",
        "--recipe",
        recipe,
        "--dataset",
        foreign,
    )
    tables = []
    for name, launcher in (("one", one), ("two", two)):
        subprocess.run(
            [*launcher, *script, "--output_dir", tmp_path / name],
            cwd=REPOSITORY,
            env={**os.environ, "ACCELERATE_USE_CPU": "true"},
            check=True,
        )
        table = pandas.read_parquet(tmp_path / name / "predictions.parquet")
        tables.append(table.sort_values(["subject", "clip_id"], ignore_index=True))
    pandas.testing.assert_frame_equal(*tables, atol=1e-6)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_twenty_steps_at_real_size_are_the_straightforward_ones(tmp_path):
    """ViT-B/32 with random weights at a logit scale of 100, CLIP's vocabulary, the paper's step."""
    backbone = write_random_clip(tmp_path / "clip")
    groups = yaml.safe_load((PROMPTS / "facs-3class.yaml").read_text())
    groups = [{**group, "label": label} for label, group in groups.items()]
    model = HcpMerModel.from_backbone(backbone, groups, au_text="codes")
    assert math.isclose(model.config.similarity_scale, 100, rel_tol=1e-5)
    # 30 and 24 clips to train on: two batches an epoch, of 16 and 14 or 8 rows.
    corpus = Corpus.random(3, clips_of_subject=(24, 30), size=224)
    optimisation = Optimisation(epochs=10, batch_size=16, learning_rate=1e-4, weight_decay=0.01)
    sets = corpus.training_sets(model)
    tower, together, other = FrozenTower(model), [], []  # with its fast linear, where that wins
    states = tower.train(sets, optimisation, lambda step, num_steps, loss: together.append(loss))
    tower.train(sets[1:], optimisation, lambda step, num_steps, loss: other.append(loss))
    expected, _, logits = corpus.straightforward(model, 0, optimisation)
    assert len(expected) == len(together) == 20
    own = 2 * np.array(together) - np.array(other)  # the mean is over the two folds
    assert np.abs(own - expected).max() <= 1e-5
    answered = corpus.held_out_logits(model, states)[0]
    assert torch.equal(answered.argmax(-1), logits.argmax(-1))
    assert expected[-1] < expected[0]
