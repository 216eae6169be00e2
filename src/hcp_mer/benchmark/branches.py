"""Is fusion at least as good as the better of its two branches?

Three corpora of procedural clips, in which the face at rest, the motion, or both tell the class
(`branch_clips`); on each the model in full, either branch alone and some readings of the equations
are trained with one subject left out after the other, all on the same clips, folds and seeds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from hcp_mer.benchmark.branch_clips import KINDS, pairs_of, plan_clips
from hcp_mer.benchmark.timing import machine
from hcp_mer.errors import UserError
from hcp_mer.training.loso import LosoRun, open_run
from hcp_mer.training.recipe import GATE_FITTINGS, Recipe, load_recipe
from hcp_mer.training.variants import Variant, train_variant, with_options

if TYPE_CHECKING:
    import pandas
    from numpy.typing import NDArray

FULL, HOLISTIC, COMPONENTIAL = "full", "holistic alone", "componential alone"
FLOW_IN_BOTH = "flow in both"
SINGLE = (HOLISTIC, COMPONENTIAL)
BRANCHES = ("holistic", "componential")


def run_branches(
    recipe: Recipe | str | Path,
    num_subjects: int = 16,
    clips_per_subject: int = 12,
    kinds: Iterable[str] = tuple(KINDS),
    readings: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Train full model, single branches and readings on each kind of clips, and compare.

    Args:
        recipe: what is trained, a Recipe or the path of one; nothing is written beside it.
        readings: the gate's other fitting, the other consistency loss, and none, besides.
        seed: of people and clips; the recipe has those of the training.

    Returns: "machine"; "settings"; "kinds", per kind {"num_clips", "chance" (UF1 of guessing),
        "better" (which branch alone has the higher UF1 in this very table, so that the comparison
        is a little harder on the full model than on a branch that was named before), "variants",
        "verdict" ("at least as good" or "worse"), "sentence"}. A variant is {"name", "uf1",
        "interval" (95 %, over subjects), "difference" (its UF1 minus that of the better branch;
        None for this), "difference_interval", "gates" (branch → mean weight α_h, β_c), "within"
        (branch → UF1 of its answers inside the variant)}; the last two are empty without a gate.
    Raises:
        UserError: an unusable recipe, an unknown kind, too few subjects or clips.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    _check(recipe)
    sizes = (num_subjects, clips_per_subject, seed)
    plans = {kind: plan_clips(kind, recipe.label_task, *sizes) for kind in kinds}
    cv2.setNumThreads(1)
    tables = {kind: _tables(recipe, kind, clips, readings) for kind, clips in plans.items()}
    return {
        "machine": machine(),
        "settings": {
            "subjects": num_subjects,
            "clips_per_subject": clips_per_subject,
            "seed": seed,
            "recipe": recipe.to_dict(),
        },
        "kinds": {kind: compare(of, recipe.label_task.classes) for kind, of in tables.items()},
    }


def changes_of(recipe: Recipe, readings: bool = True) -> dict[str, Callable[[LosoRun], LosoRun]]:
    """Name → what makes the variant of a run. Readings that the recipe has already are left out."""
    changes: dict[str, Callable[[LosoRun], LosoRun]] = {
        FULL: lambda run: run,
        HOLISTIC: lambda run: with_options(run, use_componential=False),
        COMPONENTIAL: lambda run: with_options(run, use_holistic=False),
        FLOW_IN_BOTH: lambda run: with_options(run, holistic_input="flow"),
    }
    if not readings:
        return changes
    (other_fitting,) = set(GATE_FITTINGS) - {recipe.gate_fitting}
    changes[f"gate {other_fitting}".replace("_", " ")] = lambda run: replace(
        run, recipe=replace(run.recipe, gate_fitting=other_fitting)
    )
    if recipe.model.get("use_consistency", True):
        present = recipe.model.get("consistency_reading", "symmetric_kl")
        other = "symmetric_kl" if present == "mutual" else "mutual"
        changes[f"consistency {other}".replace("_", " ")] = lambda run: with_options(
            run, consistency_reading=other
        )
        changes["no consistency"] = lambda run: with_options(run, use_consistency=False)
    else:
        changes["with consistency"] = lambda run: with_options(run, use_consistency=True)
    return changes


def compare(tables: dict[str, pandas.DataFrame], classes: tuple[str, ...]) -> dict[str, Any]:
    """One kind's entry of `run_branches`'s result, from each variant's held-out answers."""
    from hcp_mer.metrics.intervals import (
        bootstrap_difference_over_subjects,
        bootstrap_over_subjects,
    )
    from hcp_mer.metrics.mer.scores import uf1
    from hcp_mer.reporting.scores import subject_confusions

    def pooled(confusions: NDArray) -> float:
        return float(uf1(confusions.sum(axis=1)).mean())

    confusions = {name: subject_confusions(table, classes) for name, table in tables.items()}
    scores = {name: pooled(of) for name, of in confusions.items()}
    better = max(SINGLE, key=scores.get)
    variants = []
    for name, table in tables.items():
        beside = None if name == better else confusions[better]
        gated = name not in SINGLE
        variants.append(
            {
                "name": name,
                "uf1": scores[name],
                "interval": _listed(bootstrap_over_subjects(confusions[name], uf1)),
                "difference": None if beside is None else scores[name] - scores[better],
                "difference_interval": None
                if beside is None
                else _listed(bootstrap_difference_over_subjects(confusions[name], beside, uf1)),
                "gates": {b: float(table[f"gate_{b}"].mean()) for b in BRANCHES if gated},
                "within": {
                    b: pooled(subject_confusions(table, classes, f"{b}_prediction"))
                    for b in BRANCHES
                    if gated
                },
            }
        )
    entry = {
        "num_clips": len(tables[FULL][["subject", "clip_id"]].drop_duplicates()),
        "chance": 1 / len(classes),
        "better": better,
        "variants": variants,
    }
    return {**entry, **_verdict(variants, better)}


