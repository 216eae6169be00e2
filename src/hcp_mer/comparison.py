"""Peers on a run's own folds: chosen by name, run one after the other, put beside the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.errors import UserError
from hcp_mer.experiment import Sources
from hcp_mer.files import read_json, write_json, write_whole
from hcp_mer.training.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    import pandas

    from hcp_mer.training.loso import LosoRun

RESULT = "baselines.json"
RESULT_IN_WORDS = "baselines.md"


def run_baselines(
    recipe: Recipe | str | Path,
    dataset: Sources,
    output_dir: str | Path,
    methods: Sequence[str] = (),
    *,
    test_dataset: Sources | None = None,
    leave_one_dataset_out: bool = False,
    corpora: Sequence[str] = (),
    face_weights: str | None = None,
    seeds: Sequence[int] = (),
    limit_folds: int | None = None,
) -> dict[str, Any]:
    """Run peers on the folds of a run; write baselines/<name>.parquet, baselines.json and .md.

    Where `output_dir` is a finished run of the same recipe and pairs, its metrics and report are
    written again, with the peers in them; any other folder holds peers only. Peers that have their
    table are not run again, and folds that were answered before a stop are kept.

    Args:
        recipe, dataset, output_dir, test_dataset, leave_one_dataset_out: as of `run_loso`.
        methods: names of `baselines.registry`, or "all"; none: those that are not heavy.
        corpora, face_weights: for peers that read frames, see `clips_in_corpora`: where the corpora
            are, and the file of the face detector that the pairs were prepared with, if it has one.
        seeds: in place of the recipe's, for the peers alone.
        limit_folds: a trial of the first folds: nothing but their answers is written.
    Returns: the content of baselines.json, see `compare_peers`, with "not_run": name → reason;
        beside a finished run with "verdicts", sentences on the model against each baseline; and in
        a trial with "trial": {"num_folds", "of", "expected_seconds": {name: of all folds}}.
    Raises:
        UserError: an unknown method, what `run_loso` refuses, or no peer that could be run.
    """
    from hcp_mer.baselines.registry import chosen
    from hcp_mer.data.clip_volume import clips_in_corpora
    from hcp_mer.data.pairs import load_pairs
    from hcp_mer.reporting.peers import peers_markdown
    from hcp_mer.reporting.publish import publish
    from hcp_mer.reporting.table import baseline_verdicts
    from hcp_mer.training.launch import open_accelerator
    from hcp_mer.training.loso import open_run
    from hcp_mer.training.run_folder import RunFolder

    names = chosen(methods)
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    given = {"corpus": clips_in_corpora(corpora) if corpora else None, "face_weights": face_weights}
    pairs = load_pairs(*_listed(dataset))
    test_pairs = load_pairs(*_listed(test_dataset)) if test_dataset else None
    folder = RunFolder(Path(output_dir))
    leave_out = "dataset" if leave_one_dataset_out else "subject"
    with folder.locked():
        accelerator = open_accelerator(None, folder.root)
        run = open_run(recipe, pairs, folder, accelerator, test_pairs, leave_out)
        if seeds:
            run = replace(run, recipe=replace(run.recipe, seeds=list(seeds)))
        if limit_folds is not None:
            return _try(run, names, given, limit_folds)
        _, _, not_run = _run_all(run, names, given)
        tables, costs = _everything(run)
        if not tables:
            raise UserError(_reasons(not_run))
        result = {**_compared(run, tables, costs), "not_run": not_run}
        if (folder.root / "metrics.json").is_file():
            result["verdicts"] = baseline_verdicts(publish(folder.root, run.pairs))
        write_json(folder.root / RESULT, result)
        write_whole(folder.root / RESULT_IN_WORDS, peers_markdown(result))
    return result


def _run_all(
    run: LosoRun, names: Sequence[str], given: Mapping[str, Any], folds: list | None = None
) -> tuple[dict[str, pandas.DataFrame], dict[str, dict[str, Any]], dict[str, str]]:
    """Tables and costs of the peers that ran, and why the others did not."""
    from hcp_mer.baselines.protocol import cost_of, run_peer
    from hcp_mer.baselines.registry import make_peer

    tables, costs, not_run = {}, {}, {}
    for name in names:
        try:
            peer = make_peer(name, **given)
            tables[name] = run_peer(peer, run, folds)
        except UserError as error:
            not_run[name] = str(error)
            continue
        if folds is not None:
            costs[name] = asdict(cost_of(peer, run, folds))
    return tables, costs, not_run


def _try(
    run: LosoRun, names: Sequence[str], given: Mapping[str, Any], limit_folds: int
) -> dict[str, Any]:
    """The first folds, for a look; see `run_baselines`."""
    total = len(run.folds)
    if not 0 < limit_folds < total:
        raise UserError(
            f"--limit_folds must be from 1 to {total - 1}, got {limit_folds}: this run has {total} "
            "folds. Leave it out to run them all."
        )
    tables, costs, not_run = _run_all(run, names, given, run.folds[:limit_folds])
    seconds = {name: cost["seconds"] * total / limit_folds for name, cost in costs.items()}
    trial = {"num_folds": limit_folds, "of": total, "expected_seconds": seconds}
    if not tables:
        raise UserError(_reasons(not_run))
    return {**_compared(run, tables, costs), "not_run": not_run, "trial": trial}


def _everything(
    run: LosoRun,
) -> tuple[dict[str, pandas.DataFrame], dict[str, dict[str, Any]]]:
    """The model, its chance and every peer that has its table, with what they took."""
    from hcp_mer.baselines.protocol import cost_file, finished_table
    from hcp_mer.baselines.registry import PEERS
    from hcp_mer.reporting.scores import read_predictions
    from hcp_mer.reporting.table import MODEL_NAME

    root, tables, costs = run.folder.root, {}, {}
    if (root / "predictions.parquet").is_file() and (root / "metrics.json").is_file():
        tables[MODEL_NAME] = read_predictions(root / "predictions.parquet", run.classes)
        if not run.recipe.trains_tower:
            head = sum(parameter.numel() for parameter in run.model.head.parameters())
            costs[MODEL_NAME] = {"num_parameters": head + run.model.prompts.context.numel()}
    for name in ("chance", *PEERS):
        if finished_table(name, run) is None:
            continue
        tables[name] = read_predictions(root / "baselines" / f"{name}.parquet", run.classes)
        place = cost_file(root, name)
        if place.is_file():
            costs[name] = read_json(place, ("seconds", "num_parameters", "deterministic"))
    return tables, costs


def _compared(run: LosoRun, tables: Mapping, costs: Mapping) -> dict[str, Any]:
    from hcp_mer.reporting.peers import compare_peers

    return compare_peers(tables, costs, run.recipe.task, run.classes, run.protocol())


def _reasons(not_run: Mapping[str, str]) -> str:
    return "; ".join(f"{name} was not run: {reason}" for name, reason in not_run.items())


def _listed(sources: Sources) -> list[str | Path]:
    return [sources] if isinstance(sources, (str, Path)) else list(sources)
