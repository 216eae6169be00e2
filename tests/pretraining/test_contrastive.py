"""Pretraining the embedded backbone: the same every time, also after a stop; its measures."""

import json
import math
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPModel

from hcp_mer.data.synthetic.actions import ACTION_UNITS, COMBINATIONS
from hcp_mer.errors import UserError
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.pretraining import calibration, contrastive
from hcp_mer.pretraining.calibration import calibrate, validate
from hcp_mer.pretraining.contrastive import learning_rate, pretrain
from hcp_mer.pretraining.face_randomisation import randomised_faces
from hcp_mer.pretraining.folder import weights_difference
from hcp_mer.pretraining.samples import (
    EMOTIONS,
    FIRST_IDENTITY,
    FREE,
    FaceMotionSamples,
    PretrainingSettings,
    render_samples,
)
from hcp_mer.pretraining.unfinished import Unfinished

ROOT = Path(__file__).parents[2]
BACKBONE = ROOT / "hub_configs" / "face-motion-clip"
TINY = PretrainingSettings(
    num_identities=4, clips_per_identity=2, num_steps=5, flows_per_batch=10, faces_per_batch=4
)


@pytest.fixture(scope="module")
def noise():
    """Eight clips of nobody: enough to train on, and made at once."""
    rng = np.random.default_rng(0)
    faces, flows = rng.integers(0, 256, (2, 8, 64, 64, 3), dtype=np.uint8)
    units = rng.random((8, len(ACTION_UNITS))) < 0.2
    units[:, 0] = True
    return FaceMotionSamples(faces, flows, np.array([0, 1, 2, 3, 4, 5, 6, FREE]), units)


@pytest.fixture(scope="module")
def uninterrupted(noise):
    model, _, losses = pretrain(noise, TINY)
    return model, losses


def assert_same_weights(one, other):
    before, after = one.state_dict(), other.state_dict()
    assert before.keys() == after.keys()
    assert [name for name, value in before.items() if not torch.equal(value, after[name])] == []


class Stopped(Exception):
    pass


def test_a_stop_changes_nothing(noise, uninterrupted, tmp_path, monkeypatch):
    monkeypatch.setattr(contrastive, "_KEPT_EVERY", 2)
    snapshot = tmp_path / "snapshot.safetensors"
    steps = []

    def stop_at_the_fourth(step, loss):
        steps.append(step)
        if step == 3:  # the last snapshot is of two steps
            raise Stopped

    with pytest.raises(Stopped):
        pretrain(noise, TINY, stop_at_the_fourth, snapshot)
    torch.manual_seed(99)  # another process has drawn other numbers before
    model, _, losses = pretrain(noise, TINY, lambda step, loss: steps.append(step), snapshot)
    assert steps == [0, 1, 2, 3, 2, 3, 4]
    assert losses == uninterrupted[1]
    assert_same_weights(model, uninterrupted[0])


def test_another_seed_is_another_backbone(noise, uninterrupted):
    _, _, losses = pretrain(noise, replace(TINY, seed=1, num_steps=1))
    assert losses[0] != uninterrupted[1][0]


def test_what_comes_out_is_held_by_fp16_and_has_a_scale_of_10(uninterrupted):
    model, losses = uninterrupted
    assert len(losses) == 5
    assert all(map(math.isfinite, losses))
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, value.half().float()), name
    assert model.logit_scale.exp().item() == pytest.approx(10, rel=1e-3)


def test_the_learning_rate_rises_for_a_tenth_and_falls_to_zero():
    settings = PretrainingSettings(num_steps=100, learning_rate=2.0)
    rates = {step: learning_rate(step, settings) for step in range(100)}
    assert rates[0] == pytest.approx(2 / 10)
    assert rates[4] == pytest.approx(2 * 5 / 10)
    assert rates[9] == pytest.approx(2)
    assert rates[54] == pytest.approx(1)  # half-way down the cosine
    assert rates[39] == pytest.approx(2 * 0.75)  # a third of the way: cos 60° = ½
    assert rates[99] == pytest.approx(0, abs=1e-12)
    assert sorted(rates, key=rates.get, reverse=True)[:3] == [9, 10, 11]


