"""One experiment, from prepared pairs to scores, report and checkpoint: the rooms in a row."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hcp_mer.errors import UserError
from hcp_mer.training.recipe import Recipe, load_recipe

Sources = str | Path | Sequence[str | Path]


def run_loso(
    recipe: Recipe | str | Path,
    dataset: Sources,
    output_dir: str | Path,
    report_to: str | None = None,
    test_dataset: Sources | None = None,
    leave_one_dataset_out: bool = False,
    controls: bool = True,
    measure_leak: bool = False,
) -> dict[str, Any] | None:
    """Leave one subject out, with controls and peers on the same folds; then one final model.

    A run that was stopped goes on where it was. Under `accelerate launch` the folds are shared out
    over the processes.

    Args:
        recipe: a Recipe, or the path of one.
        dataset: pairs from prepare_dataset.py, an imagefolder of pairs, or a dataset on the Hub;
            several make a composite database: one subject of one corpus after the other is left
            out, and scores come pooled and for each corpus.
        output_dir: the run folder: predictions.parquet, metrics.json, report.html, model/, …
        report_to: a tracker of accelerate's ("tensorboard", "trackio", "wandb") for the loss.
        test_dataset: other corpora to test on (cross-corpus): nobody of `dataset` is left out
            then, and the model trained on all of it is both the one tested and the final one.
        leave_one_dataset_out: leave out one corpus of `dataset` after the other, not one subject.
        controls: train the folds once more for each control (`baselines/controls.py`): without
            texts, with other classes' action units, on a random backbone, with the flow in both
            branches. Chance is always there.
        measure_leak: train the folds once more and ask every epoch's model about the held-out
            clips: a diagnostic of what choosing the epoch there would add, never a result.
    Returns: the content of metrics.json; None in all processes but the main one.
    Raises:
        UserError: unusable recipe, pairs or folder; motion measured differently in two corpora; a
            corpus on both sides; another run in the folder; no such tracker; a loss that is not
            finite.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)

    from hcp_mer.baselines.controls import train_controls
    from hcp_mer.baselines.flow_logistic_regression import FlowLogisticRegression
    from hcp_mer.baselines.flow_svm import FlowSvm
    from hcp_mer.baselines.protocol import run_peer
    from hcp_mer.baselines.zero_shot import ZeroShot
    from hcp_mer.data.pairs import load_pairs
    from hcp_mer.reporting.publish import publish
    from hcp_mer.training.attention import write_attention
    from hcp_mer.training.final import train_final
    from hcp_mer.training.launch import open_accelerator
    from hcp_mer.training.leak import measure_leak as ask_every_epoch
    from hcp_mer.training.loso import open_run, train_folds
    from hcp_mer.training.run_folder import RunFolder

    if leave_one_dataset_out and test_dataset:
        raise UserError(
            "--leave_one_dataset_out tests on every corpus of --dataset in turn, --test_dataset on "
            "others: give one of them."
        )
    pairs = load_pairs(*_listed(dataset))
    test_pairs = load_pairs(*_listed(test_dataset)) if test_dataset else None
    folder = RunFolder(Path(output_dir))
    accelerator = open_accelerator(report_to, folder.root)
    with folder.locked() if accelerator.is_main_process else nullcontext():
        leave_out = "dataset" if leave_one_dataset_out else "subject"
        run = open_run(recipe, pairs, folder, accelerator, test_pairs, leave_out)
        if report_to:
            accelerator.init_trackers("hcp_mer")
        train_folds(run, accelerator)
        if controls:
            train_controls(run, accelerator)
        if measure_leak:
            ask_every_epoch(run, accelerator)
        accelerator.end_training()
        if not accelerator.is_main_process:
            return None
        for peer in (ZeroShot(), FlowLogisticRegression(), FlowSvm()):
            run_peer(peer, run)
        write_attention(run)
        train_final(run, _calibration(folder.root))
        return publish(folder.root, run.pairs)


def _calibration(run_folder: Path) -> dict[str, float]:
    """What the pooled answers say of the final model's scores, as fields of its config."""
    from hcp_mer.reporting.calibration import config_fields
    from hcp_mer.reporting.scores import read_predictions, read_task

    _, classes = read_task(run_folder)
    return config_fields(read_predictions(run_folder / "predictions.parquet", classes), classes)


def _listed(sources: Sources) -> list[str | Path]:
    return [sources] if isinstance(sources, (str, Path)) else list(sources)
