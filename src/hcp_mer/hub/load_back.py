"""Asking a new process, with empty caches, what it gets from the Hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from hcp_mer.errors import UserError

# The token stays where huggingface_hub keeps it: HF_HOME is not among them.
_CACHES = (
    *("HF_HUB_CACHE", "HF_XET_CACHE"),
    *("HF_DATASETS_CACHE", "HF_EVALUATE_CACHE", "HF_MODULES_CACHE"),
)


def ask_fresh_process(code: str, *arguments: str) -> str:
    """Run Python code in a process of its own that has nothing in its Hugging Face caches.

    Returns: the last line that it prints.
    Raises:
        UserError: it failed; the message is the last line of its error.
    """
    with TemporaryDirectory() as folder:
        caches = {name: str(Path(folder) / name) for name in _CACHES}
        answer = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=os.environ | caches | {"HF_UPDATE_DOWNLOAD_COUNTS": "0"},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise UserError(f"what was pushed does not load back: {reason}")
    return answer.stdout.strip().splitlines()[-1]
