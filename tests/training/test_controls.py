"""Controls: each takes away what it says, and nothing else."""

import numpy as np
import pandas
import pytest
import torch

from hcp_mer.baselines.controls import (
    CONTROLS,
    linear_head,
    permuted_action_units,
    random_backbone,
    train_controls,
)
from tests.conftest import GROUPS

NAMES = ["permuted_action_units", "linear_head", "random_backbone", "flow_in_both"]


def accuracy(folder, name):
    table = pandas.read_parquet(folder / "baselines" / f"{name}.parquet")
    return (table["label"] == table["prediction"]).mean()


@pytest.mark.slow
def test_every_control_answers_the_runs_clips_and_learns_where_it_can(
    learnable, tmp_path, run_loso
):
    folder = tmp_path / "run"
    run, _ = run_loso(learnable, folder, epochs=15, batch_size=12, seeds=[3, 5])
    train_controls(run)
    own = pandas.read_parquet(folder / "predictions.parquet")
    own = own[own["seed"] == 3].reset_index(drop=True)  # controls have the first seed alone
    assert list(CONTROLS) == NAMES
    for name in NAMES:
        table = pandas.read_parquet(folder / "baselines" / f"{name}.parquet")
        ids = ["dataset", "subject", "clip_id", "label", "seed"]
        pandas.testing.assert_frame_equal(table[ids], own[ids])
    # The flow tells the class, in whatever words; a third would be right by chance.
    assert accuracy(folder, "linear_head") > 0.6
    assert accuracy(folder, "flow_in_both") > 0.6
    assert sorted(p.name for p in (folder / "baselines").iterdir()) == sorted(
        f"{name}.parquet" for name in [*NAMES, "chance"]
    )


def test_no_class_keeps_its_action_units_and_each_keeps_its_word(foreign, tmp_path, run_loso):
    run, _ = run_loso(foreign, tmp_path / "run", epochs=1)
    changed = permuted_action_units(run)
    for fold in run.folds:
        groups = changed.model_of(fold.train).config.prompt_groups
        assert [group["emotion"] for group in groups] == [group["emotion"] for group in GROUPS]
        sets = [group["action_units"] for group in groups]
        assert sets == [GROUPS[i]["action_units"] for i in (1, 2, 0)]
    assert run.model.config.prompt_groups[0]["action_units"] == GROUPS[0]["action_units"]


def test_the_linear_head_reads_no_text(foreign, tmp_path, run_loso):
    """Whatever the text tower says, and whatever the words are, its answers are the same."""
    run, _ = run_loso(foreign, tmp_path / "run", epochs=1)
    texts = linear_head(run).model.encode_prompts()
    assert texts.shape == (6, 24)  # a vector for each of two branches and three classes
    with torch.no_grad():
        for parameter in run.model.clip.text_model.parameters():
            parameter.normal_()
    assert torch.equal(linear_head(run).model.encode_prompts(), texts)
    assert np.allclose(texts.detach().norm(dim=-1), 1)


def test_the_random_backbone_is_random_and_the_same_for_one_seed(foreign, tmp_path, run_loso):
    # The tiny CLIP is random, too: of seed 0.
    run, _ = run_loso(foreign, tmp_path / "run", epochs=1, seeds=[7])
    one, other = random_backbone(run), random_backbone(run)
    name = "clip.vision_model.encoder.layers.0.mlp.fc1.weight"
    weights = [r.model.state_dict()[name] for r in (run, one, other)]
    assert torch.equal(weights[1], weights[2])
    assert not torch.allclose(weights[0], weights[1], atol=1e-3)
    assert not torch.allclose(run.features["holistic"], one.features["holistic"], atol=1e-3)
    assert torch.equal(one.features["holistic"], other.features["holistic"])


def test_a_run_with_lora_says_that_it_has_no_controls(foreign, tmp_path, run_loso, caplog):
    run, _ = run_loso(foreign, tmp_path / "run", epochs=1, vision_lora={"r": 1})
    train_controls(run)
    assert "controls share the frozen tower's features" in caplog.text
    assert [p.name for p in (tmp_path / "run" / "baselines").iterdir()] == ["chance.parquet"]


@pytest.mark.parametrize("name", NAMES)
def test_the_held_out_subject_does_not_reach_its_folds_control(
    foreign, tmp_path, run_loso, monkeypatch, name
):
    from hcp_mer.training import variants

    run, _ = run_loso(foreign, tmp_path / "run", epochs=1)
    seen = []
    really = variants.train_sets

    def look(run, tower, sets, progress):
        seen.extend(sets)
        return really(run, tower, sets, progress)

    monkeypatch.setattr(variants, "train_sets", look)
    variants.train_variant(CONTROLS[name], run, f"baselines/{name}.parquet")
    assert len(seen) == 3
    assert all(trained.name not in trained.subjects for trained in seen)


def test_where_both_branches_see_the_flow_that_is_no_control(foreign, tmp_path, run_loso):
    folder = tmp_path / "run"
    run, _ = run_loso(foreign, folder, epochs=1, model={"holistic_input": "flow"})
    train_controls(run)
    assert not (folder / "baselines" / "flow_in_both.parquet").exists()
    assert (folder / "baselines" / "linear_head.parquet").is_file()
