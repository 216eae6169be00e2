"""From the tables of levels to curves: scores with intervals, and what each level costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcp_mer.files import make_folder, write_json, write_whole
from hcp_mer.metrics.intervals import (
    bootstrap_difference_over_subjects,
    bootstrap_over_subjects,
)
from hcp_mer.metrics.mer.scores import accuracy, uar, uf1
from hcp_mer.reporting.scores import subject_confusions
from hcp_mer.robustness.clips import frames_moved
from hcp_mer.robustness.disturbances import DISTURBANCES
from hcp_mer.robustness.levels import CLIP, PEER, Levels, names_of

if TYPE_CHECKING:
    import pandas

MODEL = "HCP_MER"
_SCORES = {"accuracy": accuracy, "uf1": uf1, "uar": uar}


def score_level(
    table: pandas.DataFrame, undisturbed: pandas.DataFrame, classes: Sequence[str], column: str
) -> dict[str, Any]:
    """Scores of one level, and how they differ from those of the same clips undisturbed.

    Args: column: whose answers.
    Returns: {"accuracy", "uf1", "uar"}, "uf1_interval_95" over subjects, "uf1_difference" to
        undisturbed and "uf1_difference_95", paired.
    """
    clips = table[CLIP].drop_duplicates()
    same = undisturbed.merge(clips, on=CLIP)
    here, before = (subject_confusions(own, classes, column) for own in (table, same))
    interval = bootstrap_over_subjects(here, uf1)
    difference = bootstrap_difference_over_subjects(here, before, uf1)
    return {
        **{name: _mean(score, here) for name, score in _SCORES.items()},
        "uf1_interval_95": interval and list(interval),
        "uf1_difference": _mean(uf1, here) - _mean(uf1, before),
        "uf1_difference_95": difference and list(difference),
    }


def _mean(score, confusions: np.ndarray) -> float:
    """Mean over seeds of the pooled score of (num_seeds, num_subjects, C, C)."""
    return float(np.mean(score(confusions.sum(axis=1))))


def write_curves(levels: Levels, asked: Mapping[str, Sequence[float]], folder: Path) -> dict:
    """Score levels that were asked; write robustness.json, robustness.md and figures.

    Args: asked: disturbance → its levels, without 0.
    Returns: the content of robustness.json.
    """
    classes = levels.run.classes
    undisturbed = levels.undisturbed()
    content = {
        "run": levels.run.folder.root.resolve().name,
        "datasets": sorted(set(undisturbed["dataset"])),
        "task": levels.run.recipe.task,
        "seeds": list(levels.run.recipe.seeds),
        "num_clips": len(undisturbed[CLIP].drop_duplicates()),
        "num_subjects": len(undisturbed[CLIP[:2]].drop_duplicates()),
        "equals_the_run": equals_the_run(levels, undisturbed),
        "num_pairs_made_otherwise": levels.num_other_pairs(),
        "left_out": {**levels.found.problems, **levels.problems()},
        "undisturbed": _rows(undisturbed, undisturbed, classes),
        "disturbances": {
            name: {
                "what": DISTURBANCES[name].what,
                "unit": DISTURBANCES[name].unit,
                "levels": [_level(levels, name, level, undisturbed) for level in own],
            }
            for name, own in asked.items()
        },
    }
    make_folder(folder)
    write_json(folder / "robustness.json", content)
    write_whole(folder / "robustness.md", in_markdown(content))
    draw(content, folder / "figures")
    return content


def equals_the_run(levels: Levels, undisturbed: pandas.DataFrame) -> bool:
    """Whether the clips, measured anew, got the very answers that the run has of them."""
    import pandas

    own = pandas.read_parquet(levels.run.folder.root / "predictions.parquet")
    keys = [*CLIP, "seed"]
    here = undisturbed[own.columns].sort_values(keys, ignore_index=True)
    there = own.merge(here[keys], on=keys).sort_values(keys, ignore_index=True)
    return here.equals(there)


def _level(levels: Levels, name: str, level: float, undisturbed: pandas.DataFrame) -> dict:
    table, disturbance = levels.disturbed(name, level), DISTURBANCES[name]
    changed = set(names_of(table[table["disturbed"]]))
    by_frames = [
        frames_moved(clip, disturbance, level)
        for clip in levels.found.clips.values()
        if clip.name in changed and any(disturbance.frames_off)
    ]
    return {
        "level": level,
        "num_clips": len(table[CLIP].drop_duplicates()),
        "num_clips_changed": len(changed),
        "mean_frames_moved": float(np.mean(by_frames)) if by_frames else None,
        "left_out": levels.problems(name, level),
        **_rows(table, undisturbed, levels.run.classes),
    }


def _rows(table, undisturbed, classes) -> dict[str, dict[str, Any]]:
    columns = {MODEL: "prediction", PEER: PEER}
    return {
        system: score_level(table, undisturbed, classes, column)
        for system, column in columns.items()
        if column in table
    }


def in_markdown(content: Mapping[str, Any]) -> str:
    """Tables of all levels, for a reader."""
    systems = [*content["undisturbed"]]
    header = ["level", "clips changed"]
    for system in systems:
        header += [f"{system.replace('_', ' ') if system != MODEL else system}, UF1", "difference"]
    synthetic = content["datasets"] == ["procedural"]
    lines = [
        f"# Robustness of {content['run']}, {content['task']}",
        "",
        *(["Synthetic: drawn faces. It says nothing about people.", ""] if synthetic else []),
        f"{content['num_clips']} clips of {content['num_subjects']} subjects "
        f"({', '.join(content['datasets'])}), each asked of the models that never saw its subject. "
        "With 95 % intervals over subjects; the difference is to the same clips undisturbed.",
        "",
        _remark(content),
    ]
    for own in content["disturbances"].values():
        title = own["what"][0].upper() + own["what"][1:]
        lines += ["", f"## {title} ({own['unit']})", ""]
        lines += [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
        undisturbed = {"level": 0, "num_clips_changed": 0, **content["undisturbed"]}
        for row in sorted([undisturbed, *own["levels"]], key=lambda row: row["level"]):
            by = row.get("mean_frames_moved")
            cells = [f"{row['level']:g}", str(row["num_clips_changed"])]
            cells[1] += f", by {by:.1f} frames" if by else ""
            of_systems = [cells_of(row[system]) for system in systems]
            cells += [c for uf1, gain in of_systems for c in (uf1, gain if row["level"] else "–")]
            lines.append(f"| {' | '.join(cells)} |")
    if content["left_out"]:
        lines += ["", "## Clips left out", ""]
        lines += [f"- {clip}: {reason}" for clip, reason in content["left_out"].items()]
    return "\n".join(lines) + "\n"


def _remark(content: Mapping[str, Any]) -> str:
    if content["equals_the_run"]:
        return "Undisturbed, every answer is the run's own."
    number = content["num_pairs_made_otherwise"]
    return (
        f"Undisturbed, answers are not the run's own to the last digit; {number} pairs came out "
        "otherwise than they were made. Other frames, or other versions of the libraries?"
    )


def cells_of(scores: Mapping[str, Any]) -> tuple[str, str]:
    """UF1 and its difference to undisturbed, each with its interval."""
    return (
        f"{scores['uf1']:.3f}{_bracket(scores['uf1_interval_95'], '.2f')}",
        f"{scores['uf1_difference']:+.3f}{_bracket(scores['uf1_difference_95'], '+.2f')}",
    )


def _bracket(interval: Sequence[float] | None, digits: str) -> str:
    return f" [{interval[0]:{digits}}, {interval[1]:{digits}}]" if interval else ""


def draw(content: Mapping[str, Any], folder: Path) -> None:
    """figures/robustness.png and .svg."""
    from hcp_mer.reporting.figures import render, robustness_figure

    def curves(system: str) -> dict[str, list[tuple]]:
        return {
            name: [_point(0, content["undisturbed"][system])]
            + [_point(row["level"], row[system]) for row in own["levels"]]
            for name, own in content["disturbances"].items()
        }

    others = {name.replace("_", " "): curves(name) for name in content["undisturbed"]}
    model = others.pop(MODEL.replace("_", " "))
    units = {name: own["unit"] for name, own in content["disturbances"].items()}
    figure = robustness_figure(model, units, others=others)
    make_folder(folder)
    for image_format in ("png", "svg"):
        write_whole(folder / f"robustness.{image_format}", render(figure, image_format))


def _point(level: float, scores: Mapping[str, Any]) -> tuple[float, float, float, float]:
    return level, scores["uf1"], *(scores["uf1_interval_95"] or (None, None))
