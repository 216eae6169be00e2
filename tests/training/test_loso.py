"""The run as a whole: pooled predictions, a held-out subject out of reach, resuming, refusing."""

import shutil

import numpy as np
import pandas
import pytest
import torch
from safetensors.torch import load_file

from hcp_mer.baselines.protocol import run_peer
from hcp_mer.baselines.zero_shot import ZeroShot
from hcp_mer.errors import UserError
from hcp_mer.training.checkpoint import load_fold
from hcp_mer.training.final import train_final
from hcp_mer.training.folds import Fold
from hcp_mer.training.run_folder import RunFolder
from tests.conftest import GROUPS
from tests.foreign_pairs import CLASSES, write_foreign_pairs, write_metadata

IDS = ["dataset", "subject", "clip_id"]


def predictions(folder, name="predictions.parquet"):
    return pandas.read_parquet(folder / name).sort_values([*IDS, "seed"], ignore_index=True)


def test_every_clip_is_answered_once_per_seed(foreign, tmp_path, run_loso):
    run, _ = run_loso(foreign, tmp_path / "run", seeds=[3, 5])
    table = predictions(tmp_path / "run")
    assert list(table.columns) == [
        *IDS,
        "label",
        "prediction",
        *(f"prob_{name}" for name in CLASSES),
        "holistic_prediction",
        "gate_holistic",
        "componential_prediction",
        "gate_componential",
        "seed",
    ]
    assert len(table) == 2 * 18
    assert not table.duplicated([*IDS, "seed"]).any()
    assert set(table["subject"]) == {"006", "007", "a b"}
    probabilities = table[[f"prob_{name}" for name in CLASSES]]
    assert np.allclose(probabilities.sum(axis=1), 1)
    winners = probabilities.idxmax(axis=1).str.removeprefix("prob_")
    assert (winners == table["prediction"]).all()
    assert table["gate_holistic"].between(0, 1).all()
    chance = predictions(tmp_path / "run", "baselines/chance.parquet")
    assert len(chance) == 18
    assert (chance["label"].to_numpy() == table[table["seed"] == 3]["label"].to_numpy()).all()
    assert run.labels.tolist().count(0) == 6


def test_held_out_subject_never_trains(foreign, tmp_path, run_loso):
    """Other pixels and other words for one subject: its own fold learns the same, bit for bit."""
    changed = tmp_path / "changed"
    rows = write_foreign_pairs(changed, ("006", "007", "a b"), clips_per_class=2, size=32)
    others = {"negative": "surprise", "positive": "negative", "surprise": "positive"}
    for row in rows:
        if row["subject"] == "007":
            row["emotion"] = others[row["emotion"]]
            row["dataset"] = "pairs"
            (changed / row["flow_file_name"]).write_bytes(
                (changed / rows[0]["magnified_file_name"]).read_bytes()
            )
    write_metadata(changed, [{**row, "dataset": "pairs"} for row in rows])
    run_loso(foreign, tmp_path / "one")
    run_loso(changed, tmp_path / "other")

    def weights(run, subject):
        return load_file(tmp_path / run / "folds" / "pairs" / subject / "trained-seed0.safetensors")

    for name, value in weights("one", "007").items():
        assert torch.equal(value, weights("other", "007")[name]), name
    assert any(
        not torch.equal(value, weights("other", "006")[name])
        for name, value in weights("one", "006").items()
    )


def test_only_missing_folds_are_trained_again_and_nothing_changes(foreign, tmp_path, run_loso):
    folder = tmp_path / "run"
    _, reused = run_loso(foreign, folder)
    whole = predictions(folder)
    assert reused == 0
    shutil.rmtree(folder / "folds" / "pairs" / "a b")
    # A fold that was being written when the run was killed:
    (folder / "folds" / "pairs" / ".a b.partial").mkdir()
    (folder / "predictions.parquet").unlink()
    _, reused = run_loso(foreign, folder)
    assert reused == 2
    pandas.testing.assert_frame_equal(predictions(folder), whole, atol=1e-6)


