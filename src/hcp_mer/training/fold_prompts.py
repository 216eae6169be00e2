"""Which prompt groups a fold has: the recipe's, or sets counted on the fold's training clips.

Whoever asks says which clips it trains on, and counting sees the annotation of these alone: a
held-out subject cannot reach its fold's prompts. Most folds come to the same groups, and groups
that are equal share one model; fixed prompts are the case in which all do.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections import Counter
from typing import Any

import numpy as np

from hcp_mer.data.cross_mapping import CrossMapping, cross_mapping, frequent_sets
from hcp_mer.errors import UserError
from hcp_mer.model.action_units_hcp_mer import MAIN_ACTION_UNITS
from hcp_mer.model.head_hcp_mer import HcpMerHead
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.model.prompts_hcp_mer import HcpPromptGroups, tokenize_prompt_groups
from hcp_mer.training.assembly import load_tokenizer
from hcp_mer.training.checkpoint import PROMPT_FIELDS
from hcp_mer.training.folds import Fold, final_fold
from hcp_mer.training.recipe import FROM_ANNOTATIONS, Recipe


class FoldPrompts:
    """The prompt groups that training clips lead to.

    Args:
        written: groups as `Recipe.prompt_groups` returns them.
        action_units: of every labelled clip, with or without sides; labels: class indices.
    """

    def __init__(self, written: list[dict], action_units: list[tuple[str, ...]], labels: list[int]):
        self.written = written
        self.classes = tuple(group["label"] for group in written)
        self.action_units, self.labels = action_units, labels
        self._counted: dict[bytes, CrossMapping] = {}

    def groups(self, rows: np.ndarray) -> list[dict]:
        """The groups of whoever trains on the clips `rows`, in the order of the classes.

        Raises:
            UserError: a class has no annotated clip among them, and no `otherwise`.
        """
        mapping = self._count(rows)
        return [_resolved(group, mapping) for group in self.written]

    def check(self, folds: list[Fold]) -> list[str]:
        """See that every fold has its groups.

        Returns: a line for each class whose sets are those under `otherwise`, and in which folds.
        Raises:
            UserError: a class has neither in some fold; names both.
        """
        lines = []
        for group in self.written:
            name = group["label"]
            bare = [fold.name for fold in folds if not self._is_counted(group, fold)]
            if group["action_units"] != FROM_ANNOTATIONS or not bare:
                continue
            where = bare[0] + (f" and {len(bare) - 1} more" if len(bare) > 1 else "")
            why = f"no training clip of class {name} has action units in fold {where}"
            if not group.get("otherwise"):
                raise UserError(
                    f"{why}, so its prompts cannot be counted. Annotate some of its clips, or give "
                    f"prompts in a file that has sets for it, beside {FROM_ANNOTATIONS} or in its "
                    "place: hub_configs/prompts/facs-7class.yaml shows both."
                )
            lines.append(f"{why}: it gets the sets under `otherwise`, {group['otherwise']}.")
        return lines

    def variants(self, folds: list[Fold]) -> list[list[Fold]]:
        """Folds put together by equal groups: only such folds may be stacked."""
        alike: dict[str, list[Fold]] = {}
        for fold in folds:
            alike.setdefault(_key(self.groups(fold.train)), []).append(fold)
        return list(alike.values())

    def overview(self, folds: list[Fold]) -> dict[str, Any] | None:
        """What the report shows of the cross mapping, JSON; None for clips without annotation.

        Counts are over all labelled clips: they describe the data, and reach no fold.
        """
        mapping = self._count(np.arange(len(self.labels)))
        if not any(mapping.units.values()):
            return None
        by_fold = [self.groups(fold.train) for fold in folds]
        return {
            "num_folds": len(folds),
            "classes": [
                {
                    "label": group["label"],
                    "num_folds_counted": sum(self._is_counted(group, fold) for fold in folds),
                    "num_clips": mapping.num_clips(group["label"]),
                    "num_combinations": len(mapping.combinations[group["label"]]),
                    "action_units": dict(sorted(mapping.units[group["label"]].items())),
                    "sets": _how_often([groups[index]["action_units"] for groups in by_fold]),
                }
                for index, group in enumerate(self.written)
            ],
        }

    def _is_counted(self, group: dict, fold: Fold) -> bool:
        """Whether a group's sets are those of the fold's training clips."""
        asked = group["action_units"] == FROM_ANNOTATIONS
        return asked and bool(frequent_sets(self._count(fold.train), group["label"]))

    def _count(self, rows: np.ndarray) -> CrossMapping:
        """The cross mapping of some clips; nothing of any other clip is read."""
        key = rows.tobytes()
        if key not in self._counted:
            units = [self.action_units[row] for row in rows]
            labels = [self.labels[row] for row in rows]
            self._counted[key] = cross_mapping(units, labels, self.classes)
        return self._counted[key]


class FoldModels:
    """Untrained models by prompt groups; there is one backbone in memory, and all of them share it.

    Args: first: a model of the recipe, with any groups.
    """

    def __init__(self, recipe: Recipe, prompts: FoldPrompts, first: HcpMerModel):
        self._recipe, self._prompts, self._first = recipe, prompts, first
        self._models = {_key(first.config.prompt_groups): first}

    def of(self, rows: np.ndarray) -> HcpMerModel:
        """The model of whoever trains on the clips `rows`."""
        groups = self._prompts.groups(rows)
        key = _key(groups)
        if key not in self._models:
            tokenizer = load_tokenizer(self._recipe)
            self._models[key] = with_prompt_groups(self._first, groups, tokenizer)
        return self._models[key]

    def resolved(self, folds: list[Fold]) -> dict[str, Any]:
        """Of a run's identity: the groups that occur; by hash, which fold has which tokens."""
        everyone = [*folds, final_fold(folds)]
        prompts = {fold.name: prompts_of(self.of(fold.train)) for fold in everyone}
        occurring = {_key(own["prompt_groups"]): own["prompt_groups"] for own in prompts.values()}
        content = json.dumps(prompts, sort_keys=True).encode()
        return {
            "prompt_groups": list(occurring.values()),
            "prompts_of_folds_fingerprint": hashlib.sha256(content).hexdigest()[:16],
        }


