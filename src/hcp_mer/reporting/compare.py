"""Two runs on the same clips: is one better, by how much, and on which clips do they differ?

Subjects are drawn together for both runs, so that what makes a subject hard for both drops out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hcp_mer.errors import UserError
from hcp_mer.metrics.intervals import bootstrap_difference_over_subjects
from hcp_mer.reporting.controls import outcome
from hcp_mer.reporting.scores import (
    CLIP,
    SCORES,
    SUBJECT,
    read_predictions,
    read_task,
    subject_confusions,
)
from hcp_mer.reporting.table import SCORE_TITLES, SYNTHETIC_DATASETS, counted

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

_NO_DIFFERENCE = "No difference can be shown"
_NOT_A_SETTING = ("identity",)  # of recipe.yaml: a hash of the others
_LONGEST_VALUE = 40


def compare_runs(first: str | Path, second: str | Path) -> dict[str, Any]:
    """Paired comparison of two run folders, A and B; every difference is A minus B.

    Returns: {"runs": {"A", "B"}, "task", "num_clips", "num_subjects", "seeds": {"A", "B"},
        "synthetic", "pooled", "per_dataset": {name: …}, "clips", "settings"}. `pooled`, and each
        corpus where there are several: {"num_clips", "num_subjects", "scores": {"A", "B"},
        "difference", "difference_95", "verdict"}. `clips`: see `clip_by_clip`. `settings`: name
        of each setting that differs → [A's, B's].
    Raises:
        UserError: one folder twice, a run that is unfinished, or runs of other tasks, classes,
            clips or labels.
    """
    roots = Path(first), Path(second)
    if roots[0].resolve() == roots[1].resolve():
        raise UserError(f"{first} and {second} are one folder: give two different runs")
    tasks = [read_task(root) for root in roots]
    _check_tasks(roots, tasks)
    (task, classes), _ = tasks
    tables = [read_predictions(root / "predictions.parquet", classes) for root in roots]
    _check_clips(roots, tables)
    names = sorted(tables[0]["dataset"].unique())
    parts = {
        name: [table[table["dataset"] == name] for table in tables]
        for name in (names if len(names) > 1 else [])
    }
    return {
        "runs": dict(zip("AB", map(str, roots))),
        "task": task,
        "synthetic": set(names) <= SYNTHETIC_DATASETS,
        "num_clips": len(tables[0][CLIP].drop_duplicates()),
        "num_subjects": len(tables[0][SUBJECT].drop_duplicates()),
        "seeds": dict(zip("AB", (sorted(map(int, t["seed"].unique())) for t in tables))),
        "pooled": _compared(tables, classes),
        "per_dataset": {name: _compared(part, classes) for name, part in parts.items()},
        "clips": clip_by_clip(*tables),
        "settings": _differing_settings(roots),
    }


def clip_by_clip(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    """How many clips both, one, or neither recognised, each with its lowest seed.

    Returns: {"both_right", "only_a", "only_b", "none", "mcnemar_p", "seeds": {"A", "B"}}; the
        exact McNemar test takes clips for independent, which those of one subject are not.
    """
    from scipy.stats import binomtest

    seeds = [int(table["seed"].min()) for table in (first, second)]
    right = [
        (own["label"] == own["prediction"]).to_numpy()
        for own in (
            table[table["seed"] == seed].sort_values(CLIP)
            for table, seed in zip((first, second), seeds)
        )
    ]
    only_a, only_b = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    differing = only_a + only_b
    return {
        "both_right": int((right[0] & right[1]).sum()),
        "only_a": only_a,
        "only_b": only_b,
        "none": int((~right[0] & ~right[1]).sum()),
        "mcnemar_p": float(binomtest(only_a, differing).pvalue) if differing else 1.0,
        "seeds": dict(zip("AB", seeds)),
    }


def print_comparison(comparison: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Print the tables, what they say in words, and what differs between the runs."""
    from rich.console import Console

    console = Console(file=file, markup=False, highlight=False)
    for letter, root in comparison["runs"].items():
        seeds = comparison["seeds"][letter]
        console.print(f"{letter}: {root} ({counted(len(seeds), 'seed')})", soft_wrap=True)
    size = f"{counted(comparison['num_clips'], 'clip')} of " + counted(
        comparison["num_subjects"], "subject"
    )
    kind = ", synthetic" if comparison["synthetic"] else ""
    console.print(_table(f"{comparison['task']}{kind}, the same {size}", comparison["pooled"]))
    console.print(comparison["pooled"]["verdict"])
    for name, part in comparison["per_dataset"].items():
        console.print(_table(f"{name}, {counted(part['num_clips'], 'clip')}", part))
        console.print(f"{name}: {part['verdict']}")
    for line in clips_in_words(comparison["clips"]):
        console.print(line)
    if not comparison["settings"]:
        console.print("By their recipes the two runs are the same.")
    for name, (ours, theirs) in comparison["settings"].items():
        console.print(f"differs: {name}: A {ours}, B {theirs}", soft_wrap=True)


