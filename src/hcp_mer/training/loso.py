"""The leave-one-subject-out run: frozen features once, folds side by side, predictions pooled."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hcp_mer.data.pairs import LabelledPairs, Pairs, label_pairs
from hcp_mer.files import write_json
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.assembly import backbone_fingerprint, build_model, build_processor
from hcp_mer.training.checkpoint import load_head
from hcp_mer.training.features import encode_pairs, read_pixels
from hcp_mer.training.folds import Fold, fold_seed, groups_of, leave_one_subject_out
from hcp_mer.training.gate import refit_gates
from hcp_mer.training.memory import num_processes_here, sets_that_fit
from hcp_mer.training.progress import Progress
from hcp_mer.training.recipe import Recipe
from hcp_mer.training.run_folder import RunFolder
from hcp_mer.training.snapshot import Snapshots
from hcp_mer.training.stacked import Optimisation, TrainingSet
from hcp_mer.training.tower import FrozenTower, LoraTower, Tower

if TYPE_CHECKING:
    import pandas
    from accelerate import Accelerator

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LosoRun:
    """Everything that a run's stages share; nothing in it was trained.

    Attributes:
        features: branch → (clips, projection_dim) of the frozen tower; inputs: branch → (clips, …)
            that `tower` trains on, the features or, with LoRA, pixel values; labels: (clips,);
            subjects: (clips,) "dataset/subject"; all in the order of `labelled.rows`, which the
            folds index.
    """

    recipe: Recipe
    folder: RunFolder
    pairs: Pairs
    labelled: LabelledPairs
    folds: list[Fold]
    model: HcpMerModel
    processor: HcpMerImageProcessor
    features: dict[str, Tensor]
    inputs: dict[str, Tensor]
    tower: Tower
    labels: Tensor
    subjects: np.ndarray

    @property
    def classes(self) -> tuple[str, ...]:
        return self.recipe.label_task.classes

    @property
    def optimisation(self) -> Optimisation:
        r = self.recipe
        return Optimisation(r.epochs, r.batch_size, r.learning_rate, r.weight_decay, r.min_steps)

    def training_set(self, fold: Fold, seed: int, shuffled: bool = False) -> TrainingSet:
        """A fold's training clips. `shuffled` permutes their labels: the control called chance."""
        labels = self.labels[fold.train]
        if shuffled:
            rng = np.random.default_rng(fold_seed(seed, fold.dataset, fold.subject, "chance"))
            labels = labels[rng.permutation(len(labels))]
        return TrainingSet(
            name=fold.name,
            seed=fold_seed(seed, fold.dataset, fold.subject),
            inputs={branch: values[fold.train] for branch, values in self.inputs.items()},
            labels=labels,
            subjects=self.subjects[fold.train],
        )

    def identities(self, fold: Fold) -> dict[str, list]:
        """dataset, subject, clip_id and label of a fold's held-out clips, as table columns."""
        rows = [self.labelled.rows[index] for index in fold.test]
        clip_ids = self.pairs.column("clip_id")
        return {
            "dataset": [fold.dataset] * len(rows),
            "subject": [fold.subject] * len(rows),
            "clip_id": [clip_ids[row] for row in rows],
            "label": [self.classes[self.labels[index]] for index in fold.test],
        }


def open_run(recipe: Recipe, pairs: Pairs, folder: RunFolder, accelerator: Accelerator) -> LosoRun:
    """Prepare a run: claim its folder, label the pairs, build the model, encode all images once.

    Raises:
        UserError: unusable pairs, recipe, backbone or folder.
    """
    labelled = label_pairs(pairs, recipe.label_task, recipe.scheme)
    people = list(zip(pairs.column("dataset"), pairs.column("subject")))
    people = [people[row] for row in labelled.rows]
    folds = leave_one_subject_out(people)
    model = build_model(recipe).to(accelerator.device)
    processor = build_processor(recipe, model, pairs.settings)
    if recipe.trains_tower:  # its mistakes show before anything is claimed or encoded
        copy.deepcopy(model).add_vision_lora(recipe.vision_lora)
    with accelerator.main_process_first():  # the others find folder and features made
        folder.claim(recipe, pairs.source, _resolved(model, processor, pairs))
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
        model,
        processor,
        features,
        inputs,
        tower,
        labels=torch.tensor(labelled.labels),
        subjects=np.array(["/".join(person) for person in people]),
    )


