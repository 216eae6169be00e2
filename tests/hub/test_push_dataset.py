"""Pairs → the Hub → pairs: the same bytes, ids and settings, and nobody's face by mistake."""

import base64
import json
import textwrap

import datasets
import pytest
import yaml
from huggingface_hub import DatasetCard

from hcp_mer.data.builders import prepare_pairs
from hcp_mer.data.casme2 import read_casme2
from hcp_mer.data.pairs import Pairs, encoded_image, load_pairs
from hcp_mer.data.synthetic.corpus import write_corpus
from hcp_mer.errors import UserError
from hcp_mer.hub.pairs import origin_of, push_pairs
from hcp_mer.motion.pair import PairSettings
from hcp_mer.reporting.dataset_card import PairsFacts, render_dataset_card
from tests.foreign_pairs import write_foreign_pairs, write_metadata
from tests.hub.conftest import TOKEN
from tests.loopback_card import check_card

PUSH = """
import json
from hcp_mer.errors import UserError
from hcp_mer.hub import pairs
from huggingface_hub import HfApi

def push(source, repo_id, **options):
    try:
        return vars(pairs.push_pairs(source, repo_id, **options))
    except UserError as error:
        return str(error)

"""

LOAD = """
import base64, datasets, huggingface_hub, json
from huggingface_hub import DatasetCard

def load(repo_id):
    card = DatasetCard.load(repo_id)
    # Older ones have cards validated by the real Hub, whatever HF_ENDPOINT says.
    if tuple(map(int, huggingface_hub.__version__.split(".")[:2])) >= (2, 2):
        card.validate()
    snippet = card.text.split("```python")[1].split("```")[0]
    names = {}
    exec(snippet, names)  # as a reader would
    table = datasets.load_dataset(repo_id)["train"]
    assert names["pairs"].to_list() == table.to_list()
    size = table[0]["flow"].size
    for view in ("magnified", "flow"):
        table = table.cast_column(view, datasets.Image(decode=False))
    views = [[row[view] for view in ("magnified", "flow")] for row in table]
    return {
        "revision": snippet.split('revision="')[1].split('"')[0],
        "size": size,
        "paths": sorted({str(view["path"]) for row in views for view in row}),
        "views": [[base64.b64encode(view["bytes"]).decode() for view in row] for row in views],
        "ids": [[row[n] for n in ("dataset", "subject", "clip_id", "emotion")] for row in table],
        "columns": table.column_names,
    }

"""


@pytest.fixture
def python(answer):
    """python(code, **options) → what code with `push`, run in a fresh process, printed as JSON."""

    def run(code, **options):
        return answer(PUSH + textwrap.dedent(code), blocked=(), **options)

    return run


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Eight drawn clips as prepare_dataset writes them, at settings that are not the defaults."""
    corpus = tmp_path_factory.mktemp("casme2")
    write_corpus(corpus, seed=1, num_subjects=2, clips_per_subject=4, num_proc=1, size=64)
    folder = tmp_path_factory.mktemp("prepared") / "pairs"
    prepare_pairs(read_casme2(corpus, name="procedural"), folder, PairSettings(image_size=64))
    return folder


@pytest.fixture
def mine(tmp_path):
    """Six pairs of somebody's own, subjects 006 and 7, in a folder named mine."""
    write_foreign_pairs(tmp_path / "mine", ("006", "7"), clips_per_class=1, size=32)
    return tmp_path / "mine"


@pytest.fixture
def mixed(tmp_path):
    """Six pairs, every other one said to be of CASME II."""
    folder = tmp_path / "mixed"
    rows = write_foreign_pairs(folder, ("1", "2"), clips_per_class=1, size=32)
    names = ["procedural", "CASME II"] * 3
    write_metadata(folder, [{**row, "dataset": name} for row, name in zip(rows, names)])
    return folder


def as_loaded(folder):
    """Of what LOAD finds: what it is to find, read from the local folder."""
    table = load_pairs(folder).table
    views = [
        [base64.b64encode(encoded_image(row[v])).decode() for v in ("magnified", "flow")]
        for row in table
    ]
    ids = [[row[n] for n in ("dataset", "subject", "clip_id", "emotion")] for row in table]
    return {"views": views, "ids": ids, "columns": table.column_names}


