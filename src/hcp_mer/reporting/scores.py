"""From a run folder's predictions to its metrics.json: pool every fold, score once.

The unit of the protocol is the subject, known by (dataset, subject): two corpora both have an
"s01". With several seeds every number is the mean over seeds of that seed's pooled score; the
seeds' predictions are never combined into one vote, which would score a different, larger model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hcp_mer.errors import UserError
from hcp_mer.files import read_json, write_json
from hcp_mer.metrics.intervals import (
    bootstrap_difference_over_subjects,
    bootstrap_over_subjects,
)
from hcp_mer.metrics.mer.scores import (
    accuracy,
    confusion_matrix,
    f1_per_class,
    precision_per_class,
    recall_per_class,
    uar,
    uf1,
)
from hcp_mer.reporting.calibration import calibrate
from hcp_mer.reporting.leak import leak_scores, read_leaky_epochs

if TYPE_CHECKING:
    import pandas as pd

SCORES = {"accuracy": accuracy, "uf1": uf1, "uar": uar}
BRANCHES = ("holistic", "componential")
SUBJECT = ["dataset", "subject"]
CLIP = [*SUBJECT, "clip_id"]
REQUIRED_COLUMNS = [*CLIP, "label", "prediction", "seed"]


def write_metrics(run_folder: str | Path) -> dict[str, Any]:
    """Score a run folder and write its metrics.json.

    Reads task.json, predictions.parquet and every baselines/<name>.parquet.

    Returns:
        what was written; see `compute_metrics`.
    Raises:
        UserError: a file is missing or unreadable, or its predictions break the contract.
    """
    run_folder = Path(run_folder)
    task, classes = read_task(run_folder)
    predictions = read_predictions(run_folder / "predictions.parquet", classes)
    baselines = {
        path.stem: read_predictions(path, classes)
        for path in sorted((run_folder / "baselines").glob("*.parquet"))
    }
    metrics = compute_metrics(predictions, baselines, task, classes)
    recorded = read_json(run_folder / "task.json")
    metrics["left_out_by_protocol"] = recorded.get("dropped", {})
    metrics["label_counts"] = recorded.get("label_counts", [])
    metrics |= _protocol(recorded, metrics)
    metrics["calibration"] = calibrate(predictions, classes)
    leaky = read_leaky_epochs(run_folder)
    if leaky is not None:
        metrics["leak"] = leak_scores(leaky, classes)
    write_json(run_folder / "metrics.json", metrics)
    return metrics


def read_metrics(run_folder: str | Path) -> dict[str, Any]:
    """Read the metrics.json that `write_metrics` wrote; UserError where there is none."""
    path = Path(run_folder) / "metrics.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist: score the run first, see scripts/make_report.py")
    return json.loads(path.read_text(encoding="utf-8"))


def compute_metrics(
    predictions: pd.DataFrame,
    baselines: Mapping[str, pd.DataFrame],
    task: str,
    classes: Sequence[str],
) -> dict[str, Any]:
    """Everything the report says, as plain numbers, lists and dicts.

    Args:
        predictions: one row per clip and seed, with `REQUIRED_COLUMNS` and, if the model has
            them, `<branch>_prediction` and `gate_<branch>` for the branches of the model.
        baselines: the same for each baseline, on the same clips; seeds may differ.
        task: name of the label scheme, e.g. "3-class".
        classes: class names in the order of the confusion matrix.
    Returns:
        the content of metrics.json. Scores lie in [0, 1]; an interval is [low, high], or None
        where there is one subject only; a class score that does not exist (0/0) is None.
    Raises:
        UserError: the clips of a baseline, or of two seeds, are not the same.
    """
    _check_seeds(predictions, "the predictions")
    for name, frame in baselines.items():
        _check_seeds(frame, f"baseline {name}")
        _check_same_clips(predictions, frame, name)
    confusions = subject_confusions(predictions, classes)
    others = {name: subject_confusions(frame, classes) for name, frame in baselines.items()}
    return {
        "task": task,
        "classes": list(classes),
        "selection": "last_step",
        "num_clips": len(predictions[CLIP].drop_duplicates()),
        "num_subjects": confusions.shape[1],
        "seeds": sorted(int(seed) for seed in predictions["seed"].unique()),
        "metrics": _scores(confusions),
        "interval_95": _intervals(confusions),
        "per_dataset": {
            str(name): _scores(subject_confusions(rows, classes))
            for name, rows in predictions.groupby("dataset")
        },
        **_per_dataset_more(predictions, baselines, classes),
        "per_class": _per_class(confusions, classes),
        "per_subject": _per_subject(predictions),
        "branches": _branches(predictions, classes),
        "mean_gates": _mean_gates(predictions),
        "confusion_matrix": confusions.sum(axis=1).mean(axis=0).tolist(),
        "baselines": {name: _scores(other) for name, other in others.items()},
        "baseline_interval_95": {name: _intervals(other) for name, other in others.items()},
        "baseline_difference_95": {
            name: _intervals(confusions, other) for name, other in others.items()
        },
    }


def subject_confusions(
    predictions: pd.DataFrame, classes: Sequence[str], column: str = "prediction"
) -> NDArray[np.int64]:
    """One confusion matrix per seed and subject, (num_seeds, num_subjects, C, C).

    Seeds and (dataset, subject) are sorted, so two systems on the same clips line up.
    """
    index = {name: position for position, name in enumerate(classes)}
    indices = predictions[["seed", *SUBJECT]].assign(
        true=predictions["label"].map(index).astype(int),
        predicted=predictions[column].map(index).astype(int),
    )
    matrices = [
        confusion_matrix(rows["true"], rows["predicted"], len(index))
        for _, rows in indices.groupby(["seed", *SUBJECT])
    ]
    num_seeds = indices["seed"].nunique()
    return np.stack(matrices).reshape(num_seeds, -1, len(index), len(index))


def corpus_sizes(per_subject: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """{"num_clips", "num_subjects"} of each corpus, from the rows of metrics["per_subject"]."""
    sizes: dict[str, dict[str, int]] = {}
    for row in per_subject:
        size = sizes.setdefault(row["dataset"], {"num_clips": 0, "num_subjects": 0})
        size["num_clips"] += row["num_clips"]
        size["num_subjects"] += 1
    return sizes


def _protocol(recorded: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """How it was tested, and on whom the saved model was trained, from the run's task.json.

    A run that does not say left one subject after the other out, and was then trained on all.
    """
    training_data = recorded.get("training_data", corpus_sizes(metrics["per_subject"]))
    return {
        "protocol": recorded.get("protocol", "leave_one_subject_out"),
        "trained_on": list(training_data),
        "training_data": training_data,
        **({"partial": recorded["partial"]} if "partial" in recorded else {}),
    }


def _per_dataset_more(
    predictions: pd.DataFrame, baselines: Mapping[str, pd.DataFrame], classes: Sequence[str]
) -> dict[str, Any]:
    """Of each corpus: intervals over its own subjects, and the scores of the baselines.

    Empty for a single corpus, whose scores are the pooled ones.
    """
    names = [str(name) for name in sorted(predictions["dataset"].unique())]
    names = names if len(names) > 1 else []

    def confusions(frame: pd.DataFrame, name: str) -> NDArray:
        return subject_confusions(frame[frame["dataset"] == name], classes)

    return {
        "per_dataset_interval_95": {
            name: _intervals(confusions(predictions, name)) for name in names
        },
        "per_dataset_baselines": {
            name: {other: _scores(confusions(frame, name)) for other, frame in baselines.items()}
            for name in names
        },
    }


def _scores(confusions: NDArray) -> dict[str, float]:
    """Mean over seeds of the pooled scores of (num_seeds, num_subjects, C, C)."""
    pooled = confusions.sum(axis=1)
    return {name: float(np.mean(score(pooled))) for name, score in SCORES.items()}


def _intervals(confusions: NDArray, other: NDArray | None = None) -> dict[str, list | None]:
    """Interval of each score, or of its difference to another system's."""

    def interval(score: Any) -> list[float] | None:
        if other is None:
            bounds = bootstrap_over_subjects(confusions, score)
        else:
            bounds = bootstrap_difference_over_subjects(confusions, other, score)
        return None if bounds is None else list(bounds)

    return {name: interval(score) for name, score in SCORES.items()}


