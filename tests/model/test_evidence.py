"""Recognition without training: hand numbers, Bayes' rule by enumeration, mistakes in one line."""

import itertools
import json
import math

import numpy as np
import pytest
import torch
from scipy.special import logsumexp

from hcp_mer.model.action_units_hcp_mer import MAIN_ACTION_UNITS
from hcp_mer.model.evidence_hcp_mer import action_unit_log_odds, candidate_sets, class_evidence
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.model.pipeline_hcp_mer import MicroExpressionPipeline

COLUMN = {number: index for index, number in enumerate(MAIN_ACTION_UNITS)}
CALIBRATION = {"scale": 20.0, "offset": {"1": -1.0, "4": 0.5, "6": -2.0, "12": 0.25, "26": 0.0}}
KNOWN = [1, 4, 6, 12, 26]
CANDIDATES = {
    "contempt": {"emotion": "contempt", "action_units": [12, 6]},
    "interest": {"emotion": "interest", "action_units": [[1, 26], [4]]},
}


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(5, 3, 32, 32), torch.randn(5, 3, 32, 32)


def one_row(**of_units):
    values = torch.zeros(1, len(MAIN_ACTION_UNITS))
    for unit, value in of_units.items():
        values[0, COLUMN[int(unit.removeprefix("au"))]] = value
    return values


def test_log_odds_by_hand():
    cosines = one_row(au1=0.5, au12=-0.1, au9=0.9)
    odds = action_unit_log_odds(cosines, {"scale": 20.0, "offset": {1: -3.0, 12: 0.5}})[0]
    assert odds[COLUMN[1]].item() == pytest.approx(20 * 0.5 - 3)
    assert odds[COLUMN[12]].item() == pytest.approx(-20 * 0.1 + 0.5)
    assert odds.count_nonzero() == 2  # AU9 has no offset: whatever its cosine, it says nothing


def test_calibrations_are_the_same_before_and_after_json():
    cosines = torch.randn(3, len(MAIN_ACTION_UNITS), generator=torch.Generator().manual_seed(0))
    numbered = {"scale": 7.5, "offset": {4: 0.5, 20: -1.5}}
    through_json = json.loads(json.dumps(numbered))
    assert torch.equal(
        action_unit_log_odds(cosines, numbered), action_unit_log_odds(cosines, through_json)
    )


def test_class_evidence_by_hand():
    log_odds = one_row(au1=math.log(4), au2=math.log(2), au4=-1.5)
    evidence = class_evidence(log_odds, [[[1, 2]], [[1], [2]], [[4]], [[1, 2], [4]]])[0].tolist()
    # 4 · 2 = 8; 4 + 2 = 6; e^−1.5; 8 + e^−1.5.
    assert np.exp(evidence) == pytest.approx([8, 6, math.exp(-1.5), 8 + math.exp(-1.5)])


def test_a_set_named_twice_says_no_more_than_once():
    log_odds = one_row(au6=0.7, au12=0.2)
    once, twice = class_evidence(log_odds, [[[6, 12]], [[6, 12], [6, 12]]])[0].tolist()
    assert once == pytest.approx(twice)
    assert once == pytest.approx(0.9)


def test_a_unit_that_the_backbone_does_not_know_counts_nothing():
    cosines = torch.full((1, len(MAIN_ACTION_UNITS)), 0.8)
    log_odds = action_unit_log_odds(cosines, {"scale": 10.0, "offset": {6: -1.0, 12: 2.0}})
    # AU9 is a main unit without calibration, AU45, blink, is no main unit at all.
    alone, with_others, nothing = class_evidence(log_odds, [[[6]], [[6, 9, 45]], [[9, 45]]])[0]
    assert alone.item() == pytest.approx(7)
    assert with_others == alone
    assert nothing == 0


