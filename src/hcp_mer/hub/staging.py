"""What of a run may be published: weights, code, scores and settings; never a frame or a clip.

Left behind are predictions and folds/ (they name the clips of licensed corpora), report.html and
figures/example_*.png (they show them), and every path of this machine.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import yaml

from hcp_mer.data.tasks import PROTOCOLS
from hcp_mer.errors import UserError
from hcp_mer.files import read_json, write_json, write_whole
from hcp_mer.hub.pinned import CARD
from hcp_mer.reporting.card import is_licensed, render_fold_card, render_model_card
from hcp_mer.reporting.scores import read_metrics
from hcp_mer.reporting.table import corpora, is_cross_corpus, leaves_datasets_out
from hcp_mer.training.checkpoint import load_fold
from hcp_mer.training.folds import EVERYBODY
from hcp_mer.training.run_folder import SOURCES, RunFolder, sources_of

SCORE_FIGURES = ("scores.png", "confusion_matrix.png", "per_subject_accuracy.png")
_CHECKPOINT = ("config.json", "model.safetensors", "preprocessor_config.json")
# The weights stand first (two patterns): a fold brings its own.
_TRAVELS = (
    *("model.safetensors", "vision_lora/adapter_*", "config.json", "preprocessor_config.json"),
    *("*_hcp_mer.py", "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"),
    "special_tokens_map.json",
)
_PLACES = ("_name_or_path", "name_or_path")  # where transformers notes what it was loaded from


@dataclass(frozen=True)
class FinishedRun:
    """A run that is complete enough to be published.

    Attributes:
        settings: content of recipe.yaml; metrics: of metrics.json; config, processor: of the
            deployable checkpoint's config.json and preprocessor_config.json.
    """

    root: Path
    settings: dict[str, Any]
    metrics: dict[str, Any]
    config: dict[str, Any]
    processor: dict[str, Any]

    @property
    def checkpoint(self) -> Path:
        return self.root / "model"

    @property
    def licensed(self) -> bool:
        """Whether the recipe reads the labels as those of a licensed corpus."""
        scheme = self.settings["recipe"].get("scheme") or ""
        return scheme in PROTOCOLS or is_licensed(scheme)

    @property
    def datasets(self) -> list[str]:
        """The pairs as "owner/name@<commit>" each; none where any of them came from a folder."""
        places = sources_of(self.settings)
        pinned = all(re.fullmatch(r"[^/@]+/[^/@]+@[0-9a-f]{40}", place) for place in places)
        return places if pinned else []


@dataclass(frozen=True)
class FoldToPublish:
    """One fold: a row of metrics["per_subject"] or of a held-out corpus, and its branch."""

    row: dict[str, Any]
    seed: int
    branch: str


def open_finished_run(run_folder: Path) -> FinishedRun:
    """Read a run folder.

    Raises:
        UserError: it holds no run, or one that is not finished or not scored.
    """
    recipe = run_folder / "recipe.yaml"
    if not recipe.is_file():
        raise UserError(f"{run_folder} holds no run: there is no recipe.yaml. Train it first.")
    settings = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    if not isinstance(settings, dict) or not isinstance(settings.get("recipe"), dict):
        raise UserError(f"{recipe} is no recipe of ours: give the --output_dir of train_loso.")
    metrics = read_metrics(run_folder)
    checkpoint = run_folder / "model"
    missing = [name for name in _CHECKPOINT if not (checkpoint / name).is_file()]
    if missing:
        raise UserError(
            f"{checkpoint} lacks {', '.join(missing)}: the run did not finish. Run the same "
            "train_loso command again, it goes on where it was."
        )
    config, processor = (read_json(checkpoint / name) for name in (_CHECKPOINT[0], _CHECKPOINT[2]))
    return FinishedRun(run_folder, settings, metrics, config, processor)


def folds_to_publish(run: FinishedRun) -> list[FoldToPublish]:
    """Every fold of a run with the branch that it gets, "fold-<dataset>-<subject>".

    The subject is "all" where a whole corpus was held out.
    Where git does not allow a name as it is, or two subjects would get one branch (also one that
    differs in case alone, which some disks do not tell apart), a hash of the subject is added:
    whoever holds the run cannot rename its subjects, and the names are the same at every push.

    Raises:
        UserError: a fold has no trained weights.
    """
    seed = run.settings["recipe"]["seeds"][0]
    rows = _held_out(run.metrics)
    people = [(row["dataset"], row["subject"]) for row in rows]
    plain = ["-".join(["fold", *map(_slug, person)]) for person in people]
    same = Counter(name.casefold() for name in plain)
    folds = []
    for row, person, name in zip(rows, people, plain, strict=True):
        RunFolder(run.root).trained_file(person[1], person[0], seed)  # UserError if it is missing
        if name != "-".join(["fold", *person]) or same[name.casefold()] > 1:
            name += "-" + hashlib.blake2b("\x1f".join(person).encode(), digest_size=3).hexdigest()
        folds.append(FoldToPublish(row, seed, name))
    return folds


def _held_out(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each fold, as in metrics["per_subject"]."""
    if not (is_cross_corpus(metrics) or leaves_datasets_out(metrics)):
        return metrics["per_subject"]
    return [
        {
            "dataset": corpus["name"],
            "subject": EVERYBODY,
            "num_clips": corpus["num_clips"],
            "accuracy": corpus["scores"]["accuracy"],
        }
        for corpus in corpora(metrics)
    ]