def test_rendering_and_pretraining_are_deterministic_and_see_nobody_of_a_corpus(tmp_path):
    settings = replace(TINY, num_identities=2, num_steps=1)
    one = render_samples(range(2), settings, num_proc=1)
    two = render_samples(range(2), settings, num_proc=2)
    assert np.array_equal(one.faces, two.faces)
    assert np.array_equal(one.flows, two.flows)
    for name, samples in (("a", one), ("b", two)):
        model, _, _ = pretrain(samples, settings)
        model.save_pretrained(tmp_path / name)
    assert weights_difference(tmp_path / "a", tmp_path / "b") == 0

    from hcp_mer.data.synthetic.plan import CorpusSettings, plan_corpus

    planned = {plan.identity_seed for plan in plan_corpus(CorpusSettings(0, 12, 24, 224))}
    assert max(planned) < FIRST_IDENTITY


def test_calibration_recovers_log_likelihood_ratios_whatever_the_base_rates(
    uninterrupted, monkeypatch
):
    """Cosines from two normal distributions of one variance: the ratio is known in closed form.

    log N(c; m₁, s²) / N(c; m₀, s²) = (m₁ − m₀) / s² · (c − (m₁ + m₀) / 2).
    """
    rng = np.random.default_rng(5)
    rates = np.linspace(0.05, 0.6, 16)  # log-odds beforehand from −2.9 to +0.4
    centres = rng.uniform(-0.1, 0.3, 16)
    apart, spread = 0.2, 0.1
    monkeypatch.setattr(calibration, "_FLOWS", 40_000)
    drawn = (rng.random((40_000, 16)) < rates).astype(np.float32)
    emotions = np.where(np.arange(40_000) < 100, 0, FREE)  # the temperature has a test of its own
    monkeypatch.setattr(
        calibration, "draw_action_units", lambda count, _: (drawn[:count], emotions[:count])
    )
    monkeypatch.setattr(calibration, "render_flow", lambda units, generator, side: units)
    monkeypatch.setattr(calibration, "standardise", lambda units: units)

    def cosines_of(model, tokenizer, units):
        means = centres + apart * (units.numpy() - 0.5)
        return torch.from_numpy(rng.normal(means, spread))

    monkeypatch.setattr(calibration, "unit_cosines", cosines_of)
    found = calibrate(uninterrupted[0], None, seed=0)
    scale = apart / spread**2
    assert found["scale"] == pytest.approx(scale, rel=0.02)
    assert list(found["offset"]) == [str(unit) for unit in ACTION_UNITS]
    offsets = np.array(list(found["offset"].values()))
    np.testing.assert_allclose(offsets, -scale * centres, atol=0.15)  # 3 to 4 standard errors
    json.dumps(found)


@pytest.mark.parametrize("overstated", [1.0, 2.0])
def test_the_temperature_is_how_far_evidence_overstates(overstated):
    """Units that are independent given a set, and sets that are drawn alike: Bayes' rule holds.

    Cosines N(±0.5, 0.5²) have a log-likelihood ratio of 4 c; `overstated` times as much takes a
    temperature of `overstated`.
    """
    rng = np.random.default_rng(3)
    sets = [(index, units) for index, e in enumerate(EMOTIONS) for units in COMBINATIONS[e]]
    drawn = rng.integers(len(sets), size=20_000)
    emotions = torch.tensor([sets[row][0] for row in drawn])
    acts = np.array([[unit in sets[row][1] for unit in ACTION_UNITS] for row in drawn])
    cosines = torch.from_numpy(rng.normal(acts - 0.5, 0.5))
    calibration_ = {"scale": 4.0 * overstated, "offset": dict.fromkeys(map(str, ACTION_UNITS), 0)}
    found = calibration._temperature(cosines, emotions, calibration_)
    assert found == pytest.approx(overstated, rel=0.05)


