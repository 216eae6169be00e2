r"""Tables for a paper: the published rows as printed, below them what was measured here.

Runs of one corpus stand in the column that the paper has for it; synthetic, pooled and
cross-corpus runs, for which it has none, get a table of their own without its rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from hcp_mer.errors import UserError
from hcp_mer.files import write_whole
from hcp_mer.reporting.controls import CONTROLS
from hcp_mer.reporting.published import TABLES, PublishedTable
from hcp_mer.reporting.table import (
    MODEL_NAME,
    baseline_names,
    is_cross_corpus,
    is_synthetic,
    leaves_datasets_out,
    listed,
    partial_in_words,
    readable,
    trained_on,
)

_SPECIAL = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"³": r"\textsuperscript{3}", "²": r"\textsuperscript{2}", "→": r"$\rightarrow$"},
    **{"“": "``", "”": "''", "–": "--"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
}
_HEADER = r"""% Needs \usepackage{booktabs}.
% The rows under "As printed in the paper" were not measured by us.
"""
_OURS = f"{MODEL_NAME} (ours, honest LOSO, last step)"
_OURS_ACROSS = f"{MODEL_NAME} (ours, last step)"  # where some columns leave whole corpora out


def write_latex(runs: Mapping[str, Mapping[str, Any]], path: str | Path) -> None:
    """Write the tables into one .tex file.

    Args: runs: name of each run → content of its metrics.json.
    Raises:
        UserError: two runs for one column, or no folder to write into.
    """
    path = Path(path)
    if not path.parent.is_dir() or path.is_dir():
        raise UserError(f"{path} cannot be written: give a file in a folder that exists")
    write_whole(path, render_latex(runs))


def render_latex(runs: Mapping[str, Mapping[str, Any]]) -> str:
    r"""LaTeX with booktabs' rules: one table* for each of the paper's tables that a run is in.

    Args: runs: as for `write_latex`.
    """
    of_column = _by_column(runs)
    tables = [
        _published_table(table, of_column)
        for table in TABLES
        if any((column.dataset, column.task) in of_column for column in table.columns)
    ]
    others = [own for own in runs.values() if own not in of_column.values()]
    if others:
        tables.append(_own_table(others))
    return _HEADER + "\n" + "\n".join(tables)


def escaped(text: object) -> str:
    """Any text as LaTeX that prints it."""
    return "".join(_SPECIAL.get(sign, sign) for sign in " ".join(str(text).split()))


def _by_column(
    runs: Mapping[str, Mapping[str, Any]],
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """(dataset, task) → the run for that column of the paper's tables."""
    wanted = {(column.dataset, column.task) for table in TABLES for column in table.columns}
    found: dict[tuple[str, str], tuple[str, Mapping[str, Any]]] = {}
    for name, metrics in runs.items():
        key = (listed(metrics["per_dataset"]), metrics["task"])
        if key not in wanted or is_cross_corpus(metrics) or leaves_datasets_out(metrics):
            continue
        if key in found:
            raise UserError(
                f"{found[key][0]} and {name} are both runs of {key[0]}, {key[1]}: a column holds "
                "one, leave the other out or write it into a file of its own"
            )
        found[key] = name, metrics
    return {key: metrics for key, (_, metrics) in found.items()}


def _published_table(
    table: PublishedTable, of_column: Mapping[tuple[str, str], Mapping[str, Any]]
) -> str:
    columns = [of_column.get((column.dataset, column.task)) for column in table.columns]
    notes = list(dict.fromkeys(table.notes.values()))

    def mark(method: str, place: int | None) -> str:
        note = table.notes.get((method, place))
        return rf"\textsuperscript{{{ascii_lowercase[notes.index(note)]}}}" if note else ""

    lines = [_section("As printed in the paper (not measured here)", len(columns))]
    for method, scores in table.rows.items():
        cells = [escaped(method) + mark(method, None)]
        for index, (uf1, uar) in enumerate(scores):
            cells += [_number(uf1, 4), _number(uar, 4) + mark(method, index)]
        lines.append(_row(cells))
    lines += [r"\midrule", *_measured(columns)]
    titles = [_titled(column.title, own) for column, own in zip(table.columns, columns)]
    remarks = [
        *(rf"\textsuperscript{{{ascii_lowercase[i]}}} {escaped(n)}" for i, n in enumerate(notes)),
        *map(escaped, table.remarks),
    ]
    for column, own in zip(table.columns, columns):
        if own and own["num_clips"] != column.num_clips:
            remarks.append(
                escaped(
                    f"{column.title}: {own['num_clips']} clips were measured here, "
                    f"{column.num_clips} are in the paper."
                )
            )
    caption = f"{table.caption}: the rows of Table {table.number} of the paper as it prints them, "
    caption += "and what was measured here."
    return _float(caption, f"table-{table.number}", titles, lines, remarks)


