"""What a run knows from texts alone, written beside it: unseen classes and action units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hcp_mer.files import make_folder, read_json, write_json, write_whole
from hcp_mer.training.loso import LosoRun
from hcp_mer.transfer.action_units import TRAINED, ZERO_SHOT, score_action_units
from hcp_mer.transfer.unseen_class import FOLDER, answer_unseen
from hcp_mer.transfer.unseen_scores import chance, score_unseen, verdict

_TITLES = {
    "unseen": "never trained on",
    "untrained": "no training at all (zero-shot CLIP)",
    "trained_on_it": "trained on it",
    "chance": "guessing",
}
_COLUMNS = {
    "recall_of_class": "recall of the class",
    "recall_of_others": "recall of the others",
    "harmonic_mean": "harmonic mean",
    "auc": "AUC of its similarity",
    "auc_of_margin": "AUC of its lead",
}
_HOW = (
    "All rows answer by the most similar prompt group, holistic and componential cosine summed "
    "(Eq. 1): a gate has no weights for a class that it was not trained with, so both branches "
    "count the same. An AUC asks how well the class's clips are ranked, a recall also whether the "
    "class wins against the others. 95 % intervals over subjects."
)


def write_unseen_classes(run: LosoRun, names: Sequence[str]) -> str:
    """Hold out classes one by one; write unseen_classes.json and .md. Returns the latter.

    Classes that were asked before stay in both.
    """
    place = run.folder.root / FOLDER / "unseen_classes.json"
    before = read_json(place, ("classes",))["classes"] if place.is_file() else {}
    content = _described(run) | {"classes": before}
    for name in names:
        tables = answer_unseen(run, name)
        systems = {key: score_unseen(own, name, run.classes) for key, own in tables.items()}
        words = verdict(name, systems, len(run.classes))
        systems["chance"] = chance(len(run.classes))
        label = run.classes.index(name)
        number = int((run.labels == label).sum())
        content["classes"][name] = {"num_clips": number, "systems": systems, "in_words": words}
    text = _unseen_in_markdown(content)
    return _write(run, "unseen_classes", content, text)


def write_action_units(run: LosoRun) -> str:
    """Score action units; write action_units.json, .parquet and .md. Returns the latter."""
    table, scores = score_action_units(run)
    make_folder(run.folder.root / FOLDER)
    run.folder.save_table(table, f"{FOLDER}/action_units.parquet")
    content = _described(run) | scores
    return _write(run, "action_units", content, _units_in_markdown(content))


def _described(run: LosoRun) -> dict[str, Any]:
    return {
        "run": run.folder.root.resolve().name,
        "datasets": sorted(set(run.pairs.column("dataset"))),
        "task": run.recipe.task,
        "seeds": list(run.recipe.seeds),
        "num_subjects": len(set(run.subjects)),
    }


def _write(run: LosoRun, name: str, content: dict[str, Any], text: str) -> str:
    folder = run.folder.root / FOLDER
    make_folder(folder)
    write_json(folder / f"{name}.json", content)
    write_whole(folder / f"{name}.md", text)
    return text


def _title(what: str, content: Mapping[str, Any]) -> list[str]:
    synthetic = content["datasets"] == ["procedural"]
    note = ["Synthetic: drawn faces. It says nothing about people.", ""] if synthetic else []
    where = f"{content['run']}, {content['task']}, {content['num_subjects']} subjects"
    return [f"# {what}: {where} ({', '.join(content['datasets'])})", "", *note]


def _unseen_in_markdown(content: Mapping[str, Any]) -> str:
    lines = [*_title("Classes that were never trained on", content), _HOW]
    for name, own in content["classes"].items():
        lines += ["", f"## {name} ({own['num_clips']} clips)", "", own["in_words"], ""]
        lines += [f"| | {' | '.join(_COLUMNS.values())} |", "|" + "---|" * (1 + len(_COLUMNS))]
        for system, scores in own["systems"].items():
            cells = [cell(scores, key) for key in _COLUMNS]
            lines.append(f"| {_TITLES[system]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _units_in_markdown(content: Mapping[str, Any]) -> str:
    header = ("action unit", "clips", "subjects", "zero-shot AUC", "F1", "folds' AUC", "F1")
    lines = [
        *_title("Action units told from text", content),
        f"{content['num_clips']} annotated, held-out clips. The score is the cosine of the flow's "
        "feature and the unit's text: of zero-shot CLIP, and of the fold's own model, which was "
        "trained on classes, not on units. F1 at the threshold that the fold's training clips "
        "chose; in the last column F1 of saying always yes. 95 % intervals over subjects.",
        "",
        f"| {' | '.join(header)} | always yes |",
        "|" + "---|" * (len(header) + 1),
    ]
    for unit in content["units"]:
        cells = [f"{unit['action_unit']} {unit['name']}"]
        cells += [str(unit["num_clips"]), str(unit["num_subjects"])]
        for system in (ZERO_SHOT, TRAINED):
            cells += [cell(unit[system], key) for key in ("auc", "f1")]
        lines.append(f"| {' | '.join(cells)} | {unit['f1_of_always_yes']:.2f} |")
    if content["units"]:
        means = [content["mean"][s][k] for s in (ZERO_SHOT, TRAINED) for k in ("auc", "f1")]
        lines.append(f"| mean | | | {' | '.join(f'{mean:.2f}' for mean in means)} | |")
    if content["too_few"]:
        few = "; ".join(f"{number} ({why})" for number, why in content["too_few"].items())
        lines += ["", f"Too few to be scored: {few}."]
    if content["without_text"]:
        listed = ", ".join(map(str, content["without_text"]))
        lines += ["", f"Annotated, but no main action unit (lids, gaze, head): {listed}."]
    return "\n".join(lines) + "\n"


def cell(scores: Mapping[str, Any], key: str) -> str:
    """A score with its interval, if it has one."""
    interval = scores.get(f"{key}_interval_95")
    return f"{scores[key]:.2f}" + (f" [{interval[0]:.2f}, {interval[1]:.2f}]" if interval else "")
