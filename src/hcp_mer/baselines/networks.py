"""Networks of the field, trained from scratch: one loop for all of them.

A network learns from the training clips of a fold alone, and the last step counts. Clips are drawn
class by class, so that every class is seen equally often, and half of them mirrored. Folds can be
trained side by side (`torch.func`) and then equal each trained alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from tqdm import tqdm

from hcp_mer.baselines.views import flow_levels, mirrored_flow, refuse, why_no_flow
from hcp_mer.errors import UserError
from hcp_mer.training.folds import Fold
from hcp_mer.training.loso import LosoRun

_PREDICTED_AT_ONCE = 64
_SHOWN_AFTER_S = 5.0  # networks that are done by then need no bar


@dataclass(frozen=True)
class Training:
    """How a network is trained; an epoch is as many batches as hold all training clips.

    Attributes: `momentum`, of plain gradient descent, where given; else Adam. The rate is
    multiplied by `decay` every `decay_epochs` epochs.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float | None = None
    decay: float = 1.0
    decay_epochs: int = 1

    def steps_per_epoch(self, num_clips: int) -> int:
        return -(-num_clips // self.batch_size)

    def optimiser(self, parameters: Sequence[Tensor]) -> torch.optim.Optimizer:
        if self.momentum is None:
            return torch.optim.Adam(parameters, lr=self.learning_rate, fused=True)
        return torch.optim.SGD(parameters, lr=self.learning_rate, momentum=self.momentum)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.learning_rate * self.decay ** (epoch // self.decay_epochs)


@dataclass(frozen=True)
class Lesson:
    """All that a network may learn from in one fold: the held-out subject is not in here.

    Attributes: `seed`, of initial weights, draws and dropout; `inputs`, float32 (clips, 3, H, W);
    `labels`, (clips,) int64.
    """

    seed: int
    inputs: Tensor
    labels: Tensor


class Dropout(nn.Module):
    """Dropout whose mask is given from outside, so that each fold of a stack has its own.

    Args: `shape` of what comes in, without the batch; `share`, of it that is set to zero.
    """

    def __init__(self, shape: tuple[int, ...], share: float = 0.5) -> None:
        super().__init__()
        self.shape, self.share = shape, share
        self.register_buffer("kept", torch.ones(1), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.kept if self.training else inputs

    def draw(self, batch_size: int, generator: torch.Generator) -> Tensor:
        """A mask, (batch_size, *shape), of 0 and 1 / (1 − share)."""
        chances = torch.rand(batch_size, *self.shape, generator=generator)
        return (chances >= self.share).float() / (1 - self.share)


class NetworkPeer:
    """A network of the field behind `Peer`.

    Attributes:
        training: the authors' settings where their code says them; `epochs` overrides them.
        side_px: of the square that it sees.
        folds_on_gpu: how many folds are worth training side by side there. On a CPU it is always
            one: a convolution with weights of its own for each fold is slower than one by one.
        num_parameters: how many weights were trained, after `fit`.
    """

    name: str
    heavy = True
    training: Training
    side_px: int
    folds_on_gpu = 1

    def __init__(self, epochs: int | None = None) -> None:
        if epochs is not None:
            self.training = replace(self.training, epochs=epochs)
        self.num_parameters: int | None = None
        self._seen: tuple[LosoRun, Tensor] | None = None

    def network(self, num_classes: int) -> nn.Module:
        """The untrained network: (batch, 3, side_px, side_px) to (batch, num_classes)."""
        raise NotImplementedError

    def read(self, run: LosoRun) -> np.ndarray:
        """Its view of all labelled clips, float32 (clips, 3, side_px, side_px)."""
        return flow_levels(run, self.side_px)

    def mirrored(self, inputs: Tensor) -> Tensor:
        """The same of the mirrored faces."""
        return torch.from_numpy(mirrored_flow(inputs.numpy()))

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Scalar, from (batch, num_classes) and (batch,)."""
        return F.cross_entropy(outputs, labels)

    def why_not(self, run: LosoRun) -> str | None:
        """Why it cannot answer on this run, in one line, or None."""
        return why_no_flow(run)

    def folds_at_once(self, run: LosoRun) -> int:
        """How many folds to hand to `fit_predict_folds` at a time."""
        return 1 if run.model.device.type == "cpu" else self.folds_on_gpu

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None:
        (self._network,) = self._trained(run, [self._lesson(run, rows, seed)])

    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        return self._answers(self._network, self._inputs(run)[rows])

    def fit_predict_folds(
        self, run: LosoRun, folds: Sequence[Fold], seed: int
    ) -> dict[str, np.ndarray]:
        """Fold name → class indices of its held-out clips: what `fit` and `predict` say one by one.

        Folds of equal length are trained side by side, all that are given: hand in at most
        `folds_at_once`, and save between.
        """
        alike: dict[int, list[Fold]] = {}
        for fold in folds:
            alike.setdefault(self.training.steps_per_epoch(len(fold.train)), []).append(fold)
        answers = {}
        for group in alike.values():
            lessons = [self._lesson(run, f.train, f.seed(seed, self.name)) for f in group]
            for fold, network in zip(group, self._trained(run, lessons), strict=True):
                answers[fold.name] = self._answers(network, self._inputs(run)[fold.test])
        return {fold.name: answers[fold.name] for fold in folds}

    def _inputs(self, run: LosoRun) -> Tensor:
        """`read` once for each run."""
        if self._seen is None or self._seen[0] is not run:
            refuse(self.name, self.why_not(run))
            self._seen = (run, torch.from_numpy(self.read(run)))
        return self._seen[1]

    def _lesson(self, run: LosoRun, rows: np.ndarray, seed: int) -> Lesson:
        return Lesson(seed, self._inputs(run)[rows], run.labels[rows])

    def _trained(self, run: LosoRun, lessons: list[Lesson]) -> list[nn.Module]:
        stack = NetworkStack(self, lessons, len(run.classes), run.model.device)
        steps = range(stack.num_steps)
        for _ in tqdm(steps, self.name, leave=False, unit="step", delay=_SHOWN_AFTER_S):
            stack.step()
        networks = stack.finished()
        self.num_parameters = sum(p.numel() for p in networks[0].parameters())
        return networks

    @torch.inference_mode()
    def _answers(self, network: nn.Module, inputs: Tensor) -> np.ndarray:
        device = next(network.parameters()).device
        parts = [network(part.to(device)).argmax(-1) for part in inputs.split(_PREDICTED_AT_ONCE)]
        return torch.cat(parts).cpu().numpy()


class NetworkStack:
    """Networks, optimiser and draws of some folds; every weight has a leading fold axis.

    Losses are summed over folds, never averaged, and both optimisers go weight by weight: no fold
    feels another.

    Args: lessons of as many steps each.
    """

    def __init__(
        self, peer: NetworkPeer, lessons: list[Lesson], num_classes: int, device: torch.device
    ) -> None:
        self.peer, self.training, self.device = peer, peer.training, device
        (self.steps_per_epoch,) = {
            self.training.steps_per_epoch(len(lesson.labels)) for lesson in lessons
        }
        self.num_steps = self.training.epochs * self.steps_per_epoch
        self.networks = [_initialised(peer, num_classes, lesson.seed) for lesson in lessons]
        self.template = self.networks[0].train()  # only its structure is used
        parameters, buffers = stack_module_state(self.networks)
        self.parameters = {n: p.detach().to(device).requires_grad_() for n, p in parameters.items()}
        self.buffers = {name: buffer.to(device) for name, buffer in buffers.items()}
        self.optimiser = self.training.optimiser(list(self.parameters.values()))
        self.dropouts = {n: m for n, m in self.template.named_modules() if isinstance(m, Dropout)}
        self.draws = [_Draws(peer, lesson, self.num_steps) for lesson in lessons]
        self.steps_done = 0

    def step(self) -> Tensor:
        """One step of every fold; returns their losses, (folds,).

        Raises UserError for a loss that is not finite.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = self.training.rate(self.steps_done // self.steps_per_epoch)
        drawn = [draws.batch(self.steps_done, self.dropouts) for draws in self.draws]
        inputs, labels, masks = zip(*drawn)
        losses = self._losses(
            {name: torch.stack([m[name] for m in masks]).to(self.device) for name in masks[0]},
            torch.stack(inputs).to(self.device),
            torch.stack(labels).to(self.device),
        )
        self.optimiser.zero_grad()
        losses.sum().backward()
        self.optimiser.step()
        if not all(map(math.isfinite, losses.tolist())):
            raise UserError(
                f"the loss of {self.peer.name} is not finite at step {self.steps_done}: look for "
                "damaged images among the pairs."
            )
        self.steps_done += 1
        return losses.detach()

    def _losses(self, masks: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        state = {**self.buffers, **masks}
        if len(self.networks) > 1:
            return vmap(self._loss_of_one)(self.parameters, state, inputs, labels)
        alone = ({name: value[0] for name, value in s.items()} for s in (self.parameters, state))
        return self._loss_of_one(*alone, inputs[0], labels[0])[None]

    def _loss_of_one(self, parameters, state, inputs, labels) -> Tensor:
        outputs = functional_call(self.template, (parameters, state), (inputs,))
        return self.peer.loss(outputs, labels)

    def finished(self) -> list[nn.Module]:
        """The networks as they are now, ready to predict."""
        stacked = {**self.parameters, **self.buffers}
        for index, network in enumerate(self.networks):
            own = {name: stacked[name][index].detach() for name in network.state_dict()}
            network.to(self.device).load_state_dict(own)
            network.eval()
        return self.networks


class _Draws:
    """What one fold sees at each step: clips, their labels, and dropout's masks."""

    def __init__(self, peer: NetworkPeer, lesson: Lesson, num_steps: int) -> None:
        self.both_ways = torch.stack([lesson.inputs, peer.mirrored(lesson.inputs)])
        self.labels, self.batch_size = lesson.labels, peer.training.batch_size
        self.rows, self.mirrored = balanced_schedule(
            lesson.labels.numpy(), num_steps, self.batch_size, lesson.seed
        )
        self.generator = torch.Generator().manual_seed(lesson.seed)

    def batch(
        self, step: int, dropouts: Mapping[str, Dropout]
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        rows = torch.from_numpy(self.rows[step])
        ways = torch.from_numpy(self.mirrored[step].astype(np.int64))
        masks = {
            f"{name}.kept": layer.draw(self.batch_size, self.generator)
            for name, layer in dropouts.items()
        }
        return self.both_ways[ways, rows], self.labels[rows], masks


def balanced_schedule(
    labels: np.ndarray, num_steps: int, batch_size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which clips each step sees, and which of them mirrored, both (num_steps, batch_size).

    The classes that occur take turns, and of each class one clip after another comes, shuffled
    anew when all were seen.
    """
    rng = np.random.default_rng(seed)
    present = np.unique(labels)
    turns = np.arange(num_steps * batch_size) % len(present)
    rows = np.empty(len(turns), np.int64)
    for turn, label in enumerate(present):
        own, places = np.flatnonzero(labels == label), np.flatnonzero(turns == turn)
        rounds = [rng.permutation(own) for _ in range(-(-len(places) // len(own)))]
        rows[places] = np.concatenate(rounds)[: len(places)] if rounds else []
    mirrored = rng.random((num_steps, batch_size)) < 0.5
    return rows.reshape(num_steps, batch_size), mirrored


def _initialised(peer: NetworkPeer, num_classes: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return peer.network(num_classes)
