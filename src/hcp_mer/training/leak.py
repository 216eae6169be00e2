"""How large the leak would be: a diagnostic, never a result.

Many published codes ask the held-out subject after every epoch and report the best. Here the folds
are trained once more, exactly as they were, and every epoch's model is asked about the held-out
clips. What is written is named `leaky_…`; no training, choice or score of the run reads it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from safetensors.torch import load_file
from torch import Tensor

from hcp_mer.errors import UserError
from hcp_mer.training.folds import Fold
from hcp_mer.training.groups import forget, sets_of, table_of_folds
from hcp_mer.training.held_out import ask
from hcp_mer.training.loso import LosoRun, fold_steps
from hcp_mer.training.progress import Progress
from hcp_mer.training.tower import FrozenTower

if TYPE_CHECKING:
    import pandas
    from accelerate import Accelerator

LEAKY_EPOCHS = "leaky_epochs.parquet"


def measure_leak(run: LosoRun, accelerator: Accelerator | None = None) -> None:
    """Write leaky_epochs.parquet: fold, the clip, label, seed, epoch (from 1), prediction.

    The last epoch is the honest run: its answers are those of predictions.parquet. A gate that was
    fitted after the branches (`gate_fitting: held_out_subjects`) is the finished fold's at every
    epoch. Groups of folds that a stopped run had finished are taken from disk.

    Args: run: a finished one; accelerator: shares the groups out.
    Raises:
        UserError: the run's tower is trained (LoRA).
    """
    if run.recipe.trains_tower:
        raise UserError("the leak is measured for frozen towers only: set vision_lora.r=0.")
    if (run.folder.root / LEAKY_EPOCHS).is_file():
        return

    def answer_group(folds: list[Fold], progress: Progress) -> dict[str, pandas.DataFrame]:
        return _answers_of_all_epochs(run, folds, progress)

    table = table_of_folds(run, LEAKY_EPOCHS, "every epoch, leaky", answer_group, accelerator)
    if table is not None:
        run.folder.save_table(table, LEAKY_EPOCHS)
        forget(run, LEAKY_EPOCHS)
    if accelerator:
        accelerator.wait_for_everyone()


def _answers_of_all_epochs(
    run: LosoRun, folds: list[Fold], progress: Progress
) -> dict[str, pandas.DataFrame]:
    import pandas

    order = [(fold, seed) for fold in folds for seed in run.recipe.seeds]
    gates = [_fitted_gate(run, fold, seed) for fold, seed in order]
    tables: dict[str, list[pandas.DataFrame]] = {fold.name: [] for fold in folds}
    name = np.array(run.classes)

    def on_epoch(index: int, epoch: int, part: dict[str, Tensor]) -> None:
        fold, seed = order[index]
        logits = ask(run, fold, {**part, **gates[index]}).logits
        answer = {"prediction": name[logits.argmax(-1).cpu().numpy()], "epoch": epoch, "seed": seed}
        tables[fold.name].append(pandas.DataFrame({**run.identities(fold), **answer}))

    sets = sets_of(run, folds)
    # No snapshots: what earlier epochs answered would be lost with the process.
    tower = FrozenTower(run.tower_of(folds[0]).model)
    tower.train(sets, run.optimisation, progress.stack(fold_steps(run, sets)), on_epoch)
    return {fold: pandas.concat(answers, ignore_index=True) for fold, answers in tables.items()}


def _fitted_gate(run: LosoRun, fold: Fold, seed: int) -> dict[str, Tensor]:
    """The gate of a finished fold where it was not learnt with the branches; otherwise nothing."""
    if run.recipe.gate_fitting == "joint":
        return {}
    state = load_file(run.folder.trained_file(fold.subject, fold.dataset, seed))
    return {name: value for name, value in state.items() if name.startswith("head.gate.")}
