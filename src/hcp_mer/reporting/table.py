"""The scores in words and as the table that a run prints when it ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import IO, TYPE_CHECKING, Any

from hcp_mer.reporting.controls import CONTROLS, outcome
from hcp_mer.reporting.scores import corpus_sizes

if TYPE_CHECKING:
    from rich.table import Table

MODEL_NAME = "HCP_MER"
SCORE_TITLES = {"accuracy": "accuracy", "uf1": "UF1", "uar": "UAR"}
SYNTHETIC_DATASETS = {"procedural"}
NO_INTERVAL = "One subject only: how far a score depends on who the subjects are cannot be said."


def print_scores(metrics: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Print the table and, per baseline, whether the model beats it.

    Args:
        metrics: as `hcp_mer.reporting.scores.compute_metrics` returns it.
        file: where to print, standard output when None; 80 columns wide if it is no terminal.
    """
    from rich.console import Console

    # Dataset and baseline names are the user's: none of their brackets may act as markup.
    console = Console(file=file, markup=False, highlight=False)
    console.print(score_table(metrics))
    if len(metrics["per_dataset"]) > 1:
        console.print()
        console.print(corpora_table(metrics))
    for sentence in filter(
        None, [pooling(metrics), *labels_in_words(metrics), *baseline_verdicts(metrics)]
    ):
        console.print(sentence)
    if not has_intervals(metrics):
        console.print(NO_INTERVAL)


def labels_in_words(metrics: Mapping[str, Any]) -> list[str]:
    """Clips per class beside the published counts, and those that the label scheme leaves out."""
    lines = [f"Labels: {line}." for line in metrics.get("label_counts", [])]
    words = metrics.get("left_out_by_protocol") or {}
    if words:
        listed = ", ".join(f"{word} {number}" for word, number in words.items())
        number = counted(sum(words.values()), "clip")
        lines.append(f"The {metrics['task']} protocol leaves out {number}: {listed}.")
    return lines


def score_table(metrics: Mapping[str, Any]) -> Table:
    """Rows: the model, then each baseline. Columns: accuracy, UF1, UAR with 95 % intervals."""
    explanation = "[low, high]: 95 % interval over subjects" if has_intervals(metrics) else ""
    return _table(run_title(metrics), "", systems(metrics), explanation)


def corpora_table(metrics: Mapping[str, Any]) -> Table:
    """Rows: each corpus by itself, with its size. Columns as in `score_table`."""
    rows = (
        (
            f"{corpus['name']}\n{corpus['num_clips']}/{corpus['num_subjects']}",
            corpus["scores"],
            corpus["intervals"],
        )
        for corpus in corpora(metrics)
    )
    title = f"{MODEL_NAME}, each corpus by itself; below its name, clips/subjects"
    return _table(title, "corpus", rows)


