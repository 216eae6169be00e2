"""A repository whose card names the commit that its files are in, so that readers can pin it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from hcp_mer.errors import UserError
from hcp_mer.files import write_whole
from hcp_mer.hub.access import folder_files, readable_hub_errors, upload

CARD = "README.md"
DRY_RUN_REVISION = "0" * 40  # as long as a real one: a dry run then tells the card's true size
_PINNED = re.compile(r'revision="([0-9a-f]{40})"')
_NOT_OURS = (CARD, ".gitattributes")


@dataclass(frozen=True)
class Pushed:
    """What a push did or, in a dry run, would do.

    Attributes:
        repo_id, url: the repository; after a dry run there is no url, and no owner but a given one.
        revision: commit that holds the files, 40 hex digits; None after a dry run.
        files: (path in the repository, bytes) of each.
        private: whether it is private; None where the Hub decides.
    """

    repo_id: str
    url: str | None
    revision: str | None
    files: list[tuple[str, int]]
    private: bool | None


def listed(folder: Path) -> list[tuple[str, int]]:
    """(path inside the folder, bytes) of every file in it."""
    return [(p.relative_to(folder).as_posix(), p.stat().st_size) for p in folder_files(folder)]


def check_ours(repo_id: str, repo_type: str, marker: str) -> None:
    """Refuse a repository that holds something else: nobody's work is to be mixed with ours.

    Args: marker: a file that every earlier push of the same kind left there.
    """
    with readable_hub_errors(f"{repo_type} {repo_id}"):
        there = _hashes_there(repo_id, repo_type, "main")
    if there and marker not in there:
        raise UserError(
            f"the {repo_type} {repo_id} holds other things ({', '.join(sorted(there)[:3])}, …) and "
            f"no {marker}: give a new name, or empty it first."
        )


def push_with_card(
    folder: Path,
    repo_id: str,
    repo_type: str,
    message: str,
    render_card: Callable[[str | None], str],
    stale: Sequence[str] = (),
) -> str:
    """Send files, then the card that pins their commit; what is there already is not sent again.

    Args:
        folder: the files without README.md.
        message: of the files' commit.
        render_card: text of README.md, given the commit to pin or None.
        stale: see `hcp_mer.hub.access.upload`.
    Returns: the commit that the card pins. A second push of the same adds none.
    Raises:
        UserError: see `hcp_mer.hub.access.upload`.
    """
    with readable_hub_errors(f"{repo_type} {repo_id}"):
        revision = _pinned_commit(folder, repo_id, repo_type, stale)
    if revision is None:
        write_whole(folder / CARD, render_card(None))  # so that no commit is without licence
        revision = upload(folder, repo_id, repo_type, message, stale=stale)
    with TemporaryDirectory() as alone:
        write_whole(Path(alone) / CARD, render_card(revision))
        upload(Path(alone), repo_id, repo_type, "Card")
    return revision


def _pinned_commit(folder: Path, repo_id: str, repo_type: str, stale: Sequence[str]) -> str | None:
    """The commit that the card there pins, if the folder is in it and is there still."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, RevisionNotFoundError

    try:
        with TemporaryDirectory() as cache:
            card = hf_hub_download(repo_id, CARD, repo_type=repo_type, cache_dir=cache)
            pinned = _PINNED.search(Path(card).read_text(encoding="utf-8"))
        if pinned is None:
            return None
        ours = _hashes_here(folder)
        for revision in ("main", pinned[1]):
            there = _hashes_there(repo_id, repo_type, revision)
            if any(there.get(path) not in ours[path] for path in ours):
                return None
            if any(fnmatch(path, old) for path in there.keys() - ours.keys() for old in stale):
                return None
    except (EntryNotFoundError, RevisionNotFoundError):
        return None
    return pinned[1]


def _hashes_here(folder: Path) -> dict[str, tuple[str, str]]:
    """path → the names that the Hub could have for the file's content: LFS's and git's."""
    hashes = {}
    for path in folder_files(folder):
        blob = hashlib.sha1(b"blob %d\0" % path.stat().st_size)
        sha256 = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                blob.update(chunk)
                sha256.update(chunk)
        name = path.relative_to(folder).as_posix()
        hashes[name] = (sha256.hexdigest(), blob.hexdigest())
    return hashes


def _hashes_there(repo_id: str, repo_type: str, revision: str) -> dict[str, str]:
    """path → hash of its content, of all files there but the card and git's own."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    tree = HfApi().list_repo_tree(repo_id, recursive=True, revision=revision, repo_type=repo_type)
    files = [entry for entry in tree if isinstance(entry, RepoFile) and entry.path not in _NOT_OURS]
    return {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in files}
