"""A finished run, opened again: to ask its folds' models what training did not ask them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hcp_mer.data.pairs import load_pairs
from hcp_mer.errors import UserError
from hcp_mer.training.folds import Fold
from hcp_mer.training.loso import LosoRun, open_run
from hcp_mer.training.recipe import FROM_ANNOTATIONS, make_recipe
from hcp_mer.training.run_folder import SOURCES, RunFolder


class _FinishedRun(RunFolder):
    """A run folder that is asked, not trained in."""

    def _of_another_run(self, changed: str) -> str:
        return (
            f"{self.root} was trained on something else than is found now ({changed}). Give the "
            "pairs that it was trained on (--dataset), and start where its recipe's files lie."
        )


def reopen(run_folder: str | Path, dataset: Sequence[str | Path] | None = None) -> LosoRun:
    """The run as `open_run` made it, from its recipe.yaml.

    Args: dataset: where the pairs lie now, if they were moved; those to test on last.
    Raises:
        UserError: no run, an unfinished one, or pairs, backbone or prompts that are not those
            which it was trained with.
    """
    from accelerate import Accelerator

    folder = _FinishedRun(Path(run_folder))
    content = read_settings(folder.root)
    recipe = make_recipe(content["recipe"], _repository(content["recipe"]))
    places = [content.get(key) for key in SOURCES]
    training, testing = ([own] if isinstance(own, str) else own for own in places)
    if dataset:
        split = len(dataset) - len(testing or ())
        training, testing = dataset[:split], dataset[split:]
    if not training:
        raise UserError(f"give at least {1 + len(testing or ())} folders of pairs (--dataset).")
    try:
        pairs, test_pairs = load_pairs(*training), load_pairs(*testing) if testing else None
    except UserError as error:
        hint = "" if dataset else " If they were moved, say where to (--dataset)."
        raise UserError(f"the pairs of {folder.root}: {error}{hint}") from error
    run = open_run(
        recipe,
        pairs,
        folder,
        Accelerator(),
        test_pairs,
        "dataset" if content.get("protocol") == "leave_one_dataset_out" else "subject",
    )
    missing = [fold.name for fold in run.folds if not folder.is_finished(fold)]
    if missing or not (folder.root / "predictions.parquet").is_file():
        raise UserError(
            f"{folder.root} is not finished: {missing[0] if missing else 'predictions.parquet'} is "
            "missing. Give train_loso.py the same command again, it goes on where it was."
        )
    return run


def read_settings(run_folder: Path) -> dict[str, Any]:
    """The content of a run's recipe.yaml, with all that a run's has.

    Raises:
        UserError: there is none, or it is none of ours.
    """
    content = RunFolder(run_folder).settings()
    if not isinstance(content.get("recipe"), dict) or "dataset" not in content:
        path = run_folder / "recipe.yaml"
        raise UserError(f"{path} is no recipe of a run: give the --output_dir of train_loso.py.")
    return content


def trained_states(run: LosoRun) -> Iterator[tuple[Fold, int, dict[str, Tensor]]]:
    """(fold, seed, trained part) of every fold, one after the other.

    Raises:
        UserError: a file is missing or damaged.
    """
    for fold in run.folds:
        for seed in run.recipe.seeds:
            file = run.folder.trained_file(fold.subject, fold.dataset, seed)
            try:
                yield fold, seed, load_file(file)
            except SafetensorError as error:
                raise UserError(
                    f"{file} is damaged ({error}): delete its folder and train again."
                ) from error


def _repository(recipe: dict[str, Any]) -> Path:
    """The folder that a recipe's relative paths start at: a parent of this one, or the code's."""
    here = Path.cwd()
    candidates = [here, *here.parents, Path(__file__).parents[3]]
    needed = [name for name in (recipe.get("prompts"),) if name and name != FROM_ANNOTATIONS]
    for folder in candidates:
        if all((folder / name).is_file() for name in needed) and (folder / "hub_configs").is_dir():
            return folder
    return here
