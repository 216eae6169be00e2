"""Calibrated scores in the suitcase: the config's two numbers, and where the pipeline uses them."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from hcp_mer.model.configuration_hcp_mer import HcpMerConfig
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.model.pipeline_hcp_mer import MicroExpressionPipeline
from hcp_mer.training.checkpoint import save_checkpoint

LABELS = ["negative", "positive", "surprise"]


@pytest.fixture
def make_pipe(make_model):
    def make(**options):
        model = make_model(**options)
        generator = torch.Generator().manual_seed(1)
        for parameter in model.head.parameters():
            torch.nn.init.normal_(parameter, std=0.2, generator=generator)
        processor = HcpMerImageProcessor(image_size=32, motion_size=64)
        return MicroExpressionPipeline(model=model.eval(), image_processor=processor)

    return make


@pytest.fixture(scope="module")
def pair():
    images = np.random.default_rng(1).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    return {"magnified": Image.fromarray(images[0]), "flow": Image.fromarray(images[1])}


def by_label(answer):
    return np.array([{a["label"]: a["score"] for a in answer}[label] for label in LABELS])


def softened(scores, temperature):
    """By hand: p^(1/T), normalised."""
    powers = scores ** (1 / temperature)
    return powers / powers.sum()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_answers_scores_are_softened_and_those_of_the_branches_are_not(
    make_pipe, pair, temperature
):
    plain = make_pipe()(pair, explain=True)
    told = make_pipe(score_temperature=temperature)(pair, explain=True)
    expected = softened(by_label(plain["scores"]), temperature)
    assert by_label(told["scores"]) == pytest.approx(expected, abs=1e-6)
    assert [a["label"] for a in told["scores"]] == [a["label"] for a in plain["scores"]]
    for untouched in ("holistic", "componential", "gate", "action_units"):
        assert told[untouched] == plain[untouched]


def test_of_one_branch_the_branch_is_the_answer(make_pipe, pair):
    told = make_pipe(use_holistic=False, score_temperature=2.5)(pair, explain=True)
    assert told["componential"] == told["scores"]
    assert told["holistic"] is None


def test_the_order_stays_where_a_low_temperature_rounds_scores_to_zero(make_pipe, pair):
    expected = [a["label"] for a in make_pipe()(pair)]
    answer = make_pipe(score_temperature=1e-4)(pair)
    assert [a["score"] for a in answer] == [1.0, 0.0, 0.0]
    assert [a["label"] for a in answer] == expected


def test_zero_shot_scores_are_as_before(make_pipe, pair):
    units = {"scale": 0.4, "offset": {"1": -0.1, "4": 0.0, "12": 0.2}}
    plain, told = (
        make_pipe(action_unit_calibration=units, score_temperature=t) for t in (1.0, 2.5)
    )
    assert told(pair, zero_shot=True) == plain(pair, zero_shot=True)
    groups = {"contempt": {"emotion": "contempt", "action_units": [12]}}
    groups["anger"] = {"emotion": "anger", "action_units": [4]}
    assert told(pair, candidate_groups=groups) == plain(pair, candidate_groups=groups)


def test_logits_loss_and_gradients_do_not_know_of_it(make_model):
    images = torch.rand(2, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    results = []
    for options in ({}, {"score_temperature": 2.5, "unsure_below": 0.5}):
        model = make_model(**options).eval()
        torch.manual_seed(3)
        for parameter in model.head.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        output = model(*images, labels=torch.tensor([0, 1, 2, 0]))
        output.loss.backward()
        gradients = [p.grad for p in model.head.parameters() if p.grad is not None]
        results.append([output.logits, output.loss, *gradients])
    assert all(map(torch.equal, *results))


def test_both_numbers_travel_with_a_checkpoint(make_pipe, pair, tmp_path):
    pipe = make_pipe(score_temperature=2.5, unsure_below=0.5)
    save_checkpoint(pipe.model, pipe.image_processor, tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    assert (stored["score_temperature"], stored["unsure_below"]) == (2.5, 0.5)
    again = HcpMerModel.from_pretrained(tmp_path)
    assert (again.config.score_temperature, again.config.unsure_below) == (2.5, 0.5)
    answer = MicroExpressionPipeline(model=again, image_processor=pipe.image_processor)(pair)
    assert by_label(answer) == pytest.approx(by_label(pipe(pair)), abs=1e-6)


def test_a_checkpoint_from_before_is_neither_calibrated_nor_unsure(make_pipe, pair, tmp_path):
    pipe = make_pipe()
    save_checkpoint(pipe.model, pipe.image_processor, tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    for name in ("score_temperature", "unsure_below"):
        stored.pop(name, None)
    (tmp_path / "config.json").write_text(json.dumps(stored))
    again = HcpMerModel.from_pretrained(tmp_path)
    assert (again.config.score_temperature, again.config.unsure_below) == (1.0, 0.0)
    answer = MicroExpressionPipeline(model=again, image_processor=pipe.image_processor)(pair)
    with torch.no_grad():
        logits = again(**pipe.image_processor(**pair, return_tensors="pt")).logits[0]
    assert by_label(answer) == pytest.approx(logits.softmax(-1).numpy(), abs=1e-7)


@pytest.mark.parametrize("wrong", [0, -1.0, math.inf, math.nan, "2", None, True])
def test_a_temperature_must_divide(wrong):
    with pytest.raises(ValueError, match="score_temperature must be a number, positive and finite"):
        HcpMerConfig(score_temperature=wrong)


@pytest.mark.parametrize("wrong", [-0.1, 1, 1.0, math.nan, "0.5", None, False])
def test_a_threshold_must_be_within_reach(wrong):
    with pytest.raises(ValueError, match="unsure_below must be a number, at least 0 and below 1"):
        HcpMerConfig(unsure_below=wrong)


def test_whole_numbers_will_do():
    config = HcpMerConfig(score_temperature=2, unsure_below=0)
    assert (config.score_temperature, config.unsure_below) == (2, 0)
