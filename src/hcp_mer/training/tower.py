"""The vision tower while folds train: frozen, as in the paper, or moved a little by LoRA."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from hcp_mer.model.losses_hcp_mer import balanced_alpha, total_loss
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.checkpoint import apply_trained_part, trained_part
from hcp_mer.training.fast_linear import layers_that_gain, swapped
from hcp_mer.training.progress import OnStep
from hcp_mer.training.snapshot import Snapshots
from hcp_mer.training.stacked import (
    LOSSES,
    OnEpoch,
    Optimisation,
    TrainingSet,
    check_finite,
    train_stacked,
)

_BATCH = 16


class Tower(Protocol):
    """Trains folds, and says what a trained fold's tower sees in clips.

    Clips come as `inputs`, branch → one row per clip: what they hold is the tower's own affair.
    """

    model: HcpMerModel

    def with_model(self, model: HcpMerModel) -> Tower:
        """The same tower beside other prompts: `model` shares the backbone with this one's."""
        ...

    def train(
        self, sets: list[TrainingSet], optimisation: Optimisation, on_step: OnStep
    ) -> list[dict[str, Tensor]]:
        """Trained parts with their losses, one per set; see `train_stacked`."""
        ...

    def features(self, state: dict[str, Tensor], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """branch → (clips, projection_dim) on the model's device."""
        ...

    def forget(self) -> None:
        """What was trained is saved: whatever was kept to go on from can go."""
        ...


class FrozenTower:
    """Inputs are features, the same for every fold: encoded once, all folds side by side."""

    def __init__(self, model: HcpMerModel, snapshots: Snapshots | None = None):
        self.model, self.snapshots = model, snapshots
        self._fast_layers: dict[str, list[nn.Linear]] = {}

    def with_model(self, model: HcpMerModel) -> FrozenTower:
        other = copy.copy(self)
        other.model = model
        return other

    def train(
        self,
        sets: list[TrainingSet],
        optimisation: Optimisation,
        on_step: OnStep,
        on_epoch: OnEpoch | None = None,
    ) -> list[dict[str, Tensor]]:
        if not self._fast_layers:  # measured once, so that all groups are trained alike
            rows = len(sets) * self.model.prompts.num_tokens
            text = self.model.clip.text_model  # one for all that this tower was copied to
            self._fast_layers["text"] = layers_that_gain(text, rows) if rows else []
        with swapped(self._fast_layers["text"]):
            return train_stacked(self.model, sets, optimisation, on_step, self.snapshots, on_epoch)

    def forget(self) -> None:
        if self.snapshots:
            self.snapshots.clear()

    def features(self, state: dict[str, Tensor], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {branch: values.to(self.model.device) for branch, values in inputs.items()}


class LoraTower:
    """Inputs are pixel values (clips, 3, size, size): every fold has a tower of its own.

    Nothing can be cached or stacked, so images are encoded, and gradients go through the tower,
    at every step of every fold, one fold after another.
    """

    def __init__(self, model: HcpMerModel, settings: dict):
        self.model, self.settings = model, settings

    def with_model(self, model: HcpMerModel) -> LoraTower:
        return LoraTower(model, self.settings)

    def forget(self) -> None:
        """Folds end one by one: nothing else is kept."""

    def train(
        self, sets: list[TrainingSet], optimisation: Optimisation, on_step: OnStep
    ) -> list[dict[str, Tensor]]:
        schedules = [optimisation.schedule(len(fold.labels), fold.seed) for fold in sets]
        total, done = sum(len(rows) for rows, _ in schedules), 0
        states = []
        for fold, (rows, valid) in zip(sets, schedules):
            batches = [torch.from_numpy(row[keep]) for row, keep in zip(rows, valid)]
            # Dropout and LoRA's first weights come from the fold's seed, in whatever order.
            with torch.random.fork_rng():
                torch.manual_seed(fold.seed)
                model, losses = self._untrained(fold), []
                for step, loss in enumerate(self._steps(model, fold, batches, optimisation)):
                    check_finite(fold.name, step, loss)
                    on_step(done + step, total, loss)
                    losses.append(loss)
            done += len(batches)
            states.append({**trained_part(model), LOSSES: torch.tensor(losses)})
        return states

    def _untrained(self, fold: TrainingSet) -> HcpMerModel:
        model = copy.deepcopy(self.model)
        model.head = self.model.new_head(fold.seed)
        counts = fold.labels.bincount(minlength=model.config.num_classes)
        model.focal_alpha.copy_(balanced_alpha(counts))
        model.add_vision_lora(self.settings)
        return model.train()

    def _steps(
        self,
        model: HcpMerModel,
        fold: TrainingSet,
        batches: list[Tensor],
        optimisation: Optimisation,
    ) -> Iterator[float]:
        """Train `model` in place, a step per batch of rows; yields the losses."""
        optimiser = torch.optim.AdamW(
            [parameter for parameter in model.parameters() if parameter.requires_grad],
            lr=optimisation.learning_rate,
            weight_decay=optimisation.weight_decay,
        )
        for rows in batches:
            features = _encode(model, {b: pixels[rows] for b, pixels in fold.inputs.items()})
            output = model.head(features, model.encode_prompts())
            labels = fold.labels[rows].to(model.device)
            loss = total_loss(output, labels, model.focal_alpha, model.config)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            yield float(loss.detach())

    @torch.no_grad()
    def features(self, state: dict[str, Tensor], inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        model = copy.deepcopy(self.model)
        apply_trained_part(model, state, self.settings)
        batches = zip(*(values.split(_BATCH) for values in inputs.values()))
        parts = [_encode(model, dict(zip(inputs, batch))) for batch in batches]
        return {branch: torch.cat([part[branch] for part in parts]) for branch in inputs}


def _encode(model: HcpMerModel, pixels: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        branch: model.encode_view(branch, values.to(model.device))
        for branch, values in pixels.items()
    }
