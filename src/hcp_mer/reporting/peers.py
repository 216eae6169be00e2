"""Peers beside each other: scores, what they took, and the table of both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from hcp_mer.reporting.scores import compute_metrics
from hcp_mer.reporting.table import (
    MODEL_NAME,
    NO_INTERVAL,
    SCORE_TITLES,
    is_synthetic,
    listed,
    readable,
    run_title,
)

if TYPE_CHECKING:
    import pandas as pd

_UNKNOWN = "–"
_TOOK = ("params", "s")
_LONGEST_WORD = len("regression")  # of a peer's name: a narrow terminal breaks between words


def compare_peers(
    tables: Mapping[str, pd.DataFrame],
    costs: Mapping[str, Mapping[str, Any]],
    task: str,
    classes: Sequence[str],
    protocol: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of baselines.json.

    Args:
        tables: system → its answers, as `hcp_mer.reporting.scores.compute_metrics` takes them;
            all on the same clips.
        costs: system → {"seconds", "num_folds", "num_parameters", "deterministic"}, where known.
        protocol: "protocol" and "training_data" of the run.
    Returns: {"title", "task", "classes", "num_clips", "num_subjects", "synthetic", "protocol",
        "systems"}; of each system {"metrics", "interval_95", "per_dataset",
        "per_dataset_interval_95", "seeds"} and its cost. An interval is None with one subject.
    """
    scored = {name: compute_metrics(table, {}, task, classes) for name, table in tables.items()}
    kept = ("metrics", "interval_95", "per_dataset", "per_dataset_interval_95", "seeds")
    any_of_them = next(iter(scored.values()))
    trained_on = list(protocol["training_data"])
    header = {**any_of_them, **protocol, "trained_on": trained_on, "seeds": [0]}
    return {
        "title": run_title(header),
        **{key: any_of_them[key] for key in ("task", "classes", "num_clips", "num_subjects")},
        "synthetic": is_synthetic(any_of_them),
        "protocol": protocol["protocol"],
        "systems": {
            name: {**{key: metrics[key] for key in kept}, **costs.get(name, {})}
            for name, metrics in scored.items()
        },
    }


def print_peers(result: Mapping[str, Any], file: IO[str] | None = None) -> None:
    """Print the table, one of each corpus where there are several, and the notes.

    Args: file: where to print, standard output when None.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=file, markup=False, highlight=False)
    for title, header, rows in _tables(result, _count_in_short):
        table = Table(title=Text(title), box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column(Text(header[0]), min_width=_LONGEST_WORD)
        for name in header[1:]:
            table.add_column(Text(name), justify="right" if name in _TOOK else "left", no_wrap=True)
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
    for line in notes(result):
        console.print(line)


def peers_markdown(result: Mapping[str, Any]) -> str:
    """The same in Markdown."""
    parts = []
    for title, header, rows in _tables(result, _count):
        rule = ["---", *["---:"] * (len(header) - 1)]
        lines = [f"| {' | '.join(map(_cell, row))} |" for row in (header, rule, *rows)]
        parts += [f"**{_cell(title)}**", "\n".join(lines)]
    return "\n\n".join([*parts, *map(_cell, notes(result))]) + "\n"


def notes(result: Mapping[str, Any]) -> list[str]:
    """What the table does not say by itself, a sentence a line."""
    systems = result["systems"]
    seeds = {name: system["seeds"] for name, system in systems.items()}
    lines = list(result.get("verdicts", []))
    if any(system["interval_95"]["uf1"] for system in systems.values()):
        lines.append("[low, high]: 95 % interval over subjects.")
    else:
        lines.append(NO_INTERVAL)
    several = [name for name, own in seeds.items() if len(own) > 1]
    if several:
        most = max(len(own) for own in seeds.values())
        lines.append(f"Means of {most} seeds: {listed(map(_title, several))}.")
    fixed = [name for name, system in systems.items() if system.get("deterministic")]
    if fixed:
        lines.append(f"Deterministic, so one seed is all: {listed(map(_title, fixed))}.")
    if any(system.get("seconds") is not None for system in systems.values()):
        lines.append(
            "params: numbers of one fold that are set from labels. s: seconds of fitting and "
            "answering, all folds and seeds, on this machine; without the frozen tower's features, "
            "which all share."
        )
    if result.get("trial"):
        lines.append(_trial_in_words(result["trial"]))
    return lines


def _trial_in_words(trial: Mapping[str, Any]) -> str:
    expected = [
        f"{_title(name)} {_duration(seconds)}"
        for name, seconds in trial["expected_seconds"].items()
    ]
    return (
        f"A TRIAL on {trial['num_folds']} of {trial['of']} folds: no result, and not in the run's "
        f"report. All folds would take about: {', '.join(expected)}."
    )


def print_methods(rows: Sequence[tuple[str, ...]], header: tuple[str, ...]) -> None:
    """Print what methods there are."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(*header, box=box.SIMPLE_HEAD, pad_edge=False)
    table.columns[0].no_wrap = True
    for row in rows:
        table.add_row(*row)
    Console(markup=False, highlight=False).print(table)


def _tables(
    result: Mapping[str, Any], count: Callable[[int], str]
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of the main table, and of that by corpus if there are several."""
    trial = result.get("trial")
    suffix = f": trial of {trial['num_folds']} of {trial['of']} folds" if trial else ""
    header = ["", *SCORE_TITLES.values(), *_TOOK]
    rows = [
        [
            _title(name),
            *(_score(system["metrics"][key], system["interval_95"][key]) for key in SCORE_TITLES),
            _known(system.get("num_parameters"), count),
            _known(system.get("seconds"), _seconds),
        ]
        for name, system in result["systems"].items()
    ]
    tables = [(result["title"] + suffix, header, rows)]
    corpora = list(next(iter(result["systems"].values()))["per_dataset"])
    if len(corpora) > 1:
        rows = [
            [
                _title(name),
                *(
                    _score(
                        system["per_dataset"][corpus]["uf1"],
                        system["per_dataset_interval_95"][corpus]["uf1"],
                    )
                    for corpus in corpora
                ),
            ]
            for name, system in result["systems"].items()
        ]
        tables.append(("UF1 on each corpus by itself", ["", *corpora], rows))
    return tables


def _title(name: str) -> str:
    return name if name == MODEL_NAME else readable(name)


def _score(score: float, interval: Sequence[float] | None) -> str:
    """0.926 in [0.88, 1.00] → ".926 [.88, 1.0]": six columns must fit 80 characters."""
    bounds = "" if interval is None else " [{}, {}]".format(*(_short(end, 2) for end in interval))
    return _short(score, 3) + bounds


def _short(share: float, digits: int) -> str:
    """A share in one character less: .93 or 1.0."""
    text = f"{share:.{digits}f}"
    return text[1:] if text.startswith("0") else text[:-1]


def _known(value: float | None, to_text: Callable[[float], str]) -> str:
    return _UNKNOWN if value is None else to_text(value)


def _count(number: int) -> str:
    return f"{number:,}"


def _count_in_short(number: int) -> str:
    """7,059 and 57.0 M: at most six characters."""
    if number < 10_000:
        return f"{number:,}"
    return f"{number / 1e3:.0f} k" if number < 1_000_000 else f"{number / 1e6:.1f} M"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds < 10 else f"{seconds:,.0f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _cell(text: str) -> str:
    """Names of corpora are the user's: none ends a cell."""
    return text.replace("|", "\\|").replace("<", "&lt;")