def commits(hub, repo_id):
    return len(hub.repos["dataset", repo_id].commits)


def uploads(hub):
    return sum(method == "PUT" for method, _ in hub.requests)


def files_on(hub, repo_id):
    repo = hub.repos["dataset", repo_id]
    return {path: blob.path.read_bytes() for path, blob in repo.commits[repo.find("main")].items()}


@pytest.mark.slow
def test_pairs_come_back_with_equal_bytes_ids_and_settings(
    loopback, python, answer, prepared, mine, tmp_path
):
    code = f"""
    pushed = push({str(prepared)!r}, "drawn"), push({str(mine)!r}, "user/own")
    back = [pairs.load_pairs(f"{{p['repo_id']}}@{{p['revision']}}") for p in pushed]
    print(json.dumps([pushed, [[p.fingerprint(), p.settings, p.source] for p in back]]))
    """
    (drawn, own), back = python(code)
    assert (drawn["repo_id"], drawn["private"]) == ("user/drawn", False)
    assert (own["repo_id"], own["private"]) == ("user/own", True)
    for pushed, found, folder in zip((drawn, own), back, (prepared, mine)):
        local = load_pairs(folder)
        source = f"{pushed['repo_id']}@{pushed['revision']}"
        assert found == [local.fingerprint(), local.settings, source]
    assert local.settings == {}
    assert load_pairs(prepared).settings["image_size"] == 64

    loaded = answer(LOAD + "print(json.dumps([load('user/drawn'), load('user/own')]))")
    for pushed, found, folder, size in zip((drawn, own), loaded, (prepared, mine), (64, 32)):
        assert found.pop("size") == [size, size]
        assert found.pop("paths") == ["None"]
        assert found.pop("revision") == pushed["revision"]
        assert found == as_loaded(folder)
    assert {subject for _, subject, *_ in loaded[1]["ids"]} == {"006", "7"}

    for pushed, folder in zip((drawn, own), (prepared, mine)):
        there = files_on(loopback, pushed["repo_id"])
        assert sorted(pushed["files"]) == [
            [path, len(body)] for path, body in sorted(there.items()) if path != ".gitattributes"
        ]
        assert set(there) - {".gitattributes"} == {
            "README.md",
            "pairs.json",
            "data/train-00000-of-00001.parquet",
        }
        assert not [path for path, body in there.items() if str(folder.parent).encode() in body]
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]


def test_licensed_pairs_are_private_whatever_is_asked_for(loopback, python, mixed, mine):
    code = f"""
    api = HfApi()
    for name in ("user/open", "user/thesis"):
        api.create_repo(name, repo_type="dataset")
    api.upload_file(repo_id="user/thesis", repo_type="dataset", path_or_fileobj=b"x",
                    path_in_repo="chapter.txt")
    right = {{"private": False, "has_right": True}}
    licensed = push({str(mixed)!r}, "closed", **right), push({str(mixed)!r}, "open", **right)
    own = push({str(mine)!r}, "thesis", private=False), push({str(mine)!r}, "open", private=True)
    print(json.dumps([*licensed, *own]))
    """
    closed, opened, thesis, own = python(code)
    assert closed["private"]
    assert loopback.repos["dataset", "user/closed"].private
    assert "Licensed: to stay private" in files_on(loopback, "user/closed")["README.md"].decode()
    assert "user/open is there already and public: make it private" in opened
    assert own == opened
    assert commits(loopback, "user/open") == 1  # the one that made it
    assert "user/thesis holds other things (chapter.txt, …)" in thesis
    assert commits(loopback, "user/thesis") == 2


def origin(names, word="happiness"):
    columns = {"dataset": list(names), "emotion": [word] * len(names)}
    return origin_of(Pairs("somewhere", datasets.Dataset.from_dict(columns)))


