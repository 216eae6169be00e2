"""The gate, fitted on subjects that the branches did not learn from.

Trained jointly, as the paper has it, the gate sees both branches on clips that they have learnt by
heart: a branch that memorises (the magnified apex, which shows who it is) looks as good as one
that generalises. Here the training subjects of a fold are split in two, the branches learn from
each half, and the gate from what they answer for the other. The held-out subject of the fold is in
neither half. Prompts are the fold's in both: where they are counted, the halves do not count again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from hcp_mer.model.head_hcp_mer import HcpMerHead
from hcp_mer.model.losses_hcp_mer import balanced_alpha, focal_loss
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.checkpoint import load_head
from hcp_mer.training.folds import SMALLEST_BATCH
from hcp_mer.training.stacked import Optimisation, TrainingSet
from hcp_mer.training.tower import Tower

_RIDGE = 1e-3  # keeps the gate near ½ and ½ where little speaks against it
_ITERATIONS = 100


def refit_gates(
    tower: Tower,
    sets: list[TrainingSet],
    states: list[dict[str, Tensor]],
    optimisation: Optimisation,
    on_step: Callable[[int, int, float], None] = lambda step, num_steps, loss: None,
) -> list[dict[str, Tensor]]:
    """Replace the gate of each trained part; everything else in it stays.

    Args:
        sets, states: training sets and what the tower's `train` made of them, in the same order.
        on_step: as in `train_stacked`, for the training of the halves.
    Returns: the trained parts with their new gates. A set that cannot be split in two (a single
        subject, a handful of clips) and a model without a learnt gate keep what they have.
    """
    model = tower.model
    gate_names = [name for name in states[0] if name.startswith("head.gate.")]
    if not model.config.use_focal and model.config.without_focal == "nothing":
        return states  # an ablation in which nothing trains the gate
    split = {index: halves(fold) for index, fold in enumerate(sets)}
    split = {i: sides for i, sides in split.items() if min(map(len, sides)) >= SMALLEST_BATCH}
    if not gate_names or not split:
        return states
    order = [(index, side) for index in split for side in (0, 1)]
    half = replace(optimisation, min_steps=optimisation.min_steps // 2)  # of the clips, too
    parts = [sets[i].part(split[i][side]) for i, side in order]
    learnt = tower.train(parts, half, on_step)
    by_half = dict(zip(order, learnt))
    refitted = list(states)
    for index, sides in split.items():
        responses, labels = [], []
        for side in (0, 1):  # learnt from one half, asked about the other
            other = sets[index].part(sides[1 - side])
            responses.append(_responses(tower, by_half[index, side], other))
            labels.append(other.labels)
        gate = fit_gate(model, [torch.cat(pair) for pair in zip(*responses)], torch.cat(labels))
        refitted[index] = {**states[index], **gate}
    return refitted


def halves(fold: TrainingSet) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two halves of the subjects; which ones is drawn from the fold's own seed."""
    people = np.random.default_rng(fold.seed).permutation(sorted(set(fold.subjects)))
    first = np.isin(fold.subjects, people[: len(people) // 2])
    return np.flatnonzero(first), np.flatnonzero(~first)


def fit_gate(model: HcpMerModel, responses: list[Tensor], labels: Tensor) -> dict[str, Tensor]:
    """The gate that minimises the focal loss of Res_f on given responses of both branches.

    Args: responses: holistic and componential, each (n, num_classes); labels (n,).
    Returns: the gate's entries of a trained part ("head.gate.weight", …).
    """
    head = HcpMerHead(model.config)
    gate = dict(head.gate.named_parameters())
    counts = labels.bincount(minlength=model.config.num_classes)
    if model.config.use_focal:
        alpha, gamma = balanced_alpha(counts), model.config.focal_gamma
    else:  # focal without weights and focus is cross-entropy
        alpha, gamma = torch.ones(len(counts)), 0.0
    optimiser = torch.optim.LBFGS(
        gate.values(), max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        logits, _ = head.combine(responses)
        loss = focal_loss(logits, labels, alpha, gamma)
        loss = loss + _RIDGE * sum((value**2).sum() for value in gate.values())
        loss.backward()
        return loss

    optimiser.step(closure)
    return {f"head.gate.{name}": value.detach().clone() for name, value in gate.items()}


@torch.no_grad()
def _responses(tower: Tower, state: dict[str, Tensor], clips: TrainingSet) -> list[Tensor]:
    head = load_head(tower.model, state)
    texts = tower.model.encode_prompts(state["prompts.context"].to(tower.model.device))
    features = tower.features(state, clips.inputs)
    return [response.cpu() for response in head(features, texts).branch_responses]
