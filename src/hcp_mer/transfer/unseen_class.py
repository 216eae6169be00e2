"""A class that no fold was trained on, told from its texts alone: generalised zero-shot.

Every fold is trained again without any clip of the class and without its prompt group. Asked about
its held-out clips, it answers among all classes: the class's own group, from the prompt file, joins
the others. The gate's W has 2 × 2C weights, and none for a class that training did not have: the
branches count ½ and ½, so that the answer is the group that is most similar (Eq. 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hcp_mer.data.cross_mapping import annotated_units
from hcp_mer.errors import UserError
from hcp_mer.files import make_folder
from hcp_mer.model.losses_hcp_mer import group_similarity
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.assembly import build_model
from hcp_mer.training.fold_prompts import FoldModels, FoldPrompts
from hcp_mer.training.folds import SMALLEST_BATCH, Fold, final_fold
from hcp_mer.training.groups import forget, sets_of, table_of_folds
from hcp_mer.training.loso import LosoRun, train_sets
from hcp_mer.training.progress import Progress
from hcp_mer.training.recipe import FROM_ANNOTATIONS
from hcp_mer.training.reopen import trained_states
from hcp_mer.training.snapshot import Snapshots
from hcp_mer.training.tower import FrozenTower

if TYPE_CHECKING:
    import pandas

FOLDER = "zero_shot"  # in a run folder
SYSTEMS = ("unseen", "untrained", "trained_on_it")
NOT_TRAINED_ON = -1  # as a label it would end any training


@dataclass(frozen=True)
class GroupsWithUnseen:
    """The groups of a fold's training clips, and the unseen class's own in its place."""

    trained: FoldPrompts
    unseen: dict
    position: int

    def groups(self, rows: np.ndarray) -> list[dict]:
        groups = self.trained.groups(rows)
        return [*groups[: self.position], self.unseen, *groups[self.position :]]


@dataclass(frozen=True)
class UnseenClass:
    """A run without one class.

    Attributes: `name`, the class; `run`, trains without it: its labels count the other classes;
    `models`, untrained ones with the groups of all classes, by whoever trains on the same clips.
    """

    name: str
    run: LosoRun
    models: FoldModels


def hold_out_class(run: LosoRun, name: str) -> UnseenClass:
    """The run without a class, in training and among its prompt groups.

    Raises:
        UserError: no such class; its prompts would be counted on its own clips; too few clips are
            left; or the model has a part for each class (contexts), or a tower of its own.
    """
    check_class(run, name)
    position = run.classes.index(name)
    unseen = _written_group(run, position)
    labels = run.labels.clone()
    labels[run.labels > position] -= 1
    labels[run.labels == position] = NOT_TRAINED_ON
    folds = [
        replace(fold, train=fold.train[labels[fold.train].numpy() != NOT_TRAINED_ON])
        for fold in run.folds
    ]
    for fold in folds:
        if len(fold.train) < SMALLEST_BATCH:
            raise UserError(
                f"without {name}, fold {fold.name} has {len(fold.train)} clips to train on; at "
                f"least {SMALLEST_BATCH} are needed."
            )
    others = [group for group in run.prompts.written if group["label"] != name]
    units = annotated_units(run.pairs, run.labelled.rows)
    prompts = FoldPrompts(others, units, labels.tolist())
    prompts.check(folds)
    # A gate fitted on held-out subjects costs a second training, and nobody asks this gate.
    recipe = replace(run.recipe, gate_fitting="joint")
    model = build_model(recipe, prompts.groups(final_fold(folds).train)).to(run.model.device)
    without = replace(
        run,
        recipe=recipe,
        folds=folds,
        prompts=prompts,
        models=FoldModels(recipe, prompts, model),
        model=model,
        labels=labels,
    )
    everything = GroupsWithUnseen(prompts, unseen, position)
    return UnseenClass(name, without, FoldModels(recipe, everything, run.model))


def check_class(run: LosoRun, name: str) -> None:
    """Raise UserError unless a class can be held out; see `hold_out_class`."""
    if name not in run.classes:
        close = difflib.get_close_matches(name, run.classes, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UserError(
            f"class to hold out must be one of {', '.join(run.classes)}, got {name!r}.{hint}"
        )
    if run.recipe.trains_tower:
        raise UserError(
            "an unseen class shares the run's frozen features, and this run trains its tower: "
            "set vision_lora.r=0."
        )
    if run.model.config.context_scope == "per_class":
        raise UserError(
            "with context_scope per_class an unseen class has no context of its own: train with "
            "context_scope shared."
        )


def _written_group(run: LosoRun, position: int) -> dict:
    """The unseen class's group as the prompt file has it, nothing of it counted on clips."""
    written = dict(run.prompts.written[position])
    otherwise = written.pop("otherwise", None)
    if written["action_units"] != FROM_ANNOTATIONS:
        return written
    if otherwise is None:
        raise UserError(
            f"the prompts of {written['label']} are counted on its clips, which an unseen class "
            "does not have: train with a prompt file that has sets for it, or `otherwise`."
        )
    return {**written, "action_units": otherwise}


