"""A finished run → a model repository: the deployable model on `main`, a branch for each fold.

Everything that can be refused is refused before anything is sent. Each branch changes in whole
commits, and what is equal is not sent again: a push that broke off is completed by repeating it,
and repeating a complete one adds nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from hcp_mer.errors import UserError
from hcp_mer.files import write_whole
from hcp_mer.hub.access import (
    check_private,
    folder_files,
    full_name,
    make_repo,
    own_repo,
    readable_hub_errors,
    upload,
)
from hcp_mer.hub.pinned import CARD, DRY_RUN_REVISION, check_ours, push_with_card
from hcp_mer.hub.staging import (
    SCORE_FIGURES,
    FinishedRun,
    FoldToPublish,
    fold_card,
    folds_to_publish,
    main_card,
    open_finished_run,
    stage_fold,
    stage_main,
)
from hcp_mer.hub.verify import verify

MARKER = "configuration_hcp_mer.py"  # every model of ours has it
# Files of ours that an earlier push may have left and a later one does not have.
_STALE = (
    *("*_hcp_mer.py", "vision_lora/adapter_*", "tokenizer.json", "tokenizer_config.json"),
    *(f"figures/{name}" for name in SCORE_FIGURES),
)


@dataclass(frozen=True)
class PushedRun:
    """What was pushed, or would be.

    Attributes:
        repo_id, url: the repository; after a dry run there is no url, and no owner but a given one.
        revision: the commit that holds what was pushed to main, 40 hex digits; the card pins it.
            None after a dry run.
        branches: main, then one for each fold.
        files: (branch, path, bytes) of every file.
        private: whether it is; after a dry run as asked for, None where the Hub decides.
    """

    repo_id: str
    url: str | None
    revision: str | None
    branches: list[str]
    files: list[tuple[str, str, int]]
    private: bool | None


def push_run(
    run_folder: str | Path,
    repo_id: str,
    private: bool | None = None,
    folds: bool = False,
    dry_run: bool = False,
) -> PushedRun:
    """Publish a run, load it back and compare.

    Args:
        run_folder: the --output_dir of train_loso.
        repo_id: "owner/name", or "name" for one of the user's own.
        private: None leaves it to the Hub, see `make_repo`.
        folds: publish each fold's weights too (of the recipe's first seed), on its own branch.
        dry_run: say what would be pushed; nothing leaves this machine.
    Raises:
        UserError: an unfinished run, no right to write, a repository of something else, a broken
            connection, or a repository that answers otherwise than what was pushed.
    """
    run = open_finished_run(Path(run_folder))
    fold_list = folds_to_publish(run) if folds else []
    branches = ["main", *(fold.branch for fold in fold_list)]
    with TemporaryDirectory() as folder:
        staging = Path(folder)
        if dry_run:
            full_name(repo_id, "anybody")  # its mistakes show here too
            files = _would_push(run, fold_list, repo_id, staging / "main")
            return PushedRun(repo_id, None, None, branches, files, private)
        name = check_target(repo_id, private)
        url = make_repo(name, "model", private)
        private = _is_private(name)
        revision, files = _push_main(run, name, staging / "main")
        for fold in tqdm(fold_list, desc="folds", unit="branch", disable=not fold_list):
            first = fold is fold_list[0]
            files += _push_fold(run, fold, name, staging / fold.branch, check=first)
    return PushedRun(name, url, revision, branches, files, private)


def check_target(repo_id: str, private: bool | None = None) -> str:
    """Whole name of the repository that a run may be pushed to; sends nothing.

    Raises:
        UserError: not signed in, not the user's, no possible name, a repository with something
            else in it, a dataset or Space of that name, or a public one where private is asked.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    name = own_repo(repo_id)
    api = HfApi()
    with readable_hub_errors(f"model {name}"):
        try:
            info = api.model_info(name)
        except RepositoryNotFoundError:
            for kind in ("dataset", "space"):
                if api.repo_exists(name, repo_type=kind):
                    raise UserError(
                        f"{name} is a {kind}, and a run becomes a model: give another name."
                    ) from None
            return name
        if private:
            check_private(info)
        check_ours(name, "model", MARKER)
    return name


def _is_private(name: str) -> bool:
    from huggingface_hub import HfApi

    with readable_hub_errors(f"model {name}"):
        return bool(HfApi().model_info(name).private)


def _push_main(run: FinishedRun, name: str, folder: Path) -> tuple[str, list[tuple[str, str, int]]]:
    """Push weights, code, scores and settings, then the card that pins their commit."""
    stage_main(run, folder)
    revision = push_with_card(
        folder,
        name,
        "model",
        f"HCP_MER, {run.metrics['task']}",
        lambda pinned: main_card(run, name, pinned or "main"),
        stale=_STALE,
    )
    write_whole(folder / CARD, main_card(run, name, revision))
    verify(folder, name, revision)
    return revision, _sizes("main", folder)


def _push_fold(
    run: FinishedRun, fold: FoldToPublish, name: str, folder: Path, check: bool
) -> list[tuple[str, str, int]]:
    """Push one fold. The branch is mirrored: what main has besides a checkpoint is not there.

    One commit a fold: its card pins the branch, not a commit, since the Hub limits how many
    commits an hour takes, and composite databases have some 70 subjects.
    """
    from huggingface_hub import HfApi

    stage_fold(run, fold, folder, name)
    who = f"{fold.row['dataset']}/{fold.row['subject']}"
    with readable_hub_errors(f"model {name}"):
        HfApi().create_branch(name, branch=fold.branch, exist_ok=True)
    commit = upload(
        folder, name, "model", f"Fold without {who}", revision=fold.branch, stale=("[!.]*",)
    )
    if check:  # loading is slow, and the Hub checks the hash of every file
        verify(folder, name, commit)
    files = _sizes(fold.branch, folder)
    for path in folder_files(folder):  # a hundred folds must not fill the disk
        path.unlink()
    return files


def _would_push(
    run: FinishedRun, folds: list[FoldToPublish], name: str, folder: Path
) -> list[tuple[str, str, int]]:
    """What a push would send. A fold's files are as large as main's, so none is loaded for this."""
    stage_main(run, folder)
    checkpoint = [file for file in _sizes("main", folder) if (run.checkpoint / file[1]).is_file()]
    write_whole(folder / CARD, main_card(run, name, DRY_RUN_REVISION))
    files = _sizes("main", folder)
    for fold in folds:
        files.append((fold.branch, CARD, len(fold_card(run, fold, name).encode())))
        files += [(fold.branch, path, size) for _, path, size in checkpoint]
    return files


def _sizes(branch: str, folder: Path) -> list[tuple[str, str, int]]:
    return [
        (branch, path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in folder_files(folder)
    ]