def test_validation_by_hand(uninterrupted, monkeypatch):
    """Three clips of an emotion and one free; two units that occur, one of them ranked in vain."""
    units = np.zeros((4, len(ACTION_UNITS)), bool)
    units[[0, 1], 0] = True
    units[[1, 3], 1] = True
    units[:, 2] = True  # always there: no curve
    cosines = torch.zeros(4, len(ACTION_UNITS))
    cosines[:, 0] = torch.tensor([0.9, 0.8, 0.1, 0.2])  # both above both others: 1
    cosines[:, 1] = torch.tensor([0.1, 0.2, 0.3, 0.4])  # 3 of 4 pairs are in order
    answers = iter([[2, 0, 5]])

    def answered(model, faces):
        assert len(faces) == 3  # the free clip shows no emotion
        return torch.eye(len(EMOTIONS))[next(answers)]

    images = np.zeros((4, 64, 64, 3), np.uint8)
    samples = FaceMotionSamples(images, images, np.array([2, FREE, 1, 5]), units)
    monkeypatch.setattr(calibration, "encode", answered)
    monkeypatch.setattr(calibration, "encode_texts", lambda *_: torch.eye(len(EMOTIONS)))
    monkeypatch.setattr(calibration, "unit_cosines", lambda *_: cosines)
    scores = validate(uninterrupted[0], None, samples)
    assert scores["emotion_accuracy"] == pytest.approx(2 / 3)
    assert scores["action_unit_auc"] == pytest.approx((1 + 3 / 4) / 2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("size", "side"), [(64, 28), (28, 28), (20, 32)])
def test_randomised_faces_are_levels_of_the_asked_size_and_the_generators_alone(size, side):
    faces = torch.rand(40, 3, size, size, generator=generator(7))
    first, again, other = (randomised_faces(faces, generator(seed), side) for seed in (1, 1, 2))
    assert first.shape == (40, 3, side, side)
    assert first.dtype == torch.float32
    assert 0 <= first.min() < 0.2
    assert 0.8 < first.max() <= 1
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_randomised_face_owes_nothing_to_its_neighbours():
    faces = torch.rand(6, 3, 28, 28, generator=generator(7))
    others = faces.clone()
    others[2] = 0
    before, after = (randomised_faces(x, generator(1), 28) for x in (faces, others))
    changed = (before - after).abs().flatten(1).amax(1) > 0
    assert changed.tolist() == [False, False, True, False, False, False]


def test_the_faces_given_are_left_as_they_were():
    faces = torch.rand(30, 3, 28, 28, generator=generator(7))
    before = faces.clone()
    randomised_faces(faces, generator(1), 28)
    assert torch.equal(faces, before)


def test_what_was_begun_is_kept_for_the_same_settings_alone(noise, tmp_path):
    begun = Unfinished(tmp_path / "out", TINY)
    stored = begun.samples(lambda: noise)
    begun.snapshot.write_bytes(b"weights")
    for name, value in vars(noise).items():
        assert np.array_equal(getattr(stored, name), value), name
        assert getattr(stored, name).dtype == value.dtype, name

    again = Unfinished(tmp_path / "out", TINY)
    assert again.snapshot.read_bytes() == b"weights"
    assert len(again.samples(lambda: pytest.fail("rendered twice"))) == len(noise)

    other = Unfinished(tmp_path / "out", replace(TINY, learning_rate=1e-3))
    assert not other.snapshot.exists()
    rendered = []
    other.samples(lambda: rendered.append(1) or noise)
    assert rendered == [1]
    other.forget()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_damaged_record_of_what_was_begun_is_named(tmp_path):
    Unfinished(tmp_path, TINY)
    (tmp_path / "unfinished" / "settings.json").write_text("{")
    with pytest.raises(UserError, match=r"settings\.json is damaged .* Delete it"):
        Unfinished(tmp_path, TINY)


