"""The model card: what the Hub reads of it, what it promises, and what it must warn of."""

from __future__ import annotations

import json
import re

import pytest
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.repocard_data import model_index_to_eval_results

from hcp_mer.data.tasks import SCHEMES
from hcp_mer.reporting.card import (
    is_licensed,
    render_fold_card,
    render_model_card,
    usage_lines,
    write_model_card,
)
from hcp_mer.reporting.table import SYNTHETIC_DATASETS

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCORES = {"accuracy": 0.8125, "uf1": 0.79114, "uar": 0.77561}
CONFIG = {
    "backbone": "openai/clip-vit-base-patch32",
    "save_backbone": False,
    "custom_pipelines": {"micro-expression-recognition": {}},
    "prompt_groups": [
        {"label": "negative", "emotion": "negative", "action_units": [[4, 9], [15]]},
        {"label": "positive", "emotion": "happy", "action_units": [[6, 12]]},
    ],
}
OWN_CLIP = CONFIG | {"backbone": "face-motion-clip", "save_backbone": True}
PROCESSOR = {
    "estimator": "lucas_kanade",
    "magnifier": "lagrangian",
    "motion": {"alpha": 8.0, "max_displacement_px": 10.0},
    "motion_size": 224,
    "image_size": 60,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.25, 0.25, 0.25],
    "resample": 3,
}


def metrics(*datasets, interval=(0.742, 0.8379), **changes):
    datasets = datasets or ("casme2",)
    spread = dict.fromkeys(SCORES, None if interval is None else list(interval))
    lower = {key: value - 0.1 for key, value in SCORES.items()}
    return {
        "task": "3-class",
        "classes": ["negative", "positive"],
        "selection": "last_step",
        "num_clips": 7 * len(datasets),
        "num_subjects": 2 * len(datasets),
        "seeds": [0, 1],
        "metrics": SCORES,
        "interval_95": spread,
        "per_dataset": {name: lower if len(datasets) > 1 else SCORES for name in datasets},
        "per_class": {"negative": {"num_clips": 5}, "positive": {"num_clips": 2}},
        "per_subject": [
            {"dataset": name, "subject": subject, "num_clips": count, "accuracy": 0.5}
            for name in datasets
            for subject, count in (("s1", 3), ("s2", 4))
        ],
        "baselines": {"zero_shot": lower},
        "baseline_interval_95": {"zero_shot": spread},
        "baseline_difference_95": {"zero_shot": {key: [0.01, 0.2] for key in SCORES}},
        **changes,
    }


def card(*datasets, config=CONFIG, processor=PROCESSOR, **options):
    given = options.pop("metrics", None) or metrics(*datasets)
    return render_model_card(given, config, processor, **options)


def code_of(text):
    return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))


def test_the_hub_reads_scores_interval_protocol_and_seeds():
    results = ModelCard(card()).data.eval_results
    assert results[1] == EvalResult(
        task_type="image-classification",
        task_name="micro-expression recognition, 3-class",
        dataset_type="casme2",
        dataset_name="casme2",
        dataset_config="3-class",
        dataset_args={
            "protocol": "leave-one-subject-out",
            "predictions": "pooled over subjects",
            "selection": "last_step",
        },
        metric_type="f1",
        metric_name="UF1",
        metric_value=0.7911,
        metric_args={"average": "macro", "seeds": [0, 1], "interval_95": [0.742, 0.8379]},
    )
    assert [(r.metric_name, r.metric_type, r.metric_value) for r in results] == [
        ("accuracy", "accuracy", 0.8125),
        ("UF1", "f1", 0.7911),
        ("UAR", "recall", 0.7756),
    ]


def test_the_model_index_survives_reading_and_writing():
    first = ModelCard(card("casme2", "samm", "procedural")).data
    name, results = model_index_to_eval_results(first.to_dict()["model-index"])
    assert name == "HCP_MER"
    assert results == first.eval_results
    assert len(results) == 3 * (1 + 3)