def test_the_posterior_is_bayes_rule_over_all_ways_to_show_each_class():
    """Cues of units, independent given which units act: densities multiplied one by one."""
    rng = np.random.default_rng(3)
    units, clips = [1, 4, 6, 12, 26], 7
    if_acting, if_still = rng.uniform(0.05, 1, (2, clips, len(units)))  # densities of the cues
    sets = [[[1, 26]], [[4], [4, 6], [12, 1, 4]], [[6, 12], [26]]]
    joint = np.zeros((clips, len(sets)))
    for clip, label in itertools.product(range(clips), range(len(sets))):
        for acting in sets[label]:
            density = 1 / 6  # each set as frequent as any other
            for k, unit in enumerate(units):
                density *= (if_acting if unit in acting else if_still)[clip, k]
            joint[clip, label] += density
    expected = joint / joint.sum(axis=1, keepdims=True)

    log_odds = torch.zeros(clips, len(MAIN_ACTION_UNITS), dtype=torch.float64)
    log_odds[:, [COLUMN[u] for u in units]] = torch.from_numpy(np.log(if_acting / if_still))
    found = class_evidence(log_odds, sets).softmax(-1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_candidates_may_be_one_set_or_several():
    assert candidate_sets(CANDIDATES, KNOWN) == {
        "contempt": [[12, 6]],
        "interest": [[1, 26], [4]],
    }


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"only": {"action_units": [12]}}, "must name two or more classes .* such as"),
        ([[12], [14]], r"must name two or more classes .*got \[\[12\], \[14\]\]"),
        ({"a": {"action_units": [99]}}, "AU99 is unknown to FACS; its numbers are 1, 2, 4"),
        ({"a": {"action_units": []}}, r"action_units of 'a' must be FACS numbers such as \[12, 14"),
        (
            {"a": {"action_units": [[12], []]}},
            r"of 'a' must be FACS numbers .*got \[\[12\], \[\]\]",
        ),
        ({"a": {"emotion": "a"}}, "of 'a' must be FACS numbers .*got None"),
        ({"a": [12]}, "of 'a' must be FACS numbers"),
        ({"a": {"action_units": ["AU12"]}}, r"must be FACS numbers .*got \['AU12'\]"),
        ({"a": {"action_units": "12"}}, "must be FACS numbers .*got '12'"),
        ({"a": {"action_units": 12}}, "must be FACS numbers .*got 12"),
        ({"a": {"action_units": {"12": 1}}}, "must be FACS numbers"),
        ({"a": {"action_units": [[12], 14]}}, r"must be FACS numbers .*got \[\[12\], 14\]"),
        ({"a": {"action_units": [12.0]}}, r"must be FACS numbers .*got \[12\.0\]"),
        ({"a": {"action_units": [True]}}, r"must be FACS numbers .*got \[True\]"),
        (
            {"a": {"action_units": [[1], [9, 10]]}},
            r"no evidence for any of the action units \[9, 10\] of 'a'; it knows 1, 4, 6, 12, 26",
        ),
    ],
)
def test_mistakes_in_candidates_are_named_in_one_line(groups, message):
    if isinstance(groups, dict) and "a" in groups:
        groups = {"b": {"action_units": [12]}, **groups}
    with pytest.raises(ValueError, match=message) as caught:
        candidate_sets(groups, KNOWN)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("calibration", [None, CALIBRATION], ids=["cosines", "evidence"])
def test_nothing_that_is_trained_has_a_say(make_model, images, calibration):
    model = make_model(action_unit_calibration=calibration)
    before = model.zero_shot(*images).logits
    torch.manual_seed(2)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5)
    model.train()(*images)  # moves the adapters' running statistics, too
    model.eval()
    assert not torch.allclose(model(*images).logits, before)
    assert torch.equal(model.zero_shot(*images).logits, before)


def test_without_calibration_it_is_the_sum_of_clips_own_cosines(
    make_model, tiny_clip, tokenizer, images
):
    """Eq. 1 by CLIPModel's own features of prompts that are written out."""
    groups = [
        {"label": "negative", "emotion": "negative", "action_units": [[9, 10]]},
        {"label": "positive", "emotion": "positive", "action_units": [[6, 12]]},
    ]
    words = ["negative", "positive", "nose wrinkler, upper lip raiser"]
    words += ["cheek raiser, lip corner puller"]
    texts = [f"a micro-expression {word} photo of" for word in words]
    model = make_model(prompt_groups=groups, similarity_scale=10.0)
    found = model.zero_shot(*images)
    with torch.no_grad():
        tokens = tokenizer(texts, padding=True, return_tensors="pt")
        of_texts = tiny_clip.get_text_features(**tokens).pooler_output
        cosines = [
            torch.cosine_similarity(
                tiny_clip.get_image_features(pixel_values=view).pooler_output[:, None],
                of_texts[rows][None],
                dim=-1,
            )
            for view, rows in zip(images, ([0, 1], [2, 3]))
        ]
    torch.testing.assert_close(found.logits, 10 * (cosines[0] + cosines[1]))
    assert found.action_unit_log_odds is None


def test_with_calibration_it_is_the_flows_alone_and_by_clips_own_cosines(
    make_model, tiny_clip, tokenizer, images
):
    found = make_model(action_unit_calibration=CALIBRATION).zero_shot(*images, CANDIDATES)
    names = ["inner brow raiser", "brow lowerer", "cheek raiser", "lip corner puller", "jaw drop"]
    texts = [f"a micro-expression {name} photo of" for name in names]
    with torch.no_grad():
        tokens = tokenizer(texts, padding=True, return_tensors="pt")
        of_texts = tiny_clip.get_text_features(**tokens).pooler_output
        of_flows = tiny_clip.get_image_features(pixel_values=images[1]).pooler_output
    cosines = torch.cosine_similarity(of_flows[:, None], of_texts[None], dim=-1).numpy()
    odds = 20 * cosines + np.array([-1.0, 0.5, -2.0, 0.25, 0.0])
    ours = found.action_unit_log_odds[:, [COLUMN[u] for u in KNOWN]]
    np.testing.assert_allclose(ours.numpy(), odds, atol=1e-4)
    assert found.action_unit_log_odds.count_nonzero() == 5 * len(KNOWN)
    contempt = odds[:, 3] + odds[:, 2]
    interest = logsumexp([odds[:, 0] + odds[:, 4], odds[:, 1]], axis=0)
    np.testing.assert_allclose(found.logits.numpy(), np.stack([contempt, interest], 1), atol=1e-4)


