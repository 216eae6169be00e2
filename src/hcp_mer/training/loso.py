"""The run over all folds: frozen features once, folds side by side, predictions pooled."""

from __future__ import annotations

import copy
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hcp_mer.data.composite import corpora_of, joined
from hcp_mer.data.cross_mapping import annotated_units
from hcp_mer.data.pairs import LabelledPairs, Pairs, label_pairs
from hcp_mer.data.published_counts import count_labels
from hcp_mer.files import write_json
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.assembly import backbone_fingerprint, build_model, build_processor
from hcp_mer.training.features import encode_pairs, read_pixels
from hcp_mer.training.fold_prompts import FoldModels, FoldPrompts, prompts_of
from hcp_mer.training.folds import (
    Fold,
    final_fold,
    groups_of,
    leave_corpora_out,
    leave_one_dataset_out,
    leave_one_subject_out,
)
from hcp_mer.training.gate import refit_gates
from hcp_mer.training.held_out import answer_held_out, learning_curve
from hcp_mer.training.memory import num_processes_here, sets_that_fit
from hcp_mer.training.progress import Progress
from hcp_mer.training.recipe import Recipe
from hcp_mer.training.run_folder import RunFolder
from hcp_mer.training.snapshot import Snapshots
from hcp_mer.training.stacked import LOSSES, Optimisation, TrainingSet
from hcp_mer.training.tower import FrozenTower, LoraTower, Tower

if TYPE_CHECKING:
    import pandas
    from accelerate import Accelerator

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LosoRun:
    """Everything that a run's stages share; nothing in it was trained.

    Attributes:
        prompts, models: the prompt groups that training clips lead to, and the model with them;
            `model` and `tower` have those of `final_fold`.
        features: branch → (clips, projection_dim) of the frozen tower; inputs: branch → (clips, …)
            that `tower` trains on, the features or, with LoRA, pixel values; labels: (clips,);
            subjects: (clips,) "dataset/subject"; all in the order of `labelled.rows`, which the
            folds index.
        test_corpora: the corpora that are tested on and never trained on; none where one subject
            after the other is left out.
        leaves_out: "subject", or "dataset" where one corpus after the other is left out.
    """

    recipe: Recipe
    folder: RunFolder
    pairs: Pairs
    labelled: LabelledPairs
    folds: list[Fold]
    prompts: FoldPrompts
    models: FoldModels
    model: HcpMerModel
    processor: HcpMerImageProcessor
    features: dict[str, Tensor]
    inputs: dict[str, Tensor]
    tower: Tower
    labels: Tensor
    subjects: np.ndarray
    test_corpora: tuple[str, ...] = ()
    leaves_out: str = "subject"

    @property
    def classes(self) -> tuple[str, ...]:
        return self.recipe.label_task.classes

    @property
    def optimisation(self) -> Optimisation:
        r = self.recipe
        return Optimisation(r.epochs, r.batch_size, r.learning_rate, r.weight_decay, r.min_steps)

    def model_of(self, rows: np.ndarray) -> HcpMerModel:
        """The untrained model of whoever trains on the clips `rows`."""
        return self.models.of(rows)

    def tower_of(self, fold: Fold) -> Tower:
        """The tower beside a fold's own prompts."""
        return self.tower.with_model(self.model_of(fold.train))

    def training_set(self, fold: Fold, seed: int, shuffled: bool = False) -> TrainingSet:
        """A fold's training clips. `shuffled` permutes their labels: the control called chance.

        Its prompts stay the fold's: where they were counted, they know the right labels.
        """
        labels = self.labels[fold.train]
        if shuffled:
            rng = np.random.default_rng(fold.seed(seed, "chance"))
            labels = labels[rng.permutation(len(labels))]
        return TrainingSet(
            name=fold.name,
            seed=fold.seed(seed),
            inputs={branch: values[fold.train] for branch, values in self.inputs.items()},
            labels=labels,
            subjects=self.subjects[fold.train],
        )

    def identities(self, fold: Fold) -> dict[str, list]:
        """dataset, subject, clip_id and label of a fold's held-out clips, as table columns.

        Each clip's own subject: in a fold that holds out a whole corpus there are many.
        """
        rows = [self.labelled.rows[index] for index in fold.test]
        ids = {name: self.pairs.column(name) for name in ("dataset", "subject", "clip_id")}
        return {
            **{name: [column[row] for row in rows] for name, column in ids.items()},
            "label": [self.classes[self.labels[index]] for index in fold.test],
        }

    def final_fold(self) -> Fold:
        """What the deployable model learns from: everybody but the people of test corpora."""
        return final_fold(self.folds)

    def protocol(self) -> dict[str, Any]:
        """How the run was tested, and the size of each corpus that its final model trains on."""
        everybody = _people(self.pairs, self.labelled)
        people = [everybody[index] for index in self.final_fold().train]
        return {
            "protocol": "cross_corpus" if self.test_corpora else f"leave_one_{self.leaves_out}_out",
            "training_data": {
                corpus: {
                    "num_clips": sum(name == corpus for name, _ in people),
                    "num_subjects": sum(name == corpus for name, _ in set(people)),
                }
                for corpus in sorted({name for name, _ in people})
            },
        }


