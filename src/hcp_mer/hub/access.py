"""The Hub from our side: who is signed in, what a repository is called, one commit, plain errors.

The token is huggingface_hub's business: nothing here prints it, stores it or passes it on.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from hcp_mer.errors import UserError

SIGN_IN = "Run `hf auth login`, or set HF_TOKEN"
_AGAIN = "Run the same command again later: what is on the Hub already is not sent twice."


def own_repo(repo_id: str) -> str:
    """The whole name of a repository that the signed-in user may write to.

    Raises:
        UserError: no token, a wrong one or one that only reads; offline mode or no network; as
            `full_name`; somebody else's repository.
    """
    account = _account()
    name = full_name(repo_id, account["name"])
    token = (account.get("auth") or {}).get("accessToken") or {}
    if token.get("role") == "read":
        raise UserError(f"your token may read and not write. {SIGN_IN} of one that may write.")
    owners = [account["name"], *(group["name"] for group in account.get("orgs") or ())]
    owner = name.split("/")[0]
    if owner not in owners:
        raise UserError(
            f"{name} would belong to {owner}, and you are {account['name']}: give a name that "
            f"starts with {' or '.join(owners)}."
        )
    return name


def _account() -> dict:
    """What the Hub says about the owner of the token."""
    from huggingface_hub import get_token, whoami

    token = get_token()
    if token is None:
        raise UserError(f"you are not signed in to the Hub. {SIGN_IN}.")
    if not re.fullmatch(r"[\x21-\x7e]+", token):  # an HTTP header would be refused, and shown
        raise UserError(f"the token holds characters that no token has. {SIGN_IN}, copied whole.")
    with readable_hub_errors("the Hub"):
        return whoami()


def full_name(repo_id: str, user: str) -> str:
    """The whole name of a repository: "demo" → "<user>/demo"; one with an owner stays as it is.

    Raises:
        UserError: no repository can be called that.
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    name = repo_id if "/" in repo_id else f"{user}/{repo_id}"
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(
            f"{repo_id!r} cannot be a repository's name: give NAME or OWNER/NAME of letters and "
            "digits, with single - _ . between them, 96 characters at most."
        ) from error
    return name


def make_repo(
    repo_id: str, repo_type: str = "model", private: bool | None = None, **space_options: Any
) -> str:
    """Create a repository, or find it there already.

    Args:
        repo_type: "model", "dataset" or "space".
        private: None leaves it to the Hub (public, unless the organisation says otherwise).
        space_options: `space_sdk=…` and the like, of huggingface_hub's create_repo.
    Returns: its address.
    Raises:
        UserError: the token may not create it, or it is there and public, against `private`.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    with readable_hub_errors(f"{repo_type} {repo_id}"):
        url = api.create_repo(
            repo_id, repo_type=repo_type, private=private, exist_ok=True, **space_options
        )
        if private:
            check_private(api.repo_info(repo_id, repo_type=repo_type))
    return str(url)


def check_private(info: Any) -> None:
    """Refuse a public repository where a private one is wanted; what is public stays public.

    Args: info: what huggingface_hub's repo_info says.
    """
    if not info.private:
        raise UserError(
            f"{info.id} is there already and public: make it private in its settings first, or "
            "give another name."
        )


def upload(
    folder: Path,
    repo_id: str,
    repo_type: str,
    message: str,
    revision: str | None = None,
    stale: Sequence[str] = (),
) -> str:
    """Send a folder in one commit: readers see all of it or nothing. What is equal is not sent.

    Args:
        revision: the branch; main when None.
        stale: patterns such as "*.py"; files there that match one and are not in the folder, left
            over from an earlier push, go.
    Returns: the branch's last commit, 40 hex digits; an unchanged folder adds none.
    Raises:
        UserError: no right to write, no network, a broken connection, …
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    files = {path.relative_to(folder).as_posix(): path for path in folder_files(folder)}
    with readable_hub_errors(f"{repo_type} {repo_id}"):
        there = api.list_repo_files(repo_id, repo_type=repo_type, revision=revision)
        gone = [
            name
            for name in there
            if name not in files and any(fnmatch(name, pattern) for pattern in stale)
        ]
        operations = [CommitOperationDelete(name) for name in gone]
        operations += [CommitOperationAdd(name, str(path)) for name, path in files.items()]
        commit = api.create_commit(
            repo_id, operations, commit_message=message, repo_type=repo_type, revision=revision
        )
    return commit.oid


def folder_files(folder: Path) -> list[Path]:
    """Every file below a folder, sorted."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def readable_hub_errors(what: str = "what you asked for") -> Iterator[None]:
    """Turn what goes wrong with the Hub into a UserError of one line that says what to do.

    Args: what: "model user/name", to be named in the message.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        sentence = next(filter(None, (_explain(cause, what) for cause in _chain(error))), None)
        if sentence is None:
            raise
        raise UserError(sentence) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and its causes: transformers and the uploader wrap what the Hub said."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _explain(error: BaseException, what: str) -> str | None:
    """One line for an error of huggingface_hub or of the HTTP client below it; else None."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return f"{what} cannot be reached: offline mode is on. Unset HF_HUB_OFFLINE."
    if isinstance(error, errors.LocalTokenNotFoundError):
        return f"you are not signed in to the Hub. {SIGN_IN}."
    if isinstance(error, errors.LocalEntryNotFoundError):
        return (
            f"{what} is not in the cache of this machine and the Hub cannot be reached: connect "
            "(unset HF_HUB_OFFLINE) and load it once."
        )
    if isinstance(error, errors.HFValidationError):
        return f"{' '.join(str(error).split())} Give NAME or OWNER/NAME."
    if isinstance(error, errors.HfHubHTTPError):
        return _explain_answer(error, what)
    if isinstance(error, errors.HTTPError):  # of the HTTP client: no answer came at all
        return (
            f"the connection to the Hub failed ({type(error).__name__}). Check the network, then "
            "run the same command again: what is on the Hub already is not sent twice."
        )
    return None


def _explain_answer(error: Any, what: str) -> str:
    """One line for an answer of the Hub that is an error."""
    from huggingface_hub import errors

    status = error.response.status_code
    if isinstance(error, errors.GatedRepoError):
        return f"{what} is gated: ask for access on its page, then sign in. {SIGN_IN}."
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            f"{what} is not on the Hub, or is private and your token may not see it. Check the "
            f"name. {SIGN_IN}."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return f"{what} has no such revision: give a branch, tag or commit that it has."
    if isinstance(error, errors.EntryNotFoundError):
        return f"{what} lacks a file that belongs there: push it again."
    if status == 429:
        seconds = re.search(r"[Rr]etry after (\d+) seconds", str(error))
        seconds = seconds[1] if seconds else error.response.headers.get("Retry-After")
        wait = f"{seconds} seconds" if seconds else "some minutes"
        return f"too many requests to the Hub: wait {wait}. {_AGAIN}"
    if status >= 500:
        return f"the Hub has a problem of its own ({status}). {_AGAIN}"
    said = " ".join((error.server_message or "").split())
    return {
        401: f"the Hub does not accept your token. {SIGN_IN} of one that is valid.",
        403: f"your token may not write to {what}: it needs the write permission, and its owner "
        f"must be you or an organisation of yours. {SIGN_IN} of such a token.",
        409: f"{what} was changed by somebody else at the same time. {_AGAIN}",
        412: f"{what} was changed by somebody else at the same time. {_AGAIN}",
    }.get(status, f"the Hub refuses {what} ({status}{': ' + said if said else ''}).")
