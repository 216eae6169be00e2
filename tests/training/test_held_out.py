"""What a fold leaves besides its answers: fused features, and how its loss fell."""

import numpy as np
import pandas
import pytest
import torch

import hcp_mer
from hcp_mer.training.final import train_final
from hcp_mer.training.held_out import learning_curve

IDS = ["dataset", "subject", "clip_id"]


def test_embeddings_are_the_gated_sum_of_both_views_by_the_folds_own_model(
    foreign, tmp_path, run_loso
):
    run, _ = run_loso(foreign, tmp_path / "run", seeds=[3, 5])
    train_final(run)
    table = pandas.read_parquet(tmp_path / "run" / "embeddings.parquet")
    assert list(table.columns) == [*IDS, "label", "embedding", "seed"]
    assert len(table) == 2 * 18
    own = table[(table["subject"] == "007") & (table["seed"] == 5)]
    clips = list(zip(run.pairs.column("subject"), run.pairs.column("clip_id")))
    rows = [clips.index(("007", clip)) for clip in own["clip_id"]]
    views = {v: [run.pairs.image(row, v) for row in rows] for v in ("magnified", "flow")}
    model = hcp_mer.load_fold(tmp_path / "run", "007", seed=5)
    with torch.no_grad():
        seen = model(**run.processor(**views, return_tensors="pt"))
    alpha, beta = seen.gate_weights.T
    expected = alpha[:, None] * seen.image_embeds + beta[:, None] * seen.flow_embeds
    assert np.abs(np.stack(own["embedding"]) - expected.numpy()).max() <= 1e-5


def test_of_one_branch_the_embedding_is_that_branchs_feature(foreign, tmp_path, run_loso):
    run_loso(foreign, tmp_path / "run", model={"use_holistic": False}, epochs=1)
    table = pandas.read_parquet(tmp_path / "run" / "embeddings.parquet")
    assert np.allclose(np.linalg.norm(np.stack(table["embedding"]), axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("gate_fitting", ["joint", "held_out_subjects"])
def test_every_fold_has_a_loss_for_each_of_its_epochs(foreign, tmp_path, run_loso, gate_fitting):
    run_loso(foreign, tmp_path / "run", seeds=[3, 5], epochs=9, gate_fitting=gate_fitting)
    curves = pandas.read_parquet(tmp_path / "run" / "learning_curves.parquet")
    assert list(curves.columns) == ["dataset", "subject", "seed", "epoch", "loss"]
    for _, curve in curves.groupby(["subject", "seed"]):
        assert curve["epoch"].tolist() == list(range(1, 10))
        assert curve["loss"].iloc[-1] < curve["loss"].iloc[0]
    assert curves.groupby(["subject", "seed"]).ngroups == 6


def test_an_epochs_loss_is_the_mean_of_its_steps(foreign, tmp_path, run_loso):
    run, _ = run_loso(foreign, tmp_path / "run", epochs=2)
    # 12 clips to train on, 4 a batch: three steps an epoch.
    steps = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.25, 0.0])
    curve = learning_curve(run, run.folds[1], steps, seed=0)
    assert curve["loss"].tolist() == [2.0, 0.25]
    assert curve["subject"].unique().tolist() == ["007"]


def test_a_run_of_an_older_version_says_what_to_delete(foreign, tmp_path, run_loso):
    run_loso(foreign, tmp_path / "run", epochs=1)
    (tmp_path / "run" / "folds" / "pairs" / "006" / "embeddings.parquet").unlink()
    with pytest.raises(hcp_mer.errors.UserError, match=r"older version trained it. Delete"):
        run_loso(foreign, tmp_path / "run", epochs=1)
