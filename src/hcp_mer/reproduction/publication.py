"""The part of a reproduction that can be published: scores, answers, figures and their index.

No frame, no face, no weights and no place of this machine goes into it.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from hcp_mer.data.pairs import read_manifest
from hcp_mer.files import make_folder, write_json, write_whole
from hcp_mer.hub.staging import public_settings
from hcp_mer.reporting.ablations import ablation_rows
from hcp_mer.reporting.markdown import render
from hcp_mer.reporting.published import TABLES
from hcp_mer.reporting.table import baseline_verdicts, labels_in_words, listed
from hcp_mer.reproduction import tables
from hcp_mer.reproduction.figures import TITLES, WITH_FACES, place_of, title_of, write_figures
from hcp_mer.reproduction.settings import CORPORA, RUNS, Reproduction
from hcp_mer.reproduction.stages import facts_of_corpora
from hcp_mer.training.reopen import read_settings

INDEX = "README.md"
# Of a run folder: numbers and words, by the pattern of their names.
_PUBLIC = (
    *("metrics.json", "predictions.parquet", "learning_curves.parquet", "leaky_epochs.parquet"),
    *("task.json", "cross_mapping.json", "baselines/*.parquet", "readings/*.parquet"),
    "ablations/*.parquet",
)
_FEATURES = ".embeddings.parquet"  # of faces: they stay with the private part
_OWN_BACKBONE = "openai/clip-vit-base-patch32"  # the paper's


def write_publication(plan: Reproduction) -> dict[str, Any]:
    """Tables, figures, the runs' numbers and README.md, from whatever runs have ended.

    Returns: what README.md says, by the names of its template; see `_content`.
    """
    runs = tables.finished_runs(plan)
    tables.write_tables(runs, plan.root / "tables")
    missing_figures = write_figures(plan, runs)
    for name in runs:
        _copy_run(plan, name)
    content = _content(plan, runs, missing_figures)
    write_whole(plan.root / INDEX, render("reproduction.md.j2", **content))
    write_json(plan.root / "summary.json", {key: content[key] for key in ("complete", "corpora")})
    return content


def _copy_run(plan: Reproduction, name: str) -> None:
    """The numbers of a run; the folder of before goes, so that nothing of it stays."""
    source, folder = plan.run_of(name), plan.root / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    for pattern in _PUBLIC:
        for file in sorted(source.glob(pattern)):
            if not file.name.endswith(_FEATURES):
                place = folder / file.relative_to(source)
                make_folder(place.parent)
                shutil.copyfile(file, place)
    settings = public_settings(read_settings(source), keep_sources=False)
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    write_whole(folder / "recipe.yaml", text)


def _content(
    plan: Reproduction, runs: Mapping[str, Any], missing_figures: Mapping[str, str]
) -> dict[str, Any]:
    settings = {name: public_settings(read_settings(plan.run_of(name)), False) for name in runs}
    corpora = facts_of_corpora(plan)
    complete = tables.completeness(runs)
    return {
        "runs": [_run_in_words(name, metrics, settings[name]) for name, metrics in runs.items()],
        "beside": tables.beside_the_paper(runs),
        "titles": {name: title_of(name) for name in runs},
        "tables": [
            {
                "number": table.number,
                "caption": table.caption,
                "columns": [column.title for column in table.columns],
                "rows": tables.rows_of(table, runs),
                "notes": [*dict.fromkeys(table.notes.values()), *table.remarks],
            }
            for table in TABLES
        ],
        "ablations": {
            title_of(name): rows for name in runs if (rows := ablation_rows(plan.run_of(name)))
        },
        "figures": [
            {
                "title": title,
                "place": place_of(plan, stem).relative_to(plan.root).as_posix(),
                "private": stem in WITH_FACES,
                "missing": missing_figures.get(stem, ""),
            }
            for stem, title in TITLES.items()
        ],
        "complete": [{"table": name, "lacks": lacking} for name, lacking in complete],
        "verdicts": {title_of(name): baseline_verdicts(metrics) for name, metrics in runs.items()},
        "corpora": corpora,
        "names": CORPORA,
        "missing_corpora": [CORPORA[name] for name in CORPORA if name not in corpora],
        "synthetic": [CORPORA[name] for name, facts in corpora.items() if facts["synthetic"]],
        "caveats": _caveats(settings.values()) + _caveats_of_pairs(plan, corpora),
        "versions": _together(own.get("versions", {}) for own in settings.values()),
        "command": _command(plan, corpora),
    }


def _run_in_words(name: str, metrics: Mapping[str, Any], settings: Mapping) -> dict[str, Any]:
    recipe = settings["recipe"]
    return {
        "name": name,
        "title": title_of(name),
        "size": f"{metrics['num_clips']} clips of {metrics['num_subjects']} subjects",
        "training": f"{recipe['epochs']} epochs, batch {recipe['batch_size']}, learning rate "
        f"{recipe['learning_rate']:g}, seeds {', '.join(map(str, recipe['seeds']))}",
        "backbone": recipe["backbone"],
        "labels": labels_in_words(metrics),
        "composite": len(RUNS[name]) > 1,
    }


def _caveats(settings: Iterable[Mapping]) -> list[str]:
    """How the recipes differ from the paper's setting, as far as recipes can."""
    recipes = [own["recipe"] for own in settings]
    sentences = []
    others = sorted({own["backbone"] for own in recipes} - {_OWN_BACKBONE})
    if others:
        sentences.append(
            f"The backbone is {listed(others)}, not the paper's CLIP ViT-B/32: no number here can "
            "confirm or refute one of the paper's."
        )
    epochs = sorted({own["epochs"] for own in recipes} - {300})
    if epochs:
        sentences.append(f"Trained for {listed(map(str, epochs))} epochs, not the paper's 300.")
    if any(len(own["seeds"]) == 1 for own in recipes):
        sentences.append(
            "One seed: another gives other folds' results; the intervals are over subjects and "
            "do not show that."
        )
    return sentences


