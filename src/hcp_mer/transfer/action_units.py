"""Action units told from text: is the flow of a clip near the words of what its face shows?

No action unit was a target of training: the folds learn classes. (Their prompts name sets of units,
and where these are counted, they come from the annotation of training clips.) Similarities are
cosines between the flow's feature and the text of one main action unit.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from hcp_mer.data.action_units import action_unit_number
from hcp_mer.data.cross_mapping import annotated_units
from hcp_mer.errors import UserError
from hcp_mer.metrics.over_subjects import (
    auc,
    auc_interval_over_subjects,
    interval_over_subjects,
)
from hcp_mer.model.action_units_hcp_mer import MAIN_ACTION_UNITS, action_unit_name
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.checkpoint import apply_trained_part
from hcp_mer.training.loso import LosoRun
from hcp_mer.training.reopen import trained_states

if TYPE_CHECKING:
    import pandas

ZERO_SHOT, TRAINED = "zero_shot", "trained_on_classes"
LEAST_CLIPS = 5  # that show a unit, and as many that do not: fewer say nothing
LEAST_SUBJECTS = 3  # so that every fold's training clips have the unit, whoever is left out


@dataclass(frozen=True)
class Annotation:
    """The action units of a run's annotated clips.

    Attributes: `rows`, indices of labelled clips with any unit; `shown`, (rows, units) bool, for
    the main action units; `subjects`, of these clips, "dataset/subject".
    """

    rows: NDArray[np.int64]
    shown: NDArray[np.bool_]
    subjects: NDArray
    without_text: tuple[int, ...]

    def scored(self) -> list[int]:
        """Columns of `shown` with enough clips on either side."""
        return [unit for unit in range(self.shown.shape[1]) if not self.too_few(unit)]

    def too_few(self, unit: int) -> str | None:
        """Why a unit is not scored, in words, or None."""
        shown = self.shown[:, unit]
        people = len(set(self.subjects[shown]))
        if min(shown.sum(), (~shown).sum()) >= LEAST_CLIPS and people >= LEAST_SUBJECTS:
            return None
        return f"{shown.sum()} of {len(shown)} clips, {people} subject{'s' * (people != 1)}"


def read_annotation(run: LosoRun) -> Annotation:
    """The annotation of a run's labelled clips.

    Raises:
        UserError: no clip has an action unit.
    """
    units = annotated_units(run.pairs, run.labelled.rows)
    numbers = [{action_unit_number(unit) for unit in own} for own in units]
    rows = np.array([row for row, own in enumerate(numbers) if own], dtype=int)
    if not len(rows):
        raise UserError(
            f"no clip of {run.pairs.source} has action units: give pairs with that column "
            "(SMIC's annotation has none)."
        )
    shown = [[unit in numbers[row] for unit in MAIN_ACTION_UNITS] for row in rows]
    others = tuple(sorted(set().union(*numbers) - set(MAIN_ACTION_UNITS)))
    return Annotation(rows, np.array(shown), run.subjects[rows], others)


def score_action_units(run: LosoRun) -> tuple[pandas.DataFrame, dict[str, Any]]:
    """Every unit with enough clips, zero-shot and by the folds' models; nothing is trained.

    Returns: a table with a row for each system, seed, held-out clip and unit: dataset, subject,
        clip_id, seed, system, action_unit, shown, similarity, and the threshold that the fold's
        training clips chose by F1; and the scores, JSON.
    Raises:
        UserError: no action units, or a model without the componential branch.
    """
    import pandas

    if "componential" not in run.model.config.branches:
        raise UserError("action units are told by the componential branch, which this run lacks.")
    annotation = read_annotation(run)
    tables = [
        _held_out_table(run, annotation, *asked)
        for asked in _similarities(run, annotation)
        if len(asked[1])
    ]
    table = pandas.concat(tables, ignore_index=True)
    return table, _scores(table, annotation)


@torch.inference_mode()
def _similarities(run: LosoRun, annotation: Annotation) -> Iterator[tuple]:
    """Per fold, seed and system: its rows among the annotated clips, and all their similarities.

    Yields (system, held-out rows, training rows, cosines (annotated clips, units), seed).
    """
    rows = annotation.rows
    plain = _cosines(run.features["componential"][rows], run.model, None)
    for fold, seed, part in trained_states(run):
        held_out = np.flatnonzero(np.isin(rows, fold.test))
        training = np.flatnonzero(np.isin(rows, fold.train))
        if seed == run.recipe.seeds[0]:
            yield ZERO_SHOT, held_out, training, plain, seed
        tower = run.tower_of(fold)
        inputs = {branch: values[rows] for branch, values in run.inputs.items()}
        features = tower.features(part, inputs)["componential"]
        model = _with_part(tower.model, part, run.recipe.vision_lora)
        yield TRAINED, held_out, training, _cosines(features, model, part), seed


def _with_part(model: HcpMerModel, part: dict[str, Tensor], vision_lora: dict) -> HcpMerModel:
    """A model with a trained part; a backbone that nobody trained is shared, not copied."""
    shared = {} if vision_lora else {id(model.clip): model.clip}
    other = copy.deepcopy(model, shared)
    apply_trained_part(other, part, vision_lora or None)
    return other.eval()


def _cosines(features: Tensor, model: HcpMerModel, part: dict | None) -> NDArray:
    """(clips, units): the flow's feature, adapted where there is a part, and each unit's text."""
    features = features.to(model.device)
    if part is not None and model.config.use_adapter:
        features = model.head.adapters["componential"](features)
    features = features[:, : model.config.clip_config.projection_dim]
    texts = F.normalize(model.encode_action_units(), dim=-1)
    return (F.normalize(features, dim=-1) @ texts.T).cpu().double().numpy()


def _held_out_table(
    run: LosoRun,
    annotation: Annotation,
    system: str,
    held_out: NDArray,
    training: NDArray,
    cosines: NDArray,
    seed: int,
) -> pandas.DataFrame:
    import pandas

    names = ("dataset", "subject", "clip_id")
    columns = {name: run.pairs.column(name) for name in names}
    pair_rows = [run.labelled.rows[row] for row in annotation.rows[held_out]]
    ids = {name: [column[row] for row in pair_rows] for name, column in columns.items()}
    parts = []
    for unit in annotation.scored():
        shown = annotation.shown[:, unit]
        threshold = best_threshold(cosines[training, unit], shown[training])
        own = {"seed": seed, "system": system, "action_unit": MAIN_ACTION_UNITS[unit]}
        values = {"shown": shown[held_out], "similarity": cosines[held_out, unit]}
        parts.append(pandas.DataFrame({**ids, **own, **values, "threshold": threshold}))
    return pandas.concat(parts, ignore_index=True) if parts else pandas.DataFrame()


def best_threshold(scores: NDArray, positive: NDArray) -> float:
    """The threshold with the highest F1 on these clips; of several, the highest threshold."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, thresholds = precision_recall_curve(positive, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = f1[:-1].max()
    return float(thresholds[np.flatnonzero(f1[:-1] == best)[-1]])


