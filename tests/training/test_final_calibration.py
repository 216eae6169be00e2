"""The deployable model has the temperature of the folds' answers; no fold's model has one."""

import json

import numpy as np
import pandas
import pytest
from scipy.special import softmax
from sklearn.metrics import log_loss

import hcp_mer
from hcp_mer.experiment import run_loso as whole_experiment
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.final import train_final
from hcp_mer.training.recipe import make_recipe
from tests.foreign_pairs import CLASSES


def test_calibration_is_written_into_the_checkpoint_and_changes_nothing_else(
    foreign, tmp_path, run_loso
):
    models = []
    for name, own in (("a", None), ("b", {"score_temperature": 1.75, "unsure_below": 0.5})):
        run, _ = run_loso(foreign, tmp_path / name, epochs=1)
        models.append(HcpMerModel.from_pretrained(train_final(run, own)))
        assert (run.model.config.score_temperature, run.model.config.unsure_below) == (1.0, 0.0)
    plain, told = models
    assert (plain.config.score_temperature, plain.config.unsure_below) == (1.0, 0.0)
    assert (told.config.score_temperature, told.config.unsure_below) == (1.75, 0.5)
    for (name, value), (_, same) in zip(plain.state_dict().items(), told.state_dict().items()):
        assert (value == same).all(), name
    # The temperature knows every held-out subject, so no fold's model may have it.
    fold = hcp_mer.load_fold(tmp_path / "b", "007")
    assert (fold.config.score_temperature, fold.config.unsure_below) == (1.0, 0.0)


@pytest.mark.slow
def test_from_pairs_to_a_calibrated_checkpoint_and_its_report(
    learnable, tmp_path, make_tiny_recipe
):
    recipe = make_tiny_recipe(epochs=8, seeds=[0, 1])
    metrics = whole_experiment(recipe, learnable, tmp_path / "run", controls=False)
    root = tmp_path / "run"
    config = json.loads((root / "model" / "config.json").read_text())
    table = pandas.read_parquet(root / "predictions.parquet")
    logits = np.log(table[[f"prob_{name}" for name in CLASSES]].to_numpy())
    labels = table["label"].map(CLASSES.index).to_numpy()
    grid = np.geomspace(0.05, 20, 2001)
    losses = [log_loss(labels, softmax(logits / t, axis=1), labels=[0, 1, 2]) for t in grid]
    assert config["score_temperature"] == pytest.approx(grid[np.argmin(losses)], rel=5e-3)
    own = metrics["calibration"]
    assert own["temperature"] == config["score_temperature"]
    assert own["unsure_below"] == config["unsure_below"] == 0.5
    assert own["num_answers"] == len(table) == 120
    assert own["nll"]["raw"] == pytest.approx(log_loss(labels, softmax(logits, axis=1)))
    assert own["temperatures_of_others"][0] <= own["temperature"]
    assert (root / "figures" / "reliability.png").is_file()
    assert "How sure it is" in (root / "report.html").read_text(encoding="utf-8")
    card = (root / "model" / "README.md").read_text(encoding="utf-8")
    assert f"calibrated with temperature {own['temperature']:.3g}" in card
    assert f"expected calibration error {own['ece']['calibrated']:.3f}" in card


def test_a_recipe_cannot_say_what_held_out_answers_say():
    given = {"task": "3-class", "prompts": "p.yaml", "backbone": "b"}
    for name in ("score_temperature", "unsure_below"):
        with pytest.raises(ValueError, match=f"unknown model option '{name}'"):
            make_recipe({**given, "model": {name: 0.5}})
