"""The same run with one thing changed equals a run that was asked for so from the beginning."""

import numpy as np
import pandas
import pytest
import torch

from hcp_mer.errors import UserError
from hcp_mer.training import variants
from hcp_mer.training.variants import Variant, train_variant, with_options

ABLATION = Variant("without_adapter", lambda run: with_options(run, use_adapter=False))


def read(folder, name):
    return pandas.read_parquet(folder / name)


def same(one, other):
    pandas.testing.assert_frame_equal(one, other, atol=1e-5)


def test_a_variant_is_the_run_of_that_recipe(foreign, tmp_path, run_loso):
    run, _ = run_loso(foreign, tmp_path / "run", seeds=[3, 5])
    train_variant(ABLATION, run, "ablations/without_adapter.parquet", embeddings=True)
    run_loso(foreign, tmp_path / "asked", seeds=[3, 5], model={"use_adapter": False})
    same(
        read(tmp_path / "run", "ablations/without_adapter.parquet"),
        read(tmp_path / "asked", "predictions.parquet"),
    )
    embeddings = [
        read(tmp_path / "run", "ablations/without_adapter.embeddings.parquet"),
        read(tmp_path / "asked", "embeddings.parquet"),
    ]
    one, other = (np.stack(table["embedding"]) for table in embeddings)
    assert np.abs(one - other).max() <= 1e-5
    assert sorted(p.name for p in (tmp_path / "run" / "ablations").iterdir()) == [
        "without_adapter.embeddings.parquet",
        "without_adapter.parquet",
    ]


def test_a_variant_that_changes_nothing_is_the_run(foreign, tmp_path, run_loso):
    run, _ = run_loso(foreign, tmp_path / "run", gate_fitting="held_out_subjects")
    train_variant(Variant("itself", lambda run: run), run, "itself.parquet")
    same(read(tmp_path / "run", "itself.parquet"), read(tmp_path / "run", "predictions.parquet"))


def test_finished_groups_of_a_killed_variant_are_not_trained_again(
    foreign, tmp_path, run_loso, monkeypatch
):
    run, _ = run_loso(foreign, tmp_path / "whole", fold_group=1)
    train_variant(ABLATION, run, "x.parquet")
    run, _ = run_loso(foreign, tmp_path / "killed", fold_group=1)
    trained, really = [], variants.train_sets

    def killed_in_the_third(run, tower, sets, progress):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(sets[0].name)
        return really(run, tower, sets, progress)

    monkeypatch.setattr(variants, "train_sets", killed_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        train_variant(ABLATION, run, "x.parquet")
    assert not (tmp_path / "killed" / "x.parquet").is_file()
    again = []

    def count(run, tower, sets, progress):
        again.append(sets[0].name)
        return really(run, tower, sets, progress)

    monkeypatch.setattr(variants, "train_sets", count)
    run, _ = run_loso(foreign, tmp_path / "killed", fold_group=1)  # as the next process would
    train_variant(ABLATION, run, "x.parquet")
    assert len(again) == 1
    assert {*trained, *again} == {fold.name for fold in run.folds}
    same(read(tmp_path / "killed", "x.parquet"), read(tmp_path / "whole", "x.parquet"))
    train_variant(ABLATION, run, "x.parquet")
    assert len(again) == 1  # a table that is there is kept


def test_the_other_view_reaches_the_branch_that_is_given_it(learnable, tmp_path, run_loso):
    """Of foreign pairs only the flow tells the class."""
    run, _ = run_loso(learnable, tmp_path / "run", epochs=15, batch_size=12)
    train_variant(
        Variant("flow", lambda run: with_options(run, holistic_input="flow")), run, "flow.parquet"
    )
    accuracy = {
        name: (table["holistic_prediction"] == table["label"]).mean()
        for name in ("predictions", "flow")
        for table in [read(tmp_path / "run", f"{name}.parquet")]
    }
    assert accuracy["predictions"] < 0.55 < 0.75 < accuracy["flow"]


def test_a_run_with_lora_has_no_features_to_share(foreign, tmp_path, run_loso):
    run, _ = run_loso(foreign, tmp_path / "run", epochs=1, vision_lora={"r": 1})
    with pytest.raises(UserError, match=r"without_adapter .*set vision_lora.r=0"):
        train_variant(ABLATION, run, "x.parquet")


def test_the_runs_own_model_is_left_as_it_was(foreign, tmp_path, run_loso):
    run, _ = run_loso(foreign, tmp_path / "run", epochs=1)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    train_variant(ABLATION, run, "x.parquet")
    assert all(torch.equal(value, before[n]) for n, value in run.model.state_dict().items())
    assert run.model.config.use_adapter
