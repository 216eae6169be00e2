"""A Hub on loopback, and fresh processes that take it for the real one."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loopback_hub import Hub

TOKEN = "hf_test_token_of_user"
SCRIPTS = Path(__file__).parents[2] / "scripts"

PREAMBLE = """
import sys
for name in {blocked!r}:
    sys.modules[name] = None  # importing it fails, as where it is not installed
"""

CLIENT = """
import json
from huggingface_hub import *

api = HfApi()

def refusal(call):
    try:
        call()
    except Exception as error:
        response = getattr(error, "response", None)
        return [type(error).__name__, response.status_code if response is not None else None]
"""


@pytest.fixture
def loopback(tmp_path):
    """A running Hub of one user, named user, whose token is TOKEN."""
    with Hub(tmp_path / "hub", tokens={TOKEN: "user"}) as hub:
        yield hub
    assert not hub.errors, "\n".join(hub.errors)


@pytest.fixture
def run_process(loopback, tmp_path):
    """run_process(command, token, home, offline, check) → CompletedProcess with text output."""
    numbers = itertools.count()

    def run(command, token, home, offline, check):
        fresh = tmp_path / f"process-{next(numbers)}"
        fresh.mkdir()
        # Only PATH is inherited: no proxy, no offline switch, no token of whoever runs the tests.
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "LANG": "C.UTF-8",
            "HOME": str(fresh),
            "HF_HOME": str(home or fresh / "hf-home"),
            "HF_ENDPOINT": loopback.url,
            "HF_HUB_DISABLE_XET": "1",  # the loopback Hub has LFS only
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # evaluate would tell a bucket on the internet
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
        }
        if token is not None:
            environment["HF_TOKEN"] = token
        if offline:
            environment["HF_HUB_OFFLINE"] = "1"
        process = subprocess.run(
            [str(part) for part in command],
            cwd=fresh,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if check:
            assert process.returncode == 0, process.stderr
        return process

    return run


@pytest.fixture
def elsewhere(run_process):
    """Run Python code in a fresh isolated process where the `blocked` modules are not installed.

    elsewhere(code, *, blocked=("hcp_mer",), offline=False, token=TOKEN, home=None, check=True)
    → CompletedProcess. Each process has its own empty caches, unless two get the same `home`.
    """

    def run(code, *, blocked=("hcp_mer",), offline=False, token=TOKEN, home=None, check=True):
        command = [sys.executable, "-I", "-c", PREAMBLE.format(blocked=tuple(blocked)) + code]
        return run_process(command, token, home, offline, check)

    return run


@pytest.fixture
def answer(elsewhere):
    """answer(code, **options of elsewhere) → what the code printed last, read as JSON."""

    def ask(code, **options):
        return json.loads(elsewhere(code, **options).stdout.splitlines()[-1])

    return ask


@pytest.fixture
def client(answer):
    """client(code, **options of elsewhere) → answer(…) of code that starts with huggingface_hub.

    It has `api`, an HfApi, and `refusal(call)`: None or [name of the exception, HTTP status].
    """

    def ask(code, **options):
        return answer(CLIENT + code, **options)

    return ask


@pytest.fixture
def folder(tmp_path):
    """Two LFS files, a text in a subfolder and an empty file in a deeper one."""
    folder = tmp_path / "folder"
    (folder / "notes" / "deep").mkdir(parents=True)
    (folder / "a.safetensors").write_bytes(b"a" * 1000)
    (folder / "b.safetensors").write_bytes(b"b" * 1000)
    (folder / "notes" / "hello.txt").write_bytes(b"hello")
    (folder / "notes" / "deep" / "empty.txt").touch()
    return folder


@pytest.fixture
def run_script(run_process):
    """Run scripts/<name> as a user does, with the loopback Hub for the real one.

    run_script(name, *arguments, token=TOKEN, home=None, offline=False, check=True)
    → CompletedProcess.
    """

    def run(name, *arguments, token=TOKEN, home=None, offline=False, check=True):
        command = [sys.executable, SCRIPTS / name, *arguments]
        return run_process(command, token, home, offline, check)

    return run