def test_candidates_equal_to_the_models_own_classes_give_the_same_logits(
    make_model, groups, images
):
    model = make_model(action_unit_calibration={"scale": 9.0, "offset": dict.fromkeys(COLUMN, 1)})
    given = {group["label"]: group for group in groups}
    assert torch.equal(model.zero_shot(*images, given).logits, model.zero_shot(*images).logits)
    backwards = model.zero_shot(*images, dict(reversed(given.items()))).logits
    assert torch.equal(backwards, model.zero_shot(*images).logits.flip(-1))


def test_new_classes_need_a_calibrated_backbone(make_model, images):
    with pytest.raises(ValueError, match=r"no calibration .*HcpMerModel\.from_backbone") as caught:
        make_model().zero_shot(*images, CANDIDATES)
    assert "\n" not in str(caught.value)


def test_one_branch_answers_alone(make_model, images):
    flow = make_model(use_holistic=False, action_unit_calibration=CALIBRATION)
    both = make_model(action_unit_calibration=CALIBRATION)
    expected = both.zero_shot(*images, CANDIDATES).logits
    alone = flow.zero_shot(flow_pixel_values=images[1], candidate_groups=CANDIDATES).logits
    torch.testing.assert_close(alone, expected)
    face = make_model(use_componential=False, action_unit_calibration=CALIBRATION)
    assert face.zero_shot(images[0]).logits.shape == (5, 3)  # by similarity: it sees no flow
    with pytest.raises(ValueError, match="needs flow_pixel_values"):
        both.zero_shot(images[0])


def test_the_calibration_travels_with_a_backbone_and_a_checkpoint(
    make_model, tiny_clip, images, tmp_path
):
    tiny_clip.config.hcp_mer = {"action_unit_calibration": CALIBRATION}
    tiny_clip.save_pretrained(tmp_path / "clip")
    model = make_model(clip=type(tiny_clip).from_pretrained(tmp_path / "clip").eval())
    model.save_pretrained(tmp_path / "checkpoint")
    loaded = HcpMerModel.from_pretrained(tmp_path / "checkpoint")
    expected = make_model(action_unit_calibration=CALIBRATION).zero_shot(*images, CANDIDATES)
    assert torch.equal(loaded.zero_shot(*images, CANDIDATES).logits, expected.logits)


@pytest.fixture
def pipe(make_model):
    from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor

    model = make_model(action_unit_calibration=CALIBRATION)
    return MicroExpressionPipeline(model, HcpMerImageProcessor(image_size=32, motion_size=64))


@pytest.fixture
def clip_on_hand():
    rng = np.random.default_rng(0)
    magnified, flow = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    return {"magnified": magnified, "flow": flow}


def test_the_pipeline_answers_in_the_callers_own_classes(pipe, clip_on_hand):
    answer = pipe(clip_on_hand, candidate_groups=CANDIDATES, explain=True)
    pixels = pipe.image_processor(**clip_on_hand, return_tensors="pt")
    output = pipe.model.zero_shot(**pixels, candidate_groups=CANDIDATES)
    probabilities = dict(zip(CANDIDATES, output.logits[0].softmax(-1).tolist()))
    assert {a["label"]: a["score"] for a in answer["scores"]} == pytest.approx(probabilities)
    assert answer["scores"][0]["score"] >= answer["scores"][1]["score"]
    odds = [unit["log_odds"] for unit in answer["action_units"]]
    known = output.action_unit_log_odds[0][[COLUMN[unit] for unit in KNOWN]]
    assert odds == sorted(known.tolist(), reverse=True)
    assert len(pipe([clip_on_hand] * 3, candidate_groups=CANDIDATES, batch_size=2)) == 3


def test_the_pipelines_zero_shot_has_the_models_classes(pipe, clip_on_hand):
    answer = pipe(clip_on_hand, zero_shot=True, top_k=2)
    assert len(answer) == 2
    assert {a["label"] for a in answer} < {"negative", "positive", "surprise"}
    with pytest.raises(ValueError, match="must name two or more classes"):
        pipe(clip_on_hand, candidate_groups={})


def test_only_units_with_evidence_are_explained(pipe, clip_on_hand):
    pipe.model.config.action_unit_calibration = {"scale": 20.0, "offset": {"1": -1.0, "12": 0.5}}
    answer = pipe(clip_on_hand, zero_shot=True, explain=True)
    assert {unit["action_unit"] for unit in answer["action_units"]} == {"AU1", "AU12"}