def _verdict(variants: list[dict[str, Any]], better: str) -> dict[str, str]:
    """Worse where the whole interval of the difference lies below zero; otherwise not."""
    full = next(variant for variant in variants if variant["name"] == FULL)
    low, high = full["difference_interval"]
    verdict = "worse" if high < 0 else "at least as good"
    beyond = ", and better" if low > 0 else ""
    sentence = (
        f"fusion is {verdict}{beyond}: UF1 {full['uf1']:.3f}, {full['difference']:+.3f} "
        f"[{low:+.3f}, {high:+.3f}] from the better branch, {better}"
    )
    return {"verdict": verdict, "sentence": sentence}


def _tables(recipe: Recipe, kind: str, plans: list, readings: bool) -> dict[str, pandas.DataFrame]:
    """Variant → its answers for held-out clips; what training leaves on disk goes with it."""
    import pandas

    from hcp_mer.training.launch import open_accelerator
    from hcp_mer.training.run_folder import RunFolder

    pairs, tables = pairs_of(kind, plans), {}
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / kind)
        run = open_run(recipe, pairs, folder, open_accelerator(None, folder.root))
        for name, change in changes_of(recipe, readings).items():
            destination = f"branches/{name.replace(' ', '_')}.parquet"
            train_variant(Variant(f"{kind}: {name}", change), run, destination)
            tables[name] = pandas.read_parquet(folder.root / destination)
    return tables


def _check(recipe: Recipe) -> None:
    if recipe.trains_tower:
        raise UserError(
            "the variants share the features of a frozen tower: leave vision_lora out of the "
            "recipe."
        )
    for branch in BRANCHES:
        if not recipe.model.get(f"use_{branch}", True):
            raise UserError(f"fusion needs both branches: leave use_{branch} on in the recipe.")


def _listed(bounds: tuple[float, float]) -> list[float]:
    """As JSON has it. There are three subjects or more, so there always is an interval."""
    return list(bounds)
