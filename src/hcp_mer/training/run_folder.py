"""The run folder: what lies where, written so that a killed run loses only what it was doing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import yaml

from hcp_mer.errors import UserError
from hcp_mer.files import read_json, save_tensors, write_json, write_whole
from hcp_mer.training.folds import Fold
from hcp_mer.training.recipe import Recipe

if TYPE_CHECKING:
    import pandas
    from torch import Tensor

logger = logging.getLogger(__name__)

PROMPTS = "prompts.json"  # in a fold's folder
SOURCES = ("dataset", "test_dataset")  # of recipe.yaml: one place, or a list of them
_LOCK = ".lock"
_GROUP_SIZE = "group_size.json"
_CHANGES_NOTHING = ("fold_group",)  # keys of a recipe that no result depends on
_TOLD_ALONE = ("face",)  # resolved, for the card; the pairs' fingerprint holds it already
_PACKAGES = (
    *("torch", "transformers", "datasets", "accelerate", "numpy"),
    *("opencv-python", "opencv-python-headless", "hcp_mer"),
)


@dataclass(frozen=True)
class RunFolder:
    """Paths and atomic writes below one --output_dir."""

    root: Path

    def claim(self, recipe: Recipe, sources: dict[str, tuple], resolved: dict[str, Any]) -> None:
        """Write recipe.yaml, or check that the folder belongs to this very run.

        Args: sources: where the pairs came from, "dataset" and perhaps "test_dataset"; resolved:
            what the recipe's paths led to (prompt groups and tokens, preprocessing, fingerprints
            of pairs and backbone, test corpora), JSON.
        Raises:
            UserError: it holds a run of another recipe, dataset or backbone, or other files.
        """
        settings = {"recipe": recipe.to_dict(), **resolved}
        identity = _identity(settings)
        path = self.root / "recipe.yaml"
        if path.is_file():
            found = self.settings()
            if found.get("identity") == identity:
                _warn_of_other_versions(self.root, found.get("versions") or {})
                return
            raise UserError(self._of_another_run(_differences(found, settings)))
        self._check_ours()
        self.root.mkdir(parents=True, exist_ok=True)
        places = {key: own[0] if len(own) == 1 else list(own) for key, own in sources.items()}
        content = {"identity": identity, **settings, **places, "versions": _versions()}
        write_whole(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))

    def _of_another_run(self, changed: str) -> str:
        """What to say where the folder's run is not the one that claims it."""
        return (
            f"{self.root} holds a run with other settings ({changed}). "
            "Give another --output_dir, or delete that folder."
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other run out of this folder, also from another machine on the same disk.

        The operating system lets go of the lock when this process ends, however it ends.
        Raises:
            UserError: another run is at work here.
        """
        from filelock import FileLock, Timeout

        self._check_ours()
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / _LOCK, timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise UserError(
                f"another run is at work in {self.root}. Wait for it or stop it, or give another "
                "--output_dir. (Several processes on one run: accelerate launch or torchrun.)"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def _check_ours(self) -> None:
        """Refuse a file, and a folder in which somebody keeps other things."""
        if self.root.exists() and not self.root.is_dir():
            raise UserError(f"{self.root} is a file; --output_dir must be a folder.")
        if not self.root.exists() or (self.root / "recipe.yaml").is_file():
            return
        foreign = [path.name for path in self.root.iterdir() if path.name != _LOCK]
        if foreign:
            raise UserError(
                f"{self.root} is not empty ({foreign[0]}) and holds no run of ours. "
                "Give a new --output_dir."
            )

    def settings(self) -> dict[str, Any]:
        """What the run recorded of itself: the content of its recipe.yaml.

        Raises:
            UserError: there is none, or it is none of ours.
        """
        path = self.root / "recipe.yaml"
        if not path.is_file():
            raise UserError(f"{self.root} holds no run: there is no recipe.yaml. Train it first.")
        try:
            found = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            found = None
        if not isinstance(found, dict):
            raise UserError(
                f"{path} is no recipe of ours: give a folder of train_loso.py, or a new one."
            )
        return found

    def fold(self, fold: Fold) -> Path:
        return self._place(fold.dataset, fold.subject)

    def _place(self, *names: str) -> Path:
        """A fold's folder; names are quoted, so that no subject reaches outside."""
        return self.root.joinpath("folds", *(quote(n, safe=" ").replace(".", "%2E") for n in names))

    def save_fold(
        self,
        fold: Fold,
        states: dict[int, dict[str, Tensor]],
        tables: dict[str, pandas.DataFrame],
        prompts: dict[str, Any],
    ) -> None:
        """Trained parts by seed, tables by name, and the fold's prompts: its own entries of the
        model's config. The folder appears complete or not at all.
        """
        final = self.fold(fold)
        partial = final.with_name(f".{final.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for seed, state in states.items():
            save_tensors(partial / f"trained-seed{seed}.safetensors", state)
        for name, table in tables.items():
            table.to_parquet(partial / f"{name}.parquet", index=False)
        write_json(partial / PROMPTS, prompts)
        shutil.rmtree(final, ignore_errors=True)
        partial.replace(final)

    def finished_subjects(self) -> list[tuple[str, str]]:
        """(dataset, subject) of every fold that has a result, in order of name."""
        places = sorted(p for p in self.root.glob("folds/*/*") if not p.name.startswith("."))
        return [(unquote(place.parent.name), unquote(place.name)) for place in places]

    def trained_file(
        self, subject: str, dataset: str | None = None, seed: int | None = None
    ) -> Path:
        """The trained part of the fold that held a subject out.

        Args: dataset: needed where two corpora have a subject of that name; seed: the recipe's
            first by default.
        Raises:
            UserError: no run, no such subject or seed, or several such subjects.
        """
        settings = self.settings()
        people = self.finished_subjects()
        found = [
            person for person in people if person[1] == subject and dataset in (None, person[0])
        ]
        if not found:
            known = ", ".join("/".join(person) for person in people[:8])
            raise UserError(
                f"{self.root} has no finished fold of subject {subject!r}; it has {known or 'none'}"
                f"{', …' if len(people) > 8 else ''}."
            )
        if len(found) > 1:
            corpora = ", ".join(corpus for corpus, _ in found)
            raise UserError(f"subject {subject!r} is in {corpora}: give dataset too.")
        seeds = settings["recipe"]["seeds"]
        file = (
            self._place(*found[0]) / f"trained-seed{seeds[0] if seed is None else seed}.safetensors"
        )
        if not file.is_file():
            raise UserError(
                f"the fold of {subject} has no result with seed {seed}; the recipe's seeds are "
                f"{', '.join(map(str, seeds))}."
            )
        return file

    def is_finished(self, fold: Fold) -> bool:
        return self.fold(fold).is_dir()

    def save_cross_mapping(self, content: dict[str, Any] | None) -> None:
        """What the report draws of emotions and action units; None: the clips have none."""
        place = self.root / "cross_mapping.json"
        if content is None:
            place.unlink(missing_ok=True)
        else:
            write_json(place, content)

    def take_share(self, process: int, folds: list[Fold]) -> None:
        """Write down which folds a process is to train, so that its death can be reported."""
        place = self.root / "processes" / f"{process}.json"
        place.parent.mkdir(exist_ok=True)
        host = f"{socket.gethostname()}, pid {os.getpid()}"
        write_json(place, {"host": host, "folds": [fold.name for fold in folds]})

    def collect(self, folds: list[Fold], name: str, destination: str) -> None:
        """Pool one table of all folds into `destination`, a path in the run folder.

        Raises:
            UserError: a fold has no result; names it and the process that had it.
        """
        import pandas

        missing = [fold.name for fold in folds if not self.is_finished(fold)]
        if missing:
            raise UserError(
                f"no result of {len(missing)} fold(s): {self._who_had(missing)}. "
                "Run the same command again: only these are trained."
            )
        files = [self.fold(fold) / f"{name}.parquet" for fold in folds]
        older = [file.parent for file in files if not file.is_file()]
        if older:
            raise UserError(
                f"{older[0]} has no {name}.parquet: an older version trained it. Delete that "
                "folder and run the same command again."
            )
        tables = [pandas.read_parquet(file) for file in files]
        self.save_table(pandas.concat(tables, ignore_index=True), destination)

    def left_behind(self, unfinished: list[Fold]) -> str | None:
        """Which processes of an earlier run ended without these folds, in words, or None."""
        if not unfinished or not (self.root / "processes").is_dir():
            return None
        return self._who_had([fold.name for fold in unfinished])

    def forget_shares(self) -> None:
        """Every fold has its result: nobody's death needs to be reported any more."""
        shutil.rmtree(self.root / "processes", ignore_errors=True)

    def _who_had(self, missing: list[str]) -> str:
        """Folds by the process that had taken them."""
        parts, told = [], set()
        for place in sorted(self.root.glob("processes/*.json")):
            share = read_json(place, ("host", "folds"))
            own = [name for name in missing if name in share["folds"]]
            told |= set(own)
            if own:
                shown = ", ".join(own[:5]) + (", …" if len(own) > 5 else "")
                parts.append(f"{shown} (process {place.stem} on {share['host']})")
        rest = [name for name in missing if name not in told]
        return "; ".join([*parts, *([", ".join(rest[:5])] if rest else [])])

    def snapshots(self) -> Path:
        """Where groups of folds that are not finished leave word."""
        return self.root / "unfinished"

    def unfinished(self, destination: str) -> Path:
        """Where something of several parts leaves word until `destination` is written."""
        final = self.root / destination
        return final.with_name(f".{final.stem}.partial")

    def forget_snapshots(self) -> None:
        """Every fold is saved: nobody goes on from there any more."""
        shutil.rmtree(self.snapshots(), ignore_errors=True)

    def fix_group_size(self, measure: Callable[[], int], wanted: int | str) -> None:
        """Settle how many folds are stacked, for all processes and for the run that goes on.

        Args: measure: says how many; asked again only if `wanted`, the recipe's word, has changed.
        """
        place = self.snapshots() / _GROUP_SIZE
        if place.is_file() and read_json(place, ("size", "wanted"))["wanted"] == wanted:
            return
        place.parent.mkdir(exist_ok=True)
        write_json(place, {"size": measure(), "wanted": wanted})

    def group_size(self) -> int:
        return read_json(self.snapshots() / _GROUP_SIZE, ("size",))["size"]

    def save_table(self, table: pandas.DataFrame, destination: str) -> None:
        path = self.root / destination
        path.parent.mkdir(exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        table.to_parquet(partial, index=False)
        partial.replace(path)


def sources_of(settings: Any) -> list[str]:
    """Where a run's pairs came from, those to test on last, from its recipe.yaml's content."""
    given = [settings.get(key) for key in SOURCES] if isinstance(settings, dict) else []
    places = [place for own in given for place in (own if isinstance(own, list) else [own])]
    return [str(place) for place in places if place]


def _identity(settings: dict) -> str:
    recipe = {k: v for k, v in settings["recipe"].items() if k not in _CHANGES_NOTHING}
    kept = {key: value for key, value in settings.items() if key not in _TOLD_ALONE}
    content = json.dumps({**kept, "recipe": recipe}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _warn_of_other_versions(root: Path, before: dict[str, str]) -> None:
    now = _versions()
    changed = [f"{k} was {v}, is {now[k]}" for k, v in before.items() if now.get(k, v) != v]
    if changed:
        logger.warning(
            f"{root} was begun with other versions ({'; '.join(changed)}): what is trained now may "
            "differ from the folds that are there by rounding, or by more."
        )


def _versions() -> dict[str, str]:
    """Versions of what the result depends on; OpenCV comes in one of two builds."""
    versions = {}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def _differences(found: dict, settings: dict) -> str:
    """Names of the settings that differ, for the message."""
    names = [
        f"{key} was {(found.get('recipe') or {}).get(key)!r}, now {value!r}"
        for key, value in settings["recipe"].items()
        if (found.get("recipe") or {}).get(key) != value and key not in _CHANGES_NOTHING
    ]
    names += [
        f"other {key.removesuffix('_fingerprint').replace('_', ' ')}"
        for key in dict.fromkeys((*settings, "test_corpora", "protocol"))  # not every run has these
        if key not in ("recipe", *_TOLD_ALONE) and found.get(key) != settings.get(key)
    ]
    return "; ".join(names) or "unknown"