def _slug(name: str) -> str:
    """What git allows in a branch name and any disk in a file name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")


def stage_main(run: FinishedRun, folder: Path) -> None:
    """Copy what `main` gets, but the card, into an empty folder."""
    _copy_checkpoint(run, folder, _TRAVELS)
    _forget_places(folder)
    write_json(folder / "metrics.json", run.metrics)
    settings = public_settings(run.settings, keep_sources=bool(run.datasets))
    write_whole(
        folder / "recipe.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    )
    (folder / "figures").mkdir()
    for name in SCORE_FIGURES:
        if (run.root / "figures" / name).is_file():
            shutil.copyfile(run.root / "figures" / name, folder / "figures" / name)


def _copy_checkpoint(run: FinishedRun, folder: Path, patterns: tuple[str, ...]) -> None:
    """Copy what belongs to a checkpoint: whatever else somebody put beside it stays here."""
    for path in sorted(run.checkpoint.rglob("*")):
        name = path.relative_to(run.checkpoint).as_posix()
        if path.is_file() and any(fnmatchcase(name, pattern) for pattern in patterns):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)


def main_card(run: FinishedRun, repo_id: str, revision: str) -> str:
    """The card of `main`, whose snippets pin a revision, 40 hex digits."""
    figures = [f"figures/{name}" for name in SCORE_FIGURES]
    return render_model_card(
        run.metrics,
        run.config,
        run.processor,
        model=repo_id,
        revision=revision,
        datasets=run.datasets,
        licensed=run.licensed,
        figures=[name for name in figures if (run.root / name).is_file()],
        face=run.settings.get("face"),
    )


def stage_fold(run: FinishedRun, fold: FoldToPublish, folder: Path, repo_id: str) -> None:
    """Write what a fold's branch gets, its card included, into an empty folder."""
    _copy_checkpoint(run, folder, _TRAVELS[2:])  # processor, tokenizer; the weights are its own
    model = load_fold(run.root, fold.row["subject"], fold.row["dataset"], fold.seed)
    model.save_pretrained(folder)
    _forget_places(folder)
    write_whole(folder / CARD, fold_card(run, fold, repo_id))


def fold_card(run: FinishedRun, fold: FoldToPublish, repo_id: str) -> str:
    """The card of a fold, whose snippet names the fold's branch."""
    return render_fold_card(
        {**fold.row, "seed": fold.seed},
        run.metrics,
        run.config,
        model=repo_id,
        revision=fold.branch,
        licensed=run.licensed,
    )


def public_settings(settings: dict[str, Any], keep_sources: bool) -> dict[str, Any]:
    """The content of recipe.yaml without places of this machine.

    Args: keep_sources: where the pairs came from is public, too.
    """
    settings = copy.deepcopy(settings)
    if not keep_sources:
        for key in SOURCES:
            settings.pop(key, None)
    for key in ("prompts", "backbone"):
        path = settings["recipe"].get(key)
        for kind in (PurePosixPath, PureWindowsPath):
            if path and (kind(path).is_absolute() or path[0] == "~" or ".." in kind(path).parts):
                settings["recipe"][key] = kind(path).name
    return settings


def _forget_places(folder: Path) -> None:
    """Take out of the staged JSON files which folder of this machine something was loaded from."""

    def cleaned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: cleaned(inner) for key, inner in value.items() if key not in _PLACES}
        return [cleaned(inner) for inner in value] if isinstance(value, list) else value

    for path in (folder / "config.json", folder / "tokenizer_config.json"):
        if path.is_file():
            content = json.loads(path.read_text(encoding="utf-8"))
            if cleaned(content) != content:
                write_json(path, cleaned(content))