def test_several_corpora_are_scored_together_and_apart():
    results = ModelCard(card("casme2", "procedural")).data.eval_results
    values = {r.dataset_name: r.metric_value for r in results if r.metric_name == "accuracy"}
    assert values == {
        "casme2 + procedural (synthetic)": 0.8125,
        "casme2": 0.7125,
        "procedural (synthetic)": 0.7125,
    }
    assert "interval_95" not in results[-1].metric_args  # none is computed for a single corpus


def test_without_an_interval_none_is_claimed():
    text = card(metrics=metrics(interval=None))
    assert "interval_95" not in ModelCard(text).data.eval_results[0].metric_args
    assert "| HCP_MER | 0.812 |" in text


def test_synthetic_runs_say_so_everywhere():
    synthetic, real = card("procedural"), card("casme2")
    assert "**Synthetic.**" in synthetic
    assert "synthetic" in ModelCard(synthetic).data.tags
    assert "(synthetic)" in ModelCard(synthetic).data.eval_results[0].dataset_name
    assert "**Synthetic.**" not in real
    assert "synthetic" not in ModelCard(real).data.tags


@pytest.mark.parametrize(
    ("datasets", "options", "licence", "sentence"),
    [
        (("procedural",), {}, "apache-2.0", "no person was recorded"),
        (("procedural",), {"config": OWN_CLIP}, "apache-2.0", "no person was recorded"),
        (("procedural",), {"config": OWN_CLIP | {"backbone": "x"}}, "unknown", "and on the back"),
        (("casme2",), {}, "other", "for research only"),
        (("procedural", "smic"), {}, "other", "for research only"),
        (("mine",), {"licensed": True}, "other", "for research only"),
        (("mine",), {}, "unknown", "whoever published them"),
    ],
)
def test_the_licence_follows_from_what_the_weights_were_made_of(
    datasets, options, licence, sentence
):
    text = card(*datasets, **options)
    assert ModelCard(text).data.license == licence
    assert sentence in text.split("## Licence")[1]


def test_every_known_corpus_is_either_licensed_or_synthetic():
    assert {name for name in SCHEMES if not is_licensed(name)} == SYNTHETIC_DATASETS


@pytest.mark.parametrize("name", ["CASMEII", "CAS(ME)³", "my_casme2", "SMIC-HS", "SAMM_LV", "megc"])
def test_a_licensed_corpus_is_known_however_it_is_spelt(name):
    assert is_licensed(name)


@pytest.mark.parametrize("name", ["mine", "procedural", "summer", "occasion", "ck+"])
def test_other_names_are_not_taken_for_one(name):
    assert not is_licensed(name)


def test_only_a_backbone_from_the_hub_is_a_base_model():
    assert ModelCard(card()).data.base_model == "openai/clip-vit-base-patch32"
    assert ModelCard(card(config=OWN_CLIP)).data.base_model is None


def test_every_snippet_pins_the_revision_of_a_repository():
    code = code_of(card(model="user/demo", revision=COMMIT))
    loads = [line for line in code.splitlines() if "user/demo" in line]
    assert len(loads) == 3  # model, processor, pipeline
    assert all(f'"user/demo", revision="{COMMIT}"' in line for line in loads)
    compile(code, "card", "exec")


def test_a_local_folder_has_no_revision_and_the_card_says_so():
    text = card()
    assert "revision=" not in code_of(text)
    assert "a local folder has no revision" in text
    assert not any("revision" in line for line in usage_lines("runs/demo/model", "a", "b"))


def test_a_checkpoint_without_the_pipeline_does_not_promise_one():
    text = card(config={k: v for k, v in CONFIG.items() if k != "custom_pipelines"})
    assert "pipeline(" not in text
    assert "processor(onset=…, apex=…)" in text