@pytest.mark.parametrize(
    "name",
    [
        *("casme2", "samm", "smic", "casme3"),  # of the label schemes
        *("CASME II", "CAS(ME)³", "cas_me_2", "CASMEII", "my-samm", "mycasme2"),
        *("SMIC-HS", "SAMM_Long", "SAMMLV", "megc2019"),
    ],
)
def test_one_licensed_corpus_makes_all_of_the_pairs_licensed(name):
    assert origin(["procedural", name]) == "licensed"


def test_only_drawn_faces_count_as_drawn():
    assert origin(["procedural", "procedural"]) == "synthetic"
    assert origin(["procedural", "mine"]) == "unknown"
    assert origin(["procedural"], word="Repression") == "unknown"  # a word that CASME II has
    for name in ("seismic", "sammlung", "Casimir"):
        assert origin([name]) == "unknown"


def test_licensed_pairs_are_refused_without_the_right(mixed):
    with pytest.raises(
        UserError, match=r"licensed corpus \(CASME II, procedural\).*forbid"
    ) as error:
        push_pairs(mixed, "user/mixed", private=True)
    assert "--i_have_the_right_to_share" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_dry_run_tells_files_and_sizes_and_asks_nothing(loopback, python, mine, mixed):
    code = f"""
    own = push({str(mine)!r}, "own", dry_run=True)
    print(json.dumps([own, push({str(mixed)!r}, "own", has_right=True, dry_run=True)]))
    """
    own, licensed = python(code, token=None)
    assert loopback.requests == []
    assert (own["repo_id"], own["url"], own["revision"], own["private"]) == (
        "own",
        None,
        None,
        True,
    )
    assert licensed["private"]
    sizes = dict(own["files"])
    assert set(sizes) == {"README.md", "pairs.json", "data/train-00000-of-00001.parquet"}
    assert min(sizes.values()) > 90


@pytest.mark.parametrize(
    ("source", "repo_id", "message"),
    [
        ("nowhere", "user/x", "no pairs at nowhere: give the folder"),
        ("user/pairs", "user/x", "no pairs at user/pairs: give the folder"),
        (".", "user/x", "neither pairs.json"),
        ("mine", "a/b/c", "'a/b/c' cannot be a repository's name"),
        ("mine", "user/x", "not signed in to the Hub"),
    ],
)
def test_mistakes_are_one_line(mine, monkeypatch, source, repo_id, message):
    monkeypatch.chdir(mine.parent)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    with pytest.raises(UserError) as error:
        push_pairs(source, repo_id)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_an_interrupted_push_is_completed_and_a_complete_one_adds_nothing(loopback, python, mine):
    two_shards = "pairs._SHARD_CLIPS = 3\n"
    push = f"push({str(mine)!r}, 'user/own')"
    loopback.fail_after_uploads(1)
    message = python(f"{two_shards}print(json.dumps({push}))")
    assert "Run the same command again later" in message
    assert commits(loopback, "user/own") == 1
    loopback.heal()
    before = uploads(loopback)
    first, second = python(f"{two_shards}print(json.dumps([{push}, {push}]))")
    assert uploads(loopback) == before + 1  # the shard that was there was not sent again
    assert first == second
    assert commits(loopback, "user/own") == 3  # made, filled, card

    third = python(f"print(json.dumps({push}))")  # the same pairs in one shard: loads back, too
    assert third["revision"] != first["revision"]
    data = [path for path in files_on(loopback, "user/own") if path.startswith("data/")]
    assert data == ["data/train-00000-of-00001.parquet"]
    rows = write_foreign_pairs(mine.parent / "other", ("1", "2"), clips_per_class=1, size=32)
    other = python(f"print(json.dumps(push({str(mine.parent / 'other')!r}, 'user/own')))")
    assert len(rows) == 6
    assert f"@{other['revision']}" in files_on(loopback, "user/own")["README.md"].decode()


def test_pairs_that_come_back_changed_are_an_error(loopback, python, mine):
    code = f"""
    pairs.ask_fresh_process = lambda *question: "0123456789abcdef"
    print(json.dumps(push({str(mine)!r}, "user/own")))
    """
    message = python(code)
    assert "the pairs that user/own gives back differ" in message


