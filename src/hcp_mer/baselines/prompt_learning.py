"""How peers with text learn on frozen features: folds side by side, each as if it were alone.

Optimiser and schedule are those of CoOp's public code: SGD with momentum 0.9 and weight decay
5e-4, batches of 32, 200 epochs, the first at a rate of 1e-5, then a cosine from 0.002 to 0;
cross-entropy; the last step counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hcp_mer.model.losses_hcp_mer import masked_mean
from hcp_mer.model.prompts_hcp_mer import TreeEncoder
from hcp_mer.training.assembly import load_tokenizer
from hcp_mer.training.folds import Fold, batch_schedule, steps_per_epoch
from hcp_mer.training.loso import LosoRun
from hcp_mer.training.stacked import check_finite

_EPOCHS, _BATCH = 200, 32
_RATE, _WARM_UP_RATE = 0.002, 1e-5
_MOMENTUM, _WEIGHT_DECAY = 0.9, 5e-4


class PromptPeer:
    """A peer that learns some tensors for each fold, beside both frozen towers.

    A subclass says which tensors (`initial`), and how they lead to embeddings of images
    (`embed_images`) and of the classes' texts (`embed_texts`).
    """

    name: str
    heavy = False
    view = "holistic"  # the branch whose image it sees
    num_parameters: int | None = None

    def __init__(self, epochs: int = _EPOCHS) -> None:
        self.epochs = epochs

    def initial(self, run: LosoRun, generator: torch.Generator) -> dict[str, Tensor]:
        """What a fold starts from, drawn from its seed."""
        raise NotImplementedError

    def embed_images(self, weights: dict[str, Tensor], features: Tensor) -> Tensor:
        """(folds, batch, projection_dim) → the same; `weights` have a leading fold axis."""
        return features

    def embed_texts(self, run: LosoRun, weights: dict[str, Tensor]) -> Tensor:
        """Of every class: (folds, num_classes, projection_dim), or 1 for all folds."""
        raise NotImplementedError

    def why_not(self, run: LosoRun) -> str | None:
        """Why it cannot answer on a run, in one line, or None."""
        return view_is_off(run, self.name, self.view)

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None:
        self._weights = self.train(run, [(rows, seed)])

    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        return self.answers(run, self._weights, rows)

    def fit_predict_folds(
        self, run: LosoRun, folds: Sequence[Fold], seed: int
    ) -> dict[str, np.ndarray]:
        """Class indices for the held-out clips of each fold, by its name."""
        weights = self.train(run, [(fold.train, fold.seed(seed, self.name)) for fold in folds])
        return {
            fold.name: self.answers(run, row(weights, index), fold.test)
            for index, fold in enumerate(folds)
        }

    def train(
        self,
        run: LosoRun,
        sets: list[tuple[np.ndarray, int]],
        fixed: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> dict[str, Tensor]:
        """Weights after the last step, one row for each of `sets`, (clips, seed).

        Args: fixed: tensors with a row for each set that are given with the weights, not learnt.
        """
        device = run.model.device
        starts = [self.initial(run, torch.Generator().manual_seed(seed)) for _, seed in sets]
        self.num_parameters = sum(value.numel() for value in starts[0].values())
        weights = {
            name: torch.stack([start[name] for start in starts]).to(device).requires_grad_()
            for name in starts[0]
        }
        momenta = {name: torch.zeros_like(value) for name, value in weights.items()}
        features, labels = self._features(run), run.labels.to(device)
        for step, (clips, valid, rates) in enumerate(_steps(sets, self.epochs)):
            clips, valid, rates = (part.to(device) for part in (clips, valid, rates))
            logits = self._logits(run, {**weights, **fixed}, features[clips])
            losses = torch.vmap(_loss)(logits, labels[clips], valid)
            check_finite(self.name, step, float(losses.sum().detach()))
            gradients = torch.autograd.grad(losses.sum(), list(weights.values()))
            for (name, value), gradient in zip(weights.items(), gradients):
                momenta[name].mul_(_MOMENTUM).add_(gradient + _WEIGHT_DECAY * value.detach())
                # Not an optimiser of torch's: the rate is each fold's own, and 0 past its end.
                value.data.sub_(rates.view(-1, *[1] * (value.dim() - 1)) * momenta[name])
        return {**{name: value.detach() for name, value in weights.items()}, **fixed}

    @torch.inference_mode()
    def answers(self, run: LosoRun, weights: dict[str, Tensor], rows: np.ndarray) -> np.ndarray:
        features = self._features(run)[torch.as_tensor(rows)][None]
        return self._logits(run, weights, features)[0].argmax(-1).cpu().numpy()

    def _logits(self, run: LosoRun, weights: dict[str, Tensor], features: Tensor) -> Tensor:
        """Scaled cosines, (folds, batch, num_classes)."""
        images = F.normalize(self.embed_images(weights, features), dim=-1)
        texts = F.normalize(self.embed_texts(run, weights), dim=-1)
        return run.model.config.similarity_scale * images @ texts.transpose(-1, -2)

    def _features(self, run: LosoRun) -> Tensor:
        """Of every clip, (clips, projection_dim)."""
        pooled = run.features[self.view][:, : run.model.config.clip_config.projection_dim]
        return pooled.to(run.model.device, run.model.dtype)


def row(weights: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """The weights of one fold, with a fold axis of length 1."""
    return {name: value[index : index + 1] for name, value in weights.items()}


def view_is_off(run: LosoRun, name: str, branch: str) -> str | None:
    """Why a peer cannot read a branch's frozen features on a run, or None."""
    if branch == "holistic" and run.model.config.holistic_input == "flow":
        return (
            f"{name} reads the magnified apex, but the holistic branch of this run sees the flow: "
            "set model.holistic_input=magnified."
        )
    if branch in run.features:
        return None
    view = {"holistic": "magnified apex", "componential": "flow"}[branch]
    return (
        f"{name} reads the {view}, which this recipe leaves out (model.use_{branch}: false). "
        f"Leave {name} out, or run it in a folder of a recipe with both branches."
    )