@pytest.fixture
def script(monkeypatch, capsys):
    """script(*arguments) → (exit code, stdout, stderr) of scripts/pretrain_backbone.py."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["pretrain_backbone.py", *map(str, arguments)])
        code = 0
        try:
            runpy.run_path(str(ROOT / "scripts" / "pretrain_backbone.py"), run_name="__main__")
        except SystemExit as end:
            code = end.code or 0
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num_proc", 0], "--num_proc must be at least 1; got 0"),
        (["--num_steps", 0], "--num_steps must be at least 1; got 0"),
        (["--seed", -1], "--seed must be at least 0; got -1"),
        (["--patch_size", 0], "--patch_size must be at least 1; got 0"),
        (["--patch_size", 5], "--image_size must be a multiple of --patch_size; got 28 and 5"),
        (["--image_size", 0], "--image_size must be a multiple of --patch_size; got 0 and 4"),
        (["--num_identities", 3], "--num_identities must be at least 4: one batch of faces"),
        (["--verify", "nowhere"], "--verify nowhere has no model.safetensors"),
    ],
)
def test_wrong_arguments_end_in_one_line_before_anything_is_rendered(
    script, tmp_path, monkeypatch, arguments, message
):
    monkeypatch.setattr("hcp_mer.pretraining.samples.render_samples", None)
    code, _, errors = script("--output_dir", tmp_path / "out", *arguments)
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_named(script, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, errors = script("--output_dir", tmp_path / "out")
    assert (code, errors.count("\n")) == (2, 1)
    assert "cannot be a folder" in errors


@pytest.mark.slow
def test_the_script_stopped_and_gone_on_makes_the_same_backbone(
    script, tmp_path, monkeypatch, groups
):
    few = list(PretrainingSettings.__init__.__defaults__)
    few[few.index(60)] = 3  # people to validate on: no argument of the script
    monkeypatch.setattr(PretrainingSettings.__init__, "__defaults__", tuple(few))
    monkeypatch.setattr(contrastive, "_KEPT_EVERY", 1)
    monkeypatch.setattr(calibration, "_FLOWS", 512)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    quick = ["--num_identities", 4, "--num_steps", 3]
    code, printed, _ = script("--output_dir", whole, *quick)
    assert code == 0
    assert "action_unit_auc" in printed

    own_loss = contrastive.Pretraining.loss

    def interrupted(trained, samples, step):
        if step == 2:
            raise KeyboardInterrupt
        return own_loss(trained, samples, step)

    monkeypatch.setattr(contrastive.Pretraining, "loss", interrupted)
    code, _, errors = script("--output_dir", stopped, *quick)
    assert code == 130
    assert "run the same command to go on" in errors
    taken = []

    def counted(trained, samples, step):
        taken.append(step)
        return own_loss(trained, samples, step)

    monkeypatch.setattr(contrastive.Pretraining, "loss", counted)
    code, printed, errors = script("--output_dir", stopped, *quick, "--verify", whole)
    assert (code, taken) == (0, [2]), errors
    assert f"largest difference from {whole}: 0.0" in printed
    assert not (stopped / "unfinished").exists()
    for file in whole.iterdir():
        assert file.read_bytes() == (stopped / file.name).read_bytes(), file.name

    model = HcpMerModel.from_backbone(whole, groups)
    assert model.config.adapter_input == "patches"
    known = model.config.action_unit_calibration["offset"]
    assert sorted(map(int, known)) == sorted(ACTION_UNITS)
    read = json.loads((whole / "preprocessor_config.json").read_text())
    assert read["flow_normalisation"] == "standardised"
    assert HcpMerImageProcessor(flow_normalisation=read["flow_normalisation"])
    record = json.loads((whole / "pretraining.json").read_text())
    assert record["settings"]["num_steps"] == 3
    code, _, errors = script("--output_dir", tmp_path / "other", *quick, "--seed", 1,
                             "--verify", whole)  # fmt: skip
    assert code == 2
    assert "the weights differ" in errors


@pytest.mark.slow
def test_the_recorded_scores_are_those_of_the_weights():
    record = json.loads((BACKBONE / "pretraining.json").read_text())
    settings = PretrainingSettings(**record["settings"])
    first = settings.num_identities
    unseen = range(first, first + settings.num_validation_identities)
    samples = render_samples(unseen, settings, num_proc=2)
    model = CLIPModel.from_pretrained(BACKBONE).eval()
    scores = validate(model, AutoTokenizer.from_pretrained(BACKBONE), samples)
    for name, value in record["unseen_people"].items():
        assert scores[name] == pytest.approx(value, abs=0.01), name
    assert scores["action_unit_auc"] > 0.8