def open_run(
    recipe: Recipe,
    pairs: Pairs,
    folder: RunFolder,
    accelerator: Accelerator,
    test_pairs: Pairs | None = None,
    leave_out: str = "subject",
) -> LosoRun:
    """Prepare a run: claim its folder, label the pairs, build the model, encode all images once.

    Args: test_pairs: corpora to test on, with a model trained on `pairs`; without them one subject
        of `pairs` after the other is left out; leave_out: "dataset" leaves one corpus out instead.
    Raises:
        UserError: unusable pairs, recipe, backbone or folder.
    """
    sources, test_corpora = {"dataset": pairs.sources}, ()
    if test_pairs is not None:
        sources["test_dataset"] = test_pairs.sources
        test_corpora = corpora_of(pairs, test_pairs)
        pairs = joined([pairs, test_pairs])
    labelled = label_pairs(pairs, recipe.label_task, recipe.scheme)
    people = _people(pairs, labelled)
    words = [recipe.label_task.classes[label] for label in labelled.labels]
    if test_corpora:
        folds = leave_corpora_out(people, test_corpora, words, recipe.label_task.classes)
    elif leave_out == "dataset":
        folds = leave_one_dataset_out(people, words, recipe.label_task.classes)
    else:
        folds = leave_one_subject_out(people)
    units = annotated_units(pairs, labelled.rows)
    prompts = FoldPrompts(recipe.prompt_groups(), units, labelled.labels)
    for line in prompts.check(folds):
        if accelerator.is_main_process:
            logger.warning(line)
    model = build_model(recipe, prompts.groups(final_fold(folds).train)).to(accelerator.device)
    models = FoldModels(recipe, prompts, model)
    processor = build_processor(recipe, model, pairs.settings)
    if recipe.trains_tower:  # its mistakes show before anything is claimed or encoded
        copy.deepcopy(model).add_vision_lora(recipe.vision_lora)
    with accelerator.main_process_first():  # the others find folder and features made
        resolved = {**_resolved(model, processor, pairs), **models.resolved(folds)}
        if test_corpora:  # the same pairs can be shared out otherwise, or leave one subject out
            resolved["test_corpora"] = list(test_corpora)
        if leave_out == "dataset":
            resolved["protocol"] = "leave_one_dataset_out"
        folder.claim(recipe, sources, resolved)
        cache = folder.root / "features.safetensors"
        features = encode_pairs(model, processor, pairs, labelled.rows, cache)
    inputs, tower = features, FrozenTower(model, Snapshots(folder.snapshots()))
    if recipe.trains_tower:
        inputs = read_pixels(model, processor, pairs, labelled.rows)
        tower = LoraTower(model, recipe.vision_lora)
    return LosoRun(
        recipe,
        folder,
        pairs,
        labelled,
        folds,
        prompts,
        models,
        model,
        processor,
        features,
        inputs,
        tower,
        labels=torch.tensor(labelled.labels),
        subjects=np.array(["/".join(person) for person in people]),
        test_corpora=test_corpora,
        leaves_out=leave_out,
    )


def _people(pairs: Pairs, labelled: LabelledPairs) -> list[tuple[str, str]]:
    """(dataset, subject) of each labelled clip."""
    people = list(zip(pairs.column("dataset"), pairs.column("subject")))
    return [people[row] for row in labelled.rows]


def _resolved(model: HcpMerModel, processor: HcpMerImageProcessor, pairs: Pairs) -> dict[str, Any]:
    """What the recipe's paths led to: the result depends on it as on the recipe itself.

    And how faces were found, if that is known of all clips.
    """
    face = pairs.settings.get("face")
    return {
        "dataset_fingerprint": pairs.fingerprint(),
        "backbone_fingerprint": backbone_fingerprint(model),
        "preprocessing": json.loads(processor.to_json_string()),
        **({"face": face} if face else {}),
    }


