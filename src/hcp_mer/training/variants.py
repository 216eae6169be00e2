"""The same run with one thing changed: same clips, folds, seeds and steps, so that it compares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hcp_mer.errors import UserError
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.assembly import build_model
from hcp_mer.training.features import encode_pairs, read_of
from hcp_mer.training.fold_prompts import FoldModels, FoldPrompts
from hcp_mer.training.folds import Fold, final_fold
from hcp_mer.training.groups import forget, sets_of, table_of_folds
from hcp_mer.training.held_out import answer_held_out
from hcp_mer.training.loso import LosoRun, train_sets
from hcp_mer.training.progress import Progress
from hcp_mer.training.snapshot import Snapshots
from hcp_mer.training.tower import FrozenTower

if TYPE_CHECKING:
    import numpy as np
    import pandas
    from accelerate import Accelerator
    from torch import Tensor

_OF_EMBEDDINGS = ["dataset", "subject", "clip_id", "label", "embedding", "seed"]


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
    changed = variant.change(run)
    unfinished = run.folder.unfinished(destination)
    changed = replace(changed, tower=FrozenTower(changed.model, Snapshots(unfinished)))

    def answer_group(folds: list[Fold], progress: Progress) -> dict[str, pandas.DataFrame]:
        return _answers(changed, folds, progress)

    what = variant.name.replace("_", " ")
    table = table_of_folds(changed, destination, what, answer_group, accelerator)
    if table is not None:
        if embeddings:
            beside = destination.removesuffix(".parquet") + ".embeddings.parquet"
            run.folder.save_table(table[_OF_EMBEDDINGS], beside)
        run.folder.save_table(table.drop(columns=["embedding", "fold"]), destination)
        forget(run, destination)
    if accelerator:
        accelerator.wait_for_everyone()  # nobody goes on before the table is there


def _answers(run: LosoRun, folds: list[Fold], progress: Progress) -> dict[str, pandas.DataFrame]:
    """Train folds with equal prompts side by side; what each says of its held-out clips."""
    import pandas

    tower = run.tower_of(folds[0])
    trained = iter(train_sets(run, tower, sets_of(run, folds), progress))
    tables = {}
    for fold in folds:
        answers = [
            answer_held_out(run, fold, next(trained).part, seed) for seed in run.recipe.seeds
        ]
        tables[fold.name] = pandas.concat(
            [a.predictions.assign(embedding=a.embeddings["embedding"]) for a in answers]
        )
    tower.forget()
    return tables


def with_options(run: LosoRun, **options) -> LosoRun:
    """The run with other model options, see HcpMerConfig: ablations and readings."""
    recipe = replace(run.recipe, model={**run.recipe.model, **options})
    return _rebuilt(replace(run, recipe=recipe), run.prompts)


def with_prompts(run: LosoRun, prompts: FoldPrompts) -> LosoRun:
    """The run with other prompt groups."""
    return _rebuilt(run, prompts)


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
    """With a model of its own; features stay where the tower says the same of the same view."""
    groups = prompts.groups(final_fold(run.folds).train)
    model = build_model(run.recipe, groups).to(run.model.device)
    models = FoldModels(run.recipe, prompts, model)
    features = _shared_features(run, model)
    return replace(
        run, prompts=prompts, model=model, models=models, features=features, inputs=features
    )


def _shared_features(run: LosoRun, model: HcpMerModel) -> dict[str, Tensor]:
    """branch → features for `model`, those of the run where there are such; else encoded."""
    own = {read_of(run.model.config, branch): values for branch, values in run.features.items()}
    pooled = {view: values for (view, _), values in own.items()}  # heads cut patches off
    found = {}
    for branch in run.features:
        view, layer = read_of(model.config, branch)
        found[branch] = pooled.get(view) if layer is None else own.get((view, layer))
    if any(values is None for values in found.values()):
        return encode_pairs(model, run.processor, run.pairs, run.labelled.rows, cache=None)
    return found
