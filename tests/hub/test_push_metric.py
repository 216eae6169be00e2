"""The metric → a Space → evaluate.load, in a process that does not have this package."""

import importlib.util
import textwrap
from importlib.resources import files

import pytest
import yaml
from huggingface_hub import SpaceCard

from hcp_mer.errors import UserError
from hcp_mer.hub.metric import push_metric
from hcp_mer.reporting.metric_card import GRADIO_VERSION, render_metric_card
from tests.hub.conftest import TOKEN
from tests.loopback_card import check_card

METRIC = files("hcp_mer.metrics") / "mer"

PUSH = """
import json
from hcp_mer.errors import UserError
from hcp_mer.hub import metric
from huggingface_hub import HfApi

def push(repo_id, **options):
    try:
        return vars(metric.push_metric(repo_id, **options))
    except UserError as error:
        return str(error)

"""

READ_CARD = """
import contextlib, huggingface_hub, io, json
from huggingface_hub import SpaceCard
card = SpaceCard.load("user/my-mer")
# Older ones have cards validated by the real Hub, whatever HF_ENDPOINT says.
if tuple(map(int, huggingface_hub.__version__.split(".")[:2])) >= (2, 2):
    card.validate()
names, results = {}, []
for block in card.text.split("```python")[1:]:
    code = block.split("```")[0]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(code, names)  # as a reader would
    results.append([printed.getvalue().strip(), code.split("# ")[1].strip()])
import evaluate
head = evaluate.load("user/my-mer")
scores = head.compute(references=[0, 0, 1, 2], predictions=[0, 1, 1, 2])
print(json.dumps([results, scores, head.description, card.text.count("revision=")]))
"""


@pytest.fixture
def python(answer):
    """python(code, **options) → what code with `push`, run in a fresh process, printed as JSON."""

    def run(code, **options):
        return answer(PUSH + textwrap.dedent(code), blocked=(), **options)

    return run


def files_on(hub, repo_id):
    repo = hub.repos["space", repo_id]
    return {path: blob.path.read_bytes() for path, blob in repo.commits[repo.find("main")].items()}


@pytest.mark.slow
def test_evaluate_loads_the_published_metric_and_the_card_prints_the_numbers_it_says(
    loopback, python, answer, tmp_path
):
    code = """
    metric._verify = lambda *place: None  # a slow test lets it run; the next process is harder
    print(json.dumps(push("my-mer")))
    """
    pushed = python(code)
    assert pushed["repo_id"] == "user/my-mer"
    results, scores, description, pinned = answer(READ_CARD)
    # F1: 2/3, 2/3, 1; recall: 1/2, 1, 1
    assert scores == pytest.approx({"accuracy": 3 / 4, "uf1": 7 / 9, "uar": 5 / 6}, abs=1e-15)
    assert "UAR" in description
    assert len(results) == 3
    for printed, said in results:
        assert printed == said
    # F1: 3/4, 0, 0; recall: 1, 0, 0
    assert eval(results[2][0]) == pytest.approx({"accuracy": 3 / 5, "uf1": 1 / 4, "uar": 1 / 3})
    assert pinned == 1

    there = files_on(loopback, "user/my-mer")
    assert f'revision="{pushed["revision"]}"' in there["README.md"].decode()
    assert set(there) - {".gitattributes"} == {
        *("README.md", "app.py", "my-mer.py", "requirements.txt", "scores.py")
    }
    assert there["my-mer.py"] == (METRIC / "mer.py").read_bytes()
    assert there["scores.py"] == (METRIC / "scores.py").read_bytes()
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if TOKEN.encode() in path.read_bytes()]


def test_refusals_leave_the_hub_as_it_is(loopback, python):
    loopback.create_repo("space", "user/open")
    loopback.create_repo("space", "user/game")
    code = """
    HfApi().upload_file(repo_id="user/game", repo_type="space", path_or_fileobj=b"x",
                        path_in_repo="app.py")
    print(json.dumps([push("open", private=True), push("game"), push("somebody/mer")]))
    """
    public, game, foreign = python(code)
    assert "user/open is there already and public: make it private" in public
    assert "the space user/game holds other things (app.py, …) and no scores.py" in game
    assert "somebody/mer would belong to somebody, and you are user" in foreign
    assert set(files_on(loopback, "user/open")) == {".gitattributes"}
    assert set(files_on(loopback, "user/game")) == {".gitattributes", "app.py"}


