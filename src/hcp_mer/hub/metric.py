"""The metric as a Space: `evaluate.load("user/mer")`, and a page that computes it."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.resources import as_file, files
from pathlib import Path
from tempfile import TemporaryDirectory

from hcp_mer.errors import UserError
from hcp_mer.files import write_whole
from hcp_mer.hub.access import full_name, make_repo, own_repo
from hcp_mer.hub.load_back import ask_fresh_process
from hcp_mer.hub.pinned import (
    CARD,
    DRY_RUN_REVISION,
    Pushed,
    check_ours,
    listed,
    push_with_card,
)
from hcp_mer.reporting.metric_card import render_metric_card

_MODULE, _MARKER = "mer.py", "scores.py"
_FILES = (_MODULE, _MARKER, "app.py", "requirements.txt")
# A module of that name would take the place of what it or the page imports; so would Python's own.
_TAKEN = ("app", "scores", "datasets", "evaluate", "gradio", "numpy")
_CLIPS = {"references": [0, 0, 1, 2], "predictions": [0, 1, 1, 2]}
_SCORES = {"accuracy": 3 / 4, "uf1": 7 / 9, "uar": 5 / 6}  # by hand, as on the card
_SCORE = """
import json, sys
import evaluate
metric = evaluate.load(sys.argv[1], revision=sys.argv[2])
print(json.dumps(metric.compute(**json.loads(sys.argv[3]))))
"""


def push_metric(repo_id: str, private: bool | None = False, dry_run: bool = False) -> Pushed:
    """Publish accuracy, UF1 and UAR as a metric that evaluate loads, and load it back.

    Args:
        repo_id: NAME or OWNER/NAME. evaluate asks for the file NAME.py, so the module gets this
            name: best call it "mer".
        private: a private one loads only where a token is that may read it.
        dry_run: send nothing and ask nothing, say what would be sent.
    Raises:
        UserError: a name that no module can have, a repository that is public although `private`
            or holds other things, what the Hub refuses, or a metric that scores differently.
    """
    _check_name(full_name(repo_id, "anybody"))
    repo_id = repo_id if dry_run else own_repo(repo_id)
    with TemporaryDirectory() as folder:
        staging = Path(folder)
        _stage(repo_id.split("/")[-1], staging)
        if dry_run:
            write_whole(staging / CARD, render_metric_card(repo_id, DRY_RUN_REVISION))
            return Pushed(repo_id, None, None, listed(staging), private)
        url = make_repo(repo_id, "space", private, space_sdk="gradio")
        check_ours(repo_id, "space", _MARKER)
        revision = push_with_card(
            staging,
            repo_id,
            "space",
            "Accuracy, UF1, UAR",
            lambda pinned: render_metric_card(repo_id, pinned),
        )
        write_whole(staging / CARD, render_metric_card(repo_id, revision))
        pushed = Pushed(repo_id, url, revision, listed(staging), private)
    _verify(repo_id, revision)
    return pushed


def _check_name(repo_id: str) -> None:
    name = repo_id.split("/")[-1]
    if "." in name or name in (*_TAKEN, *sys.stdlib_module_names):
        raise UserError(
            f"{name!r} cannot be a metric's name: evaluate imports a module of that name, so it "
            f"may hold no dot and be no module of Python's, nor {', '.join(_TAKEN)}. Call it mer."
        )


def _stage(name: str, folder: Path) -> None:
    """Copy the metric's files, its module under the repository's name."""
    for file in _FILES:
        with as_file(files("hcp_mer.metrics") / "mer" / file) as path:
            shutil.copyfile(path, folder / (f"{name}.py" if file == _MODULE else file))


def _verify(repo_id: str, revision: str) -> None:
    answer = json.loads(ask_fresh_process(_SCORE, repo_id, revision, json.dumps(_CLIPS)))
    if any(abs(answer[name] - score) > 1e-12 for name, score in _SCORES.items()):
        raise UserError(
            f"the metric that {repo_id} gives back scores {answer}, not {_SCORES}: push it again."
        )
