"""Zero-shot in one line: the embedded backbone on rendered faces that nobody trained on."""

from pathlib import Path

import pytest

import hcp_mer
from hcp_mer.data.synthetic import ClipStyle, make_identity, render_clip

RECIPES = Path(__file__).parents[1] / "hub_configs" / "recipes"


@pytest.fixture(scope="module")
def pipe():
    return hcp_mer.zero_shot_pipeline(RECIPES / "embedded-3class.yaml")


@pytest.mark.parametrize(
    ("emotion", "units", "label"),
    [
        ("happiness", (6, 12), "positive"),
        ("surprise", (1, 2), "surprise"),
        ("disgust", (4, 9), "negative"),
    ],
)
def test_plain_movements_are_told_without_any_training(pipe, emotion, units, label):
    style = ClipStyle(peak_range_px=(2.5, 2.5), head_jitter_px=0.1)
    answers = []
    for seed in range(3):
        face = make_identity(2**33 + seed)
        clip = render_clip(
            face, emotion, seed=seed, style=style, action_units=units, key_frames_only=True
        )
        onset, apex = clip.frames
        answers.append(pipe(onset=onset, apex=apex)[0]["label"])
    assert answers.count(label) >= 2, answers


def test_sets_that_would_be_counted_have_others_in_their_place():
    classes = hcp_mer.zero_shot_pipeline(
        RECIPES / "embedded-7class.yaml"
    ).model.config.prompt_groups
    (others,) = (group for group in classes if group["label"] == "others")
    assert others["action_units"] == [[4], [7], [14], [17]]
