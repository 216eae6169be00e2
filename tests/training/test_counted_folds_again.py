"""Folds with counted prompts, met again: loaded, published, and in the report."""

import json

import numpy as np
import pytest
import torch

from hcp_mer.data.pairs import load_pairs
from hcp_mer.experiment import run_loso as run_experiment
from hcp_mer.hub.staging import folds_to_publish, open_finished_run, stage_fold
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.checkpoint import load_fold
from hcp_mer.training.final import train_final
from hcp_mer.training.recipe import FROM_ANNOTATIONS, make_recipe
from tests.annotated_pairs import SUBJECTS, groups_by_hand
from tests.foreign_pairs import CLASSES
from tests.training.test_loso import predictions

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(annotated, tiny_backbone, tmp_path_factory):
    """Folder of a whole run: folds, peers, final model, report."""
    settings = {"task": "3-class", "prompts": FROM_ANNOTATIONS, "backbone": str(tiny_backbone)}
    settings |= {"epochs": 3, "batch_size": 4, "learning_rate": 5e-3}
    folder = tmp_path_factory.mktemp("finished") / "run"
    run_experiment(make_recipe(settings), annotated, folder, controls=False)
    return folder


def probabilities(model, run_folder, pairs, subject):
    """A loaded model's answers to a subject's clips, and those in the table."""
    table, loaded = predictions(run_folder), load_pairs(pairs)
    table = table[table["subject"] == subject]
    clips = list(zip(loaded.column("subject"), loaded.column("clip_id")))
    rows = [clips.index((subject, clip)) for clip in table["clip_id"]]
    views = [[loaded.image(row, view) for row in rows] for view in ("magnified", "flow")]
    processor = HcpMerImageProcessor.from_pretrained(run_folder / "model")
    with torch.no_grad():
        inputs = processor(magnified=views[0], flow=views[1], return_tensors="pt")
        answers = model(**inputs).logits.softmax(-1).numpy()
    return answers, table[[f"prob_{name}" for name in CLASSES]].to_numpy()


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_fold_is_loaded_with_its_own_prompts(annotated, finished, subject):
    model = load_fold(finished, subject)
    assert model.config.prompt_groups == groups_by_hand(subject)
    answers, stored = probabilities(model, finished, annotated, subject)
    assert np.abs(answers - stored).max() <= 1e-5


def test_a_fold_is_published_with_its_own_prompts(annotated, finished, tmp_path):
    run = open_finished_run(finished)
    (fold,) = (fold for fold in folds_to_publish(run) if fold.row["subject"] == "006")
    (tmp_path / "fold").mkdir()
    stage_fold(run, fold, tmp_path / "fold", "user/demo")
    model = HcpMerModel.from_pretrained(tmp_path / "fold")
    assert model.config.prompt_groups == groups_by_hand("006")
    answers, stored = probabilities(model, finished, annotated, "006")
    assert np.abs(answers - stored).max() <= 1e-5
    whole = HcpMerModel.from_pretrained(finished / "model")
    assert whole.config.prompt_groups != groups_by_hand("006")


def test_folds_with_lora_are_loaded_with_their_prompts_too(annotated, tmp_path, run_counted):
    settings = {"vision_lora": {"r": 2}, "epochs": 1}
    run, _ = run_counted(annotated, tmp_path / "run", **settings)
    train_final(run)
    for subject in ("006", "a b"):
        model = load_fold(tmp_path / "run", subject)
        answers, stored = probabilities(model, tmp_path / "run", annotated, subject)
        assert np.abs(answers - stored).max() <= 1e-5


def test_the_cross_mapping_lies_in_the_run_folder(finished):
    mapping = json.loads((finished / "cross_mapping.json").read_text())
    assert mapping["num_folds"] == 3
    negative, _, surprise = mapping["classes"]
    assert negative == {
        "label": "negative",
        "num_folds_counted": 3,
        "num_clips": 6,
        "num_combinations": 3,
        "action_units": {"4": 5, "7": 2, "9": 1},
        "sets": [
            {"action_units": [4], "num_folds": 3},
            {"action_units": [4, 7], "num_folds": 1},
        ],
    }
    assert (surprise["num_clips"], surprise["action_units"]) == (5, {"1": 4, "2": 4, "26": 1})
    assert "AU4+AU7 (1 of 3 folds)" in (finished / "report.html").read_text()