def answer_unseen(run: LosoRun, name: str) -> dict[str, pandas.DataFrame]:
    """Train every fold without a class, and ask all classes of its held-out clips.

    A class that was asked before is read from disk; a stopped one goes on.

    Returns: tables by SYSTEMS: "unseen", trained without the class; "untrained", zero-shot CLIP
        with all groups; "trained_on_it", the run's own folds. All answer by the same rule, and have
        dataset, subject, clip_id, label, prediction, similarity_<class>… and seed.
    """
    import pandas

    places = {system: run.folder.root / FOLDER / f"{name}.{system}.parquet" for system in SYSTEMS}
    if all(place.is_file() for place in places.values()):
        return {system: pandas.read_parquet(place) for system, place in places.items()}
    unseen = hold_out_class(run, name)
    make_folder(run.folder.root / FOLDER)
    destination = f"{FOLDER}/{name}.unseen.parquet"
    tables = {"unseen": _train_without(unseen, run, destination)}
    tables["untrained"] = pandas.concat(
        [
            answers_from_texts(run, unseen.models.of(fold.train), own, None, seed)
            for own, fold in zip(run.folds, unseen.run.folds)
            for seed in run.recipe.seeds[:1]
        ],
        ignore_index=True,
    )
    tables["trained_on_it"] = pandas.concat(
        [
            answers_from_texts(run, run.model_of(fold.train), fold, state, seed)
            for fold, seed, state in trained_states(run)
        ],
        ignore_index=True,
    )
    for system, table in tables.items():
        run.folder.save_table(table, f"{FOLDER}/{name}.{system}.parquet")
    forget(run, destination)
    return tables


def _train_without(unseen: UnseenClass, run: LosoRun, destination: str) -> pandas.DataFrame:
    import pandas

    snapshots = Snapshots(run.folder.unfinished(destination))
    without = replace(unseen.run, tower=FrozenTower(unseen.run.model, snapshots))
    original = {fold.name: fold for fold in run.folds}

    def answer_group(folds: list[Fold], progress: Progress) -> dict[str, pandas.DataFrame]:
        tower = without.tower_of(folds[0])
        trained = iter(train_sets(without, tower, sets_of(without, folds), progress))
        tables = {}
        for fold in folds:
            model, asked = unseen.models.of(fold.train), original[fold.name]
            tables[fold.name] = pandas.concat(
                [
                    answers_from_texts(run, model, asked, next(trained).part, seed)
                    for seed in run.recipe.seeds
                ]
            )
        tower.forget()
        return tables

    what = f"without {unseen.name}"
    return table_of_folds(without, destination, what, answer_group).drop(columns="fold")


@torch.inference_mode()
def answers_from_texts(
    run: LosoRun, model: HcpMerModel, fold: Fold, part: dict[str, Tensor] | None, seed: int
) -> pandas.DataFrame:
    """What a fold's held-out clips are most similar to, among the groups of `model`.

    Args: part: a trained part, of which contexts and adapters are taken; None: zero-shot CLIP.
    """
    import pandas

    features = {branch: values[fold.test] for branch, values in run.features.items()}
    similarity = similarities(model, features, part).cpu().double().numpy()
    return pandas.DataFrame(
        {
            **run.identities(fold),
            "prediction": np.array(run.classes)[similarity.argmax(-1)],
            **{f"similarity_{name}": similarity[:, i] for i, name in enumerate(run.classes)},
            "seed": seed,
        }
    )


def similarities(
    model: HcpMerModel, features: dict[str, Tensor], part: dict[str, Tensor] | None
) -> Tensor:
    """S of Eq. 1 between clips and the groups of `model`: (clips, num_classes); no gate."""
    head, context = adapted_head(model, part), None
    if part is not None:
        context = part["prompts.context"].to(model.device)
    features = {branch: values.to(model.device) for branch, values in features.items()}
    responses = head(features, model.encode_prompts(context)).branch_responses
    return group_similarity(*responses) if len(responses) == 2 else responses[0]


def adapted_head(model: HcpMerModel, part: dict[str, Tensor] | None):
    """A head in eval mode with the adapters of a trained part, whatever classes that had."""
    head = model.new_head(seed=0)
    prefix = "head.adapters."
    adapters = {k.removeprefix("head."): v for k, v in (part or {}).items() if k.startswith(prefix)}
    head.load_state_dict({**head.state_dict(), **adapters})
    return head.eval()


def classes_to_hold_out(run: LosoRun, asked: Sequence[str]) -> list[str]:
    """The classes that were asked for, each once; "all" is every class that can be held out."""
    names = list(run.classes) if list(asked) == ["all"] else list(dict.fromkeys(asked))
    for name in names:
        check_class(run, name)
        _written_group(run, run.classes.index(name))
    return names
