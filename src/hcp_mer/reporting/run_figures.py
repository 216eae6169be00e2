"""The paper's figures from the files of finished runs: each reads what it needs, none trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.files import read_json
from hcp_mer.reporting import figures, table
from hcp_mer.reporting.attention_rows import ATTENTION, attention_rows
from hcp_mer.reporting.cross_mapping import matrix, read_cross_mapping
from hcp_mer.reporting.figures import Theme
from hcp_mer.reporting.scores import read_metrics

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Draw = Callable[[Sequence[Path], Theme, Callable[[Path], Any]], "Figure"]
FORMATS = ("png", "pdf", "svg")
AGREEMENT = "attention.json"  # of write_attention.py --check
# Fig. 4 of the paper: title → where a run keeps these features.
_FEATURE_SPACES = {
    "(a) without adapter": "ablations/without_adapter.embeddings.parquet",
    "(b) without consistency and focal loss": (
        "ablations/without_consistency_and_focal.embeddings.parquet"
    ),
    "(c) HCP_MER": "embeddings.parquet",
}
_NOT_KEPT = "train the run again with scripts/train_loso.py: earlier versions did not keep it"


def draw_figure(
    name: str, runs: Sequence[Path], theme: Theme, pairs_of: Callable[[Path], Any]
) -> Figure:
    """One of `FIGURES` from the result files of runs.

    Args:
        runs: run folders; several only where a figure compares runs ("confusion", "tsne").
        pairs_of: run folder → its prepared pairs; asked by "attention" alone.
    Raises:
        UserError: a file is missing (says what makes it) or damaged, or too many runs.
    """
    if len(runs) > 1 and name not in _OF_SEVERAL:
        raise UserError(
            f"{name} draws one run, got {len(runs)}; several --run go with "
            f"{table.listed(_OF_SEVERAL)}: give one"
        )
    figure = FIGURES[name](runs, theme, pairs_of)
    if any(_is_synthetic(run) for run in runs):
        figures.add_note(figure, "synthetic: the faces were drawn by a program", theme)
    return figure


def _tsne(runs: Sequence[Path], theme: Theme, _: Any) -> Figure:
    if len(runs) > 1:
        panels = [_feature_space(_title(run), run / "embeddings.parquet") for run in runs]
    else:
        _table(runs[0] / "embeddings.parquet", _NOT_KEPT)
        there = {t: runs[0] / p for t, p in _FEATURE_SPACES.items() if (runs[0] / p).is_file()}
        names = there if len(there) > 1 else {_title(runs[0]): runs[0] / "embeddings.parquet"}
        panels = [_feature_space(title, place) for title, place in names.items()]
    classes = list(dict.fromkeys(c for run in runs for c in read_metrics(run)["classes"]))
    return figures.tsne_figure(panels, classes, theme)


def _feature_space(title: str, place: Path) -> tuple[str, np.ndarray, list[str]]:
    features = _table(place, _NOT_KEPT)
    own = features[features["seed"] == features["seed"].min()]
    return title, np.stack(own["embedding"]), own["label"].tolist()


def _attention(runs: Sequence[Path], theme: Theme, pairs_of: Callable[[Path], Any]) -> Figure:
    (run,) = runs
    _need(run / ATTENTION, f"python scripts/write_attention.py --run {run} makes it")
    rows = attention_rows(run, pairs_of(run), read_metrics(run)["classes"])
    figure = figures.attention_figure(rows, theme)
    if (run / AGREEMENT).is_file():
        figures.add_note(figure, _agreement(read_json(run / AGREEMENT)), theme)
    return figure


def _agreement(check: Mapping[str, Mapping[str, Any]]) -> str:
    """How far the attributions of each branch can be believed, in a line."""
    told = [
        f"{branch} {own['agreement']:+.2f} (another clip's {own['agreement_of_another_clip']:+.2f})"
        for branch, own in check.items()
        if own["num_clips"]
    ]
    return f"rank agreement with covering patches: {', '.join(told) or 'none'}"


def _mapping_of(draw: Callable[..., Figure]) -> Draw:
    def draw_mapping(runs: Sequence[Path], theme: Theme, _: Any) -> Figure:
        (run,) = runs
        mapping = read_cross_mapping(run)
        if mapping is None:
            raise UserError(
                f"{run / 'cross_mapping.json'} does not exist: training writes it where the pairs "
                "have action units (a column action_units)"
            )
        units, counts = matrix(mapping)
        own = mapping["classes"]
        names = [row["label"] for row in own]
        return draw(counts, [row["num_clips"] for row in own], names, units, theme)

    return draw_mapping


def _confusion(runs: Sequence[Path], theme: Theme, _: Any) -> Figure:
    found = [(run, read_metrics(run)) for run in runs]
    panels = [(_title(run), m["confusion_matrix"], m["classes"]) for run, m in found]
    if len(panels) == 1:
        return figures.confusion_figure(*panels[0][1:], theme)
    return figures.confusion_grid_figure(panels, theme)


def _scores(runs: Sequence[Path], theme: Theme, _: Any) -> Figure:
    systems = list(table.systems(read_metrics(runs[0])))
    return figures.scores_figure(systems, table.SCORE_TITLES, theme)


def _reliability(runs: Sequence[Path], theme: Theme, _: Any) -> Figure:
    (run,) = runs
    calibration = read_metrics(run).get("calibration")
    if not calibration:
        raise UserError(
            f"{run / 'metrics.json'} says nothing of calibration: score the run anew with "
            "scripts/make_report.py (it needs the probabilities of two subjects or more)"
        )
    return figures.reliability_figure(calibration, theme)


def _subjects(runs: Sequence[Path], theme: Theme, _: Any) -> Figure:
    return figures.subjects_figure(read_metrics(runs[0])["per_subject"], theme)


def _gates(runs: Sequence[Path], theme: Theme, _: Any) -> Figure:
    predictions = _table(runs[0] / "predictions.parquet", "train it with scripts/train_loso.py")
    return figures.gates_figure(predictions, read_metrics(runs[0])["classes"], theme)


def _learning_curves(runs: Sequence[Path], theme: Theme, _: Any) -> Figure:
    curves = _table(runs[0] / "learning_curves.parquet", _NOT_KEPT)
    return figures.learning_curves_figure(curves, theme)


def _ablation(runs: Sequence[Path], theme: Theme, _: Any) -> Figure:
    """Of the output of run_ablations.py, with a folder for each task, or of one such folder."""
    from hcp_mer.reporting.ablations import ablation_rows

    (folder,) = runs
    tasks = [run for run in _task_folders(folder) if any((run / "ablations").glob("*.parquet"))]
    if not tasks:
        raise UserError(
            f"{folder} holds no ablations: python scripts/run_ablations.py --output_dir {folder} … "
            "makes them"
        )
    groups = [
        (
            read_metrics(run)["task"],
            [(r["short"], r["scores"], r["interval_95"]) for r in ablation_rows(run)],
        )
        for run in tasks
    ]
    return figures.ablation_tasks_figure(groups, theme)


def _task_folders(folder: Path) -> list[Path]:
    return [folder, *sorted(folder.glob("*-class"))]


def _leak(runs: Sequence[Path], theme: Theme, _: Any) -> Figure:
    from hcp_mer.reporting.leak import LEAKY_EPOCHS, leak_curve, read_leaky_epochs

    (run,) = runs
    _need(run / LEAKY_EPOCHS, "scripts/train_loso.py --measure_leak makes it")
    return figures.leak_figure(leak_curve(read_leaky_epochs(run), _classes(run)), theme)


def _classes(run: Path) -> list[str]:
    return read_metrics(run)["classes"]


FIGURES: Mapping[str, Draw] = {
    "ablation": _ablation,
    "attention": _attention,
    "bipartite": _mapping_of(figures.bipartite_figure),
    "confusion": _confusion,
    "cross_mapping": _mapping_of(figures.cross_mapping_figure),
    "gates": _gates,
    "leak": _leak,
    "learning_curves": _learning_curves,
    "reliability": _reliability,
    "scores": _scores,
    "subjects": _subjects,
    "tsne": _tsne,
}
_OF_SEVERAL = ("confusion", "tsne")


def _table(path: Path, mend: str) -> pd.DataFrame:
    import pandas as pd

    _need(path, mend)
    try:
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path} is not readable as parquet ({error}): delete it, {mend}"
        ) from error


def _need(path: Path, mend: str) -> None:
    if not path.is_file():
        raise UserError(f"{path} does not exist: {mend}")


def _title(run: Path) -> str:
    """What a run's panel is called: its corpora and task."""
    metrics = read_metrics(run)
    return f"{table.listed(metrics['per_dataset'])}, {metrics['task']}"


def _is_synthetic(run: Path) -> bool:
    scored = [place for place in _task_folders(run) if (place / "metrics.json").is_file()]
    return any(table.is_synthetic(read_metrics(place)) for place in scored)
