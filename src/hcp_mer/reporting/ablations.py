"""Fig. 3: the model without one of its parts, and with other readings, beside the whole.

Reads what `scripts/run_ablations.py` left in a run folder, and trains nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.files import make_folder, write_json, write_whole
from hcp_mer.reporting.markdown import render
from hcp_mer.reporting.scores import compute_metrics, read_predictions, read_task
from hcp_mer.reporting.table import SCORE_TITLES, SYNTHETIC_DATASETS

if TYPE_CHECKING:
    from rich.table import Table

FULL = "full"
# Name of a table in ablations/ → what the model lacks, and the paper's word for it.
TITLES = {
    FULL: ("the full model", "HCP_MER"),
    "without_componential": ("without the componential branch", "w/o COM"),
    "without_holistic": ("without the holistic branch", "w/o HOL"),
    "without_adapter": ("without the adapters", "w/o adapter"),
    "without_consistency": ("without the consistency constraint", "w/o CC"),
    "without_focal": ("without the focal loss", "w/o LF"),
    "without_consistency_and_focal": ("without constraint and focal loss", "w/o CC, LF"),
}
# Fig. 3 is a picture: these are its bars whose height §4.3 and Tables 2 and 3 print. On CAS(ME)³.
PUBLISHED: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    "3-class": {
        FULL: {"uf1": 0.8052, "uar": 0.8012},
        "without_componential": {"uf1": 0.6515},
        "without_holistic": {"uf1": 0.7123},
    },
    "4-class": {FULL: {"uf1": 0.7168, "uar": 0.6996}},
    "7-class": {FULL: {"uf1": 0.5955}},  # its UAR is 0.6047 in Table 3 and 0.6247 in §4.3
}
_SCORES = ("uf1", "uar", "accuracy")
_PRINTED = 2  # of them in a terminal's 80 columns
_HEADING = (*(SCORE_TITLES[key] for key in _SCORES), "UF1 − full", "paper's UF1 / UAR")


def ablation_rows(run_folder: str | Path) -> list[dict[str, Any]]:
    """The full model, then the model without each part, from ablations/*.parquet.

    Returns: {"name", "title", "short", "scores", "interval_95", "difference", "difference_95",
        "sentence", "published"} each, scores by name; "difference" is without the part minus the
        full model, on the same clips, and "difference_95" its interval over subjects (None with
        one subject). The full model, which comes first, has None for both. [] where there are no
        ablations.
    Raises:
        UserError: a damaged table, or one of other clips.
    """
    rows = _rows(Path(run_folder), "ablations")
    order = list(TITLES)
    return sorted(rows, key=lambda row: order.index(row["name"]) if row["name"] in order else 99)


def reading_rows(run_folder: str | Path) -> list[dict[str, Any]]:
    """The same for readings of the equations, from readings/<option>=<value>.parquet."""
    return sorted(_rows(Path(run_folder), "readings"), key=lambda row: _by_value(row["name"]))


def _rows(run_folder: Path, kind: str) -> list[dict[str, Any]]:
    # Beside a table of answers may lie the same variant's <name>.embeddings.parquet.
    places = [p for p in sorted((run_folder / kind).glob("*.parquet")) if ".embed" not in p.name]
    if not places:
        return []
    task, classes = read_task(run_folder)
    full = read_predictions(run_folder / "predictions.parquet", classes)
    tables = {place.stem: read_predictions(place, classes) for place in places}
    metrics = compute_metrics(full, tables, task, classes)
    published = PUBLISHED.get(task, {})
    rows = [
        {
            **_titles(FULL),
            **{"scores": metrics["metrics"], "interval_95": metrics["interval_95"]},
            **{"difference": None, "difference_95": None, "sentence": ""},
            "published": published.get(FULL, {}),
        }
    ]
    for name in tables:
        scores = metrics["baselines"][name]
        row = {
            **_titles(name),
            "scores": scores,
            "interval_95": metrics["baseline_interval_95"][name],
            "difference": {key: scores[key] - metrics["metrics"][key] for key in SCORE_TITLES},
            "difference_95": _negated(metrics["baseline_difference_95"][name]),
            "published": published.get(name, {}),
        }
        rows.append({**row, "sentence": _in_words(row)})
    return rows


def _by_value(name: str) -> tuple:
    """The full model first; scale=30 before scale=100."""
    option, _, value = name.partition("=")
    number = float(value) if value.isdigit() else 0.0
    return (name != FULL, option, number, value)


def _titles(name: str) -> dict[str, str]:
    title, short = TITLES.get(name, (name.replace("=", " = "), name))
    return {"name": name, "title": title, "short": short}


def _negated(intervals: Mapping[str, Sequence[float] | None]) -> dict[str, list[float] | None]:
    """Intervals of full minus variant as those of variant minus full."""
    return {
        key: None if bounds is None else [0.0 - bounds[1], 0.0 - bounds[0]]  # never −0.0
        for key, bounds in intervals.items()
    }


def _in_words(row: Mapping[str, Any]) -> str:
    """Whether the difference in UF1 is more than who the subjects are explains."""
    gain, interval = row["difference"]["uf1"], row["difference_95"]["uf1"]
    if interval is None:
        return f"UF1 {gain:+.3f}; with one subject nothing can be said of noise."
    low, high = interval
    bounds = f"95 % interval {low:+.3f} to {high:+.3f}"
    if low == high == 0:
        return "No difference at all: the same UF1 whoever the subjects are."
    if low > 0:
        return f"Better than the full model by more than noise: UF1 {gain:+.3f}, {bounds}."
    if high < 0:
        return f"Worse than the full model by more than noise: UF1 {gain:+.3f}, {bounds}."
    return f"No difference that is more than noise: UF1 {gain:+.3f}, {bounds}."


def write_ablations(
    run_folders: Sequence[Path], output_dir: Path, skipped: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """Score the ablations of some runs; write ablations.json, ablations.md and figures/.

    Args:
        run_folders: of full models, each with its ablations and perhaps readings.
        skipped: task → name of a variant that was not trained → why.
    Returns: the content of ablations.json: {"tasks": {task: {"ablations", "readings", "skipped",
        "num_clips", "num_subjects", "seeds", "datasets", "synthetic"}}}, rows as `ablation_rows`.
    """
    tasks = {}
    for folder in run_folders:
        task, classes = read_task(folder)
        full = read_predictions(folder / "predictions.parquet", classes)
        datasets = sorted(full["dataset"].unique())
        tasks[task] = {
            "datasets": datasets,
            "synthetic": set(datasets) <= SYNTHETIC_DATASETS,
            "num_clips": len(full[["dataset", "subject", "clip_id"]].drop_duplicates()),
            "num_subjects": len(full[["dataset", "subject"]].drop_duplicates()),
            "seeds": sorted(int(seed) for seed in full["seed"].unique()),
            "ablations": ablation_rows(folder),
            "readings": reading_rows(folder),
            "skipped": dict(skipped.get(task, {})),
        }
    content = {"tasks": tasks}
    write_json(output_dir / "ablations.json", content)
    write_figure(tasks, output_dir / "figures")
    text = render("ablations.md.j2", tasks=tasks, headings=_HEADING, cells=_cells)
    write_whole(output_dir / "ablations.md", text)
    return content


def write_figure(tasks: Mapping[str, Mapping[str, Any]], folder: Path) -> list[Path]:
    """Fig. 3 as ablations.png and .svg, a group of bars for each task.

    Returns: the files; none where no task has ablations.
    """
    from hcp_mer.reporting import figures

    groups = [
        (task, [(row["short"], row["scores"], row["interval_95"]) for row in own["ablations"]])
        for task, own in tasks.items()
        if own["ablations"]
    ]
    if not groups:
        return []
    figure = figures.ablation_tasks_figure(groups)
    make_folder(folder)
    places = [folder / f"ablations.{kind}" for kind in ("png", "svg")]
    for place in places:
        write_whole(place, figures.render(figure, place.suffix[1:]))
    return places


def print_ablations(content: Mapping[str, Any]) -> None:
    """What `write_ablations` returned, as a table for each task and a sentence for each row."""
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    for task, own in content["tasks"].items():
        note = ", synthetic" if own["synthetic"] else ""
        size = f"{own['num_clips']} clips, {own['num_subjects']} subjects{note}"
        for kind, heading in (("ablations", "ablations"), ("readings", "other readings")):
            if own[kind]:
                console.print(_table(f"{task}, {heading}: {size}", own[kind]))
                for row in own[kind][1:]:
                    console.print(f"{row['title']}: {row['sentence']}{_published(row)}")
        for name, why in own["skipped"].items():
            console.print(f"not trained: {name} ({why})")


def _published(row: Mapping[str, Any]) -> str:
    if "uf1" not in row["published"]:
        return ""
    return f" The paper's UF1 on CAS(ME)³: {row['published']['uf1']:.4f}."


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Names and the paper's two scores; differences are in the sentences, accuracy in the files."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), box=box.SIMPLE_HEAD)
    table.add_column("", overflow="fold")
    for heading in _HEADING[:_PRINTED]:
        table.add_column(heading, no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, (row["short"], *_cells(row)[:_PRINTED])))
    return table


def _cells(row: Mapping[str, Any]) -> list[str]:
    """A row's numbers as text, one cell for each of _HEADING."""
    scores = [f"{row['scores'][key]:.3f}{_bracket(row['interval_95'][key])}" for key in _SCORES]
    difference = "–"
    if row["difference"]:
        bounds = row["difference_95"]["uf1"]
        difference = f"{row['difference']['uf1']:+.3f}{_bracket(bounds, '+.3f')}"
    published = [
        f"{row['published'][key]:.4f}" for key in ("uf1", "uar") if key in row["published"]
    ]
    return [*scores, difference, " / ".join(published)]


def _bracket(bounds: Sequence[float] | None, form: str = ".2f") -> str:
    return "" if bounds is None else f" [{bounds[0]:{form}}, {bounds[1]:{form}}]"
