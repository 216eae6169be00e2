"""A Hugging Face Hub on this machine's loopback address, for tests.

    with Hub(tmp_path / "hub", tokens={"hf_secret": "user"}) as hub:
        hub.add_repo("model", "user/tiny", folder)      # a local folder, served in place
        ...                                             # a process with HF_ENDPOINT=hub.url
        assert ("GET", "/user/tiny/resolve/main/config.json") in hub.requests

Clients must run with HF_HUB_DISABLE_XET=1: this Hub speaks the LFS protocol alone. Status codes and
headers are the real Hub's as far as the client libraries look at them. The parts: loopback_repo.py
keeps files and commits, loopback_api.py answers requests, loopback_card.py checks cards.
"""

import contextlib
import re
import socket
import sys
import threading
import traceback
from http.server import ThreadingHTTPServer
from pathlib import Path

from tests.loopback_api import Handler, Refusal
from tests.loopback_repo import GITATTRIBUTES, Blob, Repo, Store, is_lfs


class Hub:
    """Repositories, tokens, a log of requests, and failures that a test switches on.

    Args:
        folder: where uploaded bodies are kept.
        tokens: token → the user it belongs to. A user may write below his own name only.

    Attributes:
        url: what clients need as HF_ENDPOINT.
        requests: (method, path) of every request so far, paths unquoted and without their query.
        errors: tracebacks of requests that this Hub itself stumbled over; must stay empty.
    """

    def __init__(self, folder: Path, tokens: dict[str, str] | None = None):
        self.store = Store(Path(folder))
        self.tokens = dict(tokens or {})
        self.repos: dict[tuple[str, str], Repo] = {}
        self.requests: list[tuple[str, str]] = []
        self.errors: list[str] = []
        self._lock = threading.Lock()
        self.heal()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()

    def add_repo(self, kind, repo_id, folder, revision="main", private=False) -> str:
        """Publish a local folder, without copying it, and return the commit id.

        Args:
            kind: "model", "dataset" or "space".
            revision: 40 hex digits become the commit's id, and `main` too where there is none yet;
                anything else is a branch, and the id is made up.
        """
        repo = self.repos.setdefault((kind, repo_id), Repo(kind, repo_id, private))
        files = {}
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                files[name] = Blob(path, is_lfs(name, path.stat().st_size))
        if not re.fullmatch(r"[0-9a-f]{40}", revision):
            return repo.commit(files, revision)
        repo.commits[revision] = files
        repo.branches.setdefault("main", revision)
        return revision

    def create_repo(self, kind: str, repo_id: str, private: bool = False) -> None:
        """An empty repository, as the Hub makes it: one commit with .gitattributes."""
        repo = self.repos[kind, repo_id] = Repo(kind, repo_id, private)
        repo.commit({".gitattributes": self.keep(GITATTRIBUTES.encode())}, "main")

    def keep(self, body: bytes) -> Blob:
        """Store the body of a file that is not LFS."""
        return Blob(self.store.path(self.store.write([body])), lfs=False)

    def downloads(self) -> list[str]:
        """Names, without their folders, of the files whose bodies were asked for."""
        bodies = [path for method, path in self.requests if method == "GET" and "/resolve/" in path]
        return [path.rpartition("/")[2] for path in bodies]

    def uploads(self) -> list[str]:
        """The sha256 of every body that was sent by LFS, taken or refused."""
        return [path.removeprefix("/lfs/") for method, path in self.requests if method == "PUT"]

    def fail_after_uploads(self, count: int, status: int | None = 507) -> None:
        """Take `count` more LFS uploads, then refuse them all with `status` until `heal()`.

        507 (storage full) ends a push at once. huggingface_hub retries a 500 for some 5 s and a
        dropped connection (None) for some 23 s before it gives up.
        """
        self._uploads_left, self._upload_failure = count, status

    def cut_next_download(self, after_bytes: int) -> None:
        """Drop the connection once, in the middle of the next body that is longer than this."""
        self._cut_after = after_bytes

    def heal(self) -> None:
        """End all failures."""
        self._uploads_left = self._upload_failure = self._cut_after = None

    def admit_upload(self) -> None:
        """Count one LFS upload and refuse it if a test wants that."""
        with self._lock:
            if self._uploads_left is None:
                return
            self._uploads_left -= 1
            if self._uploads_left >= 0:
                return
        if self._upload_failure is None:
            raise ConnectionAbortedError("a test wants this upload to break off")
        raise Refusal(self._upload_failure, "", "a test wants this upload to fail")

    def take_cut(self, length: int) -> int | None:
        """After how many of a body's `length` bytes to break off, if at all; only once."""
        with self._lock:
            if self._cut_after is None or self._cut_after >= length:
                return None
            cut, self._cut_after = self._cut_after, None
            return cut


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # server_close() then waits for them, and no socket is left open
    request_queue_size = 64

    def __init__(self, hub: Hub):
        super().__init__(("127.0.0.1", 0), Handler)
        self.hub = hub
        self._connections: set[socket.socket] = set()

    def process_request(self, request, client_address):
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):  # clients may leave, tests may cut
            self.hub.errors.append(traceback.format_exc())

    def hang_up(self):
        """Wake the threads that wait for a client's next request."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
