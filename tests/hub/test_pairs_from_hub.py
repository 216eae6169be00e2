"""load_pairs from repositories that others made: the revision asked for, online and offline."""

import textwrap

import datasets
import pytest

from hcp_mer.data.pairs import encoded_image, load_pairs
from tests.foreign_pairs import write_foreign_pairs

LOAD = """
import json
from hcp_mer.data.pairs import load_pairs
from hcp_mer.errors import UserError

def load(source):
    try:
        pairs = load_pairs(source)
    except UserError as error:
        return str(error)
    names = sorted(set(pairs.column("subject"))), sorted(set(pairs.column("dataset")))
    return [pairs.source, *names, pairs.image(0, "flow").shape[0]]

"""


@pytest.fixture
def load(answer):
    """load(*sources, **options) → for each what load_pairs gives in a fresh process."""

    def ask(*sources, **options):
        code = textwrap.dedent(f"print(json.dumps([load(source) for source in {sources!r}]))")
        return answer(LOAD + code, blocked=(), **options)

    return ask


@pytest.fixture
def two_versions(loopback, tmp_path):
    """An imagefolder on the Hub, user/raw: at the commit aa… subject 006, on main (bb…) 007."""
    for version, subject in (("a", "006"), ("b", "007")):
        folder = tmp_path / version
        write_foreign_pairs(folder, (subject,), clips_per_class=1, size=32)
        loopback.add_repo("dataset", "user/raw", folder, revision=version * 40)
    loopback.repos["dataset", "user/raw"].branches["main"] = "b" * 40


def test_the_revision_counts_also_offline_and_ids_stay_text(two_versions, load, tmp_path):
    new = [f"user/raw@{'b' * 40}", ["007"], ["raw"], 32]
    old = [f"user/raw@{'a' * 40}", ["006"], ["raw"], 32]
    sources = ("user/raw", f"user/raw@{'a' * 40}", "user/raw@gone", "user/nothing")
    *found, no_revision, no_repo = load(*sources, home=tmp_path / "home")
    assert found == [new, old]
    assert (
        no_revision
        == "the dataset user/raw has no revision gone: give a branch, a tag or a commit."
    )
    assert "neither a folder here" in no_repo
    assert "there is none of that name, or it is private" in no_repo

    offline = load(*sources, home=tmp_path / "home", offline=True)
    assert offline[:2] == [new, old]
    for refused in offline[2:]:
        assert "the Hub cannot be reached, and it is not in the cache" in refused


def test_parquet_that_others_pushed_needs_no_manifest(loopback, load, tmp_path):
    write_foreign_pairs(tmp_path / "mine", ("006", "7"), clips_per_class=1, size=32)
    table = load_pairs(tmp_path / "mine").table
    rows = [
        {**row, **{view: {"bytes": encoded_image(row[view])} for view in ("magnified", "flow")}}
        for row in table
    ]
    (tmp_path / "theirs" / "data").mkdir(parents=True)
    datasets.Dataset.from_list(rows).to_parquet(tmp_path / "theirs/data/train-0-of-1.parquet")
    commit = loopback.add_repo("dataset", "user/theirs", tmp_path / "theirs")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no pairs")
    loopback.add_repo("dataset", "user/notes", tmp_path / "notes")
    theirs, notes = load("user/theirs", "user/notes")
    assert theirs == [f"user/theirs@{commit}", ["006", "7"], ["mine"], 32]
    assert "lacks the column magnified, flow" in notes