def test_the_text_shows_peers_corpora_prompts_and_motion():
    text = card("casme2", "smic", datasets=[f"user/pairs@{COMMIT}"])
    for fact in (
        "| HCP_MER | 0.812 [0.742, 0.838] | 0.791 [0.742, 0.838] |",
        "| zero shot | 0.713 [0.742, 0.838] |",
        "HCP_MER beats zero shot",
        "- smic: 7 clips of 2 subjects",
        "| positive | happy | AU6+AU12 |",
        "| negative | negative | AU4+AU9, AU15 |",
        "magnification by\n`lagrangian` (alpha 8.0, max_displacement_px 10.0)",
        f"`user/pairs` on the Hub at revision `{COMMIT}`",
        "does not detect lies",
        "restricted by law in the EU",
        "Learning Holistic-Componential Prompt Groups",
    ):
        assert fact in text
    assert ModelCard(text).data.datasets == ["user/pairs"]


def test_pairs_made_elsewhere_are_not_described_as_ours():
    text = card("mine", processor=PROCESSOR | {"estimator": "unknown", "magnifier": "unknown"})
    assert "made elsewhere" in text
    assert "`unknown`" not in text


def test_calibration_is_told_in_a_line_only_where_the_checkpoint_has_it():
    own = {"temperature": 1.83, "ece": {"raw": 0.21, "calibrated": 0.0644}}
    given = metrics(calibration=own)
    config = CONFIG | {"score_temperature": 1.8349, "unsure_below": 0.5}
    line = (
        "scores are calibrated with temperature 1.83: expected calibration error 0.064 on held-out "
        "subjects, 0.210 without; below 0.5 the answer is to be taken as *unsure*."
    )
    assert line in card(metrics=given, config=config)
    for older in (card(metrics=given), card(config=config)):
        assert "calibrated" not in older


def test_lora_is_mentioned_only_where_it_is():
    assert "LoRA of rank 8" in card(config=CONFIG | {"vision_lora": {"r": 8}})
    assert "LoRA" not in card(config=CONFIG | {"vision_lora": None})


def test_other_peoples_names_do_not_break_the_tables():
    given = metrics()
    given["baselines"] = {"a|b\nc": SCORES}
    given["baseline_interval_95"] = {"a|b\nc": dict.fromkeys(SCORES)}
    given["baseline_difference_95"] = {"a|b\nc": dict.fromkeys(SCORES)}
    assert "| a\\|b c | 0.812 |" in card(metrics=given)


def test_a_fold_says_who_was_held_out_and_that_it_is_not_to_be_deployed():
    fold = {"dataset": "casme2", "subject": "s2", "num_clips": 4, "accuracy": 0.5, "seed": 0}
    text = render_fold_card(fold, metrics(), CONFIG, model="user/demo", revision="fold-casme2-s2")
    assert "without casme2/s2" in text
    assert "Not the model to deploy" in text
    assert 'revision="fold-casme2-s2"' in text
    assert "only this one is published" in text  # the run has two seeds
    data = ModelCard(text).data
    assert data.license == "other"
    assert data.eval_results is None


def test_the_card_is_written_beside_a_checkpoint(tmp_path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    write_model_card(tmp_path, metrics(), CONFIG)
    assert ModelCard.load(tmp_path / "README.md").data.library_name == "transformers"
    assert str(tmp_path) not in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("face", "said"),
    [
        ({"detector": "none"}, "cropped by the corpus"),
        ({"detector": "cascade", "centre_crop": False}, "found by `cascade`"),
        ({"detector": "given", "centre_crop": True}, "the square in the middle of the frame"),
    ],
)
def test_the_card_says_how_faces_were_found_and_where_the_eyes_are(face, said):
    text = card(face=face)
    assert said in text
    places = "36 % and 64 % of the width and 41.5 % of the height"
    assert (places in text) == (face["detector"] != "none")


def test_of_pairs_of_unknown_making_no_face_is_claimed():
    assert "Faces were" not in card()
