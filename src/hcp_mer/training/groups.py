"""All folds once more, group by group, into one table: for whatever is trained beside the run."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hcp_mer.files import make_folder, read_json, write_json
from hcp_mer.training.folds import Fold, groups_of
from hcp_mer.training.loso import LosoRun, fold_steps, group_size_of
from hcp_mer.training.progress import Progress
from hcp_mer.training.stacked import TrainingSet

if TYPE_CHECKING:
    import pandas
    from accelerate import Accelerator

AnswerGroup = Callable[[list[Fold], Progress], "dict[str, pandas.DataFrame]"]


def table_of_folds(
    run: LosoRun,
    destination: str,
    what: str,
    answer_group: AnswerGroup,
    accelerator: Accelerator | None = None,
) -> pandas.DataFrame | None:
    """Have all folds answered, those with equal prompts side by side, and pool the tables.

    What a stopped run had finished is taken from disk. Nothing is written to `destination`: call
    `forget` when that is done.

    Args:
        destination: path in the run folder, which names the place where groups leave word.
        what: for the bar. answer_group: trains some folds; returns fold name → table of its
            held-out clips.
        accelerator: shares the groups out; every process must call this then.
    Returns: the tables in the order of the run's folds; None in all processes but the main one.
    """
    import pandas

    here, processes = 0, 1
    if accelerator:
        here, processes = accelerator.process_index, accelerator.num_processes
    unfinished = run.folder.unfinished(destination)
    size = _group_size(run, unfinished, accelerator)
    alike = run.prompts.variants(run.folds)
    groups = [group for folds in alike for group in groups_of(folds, size, processes)]
    share = [g for g in groups[here::processes] if not _place(unfinished, g).is_file()]
    sets = [part for group in share for part in sets_of(run, group)]
    with Progress(fold_steps(run, sets), what, show=here == 0 and bool(sets)) as progress:
        for group in share:
            tables = answer_group(group, progress)
            named = [table.assign(fold=name) for name, table in tables.items()]
            _write(_place(unfinished, group), pandas.concat(named, ignore_index=True))
    _wait(accelerator)
    if here:
        return None
    whole = pandas.concat([pandas.read_parquet(_place(unfinished, group)) for group in groups])
    by_fold = dict(iter(whole.groupby("fold")))
    return pandas.concat([by_fold[fold.name] for fold in run.folds], ignore_index=True)


def sets_of(run: LosoRun, folds: list[Fold]) -> list[TrainingSet]:
    """One training set for each fold and seed, in this order."""
    return [run.training_set(fold, seed) for fold in folds for seed in run.recipe.seeds]


def forget(run: LosoRun, destination: str) -> None:
    """The table is written: what the groups left can go."""
    shutil.rmtree(run.folder.unfinished(destination), ignore_errors=True)


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


def _place(unfinished: Path, folds: list[Fold]) -> Path:
    names = "\n".join(fold.name for fold in folds)
    return unfinished / f"{hashlib.sha256(names.encode()).hexdigest()[:16]}.parquet"


def _write(place: Path, table: pandas.DataFrame) -> None:
    partial = place.with_suffix(".partial")
    table.to_parquet(partial, index=False)
    partial.replace(place)
