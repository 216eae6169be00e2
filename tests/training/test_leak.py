"""The leak's diagnostic: every epoch is the model that an honest run of that length would have."""

import pandas
import pytest

from hcp_mer.errors import UserError
from hcp_mer.training import leak
from hcp_mer.training.leak import LEAKY_EPOCHS, measure_leak

IDS = ["dataset", "subject", "clip_id", "label", "seed"]


def answers(folder, name="predictions.parquet", epoch=None):
    table = pandas.read_parquet(folder / name)
    if epoch:
        table = table[table["epoch"] == epoch]
    return table.sort_values(IDS, ignore_index=True)[[*IDS, "prediction"]]


@pytest.mark.parametrize("gate_fitting", ["joint", "held_out_subjects"])
def test_the_last_epoch_is_the_honest_run(foreign, tmp_path, run_loso, gate_fitting):
    folder = tmp_path / "run"
    run, _ = run_loso(foreign, folder, seeds=[3, 5], epochs=5, gate_fitting=gate_fitting)
    before = (folder / "predictions.parquet").read_bytes()
    measure_leak(run)
    assert (folder / "predictions.parquet").read_bytes() == before
    pandas.testing.assert_frame_equal(answers(folder, LEAKY_EPOCHS, 5), answers(folder))
    table = pandas.read_parquet(folder / LEAKY_EPOCHS)
    assert len(table) == 5 * 2 * 18
    assert not (folder / ".leaky_epochs.partial").exists()


@pytest.mark.parametrize("epoch", [1, 3])
def test_an_earlier_epoch_is_a_shorter_run(foreign, tmp_path, run_loso, epoch):
    run, _ = run_loso(foreign, tmp_path / "long", epochs=4)
    measure_leak(run)
    run_loso(foreign, tmp_path / "short", epochs=epoch)
    pandas.testing.assert_frame_equal(
        answers(tmp_path / "long", LEAKY_EPOCHS, epoch), answers(tmp_path / "short")
    )


def test_groups_that_were_asked_are_not_asked_again(foreign, tmp_path, run_loso, monkeypatch):
    run, _ = run_loso(foreign, tmp_path / "whole", epochs=2, fold_group=1)
    measure_leak(run)
    run, _ = run_loso(foreign, tmp_path / "killed", epochs=2, fold_group=1)
    asked, really = [], leak._answers_of_all_epochs

    def killed_in_the_second(run, folds, progress):
        if asked:
            raise KeyboardInterrupt
        asked.append(folds[0].name)
        return really(run, folds, progress)

    monkeypatch.setattr(leak, "_answers_of_all_epochs", killed_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        measure_leak(run)
    again = []

    def count(run, folds, progress):
        again.append(folds[0].name)
        return really(run, folds, progress)

    monkeypatch.setattr(leak, "_answers_of_all_epochs", count)
    measure_leak(run)
    assert len(again) == 2
    assert not set(again) & set(asked)
    whole, killed = (pandas.read_parquet(tmp_path / n / LEAKY_EPOCHS) for n in ("whole", "killed"))
    pandas.testing.assert_frame_equal(whole, killed)


def test_a_trained_tower_is_refused(foreign, tmp_path, run_loso):
    run, _ = run_loso(foreign, tmp_path / "run", epochs=1, vision_lora={"r": 1})
    with pytest.raises(UserError, match=r"frozen towers only: set vision_lora.r=0"):
        measure_leak(run)