def _per_class(confusions: NDArray, classes: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Precision, recall, F1: means over the seeds in which they exist; None if they never do."""
    pooled = confusions.sum(axis=1)  # (num_seeds, C, C)
    functions = {
        "precision": precision_per_class,
        "recall": recall_per_class,
        "f1": f1_per_class,
    }
    values = {name: function(pooled) for name, function in functions.items()}
    num_clips = pooled[0].sum(axis=1)  # labels are the same in every seed
    return {
        label: {
            **{name: _mean_if_any(of_seeds[:, index]) for name, of_seeds in values.items()},
            "num_clips": int(num_clips[index]),
        }
        for index, label in enumerate(classes)
    }


def _mean_if_any(values: NDArray) -> float | None:
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else None


def _per_subject(predictions: pd.DataFrame) -> list[dict[str, Any]]:
    correct = predictions.assign(correct=predictions["label"] == predictions["prediction"])
    return [
        {
            "dataset": str(dataset),
            "subject": str(subject),
            "num_clips": int(rows["clip_id"].nunique()),
            "accuracy": float(rows["correct"].mean()),
        }
        for (dataset, subject), rows in correct.groupby(SUBJECT)
    ]


def _branches(predictions: pd.DataFrame, classes: Sequence[str]) -> dict[str, dict[str, float]]:
    """Scores of each branch alone, for the branches that the model has."""
    columns = {branch: f"{branch}_prediction" for branch in BRANCHES}
    return {
        branch: _scores(subject_confusions(predictions, classes, column))
        for branch, column in columns.items()
        if _is_filled(predictions, column)
    }


def _mean_gates(predictions: pd.DataFrame) -> dict[str, float]:
    """Mean weight that the fusion gives each branch, over clips and seeds."""
    columns = {branch: f"gate_{branch}" for branch in BRANCHES}
    return {
        branch: float(predictions[column].mean())
        for branch, column in columns.items()
        if _is_filled(predictions, column)
    }


def read_task(run_folder: Path) -> tuple[str, list[str]]:
    """Name and classes of the run's task, from its task.json.

    Raises:
        UserError: no such file, or not {"task": "3-class", "classes": [two or more names]}.
    """
    path = run_folder / "task.json"
    if not path.is_file():
        raise UserError(f"{path} does not exist: give a folder that scripts/train_loso.py wrote")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        task, classes = content["task"], list(content["classes"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path} must hold {{"task": name, "classes": [names]}}, got something else ({error!r})'
            ": run the training again or mend the file"
        ) from error
    if len(set(classes)) < max(2, len(classes)) or not all(isinstance(c, str) for c in classes):
        raise UserError(f"{path} must name two or more different classes, got {classes}: mend it")
    return str(task), classes


def read_predictions(path: Path, classes: Sequence[str]) -> pd.DataFrame:
    """Read and check one parquet file of predictions.

    Returns:
        the rows, with dataset, subject and clip_id as text.
    Raises:
        UserError: missing file, column or value, a class outside `classes`, or a clip twice.
    """
    import pandas as pd

    if not path.is_file():
        raise UserError(f"{path} does not exist: run scripts/train_loso.py with this folder first")
    try:
        predictions = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not readable as parquet ({error}): write it again") from error
    _check_columns(predictions, path)
    _check_classes(predictions, classes, path)
    predictions = predictions.astype(dict.fromkeys(CLIP, str))
    twice = predictions.duplicated([*CLIP, "seed"])
    if twice.any():
        raise UserError(
            f"{path}: {_where(predictions[twice])} has two predictions for one seed, a clip is "
            "held out exactly once: remove the surplus rows"
        )
    return predictions


def _check_columns(predictions: pd.DataFrame, path: Path) -> None:
    missing = [column for column in REQUIRED_COLUMNS if column not in predictions]
    if missing or predictions.empty:
        raise UserError(
            f"{path} needs at least one row and the columns {', '.join(REQUIRED_COLUMNS)}; got "
            f"{len(predictions)} rows and no column {', '.join(missing) or 'missing'}"
        )
    # A branch that an ablation removed is empty throughout; anything else must be complete.
    holes = predictions.isna()
    branch_columns = [f"{b}_prediction" for b in BRANCHES] + [f"gate_{b}" for b in BRANCHES]
    for column in predictions.columns:
        removed = column in branch_columns and holes[column].all()
        if holes[column].any() and not removed:
            raise UserError(
                f"{path}: column {column} has no value for "
                f"{_where(predictions[holes[column]])}: every clip needs one, run that fold again"
            )


def _check_classes(predictions: pd.DataFrame, classes: Sequence[str], path: Path) -> None:
    branch_columns = [f"{branch}_prediction" for branch in BRANCHES]
    for column in ["label", "prediction", *branch_columns]:
        if column not in REQUIRED_COLUMNS and not _is_filled(predictions, column):
            continue
        unknown = ~predictions[column].isin(classes)
        if unknown.any():
            row = predictions[unknown]
            raise UserError(
                f"{path}: {column} {row[column].iloc[0]!r} of {_where(row)} is none of the "
                f"classes {', '.join(classes)}: mend it, or the classes in task.json"
            )


def _check_seeds(predictions: pd.DataFrame, name: str) -> None:
    """Every seed must have predicted the same clips, with the same labels."""
    clips = predictions.groupby(CLIP).agg(seeds=("seed", "nunique"), labels=("label", "nunique"))
    uneven = clips[(clips["seeds"] != predictions["seed"].nunique()) | (clips["labels"] != 1)]
    if len(uneven):
        raise UserError(
            f"{name}: {'/'.join(uneven.index[0])} is missing from a seed or has two labels; "
            "seeds are averaged over the same clips: finish the seed or remove it"
        )


def _check_same_clips(predictions: pd.DataFrame, baseline: pd.DataFrame, name: str) -> None:
    """A baseline is a fair comparison only on the same clips with the same labels."""
    ours, theirs = (
        frame.drop_duplicates(CLIP).set_index(CLIP)["label"] for frame in (predictions, baseline)
    )
    differing = set(ours.items()) ^ set(theirs.items())
    if differing:
        clip, _ = min(differing)
        raise UserError(
            f"baseline {name} and the model differ in clip {'/'.join(clip)} (absent or labelled "
            "differently): run the baseline again on the same pairs and task"
        )


def _is_filled(predictions: pd.DataFrame, column: str) -> bool:
    return column in predictions and not predictions[column].isna().any()


def _where(rows: pd.DataFrame) -> str:
    """The first row's clip, for an error message."""
    first = rows.iloc[0]
    return f"{first['dataset']}/{first['subject']}/{first['clip_id']}"