def prompts_of(model: HcpMerModel) -> dict[str, Any]:
    """The entries of a model's config that differ from fold to fold where sets are counted."""
    return {name: getattr(model.config, name) for name in PROMPT_FIELDS}


def with_prompt_groups(model: HcpMerModel, groups: list[dict], tokenizer) -> HcpMerModel:
    """A model with other groups for the same classes; its backbone is that of `model`, no copy."""
    config = copy.deepcopy(model.config)
    config.prompt_groups = groups
    config.prompt_token_ids = tokenize_prompt_groups(
        tokenizer, groups, config.category_text, config.context_text, config.au_text
    )
    other = copy.deepcopy(model, {id(model.clip): model.clip, id(model.config): config})
    # No weight has a size that depends on the groups: only which words stand where is new.
    for name, part in (("prompts", HcpPromptGroups(config)), ("head", HcpMerHead(config))):
        part.load_state_dict(getattr(model, name).state_dict())
        setattr(other, name, part.to(model.device, model.dtype).train(model.training))
    return other


def without_counts(written: list[dict]) -> list[dict]:
    """Stand-ins for groups before any pair is read, as the doctor needs them.

    A class whose sets are to be counted has those under `otherwise`, or else every main action
    unit alone, which tells it from no other class.
    """
    nothing = cross_mapping([], [], [group["label"] for group in written])
    bare = [[unit] for unit in MAIN_ACTION_UNITS]
    return [
        _resolved({**group, "otherwise": group.get("otherwise") or bare}, nothing)
        for group in written
    ]


def _resolved(written: dict, mapping: CrossMapping) -> dict:
    """One group with its sets; {"label", "emotion", "action_units"} as the model takes it."""
    name, sets = written["label"], written["action_units"]
    if sets == FROM_ANNOTATIONS:  # in one order, so that folds whose counts differ are still alike
        sets = sorted(frequent_sets(mapping, name)) or written.get("otherwise")
    if not sets:
        raise UserError(f"no training clip of class {name} has action units to count.")
    return {"label": name, "emotion": written["emotion"], "action_units": sets}


def _key(groups: list[dict]) -> str:
    return json.dumps(groups, sort_keys=True)


def _how_often(sets_of_folds: list[list[list[int]]]) -> list[dict[str, Any]]:
    """Each set with the number of folds that have it, the most common first."""
    counts = Counter(tuple(units) for sets in sets_of_folds for units in sets)
    return [{"action_units": list(units), "num_folds": n} for units, n in counts.most_common()]