def test_groups_of_folds_do_not_change_the_result(foreign, tmp_path, run_loso):
    run_loso(foreign, tmp_path / "one", fold_group=1)
    run_loso(foreign, tmp_path / "all", fold_group=24)
    one, together = predictions(tmp_path / "one"), predictions(tmp_path / "all")
    pandas.testing.assert_frame_equal(one, together, atol=1e-5)


def test_one_branch_leaves_the_other_ones_columns_empty(foreign, tmp_path, run_loso):
    run_loso(foreign, tmp_path / "run", model={"use_holistic": False}, epochs=1)
    table = predictions(tmp_path / "run")
    assert (
        table[["holistic_prediction", "gate_holistic", "gate_componential"]].isna().to_numpy().all()
    )
    assert (table["componential_prediction"] == table["prediction"]).all()


def test_a_folder_of_another_run_is_refused(foreign, tmp_path, run_loso):
    run_loso(foreign, tmp_path / "run", epochs=1)
    with pytest.raises(UserError, match=r"other settings .epochs was 1, now 2.*--output_dir"):
        run_loso(foreign, tmp_path / "run", epochs=2)
    other = tmp_path / "other"
    write_foreign_pairs(other, ("006", "007"), clips_per_class=2, size=32, seed=1)
    with pytest.raises(UserError, match="other dataset"):
        run_loso(other, tmp_path / "run", epochs=1)


def test_a_cache_or_recipe_that_was_cut_short(foreign, tmp_path, run_loso):
    run_loso(foreign, tmp_path / "run", epochs=1)
    cache, recipe = (tmp_path / "run" / name for name in ("features.safetensors", "recipe.yaml"))
    whole = cache.read_bytes()
    cache.write_bytes(whole[:100])
    run_loso(foreign, tmp_path / "run", epochs=1)
    assert cache.read_bytes() == whole
    recipe.write_text("- nothing: [")
    with pytest.raises(UserError, match=r"recipe\.yaml is no recipe of ours"):
        run_loso(foreign, tmp_path / "run", epochs=1)


def test_a_folder_with_other_things_is_refused(foreign, tmp_path, run_loso):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").touch()
    with pytest.raises(UserError, match=r"not empty \(thesis\.txt\) and holds no run"):
        run_loso(foreign, tmp_path / "run")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file"):
        run_loso(foreign, tmp_path / "file")


@pytest.mark.parametrize("subject", ["..", ".", "../../up", "a/b", "c:d"])
def test_no_subject_reaches_outside_the_run_folder(tmp_path, subject):
    none = np.arange(0)
    path = RunFolder(tmp_path).fold(Fold("data", subject, none, none))
    assert path.resolve().parent == tmp_path / "folds" / "data"


def test_features_are_read_again_only_for_the_same_pairs(foreign, tmp_path, run_loso):
    run, _ = run_loso(foreign, tmp_path / "run", epochs=1)
    cache = tmp_path / "run" / "features.safetensors"
    written = cache.stat().st_mtime_ns
    run_loso(foreign, tmp_path / "run", epochs=1)
    assert cache.stat().st_mtime_ns == written
    features = load_file(cache)
    pixels = torch.from_numpy(run.processor.to_pixels(run.pairs.image(4, "flow")))[None]
    with torch.no_grad():
        expected = run.model.encode_images(pixels).pooled[0]
    assert torch.allclose(features["componential"][4], expected, atol=1e-6)


def test_other_prompts_in_the_same_file_are_another_run(foreign, tmp_path, run_loso):
    run_loso(foreign, tmp_path / "run", epochs=1)
    sadder = [{**GROUPS[0], "action_units": [[1, 4]]}, *GROUPS[1:]]
    with pytest.raises(UserError, match="other prompt groups"):
        run_loso(foreign, tmp_path / "run", epochs=1, groups=sadder)


