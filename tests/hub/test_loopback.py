"""The loopback Hub answers the real client libraries as the real one does."""

import hashlib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

pytestmark = pytest.mark.slow

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_repositories_of_every_kind_belong_to_the_tokens_user(loopback, client):
    code = """
api.create_repo("user/m")
api.create_repo("d", repo_type="dataset", private=True)
api.create_repo("user/s", repo_type="space", space_sdk="static")
kinds = {"model": "m", "dataset": "d", "space": "s"}
infos = [api.repo_info(f"user/{name}", repo_type=kind) for kind, name in kinds.items()]
again = api.create_repo("user/m", exist_ok=True)
print(json.dumps({
    "who": api.whoami()["name"],
    "ids": [info.id for info in infos],
    "private": [info.private for info in infos],
    "again": again.repo_id,
    "refused": refusal(lambda: api.create_repo("user/m")),
}))
"""
    assert client(code) == {
        "who": "user",
        "ids": ["user/m", "user/d", "user/s"],
        "private": [False, True, False],
        "again": "user/m",
        "refused": ["HfHubHTTPError", 409],
    }


def test_a_folder_becomes_one_commit_and_what_has_not_changed_stays(loopback, client, folder):
    code = f"""
api.create_repo("user/m")
first = api.upload_folder(repo_id="user/m", folder_path={str(folder)!r})
second = api.upload_folder(repo_id="user/m", folder_path={str(folder)!r})
files = {{file.path: file for file in api.list_repo_tree("user/m", recursive=True)}}
info = api.model_info("user/m", files_metadata=True)
print(json.dumps({{
    "oids": [first.oid, second.oid, info.sha],
    "files": sorted(api.list_repo_files("user/m")),
    "folders": [path for path, file in files.items() if not hasattr(file, "blob_id")],
    "top": sorted(file.path for file in api.list_repo_tree("user/m")),
    "notes": [file.path for file in api.list_repo_tree("user/m", "notes")],
    "hello": files["notes/hello.txt"].blob_id,
    "sha256": files["a.safetensors"].lfs.sha256,
    "sizes": {{file.rfilename: file.size for file in info.siblings}},
    "found": [path.path for path in api.get_paths_info("user/m", ["notes", "a.safetensors", "no"])],
}}))
"""
    said = client(code)
    assert len(set(said["oids"])) == 1
    files = ["a.safetensors", "b.safetensors", "notes/deep/empty.txt", "notes/hello.txt"]
    assert said["files"] == [".gitattributes", *files]
    assert said["folders"] == ["notes", "notes/deep"]
    assert said["top"] == [".gitattributes", "a.safetensors", "b.safetensors", "notes"]
    assert said["notes"] == ["notes/deep", "notes/hello.txt"]
    assert said["hello"] == "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"  # git hash-object
    assert said["sha256"] == hashlib.sha256(b"a" * 1000).hexdigest()
    assert [said["sizes"][name] for name in files] == [1000, 1000, 0, 5]
    assert said["found"] == ["a.safetensors", "notes"]
    assert len(loopback.uploads()) == 2  # the second time nothing was sent
    assert [path for _, path in loopback.requests].count("/api/models/user/m/commit/main") == 1


def test_a_commit_adds_and_deletes(loopback, client, folder):
    loopback.add_repo("dataset", "user/d", folder)
    code = """
operations = [
    CommitOperationDelete("notes/"),
    CommitOperationDelete("a.safetensors"),
    CommitOperationAdd("new/c.txt", b"c"),
]
api.create_commit("user/d", operations, commit_message="change", repo_type="dataset")
deletion = [CommitOperationDelete("a.safetensors")]
print(json.dumps({
    "files": sorted(api.list_repo_files("user/d", repo_type="dataset")),
    "twice": refusal(
        lambda: api.create_commit("user/d", deletion, commit_message="x", repo_type="dataset")
    ),
}))
"""
    said = client(code)
    assert said["files"] == ["b.safetensors", "new/c.txt"]
    assert said["twice"] == ["RemoteEntryNotFoundError", 404]


