"""What flow estimators and magnifiers have in common: chosen by name, some read by weights."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from hcp_mer.errors import UserError

Choice = TypeVar("Choice")
Method = TypeVar("Method", bound="MotionMethod")
NETWORK_BATCH = {"cuda": 16, "cpu": 4}  # pairs that go through a network at once


class MotionMethod:
    """A way to measure or to magnify motion.

    Attributes: `needs_weights`, whether it is a network; `variant`, which of the published ones;
    `batch`, how many pairs are best given to `many` at once.
    """

    needs_weights = False
    variant: str | None = None
    batch = 1

    def __init__(self, weights: str | Path | None = None) -> None:
        """Raises UserError for weights that cannot be read; networks are loaded here."""


def made(kind: str, choices: Mapping[str, type[Method]], name: str, weights: str | None) -> Method:
    """The method of that name, one for each process.

    Raises UserError as `check_choice` does, and for a file that holds no such network.
    """
    check_choice(kind, choices, name, weights)
    return _made(choices[name], weights)


@lru_cache(maxsize=4)
def _made(method: type[Method], weights: str | None) -> Method:
    return method(weights) if method.needs_weights else method()


def chosen(kind: str, choices: Mapping[str, Choice], name: str) -> Choice:
    """What `choices` holds under `name`. Raises UserError with the closest name if nothing."""
    if name in choices:
        return choices[name]
    closest = difflib.get_close_matches(name, choices, n=1, cutoff=0.0)[0]
    known = ", ".join(choices)
    raise UserError(f"{kind} must be one of {known}, got {name!r}. Did you mean {closest!r}?")


def check_choice(
    kind: str, choices: Mapping[str, type[MotionMethod]], name: str, weights: str | None
) -> None:
    """Raises UserError for an unknown name, or weights that are missing or not wanted."""
    if not chosen(kind, choices, name).needs_weights:
        if weights:
            raise UserError(f"{kind} {name} reads no weights, got {Path(weights).name}.")
        return
    if not weights:
        raise UserError(f"{kind} {name} needs weights: give the file that its authors published.")
    if not _files_of(Path(weights)):
        raise UserError(f"no weights of {kind} {name} at {weights}.")


def device() -> str:
    """Where networks run: on the GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def weights_record(weights: str | None, variant: str | None) -> dict[str, str | None] | None:
    """What a card says of a network: its variant, and the file by name and hash, not by path."""
    if weights is None:
        return None
    files = _files_of(Path(weights))
    stamps = tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files)
    return {"variant": variant, "file": Path(weights).name, "sha256": _hash(stamps)}


def _files_of(path: Path) -> list[Path]:
    """The file; or those of a TensorFlow checkpoint, which is given as a folder or a prefix."""
    if path.is_file() and path.suffix != ".index":
        return [path]
    prefix = path.name.removesuffix(".index")
    found = path.iterdir() if path.is_dir() else path.parent.glob(f"{prefix}.*")
    return sorted(file for file in found if file.is_file())


@lru_cache(maxsize=8)
def _hash(stamps: tuple[tuple[str, int, int], ...]) -> str:
    """SHA-256 of a file, or of the hashes of several; remembered until a size or date changes."""
    hashes = []
    for name, _, _ in stamps:
        with Path(name).open("rb") as file:
            hashes.append(hashlib.file_digest(file, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()