def _resolved(model: HcpMerModel, processor: HcpMerImageProcessor, pairs: Pairs) -> dict[str, Any]:
    """What the recipe's paths led to: the result depends on it as on the recipe itself."""
    tokens = json.dumps(model.config.prompt_token_ids, sort_keys=True).encode()
    return {
        "dataset_fingerprint": pairs.fingerprint(),
        "backbone_fingerprint": backbone_fingerprint(model),
        "prompt_groups": model.config.prompt_groups,
        "prompt_tokens_fingerprint": hashlib.sha256(tokens).hexdigest()[:16],
        "preprocessing": json.loads(processor.to_json_string()),
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
        run.folder.fix_group_size(lambda: _group_size(run), run.recipe.fold_group)
    accelerator.wait_for_everyone()  # nobody trains before everybody has counted
    size = run.folder.group_size()
    groups = groups_of(run.folds, size, accelerator.num_processes)
    groups = [[fold for fold in group if fold.name in missing] for group in groups]
    groups = [group for group in groups if group]
    groups = groups[accelerator.process_index :: accelerator.num_processes]
    share = [fold for group in groups for fold in group]
    run.folder.take_share(accelerator.process_index, share)
    show = accelerator.is_local_main_process and bool(share)
    total = sum(_fold_steps(run, _sets_of(run, fold)) for fold in share)
    with Progress(total, f"{len(share)} folds", show, accelerator.log) as progress:
        for group in groups:
            _train_group(run, group, progress)
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        run.folder.collect(run.folds, "predictions", "predictions.parquet")
        run.folder.collect(run.folds, "chance", "baselines/chance.parquet")
        task = {"task": run.recipe.task, "classes": run.classes, "dropped": run.labelled.dropped}
        write_json(run.folder.root / "task.json", task)
        run.folder.forget_shares()
        run.folder.forget_snapshots()
    return len(run.folds) - len(unfinished)


def _group_size(run: LosoRun) -> int:
    """How many folds to stack: the recipe's number, or as many as fit into memory."""
    if run.recipe.trains_tower:
        return 1  # towers are trained one after another: a group would only hold back results
    if run.recipe.fold_group != "auto":
        return run.recipe.fold_group
    halves = 2 if run.recipe.gate_fitting == "held_out_subjects" else 1
    sets_per_fold = (len(run.recipe.seeds) + 1) * halves
    return max(1, sets_that_fit(run.model, num_processes_here()) // sets_per_fold)


def _sets_of(run: LosoRun, fold: Fold) -> list[TrainingSet]:
    """What is trained for a fold: one set for each seed, and the control."""
    sets = [run.training_set(fold, seed) for seed in run.recipe.seeds]
    return [*sets, run.training_set(fold, run.recipe.seeds[0], shuffled=True)]


def _fold_steps(run: LosoRun, sets: list[TrainingSet]) -> int:
    """Steps of all sets; the gate's training counts as much again."""
    phases = 2 if run.recipe.gate_fitting == "held_out_subjects" else 1
    return phases * sum(run.optimisation.num_steps(len(fold.labels)) for fold in sets)


def _train_group(run: LosoRun, folds: list[Fold], progress: Progress) -> None:
    """All seeds of some folds and their controls, in one stack."""
    by_fold = [_sets_of(run, fold) for fold in folds]
    states = iter(train_sets(run, [part for sets in by_fold for part in sets], progress))
    for fold in folds:
        own = {seed: next(states) for seed in run.recipe.seeds}
        tables = [predict_held_out(run, fold, state, seed) for seed, state in own.items()]
        chance = predict_held_out(run, fold, next(states), run.recipe.seeds[0])
        run.folder.save_fold(fold, own, {"predictions": _concat(tables), "chance": chance})
    run.tower.forget()


def train_sets(
    run: LosoRun, sets: list[TrainingSet], progress: Progress
) -> list[dict[str, Tensor]]:
    """Train one model per set by the run's recipe. Returns their trained parts."""
    total = _fold_steps(run, sets)
    refits = run.recipe.gate_fitting == "held_out_subjects"
    states = run.tower.train(sets, run.optimisation, progress.stack(total // (1 + refits)))
    if refits:
        on_step = progress.stack(total - total // 2)
        states = refit_gates(run.tower, sets, states, run.optimisation, on_step)
    return states


def train_one_set(run: LosoRun, training_set: TrainingSet, what: str) -> dict[str, Tensor]:
    """As `train_sets`, one model, with a bar of its own."""
    with Progress(_fold_steps(run, [training_set]), what) as progress:
        (state,) = train_sets(run, [training_set], progress)
    return state


@torch.inference_mode()
def predict_held_out(
    run: LosoRun, fold: Fold, state: dict[str, Tensor], seed: int
) -> pandas.DataFrame:
    """Answers for a fold's held-out clips.

    Args: state: the fold's trained part.
    Returns: a table with the columns of predictions.parquet.
    """
    import pandas

    model = run.model
    head = load_head(model, state)
    context = state["prompts.context"].to(model.device)
    held_out = {branch: values[fold.test] for branch, values in run.inputs.items()}
    features = run.tower.features(state, held_out)
    output = head(features, model.encode_prompts(context))
    probabilities = output.logits.softmax(-1).cpu().double().numpy()
    name = np.array(run.classes)
    columns = {**run.identities(fold), "prediction": name[probabilities.argmax(-1)]}
    columns |= {f"prob_{label}": probabilities[:, i] for i, label in enumerate(run.classes)}
    branch_logits = dict(zip(model.config.branches, output.branch_logits))
    for index, branch in enumerate(("holistic", "componential")):
        logits = branch_logits.get(branch)
        columns[f"{branch}_prediction"] = (
            None if logits is None else name[logits.argmax(-1).cpu().numpy()]
        )
        gates = output.gate_weights
        columns[f"gate_{branch}"] = None if gates is None else gates[:, index].cpu().numpy()
    return pandas.DataFrame({**columns, "seed": seed})


def _concat(tables: list[pandas.DataFrame]) -> pandas.DataFrame:
    import pandas

    return pandas.concat(tables, ignore_index=True)