def test_branches_and_tags_keep_what_they_name(loopback, client, folder):
    loopback.add_repo("model", "user/m", folder, revision=COMMIT)
    code = """
api.create_branch("user/m", branch="fold/01")
api.create_branch("user/m", branch="fold/01", exist_ok=True)
api.create_tag("user/m", tag="v1")
api.upload_file(path_or_fileobj=b"new", path_in_repo="new.txt", repo_id="user/m")
api.upload_file(path_or_fileobj=b"01", path_in_repo="01.txt", repo_id="user/m", revision="fold/01")
refs = api.list_repo_refs("user/m")
before = set(api.list_repo_files("user/m", revision="v1"))
print(json.dumps({
    "branches": [branch.name for branch in refs.branches],
    "tags": {tag.name: tag.target_commit for tag in refs.tags},
    "before": len(before),
    "main": list(set(api.list_repo_files("user/m")) - before),
    "fold": list(set(api.list_repo_files("user/m", revision="fold/01")) - before),
    "refused": [
        refusal(lambda: api.create_branch("user/m", branch="fold/01")),
        refusal(lambda: api.create_tag("user/m", tag="v1")),
    ],
}))
"""
    said = client(code)
    assert said["branches"] == ["main", "fold/01"]
    assert said["tags"] == {"v1": COMMIT}
    assert (said["before"], said["main"], said["fold"]) == (4, ["new.txt"], ["01.txt"])
    assert said["refused"] == [["HfHubHTTPError", 409]] * 2


def test_a_published_commit_id_is_kept_beside_a_later_main(loopback, client, folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "later.txt").write_text("later")
    loopback.add_repo("model", "someone/backbone", tmp_path / "other")
    assert loopback.add_repo("model", "someone/backbone", folder, revision=COMMIT) == COMMIT
    code = f"""
path = hf_hub_download("someone/backbone", "notes/hello.txt", revision="{COMMIT}")
info = api.model_info("someone/backbone", revision="{COMMIT}")
print(json.dumps([open(path).read(), info.sha, api.list_repo_files("someone/backbone")]))
"""
    assert client(code, token=None) == ["hello", COMMIT, ["later.txt"]]


def test_what_is_missing_raises_what_the_real_hub_makes_clients_raise(loopback, client, folder):
    loopback.add_repo("model", "user/m", folder)
    code = """
body = {"path_or_fileobj": b"x", "path_in_repo": "x"}
calls = [
    lambda: api.model_info("user/none"),
    lambda: hf_hub_download("user/none", "x"),
    lambda: api.upload_file(repo_id="user/none", **body),
    lambda: api.model_info("user/m", revision="none"),
    lambda: hf_hub_download("user/m", "x", revision="none"),
    lambda: api.upload_file(repo_id="user/m", revision="none", **body),
    lambda: hf_hub_download("user/m", "none"),
    lambda: list(api.list_repo_tree("user/m", "none")),
    lambda: api.upload_file(repo_id="user/m", parent_commit="0" * 40, **body),
]
print(json.dumps([refusal(call) for call in calls]))
"""
    assert client(code) == [
        *[["RepositoryNotFoundError", 404]] * 3,
        *[["RevisionNotFoundError", 404]] * 3,
        *[["RemoteEntryNotFoundError", 404]] * 2,
        ["HfHubHTTPError", 412],
    ]


WRITES = """
calls = [
    lambda: api.whoami(),
    lambda: api.create_repo("user/new"),
    lambda: api.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="user/m"),
    lambda: api.model_info("user/m"),
    lambda: api.model_info("user/none"),
]
print(json.dumps([refusal(call) for call in calls]))
"""


@pytest.mark.parametrize(
    ("token", "refusals"),
    [
        # A token that nobody knows is refused everywhere, even where none is needed.
        ("hf_wrong", [["HfHubHTTPError", 401]] * 5),
        (
            None,
            [
                ["LocalTokenNotFoundError", None],
                ["HfHubHTTPError", 401],
                ["RepositoryNotFoundError", 401],
                None,
                ["RepositoryNotFoundError", 401],
            ],
        ),
        (
            "hf_of_another",
            [
                None,
                ["HfHubHTTPError", 403],
                ["HfHubHTTPError", 403],
                None,
                ["RepositoryNotFoundError", 404],
            ],
        ),
    ],
)
def test_only_the_owners_token_writes(loopback, client, folder, token, refusals):
    loopback.tokens["hf_of_another"] = "another"
    loopback.add_repo("model", "user/m", folder, revision=COMMIT)
    assert client(WRITES, token=token) == refusals
    assert list(loopback.repos) == [("model", "user/m")]
    assert list(loopback.repos["model", "user/m"].commits) == [COMMIT]


