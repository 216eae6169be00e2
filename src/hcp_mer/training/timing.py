"""How long a run will take on this machine, from a few steps that are really taken.

Time depends on how many clips and folds there are and on the sizes of the networks, but not on what
the images show: features are drawn at random here, and nothing is read or written.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from hcp_mer.data.cross_mapping import annotated_units
from hcp_mer.data.pairs import LabelledPairs, Pairs, label_pairs
from hcp_mer.errors import UserError
from hcp_mer.training.assembly import build_model, build_processor
from hcp_mer.training.fast_linear import layers_that_gain, swapped
from hcp_mer.training.fold_prompts import FoldModels, FoldPrompts
from hcp_mer.training.folds import Fold, final_fold, groups_of, leave_one_subject_out
from hcp_mer.training.loso import LosoRun, group_size_of
from hcp_mer.training.recipe import Recipe
from hcp_mer.training.run_folder import RunFolder
from hcp_mer.training.stacked import Stack
from hcp_mer.training.tower import FrozenTower

_TIMED_STEPS = 2
_TIMED_IMAGES = 4


@dataclass(frozen=True)
class Clips:
    """What the time of a run depends on, of labelled clips; lists of one length.

    Attributes: people, (dataset, subject) of each; labels, class indices; units, as annotated.
    """

    people: list[tuple[str, str]]
    labels: list[int]
    units: list[tuple[str, ...]]


def clips_of(pairs: Pairs, recipe: Recipe) -> Clips:
    """The clips of prepared pairs that a recipe's task uses."""
    labelled = label_pairs(pairs, recipe.label_task, recipe.scheme)
    people = list(zip(pairs.column("dataset"), pairs.column("subject")))
    units = annotated_units(pairs, labelled.rows)
    return Clips([people[row] for row in labelled.rows], labelled.labels, units)


def imagined_run(recipe: Recipe, clips: Clips) -> LosoRun:
    """The run of a recipe on such clips, with features drawn at random and no folder.

    Raises:
        UserError: LoRA, whose steps are another matter; too few people; unusable prompts or
            backbone.
    """
    if recipe.trains_tower:
        raise UserError("a run with vision_lora cannot be estimated: its tower is not frozen.")
    folds = leave_one_subject_out(clips.people)
    prompts = FoldPrompts(recipe.prompt_groups(), clips.units, clips.labels)
    prompts.check(folds)
    model = build_model(recipe, prompts.groups(final_fold(folds).train))
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator().manual_seed(0)
    features = {
        branch: torch.randn(
            (len(clips.labels), model.config.feature_size(branch)), generator=generator
        )
        for branch in ("holistic", "componential")
    }
    nowhere = Pairs("nowhere", table=None)
    return LosoRun(
        recipe=recipe,
        folder=RunFolder(Path("nowhere")),
        pairs=nowhere,
        labelled=LabelledPairs(list(range(len(clips.labels))), clips.labels, {}),
        folds=folds,
        prompts=prompts,
        models=FoldModels(recipe, prompts, model),
        model=model,
        processor=build_processor(recipe, model, {}),
        features=features,
        inputs=features,
        tower=FrozenTower(model),
        labels=torch.tensor(clips.labels),
        subjects=np.array(["/".join(person) for person in clips.people]),
    )


def training_seconds(run: LosoRun, sets_per_fold: int | None = None) -> float:
    """Wall time of training all folds in one process, by the time of a few stacked steps.

    Args: sets_per_fold: one for each of the recipe's seeds where None; the control called chance
        is one more.
    """
    per_fold = sets_per_fold or len(run.recipe.seeds)
    phases = 2 if run.recipe.gate_fitting == "held_out_subjects" else 1
    steps = sum(run.optimisation.num_steps(len(fold.train)) for fold in run.folds)
    return steps * per_fold * phases * _seconds_per_set(run, _largest_group(run), per_fold)


def _largest_group(run: LosoRun) -> list[Fold]:
    size = group_size_of(run)
    groups = (
        group for alike in run.prompts.variants(run.folds) for group in groups_of(alike, size, 1)
    )
    return max(groups, key=len)


def _seconds_per_set(run: LosoRun, folds: Sequence[Fold], per_fold: int) -> float:
    """One optimiser step of one of the sets that are trained side by side."""
    sets = [run.training_set(fold, seed) for fold in folds for seed in range(per_fold)]
    model = run.model_of(folds[0].train)
    # How many steps there are does not matter to one of them; a short run may have a single one.
    stack = Stack(model, sets, replace(run.optimisation, epochs=1, min_steps=1 + _TIMED_STEPS))
    tokens = len(model.prompts.encoder.tree.tokens)
    with swapped(layers_that_gain(model.clip.text_model, len(sets) * tokens)):
        stack.step()  # the first one also finds memory and kernels
        start = time.perf_counter()
        for _ in range(_TIMED_STEPS):
            float(stack.step().mean())  # a GPU is waited for
    return (time.perf_counter() - start) / _TIMED_STEPS / len(sets)


@torch.inference_mode()
def encoding_seconds(run: LosoRun) -> float:
    """Wall time of encoding both views of all clips, by the time of a few images."""
    model, side = run.model, run.model.config.clip_config.vision_config.image_size
    images = torch.zeros(_TIMED_IMAGES, 3, side, side, device=model.device)
    for _ in range(2):  # the first one also finds memory and kernels
        start = time.perf_counter()
        float(model.encode_images(images).pooled.sum())
        seconds = time.perf_counter() - start
    return seconds / _TIMED_IMAGES * len(model.config.branches) * len(run.labels)


def in_hours(seconds: float) -> str:
    """ "40 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
