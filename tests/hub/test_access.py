"""Signing in, naming repositories, one commit at a time, and what is said when the Hub says no."""

from types import SimpleNamespace

import pytest
from huggingface_hub import errors

from hcp_mer.errors import UserError
from hcp_mer.hub import access
from hcp_mer.hub.access import full_name, own_repo, readable_hub_errors
from tests.hub.conftest import TOKEN

SAID = """
import json
from pathlib import Path
from hcp_mer.errors import UserError
from hcp_mer.hub.access import make_repo, own_repo, upload

def said(call, *arguments, **options):
    try:
        return call(*arguments, **options)
    except UserError as error:
        return str(error)
"""

NOBODY_THERE = """
import os
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"  # the discard port: nobody listens
"""


@pytest.mark.parametrize(
    ("given", "name"),
    [("demo", "me/demo"), ("you/demo", "you/demo"), ("a_B-1.2", "me/a_B-1.2")],
)
def test_a_bare_name_is_one_of_the_users_own(given, name):
    assert full_name(given, "me") == name


@pytest.mark.parametrize(
    "given", ["", "a/b/c", "/demo", "a b", "demo.git", "de--mo", "-demo", "x" * 97, "https://h/d"]
)
def test_an_impossible_name_is_one_line(given):
    with pytest.raises(UserError, match=r"give NAME or OWNER/NAME") as error:
        full_name(given, "me")
    assert "\n" not in str(error.value)


def test_what_the_hub_says_of_the_user(answer, loopback, folder):
    loopback.create_repo("model", "user/there")
    code = """
    print(json.dumps([
        own_repo("demo"), own_repo("user/demo"), said(own_repo, "other/demo"),
        said(make_repo, "other/demo"), said(make_repo, "user/there", private=True),
        said(upload, Path({folder!r}), "user/missing", "model", "m"),
        said(upload, Path({folder!r}), "user/there", "model", "m", revision="no-branch"),
    ]))
    """.format(folder=str(folder)).replace("\n    ", "\n")
    found = answer(SAID + code, blocked=())
    assert found[:2] == ["user/demo", "user/demo"]
    for sentence, fact in zip(
        found[2:],
        (
            "would belong to other, and you are user",
            "may not write to model other/demo",
            "user/there is there already and public",
            "model user/missing is not on the Hub",
            "model user/there has no such revision",
        ),
        strict=True,
    ):
        assert fact in sentence
        assert "\n" not in sentence
    assert not [path for method, path in loopback.requests if method == "PUT"]


def test_one_commit_brings_the_new_and_takes_the_stale(answer, loopback, tmp_path):
    folder = tmp_path / "weights"
    (folder / "deep").mkdir(parents=True)
    for name in ("a.safetensors", "b.safetensors", "deep/notes.txt"):
        (folder / name).write_text(name)
    code = f"""
folder = Path({str(folder)!r})
make_repo("user/demo")
ids = [upload(folder, "user/demo", "model", "one") for _ in range(2)]
(folder / "b.safetensors").unlink()
(folder / "c.txt").write_text("new")
ids.append(upload(folder, "user/demo", "model", "two", stale=["*.safetensors"]))
print(json.dumps(ids))
"""
    first, again, second = answer(SAID + code, blocked=())
    repo = loopback.repos["model", "user/demo"]
    assert first == again  # equal files are no commit
    assert len(repo.commits) == 3  # the Hub's own, and two of ours
    common = {".gitattributes", "a.safetensors", "deep/notes.txt"}
    assert set(repo.commits[first]) == common | {"b.safetensors"}
    assert set(repo.commits[second]) == common | {"c.txt"}


@pytest.mark.parametrize(
    ("options", "before", "sentence"),
    [
        ({"token": None}, "", "you are not signed in to the Hub. Run `hf auth login`, or set"),
        ({"token": "hf_wrong_one"}, "", "the Hub does not accept your token. Run `hf auth login`"),
        ({"token": "two words"}, "", "the token holds characters that no token has"),
        ({"offline": True}, "", "the Hub cannot be reached: offline mode is on. Unset HF_HUB_OFF"),
        ({}, NOBODY_THERE, "the connection to the Hub failed (ConnectError). Check the network"),
    ],
)
def test_who_cannot_sign_in_is_told_why_and_the_token_is_not_shown(
    elsewhere, options, before, sentence
):
    code = before + SAID + "print(json.dumps(said(own_repo, 'demo')))"
    process = elsewhere(code, blocked=(), **options)
    assert sentence in process.stdout
    assert (options.get("token") or TOKEN) not in process.stdout + process.stderr


def test_a_token_that_only_reads_is_refused_before_anything_is_sent(monkeypatch):
    account = {"name": "me", "orgs": [{"name": "lab"}]}
    monkeypatch.setattr(access, "_account", lambda: account)
    assert own_repo("lab/demo") == "lab/demo"
    account["auth"] = {"accessToken": {"role": "read"}}
    with pytest.raises(UserError, match="your token may read and not write"):
        own_repo("demo")


def hub_error(kind=errors.HfHubHTTPError, status=400, text="said", headers=None):
    response = SimpleNamespace(status_code=status, headers=headers or {}, request=None)
    return kind(text, response=response, server_message="bad\n  metadata")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (hub_error(status=400), r"the Hub refuses model a/b \(400: bad metadata\)"),
        (hub_error(status=401), "does not accept your token"),
        (hub_error(status=403), "may not write to model a/b"),
        (hub_error(status=409), "changed by somebody else at the same time"),
        (hub_error(status=412), "changed by somebody else at the same time"),
        (hub_error(status=413), r"refuses model a/b \(413"),
        (hub_error(status=429, text="Retry after 55 seconds"), "wait 55 seconds"),
        (hub_error(status=429, headers={"Retry-After": "9"}), "wait 9 seconds"),
        (hub_error(status=429), "wait some minutes. Run the same command again later"),
        (hub_error(status=503), r"a problem of its own \(503\). Run the same command again"),
        (hub_error(errors.GatedRepoError, 403), "model a/b is gated"),
        (hub_error(errors.RepositoryNotFoundError, 401), "model a/b is not on the Hub, or is pri"),
        (hub_error(errors.RevisionNotFoundError, 404), "has no such revision"),
        (hub_error(errors.RemoteEntryNotFoundError, 404), "lacks a file that belongs there"),
        (errors.LocalEntryNotFoundError("x"), "is not in the cache of this machine"),
        (errors.HFValidationError("Cannot\nhave --"), "Cannot have -- Give NAME or OWNER/NAME"),
        (errors.HTTPError("reset"), r"the connection to the Hub failed \(HTTPError\)"),
    ],
)
def test_each_error_is_one_line_that_says_what_to_do(error, sentence):
    with pytest.raises(UserError, match=sentence) as told, readable_hub_errors("model a/b"):
        raise error
    assert "\n" not in str(told.value)


def test_the_cause_is_told_where_a_library_wrapped_it():
    wrapped = RuntimeError("Error while uploading 'x' to the Hub.")
    wrapped.__cause__ = hub_error(status=403)
    with pytest.raises(UserError, match="may not write"), readable_hub_errors("model a/b"):
        raise wrapped


@pytest.mark.parametrize("error", [OSError("disk full"), KeyError("x"), UserError("ours")])
def test_errors_of_other_kinds_pass_unchanged(error):
    with pytest.raises(type(error)) as told, readable_hub_errors():
        raise error
    assert told.value is error