def test_private_repositories_exist_for_their_owner_only(loopback, client, folder):
    loopback.tokens["hf_of_another"] = "another"
    loopback.add_repo("dataset", "user/d", folder, private=True)
    code = """
def fetch(token):
    hf_hub_download("user/d", "notes/hello.txt", repo_type="dataset", token=token)

tokens = ["hf_of_another", False, None]
fetches = [refusal(lambda: fetch(token)) for token in tokens]
infos = [refusal(lambda: api.dataset_info("user/d", token=token)) for token in tokens]
print(json.dumps([fetches, infos]))
"""
    absent = [["RepositoryNotFoundError", 404], ["RepositoryNotFoundError", 401], None]
    assert client(code) == [absent, absent]


def test_unchanged_files_are_not_fetched_again(loopback, client, folder, tmp_path):
    loopback.add_repo("model", "user/m", folder)
    snapshot = "print(json.dumps(snapshot_download('user/m')))"
    copy = Path(client(snapshot, home=tmp_path / "home"))
    for path in folder.rglob("*.*"):
        assert (copy / path.relative_to(folder)).read_bytes() == path.read_bytes()
    assert sorted(loopback.downloads()) == ["a.safetensors", "b.safetensors", "hello.txt"]
    loopback.requests.clear()
    (folder / "a.safetensors").write_bytes(b"A" * 1000)
    loopback.add_repo("model", "user/m", folder)
    copy = Path(client(snapshot, home=tmp_path / "home"))
    assert (copy / "a.safetensors").read_bytes() == b"A" * 1000
    assert loopback.downloads() == ["a.safetensors"]


def test_cards_are_checked_for_what_the_hub_requires(client):
    code = """
good = {"name": "m", "results": [{"task": {"type": "image-classification"},
    "dataset": {"type": "d", "name": "D"}, "metrics": [{"type": "uf1", "value": 0.5}]}]}
bad = [
    "[1, 2]",
    "license: [",
    "model-index: 3",
    json.dumps({"model-index": [{"name": "m"}]}),
    json.dumps({"model-index": [{"name": "m", "results": []}]}),
    json.dumps({"model-index": [good, {**good, "results": [{**good["results"][0], "task": {}}]}]}),
]

def verdict(metadata):
    card = f"---\\n{metadata}\\n---\\n# Title"
    try:
        api.upload_file(path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id="user/m")
    except ValueError as error:
        return str(error).splitlines()[1]

api.create_repo("user/m")
print(json.dumps({
    "pushed": [verdict(text) for text in (json.dumps({"model-index": [good]}), *bad)],
    "files": api.list_repo_files("user/m"),
}))
"""
    said = client(code)
    assert said["files"] == [".gitattributes", "README.md"]
    good, no_mapping, no_yaml, *incomplete = said["pushed"]
    assert good is None
    assert no_mapping == "- metadata must be a mapping, not a list"
    assert no_yaml.startswith("- Invalid YAML")
    assert incomplete == [
        '- "model-index" must be an array with at least one item',
        '- "model-index[0].results" is required',
        '- "model-index[0].results" must be an array with at least one item',
        '- "model-index[1].results[0].task.type" is required',
    ]


@pytest.mark.skipif(
    Version(version("huggingface_hub")) < Version("2.2"),
    reason="this huggingface_hub has cards validated by the real Hub, whatever HF_ENDPOINT says",
)
def test_a_card_validates_itself(client):
    code = """
def validate(metadata):
    try:
        RepoCard(f"---\\n{metadata}\\n---\\n# Title").validate()
    except ValueError as error:
        return json.loads(str(error))["errors"]

print(json.dumps([validate("license: mit"), validate("model-index: 3")]))
"""
    message = '"model-index" must be an array with at least one item'
    assert client(code) == [None, [{"message": message}]]
