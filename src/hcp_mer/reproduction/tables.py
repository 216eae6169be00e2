"""Tables 1 to 3 with what was measured here below the paper's rows, and both side by side."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hcp_mer.files import make_folder, write_json, write_whole
from hcp_mer.reporting.controls import CONTROLS
from hcp_mer.reporting.latex import render_latex
from hcp_mer.reporting.published import TABLES, PublishedColumn, PublishedTable
from hcp_mer.reporting.scores import read_metrics
from hcp_mer.reporting.table import baseline_names, readable
from hcp_mer.reproduction.settings import RUNS, Reproduction

OURS = "HCP_MER, measured here (last step)"
LEAKY = "leaky_best_epoch (a diagnostic, not a result)"


@dataclass(frozen=True)
class Row:
    """One row. `source`: "paper", "here", "leaky", "peer" or "control"; `cells`: a pair UF1, UAR
    as text for each of the table's columns, "" where there is none."""

    method: str
    source: str
    cells: tuple[tuple[str, str], ...]


def finished_runs(plan: Reproduction) -> dict[str, dict[str, Any]]:
    """Name of each run that has ended, whether or not its corpus was given now → its metrics."""
    return {
        name: read_metrics(plan.run_of(name))
        for name in RUNS
        if (plan.run_of(name) / "metrics.json").is_file()
    }


def run_of_column(column: PublishedColumn) -> str:
    """The run that measures a column: ("casme3", "7-class") → "casme3-7class"."""
    return f"{column.dataset}-{column.task.replace('-', '')}"


def rows_of(table: PublishedTable, runs: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The paper's rows as it prints them, then ours, the leaky one, peers and controls."""
    rows = [
        Row(method, "paper", tuple((_printed(uf1), _printed(uar)) for uf1, uar in scores))
        for method, scores in table.rows.items()
    ]
    own = [runs.get(run_of_column(column)) for column in table.columns]
    if not any(own):
        return rows
    rows.append(Row(OURS, "here", tuple(_measured(m, m and m["metrics"], None) for m in own)))
    if any(m and m.get("leak") for m in own):
        rows.append(Row(LEAKY, "leaky", tuple(map(_leaky, own))))
    names = dict.fromkeys(name for m in own if m for name in baseline_names(m))
    for name in names:
        cells = tuple(_measured(m, m and m["baselines"].get(name), name) for m in own)
        source = "control" if name in CONTROLS else "peer"
        title = CONTROLS[name].title if name in CONTROLS else readable(name)
        rows.append(Row(title, source, cells))
    return rows


def beside_the_paper(runs: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each run: the paper's score, the honest one here, the leaky one, guessing.

    Returns: {"run", "corpus", "task", "num_clips", "paper_num_clips", "paper_uf1", "paper_uar",
        "uf1", "uf1_interval_95", "uar", "uar_interval_95", "leaky_best_epoch_uf1",
        "leaky_best_epoch_uar", "guessing_last_uf1", "leaky_guessing_uf1", "chance_uf1"}; None
        where there is no such number.
    """
    printed = {run_of_column(c): (t, i, c) for t in TABLES for i, c in enumerate(t.columns)}
    rows = []
    for name, metrics in runs.items():
        table, place, column = printed.get(name, (None, 0, None))
        paper = list(table.rows.values())[-1][place] if table else (None, None)
        leak = metrics.get("leak") or {}
        guessing = leak.get("guessing_uf1") or {}
        rows.append(
            {
                "run": name,
                "corpus": column.dataset if column else "+".join(metrics["per_dataset"]),
                "task": metrics["task"],
                "num_clips": metrics["num_clips"],
                "paper_num_clips": column.num_clips if column else None,
                **{"paper_uf1": paper[0], "paper_uar": paper[1]},
                "uf1": metrics["metrics"]["uf1"],
                "uf1_interval_95": metrics["interval_95"]["uf1"],
                "uar": metrics["metrics"]["uar"],
                "uar_interval_95": metrics["interval_95"]["uar"],
                "leaky_best_epoch_uf1": leak.get("leaky_best_epoch_uf1"),
                "leaky_best_epoch_uar": leak.get("leaky_best_epoch_uar"),
                "guessing_last_uf1": guessing.get("not_chosen"),
                "leaky_guessing_uf1": guessing.get("chosen"),
                "chance_uf1": (metrics["baselines"].get("chance") or {}).get("uf1"),
            }
        )
    return rows


def completeness(runs: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Each of the paper's tables, and what its columns measured here lack; [] where nothing."""
    return [
        (
            f"Table {table.number} ({table.caption})",
            [lack for column in table.columns if (lack := _lacks(column, runs))],
        )
        for table in TABLES
    ]


def _lacks(column: PublishedColumn, runs: Mapping[str, Mapping[str, Any]]) -> str:
    metrics = runs.get(run_of_column(column))
    if metrics is None:
        return f"{column.title} not measured"
    if metrics["num_clips"] != column.num_clips:
        return f"{column.title} on {metrics['num_clips']} clips, the paper's are {column.num_clips}"
    return ""


def write_tables(runs: Mapping[str, Mapping[str, Any]], folder: Path) -> None:
    """table_<n>.csv, beside_the_paper.csv and .json, and tables.tex with all of them."""
    make_folder(folder)
    for table in TABLES:
        titles = [f"{c.title} {score}" for c in table.columns for score in ("UF1", "UAR")]
        lines = [["method", "source", *titles]]
        for row in rows_of(table, runs):
            cells = [cell for pair in row.cells for cell in pair]
            lines.append([row.method, row.source, *cells])
        _write_csv(folder / f"table_{table.number}.csv", lines)
    rows = beside_the_paper(runs)
    write_json(folder / "beside_the_paper.json", rows)
    if rows:
        lines = [list(rows[0]), *([_plain(value) for value in row.values()] for row in rows)]
        _write_csv(folder / "beside_the_paper.csv", lines)
        write_whole(folder / "tables.tex", render_latex(runs))


def _write_csv(path: Path, lines: list[list[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_whole(path, text.getvalue())


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        return " ".join(map(_plain, value))
    return "" if value is None else str(value)


def _printed(score: float | None) -> str:
    return "" if score is None else f"{score:.4f}"


def _measured(
    metrics: Mapping[str, Any] | None, scores: Mapping[str, float] | None, baseline: str | None
) -> tuple[str, str]:
    if metrics is None or scores is None:
        return "", ""
    every = metrics["baseline_interval_95"]
    intervals = metrics["interval_95"] if baseline is None else every[baseline]
    return tuple(f"{scores[key]:.3f}{_bracket(intervals[key])}" for key in ("uf1", "uar"))


def _bracket(bounds: list[float] | None) -> str:
    return "" if bounds is None else f" [{bounds[0]:.2f}, {bounds[1]:.2f}]"


def _leaky(metrics: Mapping[str, Any] | None) -> tuple[str, str]:
    leak = (metrics or {}).get("leak")
    if not leak:
        return "", ""
    return tuple(f"{leak[f'leaky_best_epoch_{key}']:.3f}" for key in ("uf1", "uar"))
