"""One experiment, from prepared pairs to scores, report and checkpoint: the rooms in a row."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hcp_mer.training.recipe import Recipe, load_recipe


def run_loso(
    recipe: Recipe | str | Path,
    dataset: str | Path,
    output_dir: str | Path,
    report_to: str | None = None,
) -> dict[str, Any] | None:
    """Leave one subject out, with controls and peers on the same folds; then one final model.

    A run that was stopped goes on where it was. Under `accelerate launch` the folds are shared out
    over the processes.

    Args:
        recipe: a Recipe, or the path of one.
        dataset: pairs from prepare_dataset.py, an imagefolder of pairs, or a dataset on the Hub.
        output_dir: the run folder: predictions.parquet, metrics.json, report.html, model/, …
        report_to: a tracker of accelerate's ("tensorboard", "trackio", "wandb") for the loss.
    Returns: the content of metrics.json; None in all processes but the main one.
    Raises:
        UserError: unusable recipe, pairs or folder; another run in it; no such tracker; a loss that
            is not finite.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)

    from hcp_mer.baselines.flow_logistic_regression import FlowLogisticRegression
    from hcp_mer.baselines.protocol import run_peer
    from hcp_mer.baselines.zero_shot import ZeroShot
    from hcp_mer.data.pairs import load_pairs
    from hcp_mer.reporting.publish import publish
    from hcp_mer.training.final import train_final
    from hcp_mer.training.launch import open_accelerator
    from hcp_mer.training.loso import open_run, train_folds
    from hcp_mer.training.run_folder import RunFolder

    pairs = load_pairs(dataset)
    folder = RunFolder(Path(output_dir))
    accelerator = open_accelerator(report_to, folder.root)
    with folder.locked() if accelerator.is_main_process else nullcontext():
        run = open_run(recipe, pairs, folder, accelerator)
        if report_to:
            accelerator.init_trackers("hcp_mer")
        train_folds(run, accelerator)
        accelerator.end_training()
        if not accelerator.is_main_process:
            return None
        for peer in (ZeroShot(), FlowLogisticRegression()):
            run_peer(peer, run)
        train_final(run)
        return publish(folder.root, pairs)