def clips_in_words(clips: Mapping[str, Any]) -> list[str]:
    """The counts, and the test with its remark."""
    seeds = clips["seeds"]
    return [
        f"Clip by clip (seed {seeds['A']} of A, {seeds['B']} of B): both right "
        f"{clips['both_right']}, only A {clips['only_a']}, only B {clips['only_b']}, "
        f"neither {clips['none']}.",
        f"Aside: exact McNemar test p = {clips['mcnemar_p']:.3g}; it takes clips for independent, "
        "which the clips of one subject are not: trust the interval over subjects.",
    ]


def _check_tasks(roots: tuple[Path, Path], tasks: list[tuple[str, list[str]]]) -> None:
    (task, classes), (other_task, other_classes) = tasks
    if task != other_task:
        raise UserError(
            f"{roots[0]} is a run of the {task} task and {roots[1]} of the {other_task} task: "
            "scores compare under one task only, give two runs of the same"
        )
    if set(classes) != set(other_classes):
        raise UserError(
            f"{roots[0]} tells {', '.join(classes)} apart and {roots[1]} "
            f"{', '.join(other_classes)}: scores compare over the same classes only, train one "
            "of them again with the other's task"
        )


def _check_clips(roots: tuple[Path, Path], tables: list[pd.DataFrame]) -> None:
    """Both runs must have predicted the same clips, with the same labels, in every seed."""
    for root, table in zip(roots, tables):
        times = table.groupby(CLIP)["seed"].nunique()
        if times.min() < table["seed"].nunique():
            raise UserError(
                f"{root}: {'/'.join(times.idxmin())} is missing from a seed, and seeds are "
                "averaged over the same clips: run the same train_loso command again"
            )
    ours, theirs = (table.drop_duplicates(CLIP).set_index(CLIP)["label"] for table in tables)
    for here, there, own, other in ((*roots, ours, theirs), (*roots[::-1], theirs, ours)):
        extra = own.index.difference(other.index)
        if len(extra):
            raise UserError(
                f"{here} has {counted(len(extra), 'clip')} that {there} lacks (first "
                f"{'/'.join(extra[0])}): a paired comparison needs the same clips, train both "
                "runs on the same pairs"
            )
    differing = ours[ours != theirs.reindex(ours.index)]
    if len(differing):
        clip = differing.index[0]
        raise UserError(
            f"{'/'.join(clip)} is labelled {ours[clip]} in {roots[0]} and {theirs[clip]} in "
            f"{roots[1]} ({counted(len(differing), 'such clip')}): train both runs with the same "
            "label scheme"
        )


def _compared(tables: list[pd.DataFrame], classes: list[str]) -> dict[str, Any]:
    """Scores, paired differences and the sentence about them, of some clips."""
    ours, theirs = (subject_confusions(table, classes) for table in tables)
    scores = {
        letter: {name: float(score(own.sum(axis=1)).mean()) for name, score in SCORES.items()}
        for letter, own in (("A", ours), ("B", theirs))
    }
    intervals = {
        name: bootstrap_difference_over_subjects(ours, theirs, score)
        for name, score in SCORES.items()
    }
    part = {
        "num_clips": len(tables[0][CLIP].drop_duplicates()),
        "num_subjects": ours.shape[1],
        "scores": scores,
        "difference": {name: scores["A"][name] - scores["B"][name] for name in SCORES},
        "difference_95": {name: own and list(own) for name, own in intervals.items()},
    }
    return {**part, "verdict": _verdict(part)}


def _verdict(part: Mapping[str, Any]) -> str:
    """The answer by UF1, the score of the field, with its interval."""
    gain, interval = part["difference"]["uf1"], part["difference_95"]["uf1"]
    result = outcome(interval)
    if result is None:
        return (
            f"A minus B in UF1: {gain:+.3f}. With one subject only, whether that is more than "
            "chance cannot be said."
        )
    subjects = counted(part["num_subjects"], "subject")
    words = {"better": "A is better than B", "worse": "A is worse than B", "tie": _NO_DIFFERENCE}
    low, high = interval
    return (
        f"{words[result]} on these {subjects}: UF1 {gain:+.3f}, 95 % interval of the paired "
        f"difference {low:+.3f} to {high:+.3f}."
    )


def _table(title: str, part: Mapping[str, Any]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), box=box.SIMPLE_HEAD)
    for heading in ("", "A", "B", "A minus B", "95 % interval"):
        table.add_column(heading, no_wrap=True)
    for key, score in SCORE_TITLES.items():
        interval = part["difference_95"][key]
        table.add_row(
            score,
            f"{part['scores']['A'][key]:.3f}",
            f"{part['scores']['B'][key]:.3f}",
            f"{part['difference'][key]:+.3f}",
            Text(f"[{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else "–"),
        )
    return table


def _differing_settings(roots: tuple[Path, Path]) -> dict[str, list[str]]:
    """Every leaf of the two recipe.yaml that is not the same, long values shortened."""
    ours, theirs = (_settings(root / "recipe.yaml") for root in roots)
    return {
        name: [_short(own.get(name, "not said")) for own in (ours, theirs)]
        for name in dict.fromkeys((*ours, *theirs))
        if ours.get(name) != theirs.get(name) and name not in _NOT_A_SETTING
    }


def _settings(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged ({error}): give the folder of a run") from error
    return dict(_leaves(content)) if isinstance(content, dict) else {}


def _leaves(content: Mapping[str, Any], above: str = "") -> Any:
    """("recipe.model.au_text", value) of nested mappings; a list is one value."""
    for key, value in content.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"