def _own_table(runs: Sequence[Mapping[str, Any]]) -> str:
    """Runs that none of the paper's columns is about."""
    titles = []
    for own in runs:
        name = listed(own["per_dataset"])
        if is_cross_corpus(own):
            name = f"{listed(trained_on(own))} → {name}"
        elif leaves_datasets_out(own):
            name += ", leave one dataset out"
        synthetic = ", synthetic" if is_synthetic(own) else ""
        titles.append(_titled(f"{name}, {own['task']}{synthetic}", own))
    caption = "Corpora and protocols for which the paper has no column."
    if any(map(is_synthetic, runs)):
        caption += " Synthetic clips were rendered by a program and say nothing about people."
    return _float(caption, "own", titles, _measured(list(runs)), [])


def _measured(columns: Sequence[Mapping[str, Any] | None]) -> list[str]:
    """The model, peers and controls; a dash where a column has no run, or the run no such row."""
    present = [own for own in columns if own]
    names = list(dict.fromkeys(name for own in present for name in baseline_names(own)))
    groups = {
        "Measured here, on the same folds": [name for name in names if name not in CONTROLS],
        "Controls: the model without one thing": [name for name in CONTROLS if name in names],
    }
    lines = []
    for heading, members in groups.items():
        if lines and members:
            lines.append(r"\midrule")
        if not lines or members:
            lines.append(_section(heading, len(columns)))
        if len(lines) == 1:
            across = any(is_cross_corpus(own) or leaves_datasets_out(own) for own in present)
            ours = _OURS_ACROSS if across else _OURS
            lines.append(_row([escaped(ours), *_cells(columns, None)]))
        for name in members:
            title = CONTROLS[name].title if name in CONTROLS else readable(name)
            lines += [r"\addlinespace[2pt]", _row([escaped(title), *_cells(columns, name)])]
    return lines


def _cells(columns: Iterable[Mapping[str, Any] | None], name: str | None) -> list[str]:
    cells = []
    for own in columns:
        scores = intervals = None
        if own and name is None:
            scores, intervals = own["metrics"], own["interval_95"]
        elif own and name in own["baselines"]:
            scores, intervals = own["baselines"][name], own["baseline_interval_95"][name]
        cells += [_stacked(scores, intervals, key) for key in ("uf1", "uar")]
    return cells


def _stacked(scores: Mapping | None, intervals: Mapping | None, key: str) -> str:
    """A score above its interval."""
    if scores is None:
        return "--"
    if not intervals or not intervals.get(key):
        return _number(scores[key])
    low, high = intervals[key]
    return (
        rf"\begin{{tabular}}[t]{{@{{}}c@{{}}}}{_number(scores[key])}\\[-2pt]"
        rf"{{\scriptsize [{low:.3f}, {high:.3f}]}}\end{{tabular}}"
    )


def _float(
    caption: str, label: str, titles: Sequence[str], lines: Sequence[str], remarks: Sequence[str]
) -> str:
    number = len(titles)
    heads = " & ".join(rf"\multicolumn{{2}}{{c}}{{{title}}}" for title in titles)
    rules = "".join(rf"\cmidrule(lr){{{2 * i + 2}-{2 * i + 3}}}" for i in range(number))
    caption += " Brackets: 95 % interval, subjects drawn with replacement."
    notes = [r"\par\smallskip\footnotesize\raggedright", " ".join(remarks)] if remarks else []
    return "\n".join(
        [
            *(r"\begin{table*}", r"\centering"),
            rf"\caption{{{escaped(caption)}}}",
            rf"\label{{tab:hcp-mer-{label}}}",
            rf"\begin{{tabular}}{{l{'cc' * number}}}",
            r"\toprule",
            rf" & {heads} \\ {rules}",
            _row(["Method", *(["UF1", "UAR"] * number)]),
            *(r"\midrule", *lines, r"\bottomrule", r"\end{tabular}", *notes, r"\end{table*}", ""),
        ]
    )


def _titled(title: str, own: Mapping[str, Any] | None) -> str:
    partial = partial_in_words(own) if own else ""
    seeds = f", mean of {len(own['seeds'])} seeds" if own and len(own["seeds"]) > 1 else ""
    return escaped(f"{title}{seeds}{f', {partial}' if partial else ''}")


def _section(title: str, num_columns: int) -> str:
    return rf"\multicolumn{{{2 * num_columns + 1}}}{{l}}{{\emph{{{escaped(title)}}}}} \\"


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _number(value: float | None, digits: int = 3) -> str:
    return "--" if value is None else f"{value:.{digits}f}"