def test_a_wrong_token_is_one_line_that_does_not_show_it(loopback, python, mine):
    wrong = "hf_wrong_token_of_nobody"
    message = python(f"print(json.dumps(push({str(mine)!r}, 'user/own')))", token=wrong)
    assert "does not accept your token" in message
    assert wrong not in message
    assert ("dataset", "user/own") not in loopback.repos


def facts(origin="unknown", clips=(("mine", "006", "joy"),), settings=None, num_spotted=0):
    features = datasets.Features({"flow": datasets.Image(), "emotion": datasets.Value("string")})
    info = datasets.DatasetInfo(features=features)
    return PairsFacts(origin, info, list(clips), num_spotted, settings or {})


@pytest.mark.parametrize(
    ("origin", "licence", "said"),
    [
        ("synthetic", "apache-2.0", "no person is shown"),
        ("licensed", "other", "Whoever gets access to this repository must have signed it"),
        ("unknown", "unknown", "These pairs were made elsewhere"),
    ],
)
def test_the_card_survives_reading_and_says_whose_faces_these_are(origin, licence, said):
    text = render_dataset_card(facts(origin), "user/own", "0123456789" * 4)
    card = DatasetCard(text)
    assert card.data.license == licence
    assert ("synthetic" in card.data.tags) == (origin == "synthetic")
    assert card.data.to_dict() == yaml.safe_load(text.split("---")[1])
    assert str(card) == text
    assert check_card(text) == ([], [])
    assert said in card.text
    assert 'revision="' + "0123456789" * 4 + '"' in card.text
    assert "lies" in card.text


def test_the_card_counts_clips_by_emotion_corpus_and_subject():
    clips = [("a", "1", "joy"), ("a", "1", "joy"), ("a", "2", "fear"), ("b", "1", "joy")]
    settings = {**PairSettings(image_size=64).to_dict()}
    text = render_dataset_card(facts("unknown", clips, settings, num_spotted=3), "user/own", None)
    lines = [line.strip() for line in text.splitlines()]
    for row in ("fear | 1 | 0", "joy | 2 | 1", "**all** | 3 | 1", "subjects | 2 | 1", "a/1 | 2"):
        assert f"| {row} |" in lines
    assert "4 clips of 3 subjects" in text
    assert "Onset and apex at 64×64 px; flow by `lucas_kanade`" in text
    assert "apex of 3 clips was spotted" in text
    assert "revision=" not in text


def test_other_peoples_words_cannot_break_the_cards_tables():
    clips = [("mine", "a|b\nc`<img>", "joy|rage")]
    text = render_dataset_card(facts(clips=clips), "user/own", None)
    assert "| a\\|b c'&lt;img> | 1 |" in text
    assert "| joy\\|rage | 1 |" in text


@pytest.mark.slow
def test_training_takes_pairs_from_the_hub(loopback, python, run_script, tmp_path):
    write_foreign_pairs(tmp_path / "mine", ("006", "7", "8"), clips_per_class=2, size=32)
    pushed = python(f"print(json.dumps(push({str(tmp_path / 'mine')!r}, 'own')))")
    source = f"user/own@{pushed['revision']}"
    recipe = "/".join([*__file__.split("/")[:-3], "hub_configs/recipes/demo.yaml"])
    run_script(
        *("train_loso.py", "--no-controls", "--recipe", recipe, "--dataset", "user/own"),
        *("--output_dir", tmp_path / "run", "--set", "epochs=1", "--set", "min_steps=1"),
    )
    settings = yaml.safe_load((tmp_path / "run" / "recipe.yaml").read_text())
    head = loopback.repos["dataset", "user/own"].find("main")
    assert settings["dataset"] == f"user/own@{head}"
    assert settings["dataset_fingerprint"] == load_pairs(tmp_path / "mine").fingerprint()
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["num_subjects"] == 3
    again = run_script(
        *("train_loso.py", "--no-controls", "--recipe", recipe, "--dataset", source),
        "--output_dir",
        *(tmp_path / "run", "--set", "epochs=1", "--set", "min_steps=1"),
    )
    assert "3 folds" not in again.stderr  # the same pairs: nothing was trained again
