"""Controls: the same training without one thing that the method claims to live on.

Where a control ties the model, that thing earned nothing on these clips.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from transformers import CLIPModel

from hcp_mer.training.assembly import load_tokenizer
from hcp_mer.training.fold_prompts import FoldPrompts, with_prompt_groups
from hcp_mer.training.loso import LosoRun
from hcp_mer.training.variants import (
    Variant,
    train_variant,
    with_backbone,
    with_model,
    with_options,
    with_prompts,
)

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)


class ShiftedActionUnits(FoldPrompts):
    """Every class has the action units of the next one, and its own emotion word."""

    def groups(self, rows: np.ndarray) -> list[dict]:
        groups = super().groups(rows)
        sets = [group["action_units"] for group in groups]
        return [
            {**group, "action_units": others}
            for group, others in zip(groups, [*sets[1:], sets[0]], strict=True)
        ]


def permuted_action_units(run: LosoRun) -> LosoRun:
    """Texts of action units that belong to other classes; none keeps its own."""
    known = run.prompts
    return with_prompts(run, ShiftedActionUnits(known.written, known.action_units, known.labels))


class ClassVectors(nn.Module):
    """A vector per branch and class in the place of the prompts: learnt from clips, not from words.

    `context`: (branches · classes, projection_dim), at first random directions; as "texts" they
    make of a branch's cosines a linear classifier on its adapted features.
    """

    def __init__(self, num_vectors: int, size: int, seed: int):
        super().__init__()
        start = torch.randn(num_vectors, size, generator=torch.Generator().manual_seed(seed))
        self.context = nn.Parameter(nn.functional.normalize(start, dim=-1))

    num_tokens = 0

    def forward(self, clip: nn.Module, context: Tensor | None = None) -> Tensor:
        return self.context if context is None else context


def linear_head(run: LosoRun) -> LosoRun:
    """No text at all: adapters, losses and gate stay, the texts become free vectors."""
    config = run.model.config
    groups = [{**group, "action_units": [[1]]} for group in config.prompt_groups]  # one per class
    model = with_prompt_groups(run.model, groups, load_tokenizer(run.recipe))
    size = config.clip_config.projection_dim
    vectors = ClassVectors(len(model.prompts.prompts), size, run.recipe.seeds[0])
    model.prompts = vectors.to(model.device, model.dtype)
    model.config.learn_context = True  # even where words stay as they are: these are no words
    return with_model(run, model)


def random_backbone(run: LosoRun) -> LosoRun:
    """Both towers with random weights, as transformers initialises a CLIP."""
    model = copy.deepcopy(run.model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.recipe.seeds[0])
        untrained = CLIPModel(model.config.clip_config)
    model.clip.load_state_dict(untrained.state_dict())
    model.prompts.reset_context(model.clip.text_model)
    return with_backbone(run, model.eval(), "baselines/random_backbone.parquet")


def flow_in_both(run: LosoRun) -> LosoRun:
    """The flow in the holistic branch, too, in place of the magnified apex."""
    return with_options(run, holistic_input="flow")


CONTROLS: Mapping[str, Variant] = {
    change.__name__: Variant(change.__name__, change)
    for change in (permuted_action_units, linear_head, random_backbone, flow_in_both)
}


def train_controls(run: LosoRun, accelerator: Accelerator | None = None) -> None:
    """Every control on every fold, into baselines/; those that are there are kept.

    With the recipe's first seed alone, as the control called chance.

    Args: accelerator: shares the folds out.
    """
    if run.recipe.trains_tower:
        if accelerator is None or accelerator.is_main_process:
            logger.warning(
                "controls share the frozen tower's features: this run, whose tower is trained "
                "(vision_lora), has none but chance."
            )
        return
    once = replace(run, recipe=replace(run.recipe, seeds=run.recipe.seeds[:1]))
    for name, control in CONTROLS.items():
        if control.change is flow_in_both and run.model.config.holistic_input == "flow":
            continue  # it is the model itself
        train_variant(control, once, f"baselines/{name}.parquet", accelerator)