@pytest.mark.slow
def test_a_push_loads_back_and_a_second_one_adds_nothing(loopback, python):
    first, second = python('print(json.dumps([push("mer"), push("mer")]))')
    assert first == second
    assert len(loopback.repos["space", "user/mer"].commits) == 3  # made, filled, card
    module = f"/spaces/user/mer/resolve/{first['revision']}/mer.py"
    assert loopback.requests.count(("GET", module)) == 2  # each time with empty caches


@pytest.mark.slow
def test_a_private_metric_loads_with_a_token_and_only_with_one(loopback, python, answer):
    assert python('print(json.dumps(push("mer", private=True)))')["private"]
    code = """
import evaluate, json
try:
    print(json.dumps(evaluate.load("user/mer").compute(references=[0, 1], predictions=[0, 1])))
except FileNotFoundError:
    print("null")
"""
    assert answer(code) == {"accuracy": 1.0, "uf1": 1.0, "uar": 1.0}
    assert answer(code, token=None) is None


def test_a_metric_that_scores_otherwise_is_an_error(loopback, python):
    code = """
    metric.ask_fresh_process = lambda *question: '{"accuracy": 0.75, "uf1": 0.7, "uar": 0.8}'
    print(json.dumps(push("mer")))
    """
    assert "the metric that user/mer gives back scores" in python(code)


def test_a_dry_run_tells_files_and_sizes_and_asks_nothing(monkeypatch):
    def no_token():
        raise AssertionError("a dry run needs no account")

    monkeypatch.setattr("huggingface_hub.get_token", no_token)
    pushed = push_metric("mer", dry_run=True)  # the tests are offline: any request would raise
    assert (pushed.repo_id, pushed.url, pushed.revision) == ("mer", None, None)
    sizes = dict(pushed.files)
    assert sizes["mer.py"] == len((METRIC / "mer.py").read_bytes())
    assert set(sizes) == {"README.md", "app.py", "mer.py", "requirements.txt", "scores.py"}


@pytest.mark.parametrize("name", ["mer.v2", "scores", "user/evaluate", "user/json"])
def test_a_name_that_no_module_can_have_is_one_line(name):
    with pytest.raises(UserError, match=r"cannot be a metric's name.*Call it mer") as error:
        push_metric(name, dry_run=True)
    assert "\n" not in str(error.value)


def test_the_card_survives_reading():
    text = render_metric_card("user/mer", "0123456789" * 4)
    card = SpaceCard(text)
    assert card.data.to_dict() == yaml.safe_load(text.split("---")[1])
    assert str(card) == text
    assert check_card(text) == ([], [])
    assert (card.data.sdk, card.data.sdk_version) == ("gradio", GRADIO_VERSION)
    assert card.data.tags == ["evaluate", "metric"]  # evaluate's own list is by these
    assert card.data.app_file == "app.py"
    assert "revision=" not in render_metric_card("user/mer", None)


@pytest.fixture
def scorer(tmp_path, monkeypatch):
    """The page's function, loaded as in a Space: the metric's module has the repository's name."""
    monkeypatch.setattr("evaluate.config.HF_MODULES_CACHE", tmp_path / "modules")
    monkeypatch.setattr("evaluate.config.HF_EVALUATE_CACHE", tmp_path / "evaluate")
    monkeypatch.syspath_prepend(tmp_path / "modules")
    space = tmp_path / "space"
    space.mkdir()
    for file, name in (("mer.py", "my-mer.py"), ("scores.py",) * 2, ("app.py",) * 2):
        (space / name).write_bytes((METRIC / file).read_bytes())
    spec = importlib.util.spec_from_file_location("app_of_a_space", space / "app.py")
    app = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(app)
    return app.load_scorer(space)


def test_the_page_scores_what_is_typed_and_says_what_is_wrong(scorer):
    expected = pytest.approx({"accuracy": 3 / 4, "uf1": 7 / 9, "uar": 5 / 6})
    for references, predictions in (("0 0 1 2", "0,1,1,2"), ("[0, 0, 1, 2]", " 0\n1\n1\n2\n")):
        assert scorer(references, predictions) == expected
    for wrong in ("negative positive", "", "0 1.5", "0 -1"):
        with pytest.raises(ValueError, match="give whole numbers such as 0 0 1 2"):
            scorer(wrong, "0 1")
    with pytest.raises(ValueError, match="number of predictions"):
        scorer("0 0 1", "0 0")
    assert scorer("0 0 1 2", "0 1 1 2") == expected  # a mistake leaves nothing behind
