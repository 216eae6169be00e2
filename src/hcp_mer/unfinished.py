"""A run that has not ended: which folds it lacks, and what those that are there say."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.data.pairs import label_pairs
from hcp_mer.data.tasks import task
from hcp_mer.errors import UserError
from hcp_mer.files import make_folder, read_json, write_json, write_whole
from hcp_mer.recorded import pairs_at_hand
from hcp_mer.reporting.table import counted
from hcp_mer.training.folds import EVERYBODY
from hcp_mer.training.run_folder import RunFolder

if TYPE_CHECKING:
    from hcp_mer.data.pairs import Pairs

PARTIAL = "partial"  # folder in the run's, so that nothing takes its scores for the run's
_SHOWN = 6


@dataclass(frozen=True)
class Unfinished:
    """Folds of a run whose predictions were not pooled yet, by name ("casme2/sub01").

    Attributes:
        exact: whether the pairs were at hand; if not, more may be missing than is known.
    """

    finished: tuple[str, ...]
    missing: tuple[str, ...]
    exact: bool

    @property
    def num_folds(self) -> int:
        return len(self.finished) + len(self.missing)

    def in_words(self, run_folder: Path) -> str:
        """What is missing and how to go on, for a message."""
        go_on = "give the same train_loso command again, finished folds are kept"
        if not self.missing:
            found = counted(len(self.finished), "finished fold")
            return f"{run_folder} is not finished, {found} were not pooled yet: {go_on}"
        shown = ", ".join(self.missing[:_SHOWN]) + (", …" if len(self.missing) > _SHOWN else "")
        number = f"{'' if self.exact else 'at least '}{len(self.missing)} of {self.num_folds} folds"
        return f"{run_folder} is not finished, {number} have no result ({shown}): {go_on}"


def find_unfinished(run_folder: Path, settings: dict[str, Any]) -> Unfinished | None:
    """What a run lacks; None for a run whose predictions are complete.

    Its pairs say who is to be held out; where they are not at hand, the folds that its processes
    had taken are counted.

    Args: settings: content of its recipe.yaml.
    """
    if (run_folder / "predictions.parquet").is_file():
        return None
    if not isinstance(settings.get("recipe"), dict):
        raise UserError(f"{run_folder} holds no run of ours: give the --output_dir of train_loso")
    pairs = pairs_at_hand(settings)
    finished = ["/".join(person) for person in RunFolder(run_folder).finished_subjects()]
    if pairs is None:
        shares = [read_json(place, ("folds",)) for place in run_folder.glob("processes/*.json")]
        everyone = {name for share in shares for name in share["folds"]}
    else:
        everyone = _everyone(settings, pairs)
    missing = sorted(everyone - set(finished))
    return Unfinished(tuple(finished), tuple(missing), exact=pairs is not None)


def score_partial(
    run_folder: Path, settings: dict[str, Any], state: Unfinished
) -> tuple[Path, dict[str, Any]]:
    """Score the finished folds of a run, and write a report that says so, in <run>/partial.

    Returns: that folder, and the content of its metrics.json.
    Raises:
        UserError: no fold has ended yet.
    """
    import pandas

    from hcp_mer.reporting.publish import publish

    folds = sorted(p for p in run_folder.glob("folds/*/*") if not p.name.startswith("."))
    if not folds:
        raise UserError(
            f"{run_folder} has no finished fold to score: give the same train_loso command again"
        )
    partial = RunFolder(run_folder / PARTIAL)
    make_folder(partial.root)
    for name, place in {"predictions": "", "chance": "baselines/"}.items():
        tables = [pandas.read_parquet(fold / f"{name}.parquet") for fold in folds]
        partial.save_table(pandas.concat(tables, ignore_index=True), f"{place}{name}.parquet")
    wanted = task(settings["recipe"]["task"])
    number = {"num_finished": len(state.finished), "num_folds": state.num_folds}
    write_json(
        partial.root / "task.json",
        {
            **{
                "task": wanted.name,
                "classes": list(wanted.classes),
                "protocol": _protocol(settings),
            },
            "partial": {**number, "missing": list(state.missing)},
        },
    )
    write_whole(partial.root / "recipe.yaml", (run_folder / "recipe.yaml").read_bytes())
    return partial.root, publish(partial.root, pairs_at_hand(settings))


def forget_partial(run_folder: Path) -> None:
    """A run that has ended needs no report on a part of it."""
    if (run_folder / PARTIAL / "task.json").is_file():
        shutil.rmtree(run_folder / PARTIAL)


def _protocol(settings: Mapping[str, Any]) -> str:
    if settings.get("test_corpora"):
        return "cross_corpus"
    return settings.get("protocol", "leave_one_subject_out")


def _everyone(settings: Mapping[str, Any], pairs: Pairs) -> set[str]:
    """Names of all folds of the run."""
    if settings.get("test_corpora"):
        return {f"{corpus}/{EVERYBODY}" for corpus in settings["test_corpora"]}
    recipe = settings["recipe"]
    rows = label_pairs(pairs, task(recipe["task"]), recipe.get("scheme")).rows
    people = [f"{d}/{s}" for d, s in zip(pairs.column("dataset"), pairs.column("subject"))]
    if _protocol(settings) == "leave_one_dataset_out":
        return {f"{corpus}/{EVERYBODY}" for corpus in pairs.column("dataset")}
    return {people[row] for row in rows}