def _scores(table: pandas.DataFrame, annotation: Annotation) -> dict[str, Any]:
    units = []
    for column in annotation.scored():
        number = MAIN_ACTION_UNITS[column]
        shown = annotation.shown[:, column]
        share = float(shown.mean())
        rows = table[table["action_unit"] == number]
        units.append(
            {
                "action_unit": number,
                "name": action_unit_name(number),
                "num_clips": int(shown.sum()),
                "num_subjects": len(set(annotation.subjects[shown])),
                "f1_of_always_yes": 2 * share / (1 + share),
                **{system: _score(own) for system, own in rows.groupby("system")},
            }
        )
    few = {
        MAIN_ACTION_UNITS[unit]: annotation.too_few(unit)
        for unit in range(len(MAIN_ACTION_UNITS))
        if annotation.shown[:, unit].any() and annotation.too_few(unit)
    }
    return {
        "num_clips": len(annotation.rows),
        "units": units,
        "mean": {
            system: {k: float(np.mean([unit[system][k] for unit in units])) for k in ("auc", "f1")}
            for system in (ZERO_SHOT, TRAINED)
            if units
        },
        "too_few": {str(number): reason for number, reason in few.items()},
        "without_text": list(annotation.without_text),
    }


def _score(table: pandas.DataFrame) -> dict[str, Any]:
    """AUC and F1 of one unit and system: means over seeds, with intervals over subjects."""
    who = table[["dataset", "subject"]].astype(str).agg("/".join, axis=1)
    table = table.assign(who=who, said=table["similarity"] >= table["threshold"])
    seeds = [own for _, own in table.sort_values("who").groupby("seed")]
    ranked = [[own[name].to_numpy() for own in seeds] for name in ("similarity", "shown", "who")]
    counts = np.stack([_counts(own) for own in seeds])
    return {
        "auc": float(np.mean([auc(s, p) for s, p in zip(*ranked[:2])])),
        "auc_interval_95": _listed(auc_interval_over_subjects(*ranked)),
        "f1": float(_f1(counts.sum(axis=1)).mean()),
        "f1_interval_95": _listed(interval_over_subjects(counts, _f1)),
    }


def _counts(table: pandas.DataFrame) -> NDArray:
    """(num_subjects, 2): hits, and clips that are said to show the unit plus those that do."""
    hits = (table["said"] & table["shown"]).groupby(table["who"]).sum()
    total = (table["said"].astype(int) + table["shown"]).groupby(table["who"]).sum()
    return np.stack([hits.to_numpy(), total.to_numpy()], axis=-1)


def _f1(sums: NDArray) -> NDArray:
    undefined = np.full(sums.shape[:-1], np.nan)
    return np.divide(2 * sums[..., 0], sums[..., 1], out=undefined, where=sums[..., 1] > 0)


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return interval and list(interval)