def test_a_run_that_lacks_only_its_last_stages_goes_on(foreign, tmp_path, run_loso):
    """Folds are finished, peers and final model are not: what a kill between them leaves."""
    run_peer(ZeroShot(), run_loso(foreign, tmp_path / "run", epochs=1)[0])
    (tmp_path / "run" / "baselines" / "zero_shot.parquet").unlink()
    run, reused = run_loso(foreign, tmp_path / "run", epochs=1)
    assert reused == 3
    run_peer(ZeroShot(), run)
    assert (train_final(run) / "model.safetensors").is_file()


def test_held_out_gate_leaves_the_held_out_subject_out(foreign, tmp_path, run_loso):
    """The demo's way of fitting the gate: other clips of a subject do not change its own fold."""
    changed = tmp_path / "pairs"
    rows = write_foreign_pairs(changed, ("006", "007", "a b"), clips_per_class=2, size=32)
    noise = (changed / rows[0]["magnified_file_name"]).read_bytes()
    for row in rows:
        if row["subject"] == "007":
            (changed / row["flow_file_name"]).write_bytes(noise)
    for name, folder in (("one", foreign), ("other", changed)):
        run_loso(folder, tmp_path / name, gate_fitting="held_out_subjects", min_steps=6)
    one, other = (
        load_file(tmp_path / name / "folds" / "pairs" / "007" / "trained-seed0.safetensors")
        for name in ("one", "other")
    )
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert one["head.gate.weight"].any()


@pytest.mark.slow
def test_lora_folds_resume_and_load_back(foreign, tmp_path, run_loso):
    """Every fold has a tower of its own, also for its gate; its answers are those of the run."""
    settings = {"vision_lora": {"r": 2}, "epochs": 2, "gate_fitting": "held_out_subjects"}
    run, _ = run_loso(foreign, tmp_path / "run", **settings)
    first = predictions(tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "folds" / "pairs" / "007")
    run, reused = run_loso(foreign, tmp_path / "run", **settings)
    assert reused == 2
    pandas.testing.assert_frame_equal(first, predictions(tmp_path / "run"))
    train_final(run)
    model = load_fold(tmp_path / "run", "007")
    assert model.config.vision_lora == {"r": 2}
    held_out = first[first["subject"] == "007"]
    clips = list(zip(run.pairs.column("subject"), run.pairs.column("clip_id")))
    rows = [clips.index(("007", clip)) for clip in held_out["clip_id"]]
    views = [[run.pairs.image(row, view) for row in rows] for view in ("magnified", "flow")]
    inputs = run.processor(magnified=views[0], flow=views[1], return_tensors="pt")
    with torch.no_grad():
        probabilities = model(**inputs).logits.softmax(-1).numpy()
    stored = held_out[[f"prob_{name}" for name in CLASSES]].to_numpy()
    assert np.abs(probabilities - stored).max() <= 1e-5


def test_a_lora_rank_of_zero_changes_nothing(foreign, tmp_path, run_loso):
    run_loso(foreign, tmp_path / "plain")
    run_loso(foreign, tmp_path / "zero", vision_lora={"r": 0})
    pandas.testing.assert_frame_equal(
        predictions(tmp_path / "plain"), predictions(tmp_path / "zero")
    )


def test_shuffled_labels_teach_nothing(tmp_path, run_loso):
    """Flow tells the classes apart; with labels shuffled within training the model guesses."""
    pairs = tmp_path / "pairs"
    write_foreign_pairs(pairs, clips_per_class=8, size=32)
    run_loso(pairs, tmp_path / "run", min_steps=60, learning_rate=1e-2, batch_size=16)
    right = {
        name: (table["label"] == table["prediction"]).mean()
        for name, table in (
            ("model", predictions(tmp_path / "run")),
            ("chance", predictions(tmp_path / "run", "baselines/chance.parquet")),
        )
    }
    assert right["model"] > 0.8
    assert 0.15 < right["chance"] < 0.5  # one in three, 120 clips
