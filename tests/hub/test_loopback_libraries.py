"""transformers, datasets and evaluate take the loopback Hub for the real one."""

from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from hcp_mer.metrics import mer
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.training.checkpoint import save_checkpoint

# Our own pushes and loads go the same ways in the fast tests; this asks the double itself.
pytestmark = pytest.mark.slow

PUSH_MODEL = """
from huggingface_hub import HfApi
api = HfApi()
api.create_repo("user/tiny", private=True)
api.create_branch("user/tiny", branch="fold/01")
api.upload_folder(repo_id="user/tiny", folder_path={folder!r}, revision="fold/01")
api.create_tag("user/tiny", tag="v1", revision="fold/01")
"""

LOAD_MODEL = """
import json
import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoModel

def load(revision):
    options = {{"trust_remote_code": True, "revision": revision}}
    model = AutoModel.from_pretrained("user/tiny", **options)
    processor = AutoImageProcessor.from_pretrained("user/tiny", **options)
    assert type(model).__module__.startswith("transformers_modules.user.tiny.")
    views = np.load({views!r})
    pair = processor(magnified=views[0], flow=views[1], return_tensors="pt")
    with torch.no_grad():
        return model(**pair).logits.tolist()

def outcome(revision):
    try:
        return load(revision)
    except Exception as error:
        return [type(error).__name__, type(error.__cause__).__name__]

print(json.dumps([outcome(revision) for revision in {revisions!r}]))
"""


def test_a_pushed_model_loads_by_branch_and_tag_and_then_from_the_cache_alone(
    loopback, elsewhere, answer, make_model, tmp_path
):
    model = make_model()
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    processor = HcpMerImageProcessor(image_size=32, motion_size=64)
    save_checkpoint(model.eval(), processor, tmp_path / "checkpoint")
    views = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    np.save(tmp_path / "views.npy", views)
    with torch.no_grad():
        pair = processor(magnified=views[0], flow=views[1], return_tensors="pt")
        expected = model(**pair).logits.tolist()

    elsewhere(PUSH_MODEL.format(folder=str(tmp_path / "checkpoint")))
    load = LOAD_MODEL.format(views=str(tmp_path / "views.npy"), revisions=["fold/01", "v1", "none"])
    same = {"home": tmp_path / "home", "blocked": ("hcp_mer", "datasets", "evaluate")}
    branch, tag, missing = answer(load, **same)
    np.testing.assert_allclose(branch, expected, atol=1e-6)
    assert tag == branch
    assert missing == ["OSError", "RevisionNotFoundError"]

    loopback.requests.clear()
    branch, tag, missing = answer(load, offline=True, **same)
    np.testing.assert_allclose(branch, expected, atol=1e-6)
    assert tag == branch
    assert missing == ["OSError", "LocalEntryNotFoundError"]
    assert loopback.requests == []


PUSH_DATASET = """
import json
from datasets import Dataset
pairs = Dataset.from_dict({"subject": ["006", "007"], "apex": [3, 4]})
pairs.push_to_hub("user/pairs", private=True)
pairs.select([1]).push_to_hub("user/pairs", config_name="late", split="test", revision="v2")
"""

LOAD_DATASET = """
import json
from datasets import load_dataset

def outcome(*name, **options):
    try:
        return load_dataset(*name, **options).to_dict()
    except Exception as error:
        return type(error).__name__

print(json.dumps([
    outcome("user/pairs", "default", split="train"),
    outcome("user/pairs", "late", split="test", revision="v2"),
    outcome("user/none", split="train"),
]))
"""


def test_a_pushed_dataset_loads_and_then_from_the_cache_alone(
    loopback, elsewhere, answer, tmp_path
):
    elsewhere(PUSH_DATASET)
    (repo,) = loopback.repos.values()
    assert repo.private
    assert "data/train-00000-of-00001.parquet" in repo.commits[repo.branches["main"]]
    rows = {"subject": ["006", "007"], "apex": [3, 4]}
    late = {"subject": ["007"], "apex": [4]}
    home = tmp_path / "home"
    assert answer(LOAD_DATASET, home=home) == [rows, late, "DatasetNotFoundError"]
    loopback.requests.clear()
    cached = answer(LOAD_DATASET, home=home, offline=True)
    assert cached == [rows, late, "ConnectionError"]
    assert loopback.requests == []
    stranger = answer(LOAD_DATASET, token=None)
    assert stranger == ["DatasetNotFoundError"] * 3


LOAD_METRIC = """
import json
import evaluate
metric = evaluate.load("user/mer")
scores = metric.compute(references=[0, 0, 1, 2], predictions=[0, 1, 1, 2])
try:
    evaluate.load("user/metric")
except FileNotFoundError as error:
    print(json.dumps([scores, str(error)]))
"""


def test_evaluate_loads_the_metric_from_a_space_named_like_its_file(loopback, answer):
    for name in ("mer", "metric"):
        loopback.add_repo("space", f"user/{name}", Path(mer.__file__).parent)
    scores, refusal = answer(LOAD_METRIC, token=None)
    assert scores == pytest.approx({"accuracy": 3 / 4, "uf1": 7 / 9, "uar": 5 / 6})
    assert "'user/metric' doesn't exist on the Hugging Face Hub" in refusal
    page = "/spaces/user/mer/resolve"
    assert [request for request in loopback.requests if page in request[1]] == [
        ("HEAD", f"{page}/v{version('evaluate')}/mer.py"),  # a tag like evaluate's own version
        ("HEAD", f"{page}/main/mer.py"),
        ("GET", f"{page}/main/mer.py"),
        ("HEAD", f"{page}/main/scores.py"),
        ("GET", f"{page}/main/scores.py"),
    ]
