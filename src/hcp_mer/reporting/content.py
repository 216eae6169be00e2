"""What a report says, before it is a page or Markdown: rows, sentences, settings of one run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hcp_mer.reporting import calibration, table
from hcp_mer.reporting.ablations import ablation_rows, reading_rows
from hcp_mer.reporting.controls import CONTROLS, outcome
from hcp_mer.reporting.cross_mapping import in_words, read_cross_mapping, rows_of_sets
from hcp_mer.reporting.scores import read_metrics

# Below hub_configs/, because a recipe's relative paths start at the repository that holds it.
RECIPE_PATH = "hub_configs/recipes/again.yaml"
_WORDS = {"better": "beaten", "tie": "no clear difference", "worse": "better than the model"}
_WORDS_OF_CONTROLS = {"better": "beaten", "tie": "ties", "worse": "better than the model"}


def read_content(run_folder: Path) -> dict[str, Any]:
    """Everything but pictures, by the names that the templates use.

    Raises:
        UserError: no metrics.json, or a damaged table beside it.
    """
    metrics = read_metrics(run_folder)
    recipe = _read_recipe(run_folder)
    settings, command = how_to_reproduce(recipe)
    mapping = read_cross_mapping(run_folder)
    names = table.baseline_names(metrics)
    return {
        "metrics": metrics,
        "title": _title(metrics),
        "partial": table.partial_in_words(metrics),
        "summary": summary(metrics),
        "synthetic": table.is_synthetic(metrics),
        "cross_corpus": table.is_cross_corpus(metrics),
        "leaves_datasets_out": table.leaves_datasets_out(metrics),
        "trained_on": table.listed(table.trained_on(metrics)),
        "labels": table.labels_in_words(metrics),
        "pooling": table.pooling(metrics),
        "corpora": table.corpora(metrics),
        "findings": findings(metrics),
        "peers": [_against(metrics, name) for name in names if name not in CONTROLS],
        "controls": [_against(metrics, name) for name in names if name in CONTROLS],
        "calibration": calibration.in_words(metrics),
        "leak": metrics.get("leak"),
        "ablations": ablation_rows(run_folder),
        "readings": reading_rows(run_folder),
        "mapping": mapping,
        "cross_mapping": in_words(mapping) if mapping else [],
        "prompt_sets": rows_of_sets(mapping) if mapping else [],
        "recipe": recipe,
        "recipe_path": RECIPE_PATH,
        "settings": settings,
        "command": command,
        "recorded": _recorded(recipe),
    }


def summary(metrics: Mapping[str, Any]) -> str:
    """The run in one sentence, with the interval of its UF1."""
    datasets = table.listed(metrics["per_dataset"])
    if len(metrics["per_dataset"]) > 1:
        datasets += " pooled"
    size = f"{table.counted(metrics['num_clips'], 'clip')} of " + table.counted(
        metrics["num_subjects"], "subject"
    )
    interval = metrics["interval_95"]["uf1"]
    spread = f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    tested = f"On {size} ({datasets}), each subject held out in turn,"
    if table.leaves_datasets_out(metrics):
        tested = f"On {size} ({datasets}), each corpus held out in turn,"
    elif table.is_cross_corpus(metrics):
        trained = table.listed(table.trained_on(metrics))
        tested = f"Trained on {trained} and tested on {size} ({datasets}),"
    partial = table.partial_in_words(metrics)
    return (
        f"{f'{partial}: ' if partial else ''}{tested} {table.MODEL_NAME} reaches UF1 "
        f"{metrics['metrics']['uf1']:.3f}{spread} and "
        f"UAR {metrics['metrics']['uar']:.3f} in the {metrics['task']} task."
    )


def findings(metrics: Mapping[str, Any]) -> list[str]:
    """What the comparisons come to: the strongest peer, who is beaten, what earned nothing.

    Of a model that does not clearly beat chance only that is said; with one subject, and without
    baselines, there is nothing to say.
    """
    if not table.beats_chance(metrics):
        return table.baseline_verdicts(metrics)
    names = table.baseline_names(metrics)
    results = {name: outcome(metrics["baseline_difference_95"][name]["uf1"]) for name in names}
    if None in results.values():
        return []
    peers = [name for name in names if name not in CONTROLS]
    strongest = max(peers, key=lambda name: metrics["baselines"][name]["uf1"], default=None)
    lines = []
    if strongest:
        lines.append(f"The strongest peer: {table.verdict(metrics, strongest)}")
    for result, words in (
        ("better", "Clearly beaten"),
        ("tie", "Not clearly beaten"),
        ("worse", "Clearly better than the model"),
    ):
        own = [n for n in peers if results[n] == result and n != strongest]
        if own:
            lines.append(f"{words}: {table.listed(map(table.readable, own))}.")
    controls = [name for name in names if name in CONTROLS and results[name] != "better"]
    return lines + [table.verdict(metrics, name) for name in controls]


def how_to_reproduce(recipe: str | None) -> tuple[str, str]:
    """What to save as a recipe, and the shell line that trains the same run again.

    Args:
        recipe: text of the run's recipe.yaml. Training keeps what it was given under "recipe",
            beside versions and fingerprints that it would not take as settings; a file without
            that part is taken for the recipe itself.
    Returns:
        (YAML text, "" if there is none; command).
    """
    import yaml

    content = _parsed(recipe)
    settings = content.get("recipe")
    if isinstance(settings, dict):
        recipe = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    dataset = _quoted(content.get("dataset")) or "PAIRS"
    if content.get("test_dataset"):
        dataset += f" --test_dataset {_quoted(content['test_dataset']) or 'TEST_PAIRS'}"
    command = (
        f"accelerate launch scripts/train_loso.py --recipe {RECIPE_PATH} \\\n"
        f"    --dataset {dataset} --output_dir runs/again"
    )
    return recipe or "", command


def _title(metrics: Mapping[str, Any]) -> str:
    names = ", ".join(metrics["per_dataset"])
    on = f"on {names}"
    if table.is_cross_corpus(metrics):
        on = f"from {table.listed(table.trained_on(metrics))} to {names}"
    partial = table.partial_in_words(metrics)
    faces = " faces" if table.is_synthetic(metrics) else ""
    return f"{f'{partial}: ' if partial else ''}{metrics['task']} {on}{faces}"


def _against(metrics: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A row about one baseline: its scores, the model's gain over it, and that in words."""
    scores = metrics["baselines"][name]
    differences = metrics["baseline_difference_95"][name]
    result = outcome(differences["uf1"])
    control = CONTROLS.get(name)
    words = _WORDS.get(result, "one subject: cannot be said")
    if control and result:
        words = f"{_WORDS_OF_CONTROLS[result]}: {control.lesson(result)}"
    if name != "chance" and not table.beats_chance(metrics):
        words = "nothing can be read: chance is not clearly beaten"
    return {
        "name": name,
        "title": control.title if control else table.readable(name),
        "takes_away": control.takes_away if control else "",
        "scores": scores,
        "intervals": metrics["baseline_interval_95"][name],
        "gain": metrics["metrics"]["uf1"] - scores["uf1"],
        "gain_95": differences["uf1"],
        "result": result,
        "words": words,
    }


def _recorded(recipe: str | None) -> dict[str, str]:
    """Versions and fingerprints of a recipe.yaml, for a table."""
    content = _parsed(recipe)
    keys = ("dataset_fingerprint", "backbone_fingerprint", "identity")
    rows = {table.readable(key): str(content[key]) for key in keys if key in content}
    versions = content.get("versions")
    if isinstance(versions, dict):
        rows |= {str(name): str(number) for name, number in versions.items()}
    return rows


def _parsed(recipe: str | None) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(recipe or "")
    except yaml.YAMLError:
        content = None
    return content if isinstance(content, dict) else {}


def _quoted(sources: Any) -> str:
    """One source, or a list of them, for a shell; empty for anything else."""
    sources = [sources] if isinstance(sources, str) else sources
    if not isinstance(sources, list) or not all(isinstance(place, str) for place in sources):
        return ""
    return " ".join(map(shlex.quote, sources))


def _read_recipe(run_folder: Path) -> str | None:
    path = run_folder / "recipe.yaml"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