def _caveats_of_pairs(plan: Reproduction, corpora: Iterable[str]) -> list[str]:
    """How pairs were made, and that the paper made them otherwise."""
    made: dict[str, list[str]] = {}
    for corpus in corpora:
        settings = read_manifest(plan.pairs_of(corpus))["settings"]
        face = (settings.get("face") or {}).get("detector", "none")
        words = (
            f"flow by {settings['estimator']}, magnification by {settings['magnifier']} "
            f"(α {settings['motion']['alpha']:g}), {settings['image_size']} px, "
            f"{'frames taken as face crops' if face == 'none' else f'faces found by {face}'}"
        )
        made.setdefault(words, []).append(CORPORA[corpus])
    sentences = [f"Pairs of {listed(names)}: {words}." for words, names in made.items()]
    if any("flownet2" not in words or "magnet" not in words for words in made):
        sentences.append("The paper has FlowNet 2.0 and MagNet: `--flow`, `--magnifier`.")
    return sentences


def _together(versions: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Package → its version, or all of them where runs had different ones."""
    found: dict[str, list[str]] = {}
    for own in versions:
        for package, version in own.items():
            if version not in found.setdefault(package, []):
                found[package].append(version)
    return {package: ", ".join(own) for package, own in found.items()}


def _command(plan: Reproduction, corpora: Iterable[str]) -> str:
    """The line that does all this again, with names in the place of folders."""
    options = plan.options()
    words = [f"--{corpus} {corpus.upper()}" for corpus in corpora]
    words += [f"--face {options['face']}"] if options["face"] else []
    for key, value in options["set"].items():
        words.append(
            f"--backbone {value}"
            if key == "backbone"
            else f"--set {shlex.quote(key + '=' + value)}"
        )
    words += ["--controls"] if options["controls"] else []
    return " ".join(["python scripts/reproduce_paper.py", *words, "--output_dir OUT"])
