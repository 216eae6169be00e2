"""Other people's videos: each visitor's own copy, deleted when it is answered or forgotten."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from hcp_mer.errors import UserError

FORGOTTEN_S = 1800.0  # an upload that nobody asked about by then is deleted
SWEEP_S = 60.0


class Uploads:
    """Files that visitors gave, in a folder of their own.

    The server stores an upload by its content, so that the same clip from two visitors, as in a
    classroom, is one file: whoever is answered first would delete the other's. `take` gives each
    a place of their own.

    Args: `arrivals`, where the server puts uploads; `folder`, where they wait. Both must exist, on
    one disk.
    """

    def __init__(self, arrivals: Path, folder: Path) -> None:
        self._arrivals, self._folder = arrivals.resolve(), folder.resolve()
        self._held: dict[Path, Path] = {}  # as it arrived → the copy that was taken last
        self._lock = threading.Lock()

    def take(self, arrived: Path | str) -> Path:
        """Move an upload to a place that nobody else knows; its name stays.

        Raises UserError for a file that is not there any more or never was an upload.
        """
        path = Path(arrived).resolve()
        if not path.is_relative_to(self._arrivals):
            raise UserError("that file is no upload. Choose a video.")
        own = self._folder / secrets.token_hex(16)
        own.mkdir()
        with self._lock:
            twin = self._held.get(path)
            for source in filter(None, (path, twin)):
                with suppress(FileNotFoundError):
                    _link(source, own / path.name)
                    break
            else:
                own.rmdir()
                raise UserError("that upload is not here any more. Choose the video again.")
            path.unlink(missing_ok=True)
            self._held[path] = own / path.name
        return own / path.name

    def discard(self, taken: Path | str | None) -> None:
        """Delete what `take` gave; of anything else nothing."""
        if taken is None or Path(taken).parent.parent != self._folder:
            return
        with self._lock:
            self._held = {key: path for key, path in self._held.items() if path != Path(taken)}
        Path(taken).unlink(missing_ok=True)
        with suppress(OSError):
            Path(taken).parent.rmdir()

    def sweep(self, older_than_s: float = FORGOTTEN_S) -> None:
        """Delete what nobody asked about, and what arrived in part before its sender left."""
        before = time.time() - older_than_s
        for path in self._folder.glob("*/*"):
            if _changed(path) < before:
                self.discard(path)
        for path in self._arrivals.iterdir():
            if path.is_file() and _changed(path) < before:
                path.unlink(missing_ok=True)

    @asynccontextmanager
    async def swept(self, app: Any) -> AsyncIterator[None]:
        """While a server runs, sweep every minute."""
        task = asyncio.create_task(self._keep_sweeping())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            await asyncio.to_thread(self.sweep)


def _link(source: Path, target: Path) -> None:
    """A second name for a file; a copy where the disk knows no such thing."""
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copy2(source, target)


def _changed(path: Path) -> float:
    """When a file was changed last; never, where it has gone meanwhile."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
