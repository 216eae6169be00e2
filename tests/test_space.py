"""hub_configs/space: what a Hugging Face Space runs, and what its card promises."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from hcp_mer.errors import UserError

ROOT = Path(__file__).parents[1]
SPACE = ROOT / "hub_configs" / "space"


@pytest.fixture
def app():
    spec = importlib.util.spec_from_file_location("space_app", SPACE / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_space_takes_its_model_from_its_variables(app, monkeypatch):
    monkeypatch.setenv("MODEL_ID", "OWNER/NAME")
    monkeypatch.setenv("MODEL_REVISION", "abc")
    assert app.chosen_model() == ("OWNER/NAME", "abc")
    monkeypatch.delenv("MODEL_REVISION")
    assert app.chosen_model() == ("OWNER/NAME", None)


def test_a_space_without_variables_answers_zero_shot_or_says_what_is_missing(app, monkeypatch):
    monkeypatch.delenv("MODEL_ID", raising=False)
    recipe, revision = app.chosen_model()
    assert Path(recipe) == ROOT / "hub_configs" / "recipes" / "embedded-3class.yaml"
    assert revision is None
    monkeypatch.setattr(app, "RECIPES", [])
    with pytest.raises(UserError, match="MODEL_ID"):
        app.chosen_model()


def test_the_space_runs_the_gradio_that_was_tested():
    card = (SPACE / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(card.split("---")[1])
    (pinned,) = re.findall(r"^gradio==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert front["sdk"] == "gradio"
    assert front["sdk_version"] == pinned
    assert (SPACE / front["app_file"]).is_file()
    assert len(front["short_description"]) <= 60  # the Hub's limit
    assert "nor for any decision\nabout a person" in card


def test_no_token_is_in_the_space():
    for path in SPACE.iterdir():
        assert not re.search(r"hf_[A-Za-z0-9]{10,}", path.read_text(encoding="utf-8"))
