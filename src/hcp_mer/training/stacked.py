"""Training many folds at once, exactly as if each were trained alone.

The folds' heads are stacked and run side by side (`torch.func`); the frozen text tower encodes all
their prompts in one batch. Losses are summed over folds, never averaged, so no fold feels another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from hcp_mer.errors import UserError
from hcp_mer.model.configuration_hcp_mer import HcpMerConfig
from hcp_mer.model.losses_hcp_mer import balanced_alpha, total_loss
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.folds import batch_schedule, steps_per_epoch
from hcp_mer.training.snapshot import Snapshots, interrupts_held

LOSSES = "training_losses"  # a record beside a trained part that is new: the loss of each step
_DROPOUT = 8  # keeps these draws apart from others of the same seed
OnEpoch = Callable[[int, int, dict[str, Tensor]], None]


@dataclass(frozen=True)
class TrainingSet:
    """All that one fold may learn from: the held-out subject is not in here at all.

    Attributes:
        name: for messages; seed: of initial weights and shuffles.
        inputs: branch → (n, …), what the vision tower takes or, if it is frozen, what it says:
            (n, feature_size). labels: (n,) int64.
        subjects: (n,) text, who shows each clip.
    """

    name: str
    seed: int
    inputs: dict[str, Tensor]
    labels: Tensor
    subjects: np.ndarray

    def part(self, rows: np.ndarray) -> TrainingSet:
        """The same fold with some of its clips."""
        inputs = {branch: values[rows] for branch, values in self.inputs.items()}
        return replace(self, inputs=inputs, labels=self.labels[rows], subjects=self.subjects[rows])


@dataclass(frozen=True)
class Optimisation:
    """AdamW over the trained part; the last step counts."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    min_steps: int = 0

    def schedule(self, num_clips: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """`batch_schedule` of a fold, with epochs added until it has `min_steps` steps."""
        return batch_schedule(num_clips, self.num_epochs(num_clips), self.batch_size, seed)

    def num_steps(self, num_clips: int) -> int:
        steps = steps_per_epoch(num_clips, self.batch_size)
        return steps * self.num_epochs(num_clips)

    def num_epochs(self, num_clips: int) -> int:
        return max(self.epochs, -(-self.min_steps // steps_per_epoch(num_clips, self.batch_size)))


def train_stacked(
    model: HcpMerModel,
    sets: list[TrainingSet],
    optimisation: Optimisation,
    on_step: Callable[[int, int, float], None] = lambda step, num_steps, loss: None,
    snapshots: Snapshots | None = None,
    on_epoch: OnEpoch | None = None,
) -> list[dict[str, Tensor]]:
    """Train one head and one set of contexts per training set, all from the untrained model.

    Args:
        model: gives the frozen text tower and the config; its own weights do not change.
        on_step: called with step, number of steps and mean loss over folds, for a progress bar.
        snapshots: where to go on from, and to leave word every minute and when interrupted.
        on_epoch: called with a set's index, its epoch that has just ended, from 1, and its trained
            part at that moment. Training does not depend on what it does.
    Returns: per training set the trained part of a state dict,
        as it was at that set's own last step: "head.…", "prompts.context", "focal_alpha"; and
        under LOSSES its loss at each step, (steps,).
    Raises:
        UserError: a loss that is not finite; names fold and step.
    """
    stack = Stack(model, sets, optimisation)
    file = snapshots.file(sets, optimisation) if snapshots else None
    saved = snapshots.load(file) if snapshots else None
    if saved is not None:
        stack.restore(saved)
    with interrupts_held() as interrupted:
        while stack.steps_done < stack.num_steps:
            step = stack.steps_done
            losses = stack.step()
            on_step(step, stack.num_steps, float(losses.mean()))
            for fold, loss in zip(sets, losses.tolist()):
                check_finite(fold.name, step, loss)
            if on_epoch:
                for index, epoch in stack.epochs_ended():
                    on_epoch(index, epoch, stack.trained_state(index))
            is_last = stack.steps_done == stack.num_steps
            if snapshots and (is_last or interrupted() or snapshots.is_due()):
                snapshots.save(file, stack.snapshot())
            if interrupted():
                raise KeyboardInterrupt
    return [stack.finished[index] for index in range(len(sets))]


def check_finite(fold: str, step: int, loss: float) -> None:
    """Raise UserError, naming fold and step, for a loss that is not a finite number."""
    if not math.isfinite(loss):
        raise UserError(
            f"the loss of fold {fold} is {loss} at step {step}. Try a smaller learning_rate, or "
            "look for constant images among its pairs."
        )


class Stack:
    """Heads, contexts, data and schedules of several folds, each with a leading fold axis."""

    def __init__(self, model: HcpMerModel, sets: list[TrainingSet], optimisation: Optimisation):
        self.model = model
        device = model.device
        heads = [model.new_head(fold.seed) for fold in sets]
        self.parameters, self.buffers = stack_module_state(heads)
        self.template = heads[0]  # only its structure is used: its state is passed in
        words = model.prompts.context.detach()
        self.context = words.expand(len(sets), -1, -1).clone()
        self.context.requires_grad_(model.config.learn_context)
        with torch.no_grad():
            same = not model.config.learn_context
            self.fixed_texts = model.encode_prompts(self.context[:1]) if same else None
        self.optimiser = torch.optim.AdamW(
            self._trained().values(),
            lr=optimisation.learning_rate,
            weight_decay=optimisation.weight_decay,
            fused=True,
        )
        counts = [fold.labels.bincount(minlength=model.config.num_classes) for fold in sets]
        self.alpha = torch.stack([balanced_alpha(count) for count in counts]).to(device)
        longest = max(len(fold.labels) for fold in sets)
        self.labels = torch.stack([_padded(fold.labels, longest) for fold in sets]).to(device)
        self.features = {
            branch: torch.stack([_padded(fold.inputs[branch], longest) for fold in sets])
            .to(device, model.dtype)
            .detach()
            for branch in model.config.branches
        }
        self.schedules = [
            tuple(
                torch.from_numpy(part).to(device)
                for part in optimisation.schedule(len(fold.labels), fold.seed)
            )
            for fold in sets
        ]
        self.num_steps = max(len(rows) for rows, _ in self.schedules)
        self.epoch_steps = [
            steps_per_epoch(len(fold.labels), optimisation.batch_size) for fold in sets
        ]
        self.seeds = [fold.seed for fold in sets]
        config = model.config
        self.drops_patches = config.adapter_dropout > 0 and any(
            map(config.reads_patches, config.branches)
        )
        self.steps_done = 0
        self.losses = torch.zeros(self.num_steps, len(sets))
        self.finished: dict[int, dict[str, Tensor]] = {}
        self._losses = vmap(self._loss_of_one_fold)

    def folds_ending_at(self, step: int) -> list[int]:
        return [i for i, (rows, _) in enumerate(self.schedules) if len(rows) == step + 1]

    def step(self) -> Tensor:
        """One optimiser step of every fold; returns their losses (folds,)."""
        step = self.steps_done
        # A fold past its end repeats its last batch; its state was taken before.
        batches = [(rows[min(step, len(rows) - 1)], rows, valid) for rows, valid in self.schedules]
        rows = torch.stack([batch for batch, _, _ in batches])
        valid = torch.stack([v[min(step, len(r) - 1)] for _, r, v in batches])
        fold = torch.arange(len(rows), device=rows.device)[:, None]
        features = {branch: values[fold, rows] for branch, values in self.features.items()}
        losses = self._losses(
            self.parameters,
            self.buffers,
            features,
            self._texts(),
            self.labels[fold, rows],
            self.alpha,
            valid,
            self._patches_kept(step, rows.shape[1]),
        )
        self.optimiser.zero_grad()
        losses.sum().backward()
        self.optimiser.step()
        self.steps_done += 1
        self.losses[step] = losses.detach().cpu()
        for index in self.folds_ending_at(step):
            # A fold that has ended would go on moving (momentum, decay): take it now.
            self.finished[index] = self.trained_state(index)
            self.finished[index][LOSSES] = self.losses[: self.steps_done, index].clone()
        return losses.detach()

    def epochs_ended(self) -> list[tuple[int, int]]:
        """(set, epoch) of the sets of which an epoch ended with the step just taken."""
        return [
            (index, self.steps_done // steps)
            for index, steps in enumerate(self.epoch_steps)
            if self.steps_done % steps == 0 and self.steps_done <= len(self.schedules[index][0])
        ]

    def _texts(self) -> Tensor:
        """Of each fold, (folds, num_prompts, projection_dim)."""
        if self.fixed_texts is None:
            return self.model.encode_prompts(self.context)
        return self.fixed_texts.expand(len(self.context), -1, -1)

    def _patches_kept(self, step: int, batch_size: int) -> Tensor:
        """(folds, batch, num_patches) bool; without dropout (folds, 0), which nobody reads."""
        if not self.drops_patches:
            return torch.empty(len(self.seeds), 0, device=self.model.device)
        kept = [patches_kept(self.model.config, seed, step, batch_size) for seed in self.seeds]
        return torch.stack(kept).to(self.model.device)

    def _loss_of_one_fold(self, parameters, buffers, features, texts, labels, alpha, valid, kept):
        seen = kept if self.drops_patches else None
        inputs = (features, texts, valid, seen)
        output = functional_call(self.template, (parameters, buffers), inputs)
        return total_loss(output, labels, alpha, self.model.config, valid)

    def trained_state(self, index: int) -> dict[str, Tensor]:
        head = {**self.parameters, **self.buffers}
        state = {f"head.{name}": value[index] for name, value in head.items()}
        state |= {"prompts.context": self.context[index], "focal_alpha": self.alpha[index]}
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    def _trained(self) -> dict[str, Tensor]:
        learnt = {"prompts.context": self.context} if self.context.requires_grad else {}
        return {**self.parameters, **learnt}

    def snapshot(self) -> dict[str, Tensor]:
        """All that the next step depends on, and the folds that have ended, as flat tensors."""
        state = {"steps_done": torch.tensor(self.steps_done), "losses": self.losses}
        state |= {f"trained/{name}": value for name, value in self._trained().items()}
        state |= {f"buffers/{name}": value for name, value in self.buffers.items()}
        for name, parameter in self._trained().items():
            for key, value in self.optimiser.state[parameter].items():
                state[f"optimiser/{name}/{key}"] = value
        for index, trained in self.finished.items():
            state |= {f"finished/{index}/{name}": value for name, value in trained.items()}
        return {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from a `snapshot` of the same stack."""
        self.steps_done = int(state["steps_done"])
        self.losses.copy_(state["losses"])
        for name, parameter in self._trained().items():
            parameter.copy_(state[f"trained/{name}"])
            prefix = f"optimiser/{name}/"
            # AdamW's step counters stay on the CPU, its moments are where the weights are.
            self.optimiser.state[parameter] = {
                key.removeprefix(prefix): value if value.dim() == 0 else value.to(parameter.device)
                for key, value in state.items()
                if key.startswith(prefix)
            }
        for name, buffer in self.buffers.items():
            buffer.copy_(state[f"buffers/{name}"])
        for key, value in state.items():
            kind, _, rest = key.partition("/")
            if kind == "finished":
                index, _, name = rest.partition("/")
                self.finished.setdefault(int(index), {})[name] = value


def patches_kept(config: HcpMerConfig, seed: int, step: int, batch_size: int) -> Tensor:
    """Which patches each clip of a batch shows its adapters, (batch, num_patches) bool.

    Drawn from the fold's seed and the step alone, so that a fold is trained alike in any company,
    and goes on alike after it was stopped.
    """
    rng = np.random.default_rng((_DROPOUT, seed, step))
    drawn = rng.random((batch_size, config.num_patches), dtype=np.float32)
    return torch.from_numpy(drawn >= config.adapter_dropout)


def _padded(values: Tensor, length: int) -> Tensor:
    """`values` (n, …) with rows of zeros up to `length`; schedules never point there."""
    return torch.cat([values, values.new_zeros(length - len(values), *values.shape[1:])])