def text_encoder(run: LosoRun, num_contexts: int, before: str, after: str) -> TreeEncoder:
    """An encoder of one sentence for each class, to be kept.

    Args: num_contexts: learnable vectors at the beginning; before, after: words around the class's
        own emotion word, e.g. "a photo of a" and "micro-expression."
    """
    tokenizer = load_tokenizer(run.recipe)
    context = [-1 - slot for slot in range(num_contexts)]
    sequences = []
    for group in run.model.config.prompt_groups:
        words = " ".join(part for part in (before, group["emotion"], after) if part)
        ids = tokenizer(words, add_special_tokens=False)["input_ids"]
        sequences.append((tokenizer.bos_token_id, *context, *ids, tokenizer.eos_token_id))
    return TreeEncoder(sequences, run.model.config.clip_config.text_config.max_position_embeddings)


def _steps(sets: list[tuple[np.ndarray, int]], epochs: int):
    """Step by step: clips (folds, batch), which of them count, and each fold's learning rate."""
    schedules = []
    for rows, seed in sets:
        batches, valid = batch_schedule(len(rows), epochs, _BATCH, seed)
        per_epoch = steps_per_epoch(len(rows), _BATCH)
        rates = np.repeat([_rate(epoch, epochs) for epoch in range(epochs)], per_epoch)
        schedules.append((rows[batches], valid, rates))
    for step in range(max(len(rates) for *_, rates in schedules)):
        last = [min(step, len(rates) - 1) for *_, rates in schedules]
        yield (
            torch.from_numpy(np.stack([clips[i] for i, (clips, _, _) in zip(last, schedules)])),
            torch.from_numpy(np.stack([valid[i] for i, (_, valid, _) in zip(last, schedules)])),
            torch.tensor(
                [rates[step] if step < len(rates) else 0.0 for *_, rates in schedules],
                dtype=torch.float32,
            ),
        )


def _rate(epoch: int, epochs: int) -> float:
    """The learning rate of an epoch, the first being 0."""
    if epoch == 0:
        return _WARM_UP_RATE
    return _RATE * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / epochs))


def _loss(logits: Tensor, labels: Tensor, valid: Tensor) -> Tensor:
    chosen = logits.log_softmax(-1).gather(1, labels[:, None])[:, 0]
    return masked_mean(-chosen, valid)
