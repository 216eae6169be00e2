"""Writing a file whole or not at all, and reading the JSON files that we wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless it is there.

    Raises:
        UserError: a file is in its place, or in that of a folder above it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{folder} cannot be a folder: a file is in its place.") from error


def write_whole(path: Path, content: str | bytes) -> None:
    """Write under a temporary name, then rename: a killed run leaves the old file or the new."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    temporary.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Write strict, readable JSON, whole or not at all."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, text + "\n")


def read_json(path: Path, needed: tuple[str, ...] = ()) -> Any:
    """Read a JSON file of ours; an object must have the keys `needed`.

    Raises:
        UserError: the file is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        for key in needed:
            content[key]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({error!r}). Delete it and run the step that wrote it again."
        ) from error
    return content


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict | None = None) -> None:
    """Write safetensors whole or not at all.

    Raises:
        OSError: the disk is full, or the folder cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    temporary = path.with_name(f".{path.name}.partial")
    try:
        save_file(tensors, temporary, metadata=metadata)
    except SafetensorError as error:  # no OSError, whatever went wrong with the file
        temporary.unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written ({error}). Is the disk full?") from error
    temporary.chmod(path.parent.stat().st_mode & 0o666)  # safetensors lets only its writer read
    temporary.replace(path)
