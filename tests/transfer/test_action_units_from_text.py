"""Action units told from text: cosines, AUC and F1 by hand and by scikit-learn."""

import json

import numpy as np
import pandas
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score, roc_auc_score

from hcp_mer.data.pairs import VIEWS
from hcp_mer.errors import UserError
from hcp_mer.model.action_units_hcp_mer import MAIN_ACTION_UNITS
from hcp_mer.training.checkpoint import load_fold
from hcp_mer.training.final import train_final
from hcp_mer.transfer.action_units import (
    TRAINED,
    ZERO_SHOT,
    Annotation,
    _score,
    best_threshold,
    read_annotation,
    score_action_units,
)
from hcp_mer.transfer.from_texts import write_action_units
from tests.annotated_pairs import SUBJECTS, write_annotated_pairs
from tests.foreign_pairs import write_foreign_pairs


@pytest.fixture
def run(run_loso, tmp_path):
    pairs = write_annotated_pairs(tmp_path / "pairs")
    return run_loso(pairs, tmp_path / "run", seeds=[0, 1])[0]


def test_annotation_is_that_of_the_table_without_sides(run):
    annotation = read_annotation(run)
    assert len(annotation.rows) == 17  # one clip of "a b" has none
    column = dict(zip(MAIN_ACTION_UNITS, annotation.shown.sum(axis=0).tolist()))
    assert {unit: count for unit, count in column.items() if count} == {
        **{4: 5, 7: 2, 12: 6, 6: 2, 1: 4, 2: 4, 26: 1, 9: 1}
    }
    assert [MAIN_ACTION_UNITS[unit] for unit in annotation.scored()] == [4, 12]
    too_few = annotation.too_few(MAIN_ACTION_UNITS.index(1))
    assert too_few == "4 of 17 clips, 3 subjects"


@pytest.mark.slow
def test_units_without_a_text_of_their_own_are_listed(run_loso, tmp_path):
    units = dict.fromkeys(SUBJECTS, (("4", "4"), ("12", "12"), ("45", "1+51")))
    pairs = write_annotated_pairs(tmp_path / "pairs", units)
    run = run_loso(pairs, tmp_path / "run", epochs=1)[0]
    assert read_annotation(run).without_text == (45, 51)


def test_similarities_are_cosines_of_the_folds_own_model(run):
    """By another way: the loaded checkpoint, its output and its own action-unit texts."""
    train_final(run)
    table, _ = score_action_units(run)
    assert len(table) == 17 * 2 * 3  # units, and seeds of the folds beside zero-shot
    trained = load_fold(run.folder.root, "007", seed=1)
    for system, seed, model in ((TRAINED, 1, trained), (ZERO_SHOT, 0, run.model)):
        own = table[(table["system"] == system) & (table["seed"] == seed)]
        found = own[own["subject"] == "007"].pivot(
            index="clip_id", columns="action_unit", values="similarity"
        )
        assert found.shape == (6, 2)
        rows = [row for row, subject in enumerate(run.pairs.column("subject")) if subject == "007"]
        views = [
            torch.stack([torch.from_numpy(run.processor.to_pixels(image)) for image in images])
            for images in ([run.pairs.image(r, view) for r in rows] for view in VIEWS)
        ]
        with torch.inference_mode():
            texts = F.normalize(model.encode_action_units(), dim=-1)
            expected = (model(*views).flow_embeds @ texts.T).numpy()
        clips = [run.pairs.column("clip_id")[row] for row in rows]
        for unit in (4, 12):
            column = expected[:, MAIN_ACTION_UNITS.index(unit)]
            assert found.loc[clips, unit].to_numpy() == pytest.approx(column, abs=1e-5), system


@pytest.mark.parametrize(
    ("scores", "positive", "expected"),
    [
        ([0.1, 0.4, 0.6, 0.9], [0, 0, 1, 1], 0.6),
        ([0.1, 0.4, 0.6, 0.9], [0, 1, 0, 1], 0.4),  # F1 0.8 against ⅔ at 0.9
        ([0.1, 0.4, 0.6, 0.9], [1, 1, 1, 1], 0.1),
    ],
)
def test_the_threshold_is_the_one_with_the_best_f1(scores, positive, expected):
    assert best_threshold(np.array(scores), np.array(positive)) == expected


def test_thresholds_see_training_clips_alone(run):
    """Other annotation of the held-out subject leaves its fold's thresholds as they are."""
    table, _ = score_action_units(run)
    for subject in SUBJECTS:
        own = table[(table["system"] == ZERO_SHOT) & (table["action_unit"] == 4)]
        others = own[own["subject"] != subject]
        expected = best_threshold(others["similarity"].to_numpy(), others["shown"].to_numpy())
        assert set(own.loc[own["subject"] == subject, "threshold"]) == {expected}


def test_scores_are_pooled_over_folds_and_averaged_over_seeds():
    rng = np.random.default_rng(0)
    clips = 24
    parts = []
    for seed in (0, 1):
        shown = np.arange(clips) % 3 == 0
        similarity = shown * 0.5 + rng.normal(0, 0.5, clips)
        parts.append(
            pandas.DataFrame(
                {
                    **{"dataset": "d", "subject": np.arange(clips) % 4, "seed": seed},
                    **{"shown": shown, "similarity": similarity, "threshold": 0.25},
                }
            )
        )
    scores = _score(pandas.concat(parts))
    aucs = [roc_auc_score(part["shown"], part["similarity"]) for part in parts]
    f1s = [f1_score(part["shown"], part["similarity"] >= 0.25) for part in parts]
    assert scores["auc"] == pytest.approx(np.mean(aucs))
    assert scores["f1"] == pytest.approx(np.mean(f1s))
    for name in ("auc", "f1"):
        low, high = scores[f"{name}_interval_95"]
        assert low <= scores[name] <= high


def test_what_says_nothing_is_not_scored():
    shown = np.zeros((20, 3), bool)
    shown[:6, 0] = True  # six clips, but of two people
    shown[::4, 1] = True  # five of many
    shown[:, 2] = True  # everybody always
    subjects = np.array([f"d/s{index // 3}" for index in range(20)])
    annotation = Annotation(np.arange(20), shown, subjects, ())
    assert annotation.scored() == [1]


@pytest.mark.slow
def test_pairs_without_action_units_and_runs_without_that_branch_are_refused(run_loso, tmp_path):
    write_foreign_pairs(tmp_path / "pairs", ("a", "b"), clips_per_class=2, size=32)
    run = run_loso(tmp_path / "pairs", tmp_path / "run", epochs=1)[0]
    with pytest.raises(UserError, match=r"no clip of .*pairs has action units"):
        score_action_units(run)
    holistic = {"model": {"use_componential": False}}
    run = run_loso(tmp_path / "pairs", tmp_path / "other", epochs=1, **holistic)[0]
    with pytest.raises(UserError, match="componential branch, which this run lacks"):
        score_action_units(run)


@pytest.mark.slow
def test_table_and_json_say_which_units_had_too_few_clips(run):
    text = write_action_units(run)
    folder = run.folder.root / "zero_shot"
    content = json.loads((folder / "action_units.json").read_text())
    assert [unit["action_unit"] for unit in content["units"]] == [4, 12]
    assert content["too_few"]["26"] == "1 of 17 clips, 1 subject"
    assert content["units"][0]["f1_of_always_yes"] == pytest.approx(2 * 5 / (17 + 5))
    assert "| 4 brow lowerer | 5 | 3 |" in text
    assert "Too few to be scored: 1 (4 of 17 clips, 3 subjects)" in text
    assert len(pandas.read_parquet(folder / "action_units.parquet")) == 102