def train_folds(run: LosoRun, accelerator: Accelerator) -> int:
    """Train every fold that has no result yet, shared out over the processes.

    Returns: how many folds had a result already.
    Raises:
        UserError: a loss that is not finite, or a fold whose process ended without a result.
    """
    unfinished = [fold for fold in run.folds if not run.folder.is_finished(fold)]
    missing = {fold.name for fold in unfinished}
    left = run.folder.left_behind(unfinished) if accelerator.is_main_process else None
    if left:
        logger.warning(f"an earlier run ended without {left}. These folds are trained now.")
    if accelerator.is_main_process:
        run.folder.forget_shares()
        run.folder.fix_group_size(lambda: group_size_of(run), run.recipe.fold_group)
    accelerator.wait_for_everyone()  # nobody trains before everybody has counted
    size = run.folder.group_size()
    alike = run.prompts.variants(run.folds)  # in a stack all folds have the same prompts
    groups = [g for folds in alike for g in groups_of(folds, size, accelerator.num_processes)]
    groups = [[fold for fold in group if fold.name in missing] for group in groups]
    groups = [group for group in groups if group]
    groups = groups[accelerator.process_index :: accelerator.num_processes]
    share = [fold for group in groups for fold in group]
    run.folder.take_share(accelerator.process_index, share)
    show = accelerator.is_local_main_process and bool(share)
    total = sum(fold_steps(run, _sets_of(run, fold)) for fold in share)
    with Progress(total, f"{len(share)} folds", show, accelerator.log) as progress:
        for group in groups:
            _train_group(run, group, progress)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run.folder.collect(run.folds, "predictions", "predictions.parquet")
        run.folder.collect(run.folds, "chance", "baselines/chance.parquet")
        run.folder.collect(run.folds, "embeddings", "embeddings.parquet")
        run.folder.collect(run.folds, "learning_curve", "learning_curves.parquet")
        counts = count_labels(run.pairs, run.labelled, run.recipe.label_task, run.recipe.scheme)
        task = {"task": run.recipe.task, "classes": run.classes, "dropped": run.labelled.dropped}
        task["label_counts"] = [str(count) for count in counts]
        write_json(run.folder.root / "task.json", {**task, **run.protocol()})
        run.folder.save_cross_mapping(run.prompts.overview(run.folds))
        run.folder.forget_shares()
        run.folder.forget_snapshots()
    return len(run.folds) - len(unfinished)


def group_size_of(run: LosoRun) -> int:
    """How many folds to stack: the recipe's number, or as many as fit into memory."""
    if run.recipe.trains_tower:
        return 1  # towers are trained one after another: a group would only hold back results
    if run.recipe.fold_group != "auto":
        return run.recipe.fold_group
    halves = 2 if run.recipe.gate_fitting == "held_out_subjects" else 1
    sets_per_fold = (len(run.recipe.seeds) + 1) * halves
    alike = run.prompts.variants(run.folds)
    models = [run.model_of(folds[0].train) for folds in alike]
    fitting = min(sets_that_fit(model, num_processes_here()) for model in models)
    return max(1, fitting // sets_per_fold)


def _sets_of(run: LosoRun, fold: Fold) -> list[TrainingSet]:
    """What is trained for a fold: one set for each seed, and the control."""
    sets = [run.training_set(fold, seed) for seed in run.recipe.seeds]
    return [*sets, run.training_set(fold, run.recipe.seeds[0], shuffled=True)]


def fold_steps(run: LosoRun, sets: list[TrainingSet]) -> int:
    """Steps of all sets; the gate's training counts as much again."""
    phases = 2 if run.recipe.gate_fitting == "held_out_subjects" else 1
    return phases * sum(run.optimisation.num_steps(len(fold.labels)) for fold in sets)


def _train_group(run: LosoRun, folds: list[Fold], progress: Progress) -> None:
    """All seeds of some folds with equal prompts and their controls, in one stack."""
    tower = run.tower_of(folds[0])
    sets = [part for fold in folds for part in _sets_of(run, fold)]
    trained = iter(train_sets(run, tower, sets, progress))
    for fold in folds:
        own = {seed: next(trained) for seed in run.recipe.seeds}
        answers = [answer_held_out(run, fold, t.part, seed) for seed, t in own.items()]
        chance = answer_held_out(run, fold, next(trained).part, run.recipe.seeds[0])
        tables = {
            "predictions": _concat([answer.predictions for answer in answers]),
            "embeddings": _concat([answer.embeddings for answer in answers]),
            "chance": chance.predictions,
            "learning_curve": _concat(
                [learning_curve(run, fold, t.losses, seed) for seed, t in own.items()]
            ),
        }
        parts = {seed: t.part for seed, t in own.items()}
        run.folder.save_fold(fold, parts, tables, prompts_of(tower.model))
    tower.forget()


class Trained(NamedTuple):
    """What training made of one set: its trained part, and its loss at each step (steps,)."""

    part: dict[str, Tensor]
    losses: Tensor


def train_sets(
    run: LosoRun, tower: Tower, sets: list[TrainingSet], progress: Progress
) -> list[Trained]:
    """Train one model per set by the run's recipe.

    A fold's prompts hold for all of it: where the gate is fitted on halves of the training
    subjects, sets are not counted again in each half.
    """
    total = fold_steps(run, sets)
    refits = run.recipe.gate_fitting == "held_out_subjects"
    states = tower.train(sets, run.optimisation, progress.stack(total // (1 + refits)))
    if refits:
        on_step = progress.stack(total - total // 2)
        states = refit_gates(tower, sets, states, run.optimisation, on_step)
    return [Trained({k: v for k, v in s.items() if k != LOSSES}, s[LOSSES]) for s in states]


def train_one_set(run: LosoRun, training_set: TrainingSet, what: str) -> dict[str, Tensor]:
    """As `train_sets`, one model with the prompts of `final_fold`, with a bar of its own."""
    with Progress(fold_steps(run, [training_set]), what) as progress:
        (trained,) = train_sets(run, run.tower, [training_set], progress)
    return trained.part


def _concat(tables: list[pandas.DataFrame]) -> pandas.DataFrame:
    import pandas

    return pandas.concat(tables, ignore_index=True)
