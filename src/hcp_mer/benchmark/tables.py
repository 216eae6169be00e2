"""What was measured as a table: with rich where it is installed, in plain columns elsewhere."""

from __future__ import annotations

from typing import Any

Cells = tuple[list[str], list[list[str]]]  # header and rows


def loso_table(result: dict[str, Any]) -> Cells:
    """Header and rows of `run_ladder`'s result."""
    header = ["per fold-step", "cpu ms", "min–max", "wall ms", "step", "all", "loss diff."]
    rows = [
        [
            step["name"],
            *milliseconds(step),
            f"{step['ratio_to_previous']:.2f}",
            f"{step['ratio']:.1f}",
            f"{step['max_loss_difference']:.0e}",
        ]
        for step in result["steps"]
    ]
    return header, rows


def prepare_table(result: dict[str, Any]) -> Cells:
    """Header and rows of `run_prepare`'s result."""
    header = ["motion preparation", "clips/s", "slowest–fastest", "cpu ms a clip"]
    rows = []
    for name in ("one_process", "two_processes"):
        way = result[name]
        slowest, fastest = 1 / way["wall_s"]["max"], 1 / way["wall_s"]["min"]
        label = name.replace("_", " ")
        speed, cpu_ms = way["clips_per_s"], 1000 * way["cpu_s"]["median"]
        rows.append([label, f"{speed:.1f}", f"{slowest:.1f}–{fastest:.1f}", f"{cpu_ms:.1f}"])
    return header, rows


def inference_table(result: dict[str, Any]) -> Cells:
    """Header and rows of `run_inference`'s result."""
    header = ["warm call", "cpu ms", "min–max", "wall ms", "of the forwards"]
    ways = result["ways"].items()
    return header, [[name, *milliseconds(way), f"{way['ratio']:.2f}"] for name, way in ways]


def branches_tables(result: dict[str, Any]) -> list[Cells]:
    """Header and rows of `run_branches`'s result, a table for each kind of clips."""
    tables = []
    for kind, entry in result["kinds"].items():
        header = [f"clips: {kind}", "UF1 [95 %]", "− better branch", "α_h", "β_c", "h in", "c in"]
        rows = [
            [
                variant["name"],
                f"{variant['uf1']:.3f} {_bounds(variant['interval'], '.2f')}",
                "–"
                if variant["difference"] is None
                else f"{variant['difference']:+.3f} "
                f"{_bounds(variant['difference_interval'], '+.2f')}",
                *(
                    f"{variant[key][branch]:.2f}" if variant[key] else "–"
                    for key in ("gates", "within")
                    for branch in ("holistic", "componential")
                ),
            ]
            for variant in entry["variants"]
        ]
        tables.append((header, rows))
    return tables


def branches_summary(result: dict[str, Any]) -> str:
    """Whether fusion pays, kind by kind."""
    of = result["settings"]
    sentences = [f"{kind}: {entry['sentence']}" for kind, entry in result["kinds"].items()]
    last = (
        f"pooled UF1 of {of['subjects']} subjects with {of['clips_per_subject']} clips, each left "
        "out once; 95 % intervals over subjects; h in, c in: UF1 of a branch's own answers inside "
        "the variant. At least as good: that interval is not wholly below zero; its lower end is "
        "what fusion may still lose. Drawn faces: about software, nothing about people"
    )
    return "\n".join([*sentences, last])


def backbone_table(result: dict[str, Any]) -> Cells:
    """Header and rows of `run_backbone`'s result; * where a row differs from the SVM's.

    Domains are numbered as `backbone_summary` names them.
    """
    numbers = [str(number + 1) for number in range(len(result["rows"][0]["domains"]))]
    header = ["UF1, by domain", *numbers, "mean", "worst"]
    rows = []
    for row in result["rows"]:
        label = _label(row)
        cells = [f"{d['uf1']:.3f}{_beyond_noise(d['minus_svm'])}" for d in row["domains"].values()]
        rows.append([label, *cells, f"{row['mean']:.3f}", f"{row['worst']:.3f}"])
    return header, rows


def _label(row: dict[str, Any]) -> str:
    return " ".join(filter(None, (row["backbone"], row["name"])))


def _beyond_noise(difference: dict[str, Any] | None) -> str:
    if difference is None or difference["interval"][0] <= 0 <= difference["interval"][1]:
        return " "
    return "*"


def backbone_summary(result: dict[str, Any]) -> str:
    """What the figures of `backbone_table` are."""
    of = result["settings"]
    domains = enumerate(result["rows"][0]["domains"], start=1)
    names = ", ".join(f"{number} {name}" for number, name in domains)
    means = [(_label(row), row["minus_svm"]) for row in result["rows"] if row["minus_svm"]]
    less_svm = "; ".join(
        f"{label} {mean['uf1']:+.3f} {_bounds(mean['interval'], '+.3f')}" for label, mean in means
    )
    return (
        f"{names}\nmean over domains less the SVM's: {less_svm}\npooled UF1 of {of['subjects']} "
        f"subjects with {of['clips_per_subject']} clips, each left out once. *: the paired 95 % "
        "interval, over subjects, of the difference from the SVM excludes zero. Drawn faces, not "
        "people"
    )


def _bounds(interval: list[float], form: str) -> str:
    low, high = interval
    return f"[{low:{form}}, {high:{form}}]"


_LOG_WIDTH = 200


def show_table(header: list[str], rows: list[list[str]]) -> None:
    """Print a table; the first column is text, the others are numbers."""
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        widths = [max(map(len, column)) for column in zip(header, *rows)]
        for row in (header, *rows):
            first, *others = (f"{cell:>{width}}" for cell, width in zip(row, widths))
            print("  ".join([f"{first.strip():<{widths[0]}}", *others]))
        return
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console()
    if not console.is_terminal:
        console.width = _LOG_WIDTH  # rich takes 80 columns for granted and cuts cells off
    console.print(table)


def milliseconds(times: dict[str, dict[str, float]]) -> list[str]:
    """Median, range and wall time of `Samples.seconds`."""
    cpu, wall = ({k: 1000 * v for k, v in times[name].items()} for name in ("cpu_s", "wall_s"))
    return [f"{cpu['median']:.1f}", f"{cpu['min']:.1f}–{cpu['max']:.1f}", f"{wall['median']:.1f}"]