def _table(
    title: str,
    heading: str,
    rows: Iterable[tuple[str, Mapping[str, float], Mapping[str, list[float] | None]]],
    explanation: str = "",
) -> Table:
    """One row for each name with its scores and intervals."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), caption=Text(explanation), box=box.SIMPLE_HEAD)
    table.add_column(Text(heading), overflow="fold")
    for score_title in SCORE_TITLES.values():
        table.add_column(score_title, no_wrap=True)
    for name, scores, intervals in rows:
        cells = [f"{scores[key]:.3f} {_bracket(intervals[key])}" for key in SCORE_TITLES]
        table.add_row(*(Text(cell) for cell in (name, *cells)))
    return table


def run_title(metrics: Mapping[str, Any]) -> str:
    """One line: task, size, protocol, and that the clips are synthetic where they are."""
    num_seeds = len(metrics["seeds"])
    parts = [
        partial_in_words(metrics),
        metrics["task"],
        "synthetic" if is_synthetic(metrics) else "",
        counted(metrics["num_clips"], "clip"),
        counted(metrics["num_subjects"], "subject"),
        f"trained on {listed(trained_on(metrics))}, tested on {listed(metrics['per_dataset'])}"
        if is_cross_corpus(metrics)
        else "leave one dataset out"
        if leaves_datasets_out(metrics)
        else "LOSO",
        "last step",
        f"mean of {num_seeds} seeds" if num_seeds > 1 else "",
    ]
    return ", ".join(part for part in parts if part)


def systems(
    metrics: Mapping[str, Any],
) -> Iterator[tuple[str, dict[str, float], dict[str, list[float] | None]]]:
    """Name, scores and intervals of the model, then of each baseline."""
    yield MODEL_NAME, metrics["metrics"], metrics["interval_95"]
    for name in baseline_names(metrics):
        scores, intervals = metrics["baselines"][name], metrics["baseline_interval_95"][name]
        yield readable(name), scores, intervals


def baseline_verdicts(metrics: Mapping[str, Any]) -> list[str]:
    """One sentence per baseline: does the model beat it in UF1, beyond what subjects explain?

    The 95 % interval is that of the paired difference, model minus baseline. A model that does
    not beat chance is compared with nothing else.
    """
    if not beats_chance(metrics):
        return [
            f"{MODEL_NAME} does not clearly beat chance (the same training on shuffled labels): "
            "nothing can be read from the other rows."
        ]
    return [verdict(metrics, name) for name in baseline_names(metrics)]


def beats_chance(metrics: Mapping[str, Any]) -> bool:
    """Whether the model clearly beats the same training on shuffled labels, if that was run."""
    by_chance = metrics["baseline_difference_95"].get("chance", {}).get("uf1")
    return by_chance is None or by_chance[0] > 0


def verdict(metrics: Mapping[str, Any], name: str) -> str:
    """The sentence about one baseline; of a control it says what the comparison teaches."""
    gain = metrics["metrics"]["uf1"] - metrics["baselines"][name]["uf1"]
    interval = metrics["baseline_difference_95"][name]["uf1"]
    result = outcome(interval)
    if result is None:
        return f"{MODEL_NAME} against {readable(name)}: UF1 {gain:+.3f}."
    control = CONTROLS.get(name)
    verb = {
        "better": "beats",
        "worse": "is worse than",
        "tie": "ties" if control else "does not clearly beat",
    }[result]
    low, high = interval
    lesson = f": {control.lesson(result)}" if control else ""
    return (
        f"{MODEL_NAME} {verb} {readable(name)}: UF1 {gain:+.3f}, "
        f"95 % interval of the difference {low:+.3f} to {high:+.3f}{lesson}."
    )


def baseline_names(metrics: Mapping[str, Any]) -> list[str]:
    """Peers first, then the controls in their own order."""
    names = list(metrics["baselines"])
    peers = [name for name in names if name not in CONTROLS]
    return peers + [name for name in CONTROLS if name in names]


def corpora(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each corpus that was tested on: name, num_clips, num_subjects, scores, intervals, baselines.

    `baselines` holds the scores of each, by name; it is empty where there is one corpus only.
    """
    sizes = corpus_sizes(metrics["per_subject"])
    return [
        {
            "name": name,
            **sizes[name],
            "scores": scores,
            # Runs that were scored by an earlier version have none.
            "intervals": metrics.get("per_dataset_interval_95", {}).get(
                name, dict.fromkeys(SCORE_TITLES)
            ),
            "baselines": metrics.get("per_dataset_baselines", {}).get(name, {}),
        }
        for name, scores in metrics["per_dataset"].items()
    ]


def pooling(metrics: Mapping[str, Any]) -> str:
    """What the pooled scores of several corpora are, in a sentence; empty for one corpus."""
    number = len(metrics["per_dataset"])
    if number < 2:
        return ""
    return (
        f"The scores over all {number} corpora pool their clips, so that a corpus counts by its "
        "number of clips: they are not the mean over the corpora."
    )


def partial_in_words(metrics: Mapping[str, Any]) -> str:
    """That folds are missing, short enough for a title; empty where the run is complete."""
    partial = metrics.get("partial")
    if not partial:
        return ""
    return f"PARTIAL ({partial['num_finished']} of {partial['num_folds']} folds)"


def is_cross_corpus(metrics: Mapping[str, Any]) -> bool:
    """Whether whole corpora were tested on that nothing was trained on."""
    return metrics.get("protocol") == "cross_corpus"


def leaves_datasets_out(metrics: Mapping[str, Any]) -> bool:
    """Whether each corpus was tested by a model of all others."""
    return metrics.get("protocol") == "leave_one_dataset_out"


def trained_on(metrics: Mapping[str, Any]) -> list[str]:
    """Names of the corpora that the saved model was trained on."""
    return metrics.get("trained_on") or list(metrics["per_dataset"])


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: "a", "a and b", "a, b and c"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def is_synthetic(metrics: Mapping[str, Any]) -> bool:
    """Whether every clip was rendered, so that the scores say nothing about real faces."""
    return set(metrics["per_dataset"]) <= SYNTHETIC_DATASETS


def has_intervals(metrics: Mapping[str, Any]) -> bool:
    """Whether there are the two subjects that an interval over subjects needs."""
    return metrics["num_subjects"] >= 2


def readable(name: str) -> str:
    """A file's name as words: "zero_shot" → "zero shot"."""
    return name.replace("_", " ")


def counted(number: int, noun: str) -> str:
    """A number with its noun: 1 → "1 clip", 2 → "2 clips"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _bracket(interval: list[float] | None) -> str:
    return "" if interval is None else f"[{interval[0]:.2f}, {interval[1]:.2f}]"
