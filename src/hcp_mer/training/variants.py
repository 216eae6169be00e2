"""The same run with one thing changed: same clips, folds, seeds and steps, so that it compares."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hcp_mer.errors import UserError
from hcp_mer.files import make_folder, read_json, write_json
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.assembly import build_model
from hcp_mer.training.features import encode_pairs
from hcp_mer.training.fold_prompts import FoldModels, FoldPrompts
from hcp_mer.training.folds import Fold, final_fold, groups_of
from hcp_mer.training.held_out import answer_held_out
from hcp_mer.training.loso import LosoRun, fold_steps, group_size_of, train_sets
from hcp_mer.training.progress import Progress
from hcp_mer.training.snapshot import Snapshots
from hcp_mer.training.stacked import TrainingSet
from hcp_mer.training.tower import FrozenTower

if TYPE_CHECKING:
    import numpy as np
    from accelerate import Accelerator


@dataclass(frozen=True)
class Variant:
    """One thing changed. Attributes: `name`, for messages; `change`, run → the other run."""

    name: str
    change: Callable[[LosoRun], LosoRun]


def train_variant(
    variant: Variant,
    run: LosoRun,
    destination: str,
    accelerator: Accelerator | None = None,
    embeddings: bool = False,
) -> None:
    """Train a variant on every fold, for each of the recipe's seeds, and pool its answers.

    Groups of folds that a stopped run had finished are taken from disk.

    Args:
        run: a run whose tower is frozen: a variant shares its features where it can.
        destination: path in the run folder of a table like predictions.parquet, "….parquet"; one
            that is there is kept.
        accelerator: shares the groups out; every process must call this then.
        embeddings: whether the held-out clips' fused features are kept, too, beside the table as
            "….embeddings.parquet".
    Raises:
        UserError: the run's tower is trained (LoRA).
    """
    if run.recipe.trains_tower:
        raise UserError(
            f"{variant.name} shares frozen features with the run, which trains its tower: "
            "set vision_lora.r=0."
        )
    if (run.folder.root / destination).is_file():
        return
    here, processes = 0, 1
    if accelerator:
        here, processes = accelerator.process_index, accelerator.num_processes
    changed = variant.change(run)
    unfinished = run.folder.unfinished(destination)
    changed = replace(changed, tower=FrozenTower(changed.model, Snapshots(unfinished)))
    size = _group_size(changed, unfinished, accelerator)
    alike = changed.prompts.variants(run.folds)
    groups = [group for folds in alike for group in groups_of(folds, size, processes)]
    share = [g for g in groups[here::processes] if not _place(unfinished, g).is_file()]
    sets = [part for group in share for part in _sets_of(changed, group)]
    what = variant.name.replace("_", " ")
    with Progress(fold_steps(changed, sets), what, show=here == 0 and bool(sets)) as progress:
        for group in share:
            _train_group(changed, group, unfinished, progress)
    _wait(accelerator)
    if here == 0:
        _collect(run, groups, unfinished, destination, embeddings)
    _wait(accelerator)  # nobody goes on before the table is there


def _group_size(run: LosoRun, unfinished: Path, accelerator: Accelerator | None) -> int:
    """How many folds to stack: the same for all processes, and for the run that goes on."""
    place = unfinished / "group_size.json"
    if not place.is_file() and (accelerator is None or accelerator.is_main_process):
        make_folder(unfinished)
        write_json(place, group_size_of(run))
    _wait(accelerator)
    return read_json(place)


def _wait(accelerator: Accelerator | None) -> None:
    if accelerator:
        accelerator.wait_for_everyone()


def _sets_of(run: LosoRun, folds: list[Fold]) -> list[TrainingSet]:
    return [run.training_set(fold, seed) for fold in folds for seed in run.recipe.seeds]


def _train_group(run: LosoRun, folds: list[Fold], unfinished: Path, progress: Progress) -> None:
    """Folds with equal prompts, side by side; what they say is written at once."""
    import pandas

    tower = run.tower_of(folds[0])
    trained = iter(train_sets(run, tower, _sets_of(run, folds), progress))
    tables = []
    for fold in folds:
        for seed in run.recipe.seeds:
            answer = answer_held_out(run, fold, next(trained).part, seed)
            embedding = answer.embeddings["embedding"]
            tables.append(answer.predictions.assign(embedding=embedding, fold=fold.name))
    place = _place(unfinished, folds)
    partial = place.with_suffix(".partial")
    pandas.concat(tables, ignore_index=True).to_parquet(partial, index=False)
    partial.replace(place)
    tower.forget()


def _collect(
    run: LosoRun, groups: list[list[Fold]], unfinished: Path, destination: str, embeddings: bool
) -> None:
    """Pool what the groups wrote, in the order of the run's folds."""
    import pandas

    tables = pandas.concat([pandas.read_parquet(_place(unfinished, group)) for group in groups])
    by_fold = dict(iter(tables.groupby("fold")))
    table = pandas.concat([by_fold[fold.name] for fold in run.folds], ignore_index=True)
    if embeddings:
        kept = ["dataset", "subject", "clip_id", "label", "embedding", "seed"]
        beside = destination.removesuffix(".parquet") + ".embeddings.parquet"
        run.folder.save_table(table[kept], beside)
    run.folder.save_table(table.drop(columns=["embedding", "fold"]), destination)
    shutil.rmtree(unfinished)


def _place(unfinished: Path, folds: list[Fold]) -> Path:
    names = "\n".join(fold.name for fold in folds)
    return unfinished / f"{hashlib.sha256(names.encode()).hexdigest()[:16]}.parquet"


def with_options(run: LosoRun, **options) -> LosoRun:
    """The run with other model options, see HcpMerConfig: ablations and readings."""
    recipe = replace(run.recipe, model={**run.recipe.model, **options})
    return _rebuilt(replace(run, recipe=recipe), run.prompts)


def with_prompts(run: LosoRun, prompts: FoldPrompts) -> LosoRun:
    """The run with other prompt groups."""
    return _rebuilt(run, prompts)


def with_views(run: LosoRun, **views: str) -> LosoRun:
    """The run in which a branch is given another branch's view: holistic="componential"."""
    features = {branch: run.features[views.get(branch, branch)] for branch in run.features}
    return replace(run, features=features, inputs=features)


def with_backbone(run: LosoRun, model: HcpMerModel, destination: str) -> LosoRun:
    """The run on another frozen backbone: features are encoded anew.

    Args: destination: as `train_variant` has it; features are kept until that table is written.
    """
    cache = run.folder.unfinished(destination) / "features.safetensors"
    features = encode_pairs(model, run.processor, run.pairs, run.labelled.rows, cache)
    models = FoldModels(run.recipe, run.prompts, model)
    return replace(run, model=model, models=models, features=features, inputs=features)


def with_model(run: LosoRun, model: HcpMerModel) -> LosoRun:
    """The run with one model for all folds, whatever their prompts."""
    return replace(run, model=model, models=OneModel(model))


@dataclass(frozen=True)
class OneModel:
    """In the place of `FoldModels`: everybody's model is the same."""

    model: HcpMerModel

    def of(self, rows: np.ndarray) -> HcpMerModel:
        return self.model


def _rebuilt(run: LosoRun, prompts: FoldPrompts) -> LosoRun:
    """With a model of its own; the features stay, since the backbone and the views do."""
    groups = prompts.groups(final_fold(run.folds).train)
    model = build_model(run.recipe, groups).to(run.model.device)
    models = FoldModels(run.recipe, prompts, model)
    return replace(run, prompts=prompts, model=model, models=models)
