"""The metric folder as others load it: by `evaluate`, offline, without this package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hcp_mer.metrics.mer import scores
from hcp_mer.metrics.mer.mer import MicroExpressionScores

LOAD_AND_SCORE = """
import json, sys
sys.modules["hcp_mer"] = None  # importing it now fails
import evaluate
metric = evaluate.load(sys.argv[1])
plain = metric.compute(references=[0, 0, 1, 2], predictions=[0, 1, 1, 2])
named = metric.compute(references=[10, 10, 20], predictions=[10, 20, 20], labels=[10, 20])
try:
    metric.compute(references=[0, 3], predictions=[0, 0], num_classes=3)
    refused = ""
except ValueError as error:
    refused = str(error)
words = metric.compute(
    references=["anger", "fear", "fear"], predictions=["anger", "anger", "fear"], details=True,
    groups=["casme2", "casme2", "samm"],
)
print(json.dumps([plain, named, refused, words]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("target", ["", "mer.py"])
def test_evaluate_loads_the_metric_offline_and_scores_integers(tmp_path, target):
    environment = os.environ | {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    for cache in ("HF_MODULES_CACHE", "HF_EVALUATE_CACHE", "HF_METRICS_CACHE"):
        environment.pop(cache, None)
    answer = subprocess.run(
        [sys.executable, "-c", LOAD_AND_SCORE, str(Path(scores.__file__).parent / target)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    plain, named, refused, words = json.loads(answer.stdout.splitlines()[-1])
    # F1: 2/3, 2/3, 1; recall: 1/2, 1, 1
    assert plain == pytest.approx({"accuracy": 3 / 4, "uf1": 7 / 9, "uar": 5 / 6})
    assert list(plain) == ["accuracy", "uf1", "uar"]
    assert named == pytest.approx({"accuracy": 2 / 3, "uf1": 2 / 3, "uar": 3 / 4})
    assert "got 3" in refused
    assert words["uf1"] == pytest.approx(2 / 3)
    assert words["confusion_matrix"] == [[1, 0], [1, 1]]
    assert words["per_group"]["samm"]["num_clips"] == 1


@pytest.fixture(scope="module")
def metric():
    return MicroExpressionScores()


def test_names_are_classes_too(metric):
    given = ["surprise", "anger", "anger"], ["anger", "anger", "anger"]
    found = metric.compute(references=given[0], predictions=given[1])
    # anger: 2·2 / (2 + 3); surprise: 0
    assert found == pytest.approx({"accuracy": 2 / 3, "uf1": 0.4, "uar": 0.5})


def test_details_are_of_each_class_with_none_for_what_does_not_exist(metric):
    found = metric.compute(
        references=["a", "a", "b"],
        predictions=["a", "b", "b"],
        labels=["b", "a", "c"],
        details=True,
    )
    assert found["confusion_matrix"] == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert found["per_class"] == {
        "b": {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "num_clips": 1},
        "a": {"precision": 1.0, "recall": 0.5, "f1": pytest.approx(2 / 3), "num_clips": 2},
        "c": {"precision": None, "recall": None, "f1": None, "num_clips": 0},
    }


def test_groups_are_scored_apart_and_the_whole_is_not_their_mean(metric):
    found = metric.compute(
        references=[0, 0, 0, 1, 1, 0], predictions=[0, 0, 0, 1, 0, 1], groups=list("xxxxyy")
    )
    assert found["per_group"]["x"] == {"accuracy": 1, "uf1": 1, "uar": 1, "num_clips": 4}
    assert found["per_group"]["y"] == {"accuracy": 0, "uf1": 0, "uar": 0, "num_clips": 2}
    # class 0: 2·3 / (4 + 4); class 1: 2·1 / (2 + 2)
    assert found["uf1"] == pytest.approx((6 / 8 + 2 / 4) / 2)
    assert found["uf1"] != pytest.approx(0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": ["x"]}, "2 references and 1 groups"),
        ({"labels": [0, 0, 1]}, r"different classes, got \[0, 0, 1\]"),
        ({"labels": [0]}, "class 1 is not in labels"),
        ({"labels": [0, 1], "num_classes": 2}, "not both"),
    ],
)
def test_mistakes_are_named(metric, options, message):
    with pytest.raises(ValueError, match=message):
        metric.compute(references=[0, 1], predictions=[1, 1], **options)
