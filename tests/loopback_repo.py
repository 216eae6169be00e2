"""What the loopback Hub keeps: files on disk, repositories with commits, branches and tags."""

import hashlib
import os
import tempfile
from functools import cached_property
from pathlib import Path

CHUNK = 1 << 20  # bytes held in memory at a time, however large the file
# The Hub stores these by LFS, as its first commit's .gitattributes says, and all large files too.
LFS_SUFFIXES = (".safetensors", ".parquet", ".arrow", ".npz", ".bin", ".pt", ".png", ".jpg")
LFS_FROM_BYTES = 10_000_000
GITATTRIBUTES = "".join(f"*{s} filter=lfs diff=lfs merge=lfs -text\n" for s in LFS_SUFFIXES)


def is_lfs(path: str, size: int) -> bool:
    """Whether the Hub would store a file of this name and size by LFS."""
    return path.endswith(LFS_SUFFIXES) or size > LFS_FROM_BYTES


def git_blob_id(body: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


class Blob:
    """The content of one file, on disk. LFS decides by which of its hashes the Hub names it."""

    def __init__(self, path: Path, lfs: bool):
        self.path, self.lfs, self.size = path, lfs, path.stat().st_size

    @cached_property
    def sha256(self) -> str:
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def _in_git(self) -> bytes:
        """What git holds: the body, or for LFS the pointer to it."""
        if not self.lfs:
            return self.path.read_bytes()
        head = "version https://git-lfs.github.com/spec/v1"
        return f"{head}\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @property
    def etag(self) -> str:
        """What a client compares its own copy with."""
        return self.sha256 if self.lfs else git_blob_id(self._in_git)

    def as_entry(self) -> dict:
        """Size and hashes as the Hub's tree listing has them."""
        return self._describe("oid", "oid")

    def as_sibling(self) -> dict:
        """The same as the Hub's description of a repository has them, under other names."""
        return self._describe("blobId", "sha256")

    def _describe(self, id_name, hash_name):
        about = {id_name: git_blob_id(self._in_git), "size": self.size}
        if self.lfs:
            pointer = {hash_name: self.sha256, "pointerSize": len(self._in_git)}
            about["lfs"] = {**pointer, "size": self.size}
        return about


class Store:
    """Uploaded bodies, one file each, named by their sha256."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self.folder / sha256

    def write(self, chunks) -> str:
        """Keep the chunks' bytes, whole or not at all; returns their sha256."""
        digest = hashlib.sha256()
        handle, partial = tempfile.mkstemp(dir=self.folder)
        try:
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
            Path(partial).replace(self.path(digest.hexdigest()))
        finally:
            Path(partial).unlink(missing_ok=True)
        return digest.hexdigest()


class Repo:
    """A repository: commit id → {path: Blob}; branches and tags point at commits."""

    def __init__(self, kind: str, repo_id: str, private: bool = False):
        self.kind, self.repo_id, self.private = kind, repo_id, private
        self.commits: dict[str, dict[str, Blob]] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}

    @property
    def owner(self) -> str:
        return self.repo_id.split("/")[0]

    def commit(self, files: dict[str, Blob], branch: str, commit_id: str | None = None) -> str:
        """Put a commit on top of the branch and return its id, made from content and parent."""
        if commit_id is None:
            listing = sorted((path, blob.etag) for path, blob in files.items())
            content = repr((self.kind, self.repo_id, self.branches.get(branch), listing))
            commit_id = hashlib.sha1(content.encode()).hexdigest()
        self.commits[commit_id] = dict(files)
        self.branches[branch] = commit_id
        return commit_id

    def find(self, revision: str) -> str | None:
        """The commit that a branch, a tag or a commit id names."""
        if revision in self.commits:
            return revision
        return self.branches.get(revision, self.tags.get(revision))

    def listing(self, commit_id: str, folder: str, recursive: bool) -> list[dict]:
        """Files and folders inside `folder` (all of them, or its direct children), by name."""
        inside = f"{folder}/" if folder else ""
        found = {}
        for path, blob in self.commits[commit_id].items():
            if not path.startswith(inside):
                continue
            parts = path[len(inside) :].split("/")
            for depth in range(1, len(parts)):
                parent = inside + "/".join(parts[:depth])
                found[parent] = folder_entry(parent)
                if not recursive:
                    break
            if recursive or len(parts) == 1:
                found[path] = {"type": "file", "path": path, **blob.as_entry()}
        return [found[path] for path in sorted(found)]


def folder_entry(path: str) -> dict:
    return {"type": "directory", "path": path, "oid": git_blob_id(path.encode()), "size": 0}
