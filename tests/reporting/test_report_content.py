"""What the report says: controls in words, the leak apart, the clips most wrong, ablations."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from hcp_mer.errors import UserError
from hcp_mer.files import read_json, write_json
from hcp_mer.reporting.content import findings
from hcp_mer.reporting.controls import CONTROLS, outcome
from hcp_mer.reporting.examples import choose_examples
from hcp_mer.reporting.publish import publish
from hcp_mer.reporting.scores import compute_metrics, write_metrics
from hcp_mer.reporting.table import baseline_names, baseline_verdicts
from tests.reporting.runs_on_disk import CLASSES, clips_of, make_quick, table, write_run
from tests.reporting.test_report_page import Page

SUBJECTS = [f"s{number:02d}" for number in range(8)]
RIGHT = table(*clips_of(*SUBJECTS))
ALWAYS_NEGATIVE = table(*clips_of(*SUBJECTS, answers="nnn"))
ONE_WRONG = RIGHT.assign(
    prediction=np.where(RIGHT.index == 4, "surprise", RIGHT["label"])
)  # ties the model: a draw without that subject is level


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    if not request.node.get_closest_marker("slow"):
        make_quick(monkeypatch)


def scored(**baselines):
    return compute_metrics(RIGHT, baselines, "3-class", CLASSES)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ([0.01, 0.2], "better"),
        ([0.0, 0.2], "tie"),
        ([-0.1, 0.2], "tie"),
        ([-0.1, -0.01], "worse"),
        (None, None),
    ],
)
def test_a_difference_counts_where_its_interval_lies_on_one_side_of_zero(interval, expected):
    assert outcome(interval) == expected


def test_a_tie_with_a_control_says_that_the_thing_earned_nothing():
    (sentence,) = baseline_verdicts(scored(permuted_action_units=ONE_WRONG))
    assert sentence.startswith("HCP_MER ties permuted action units: UF1 +0.")
    assert sentence.endswith("on these clips the action-unit texts earned nothing beyond noise.")


def test_a_control_that_is_beaten_says_that_the_thing_earned_something():
    (sentence,) = baseline_verdicts(scored(random_backbone=ALWAYS_NEGATIVE))
    assert sentence.startswith("HCP_MER beats random backbone: UF1 +0.833")
    assert sentence.endswith("on these clips the pretrained backbone earned something.")


def test_a_control_that_is_better_says_that_the_thing_did_harm():
    metrics = compute_metrics(ALWAYS_NEGATIVE, {"flow_in_both": RIGHT}, "3-class", CLASSES)
    (sentence,) = baseline_verdicts(metrics)
    assert sentence.startswith("HCP_MER is worse than flow in both: UF1 -0.833")
    assert sentence.endswith("on these clips the magnified apex did harm.")


def test_peers_stand_before_controls_and_each_control_says_what_it_takes_away():
    metrics = scored(chance=ALWAYS_NEGATIVE, zero_shot=ONE_WRONG, linear_head=RIGHT, coop=RIGHT)
    assert baseline_names(metrics) == ["zero_shot", "coop", "linear_head", "chance"]
    assert all(control.takes_away.startswith("Takes away ") for control in CONTROLS.values())


def test_findings_name_the_strongest_peer_and_the_things_that_earned_nothing():
    lines = findings(
        scored(
            chance=ALWAYS_NEGATIVE,
            majority=ALWAYS_NEGATIVE,
            flow_svm=ONE_WRONG,
            linear_head=ONE_WRONG,
        )
    )
    assert lines[0].startswith("The strongest peer: HCP_MER does not clearly beat flow svm")
    assert lines[1:2] == ["Clearly beaten: majority."]
    assert lines[2].endswith("on these clips the texts earned nothing beyond noise.")
    assert len(lines) == 3  # chance is beaten: nothing to say


def test_nothing_is_read_from_other_rows_where_chance_is_not_beaten(tmp_path):
    write_run(tmp_path, ALWAYS_NEGATIVE, chance=ALWAYS_NEGATIVE, coop=RIGHT)
    publish(tmp_path)
    text = Page(tmp_path / "report.html").text
    assert "does not clearly beat chance" in text
    assert "nothing can be read: chance is not clearly beaten" in text
    assert "coop." not in text


@pytest.fixture(scope="module")
def full_run(tmp_path_factory):
    """A run with everything that training may leave, of 24 clips; four of them are wrong."""
    folder = tmp_path_factory.mktemp("full")
    predictions = table(
        *clips_of(*SUBJECTS[:6]),
        *clips_of(*SUBJECTS[6:], answers="pns"),
        holistic_prediction="negative",
        componential_prediction="positive",
        gate_holistic=0.25,
        gate_componential=0.75,
    )
    columns = [f"prob_{name}" for name in CLASSES]
    predictions.loc[18, columns] = [0.02, 0.97, 0.01]  # s06/0: surest of the wrong ones
    write_run(folder, predictions, chance=ALWAYS_NEGATIVE, permuted_action_units=predictions)
    ids = predictions[["dataset", "subject", "clip_id", "label", "seed"]]
    rng = np.random.default_rng(0)
    ids.assign(embedding=list(rng.normal(size=(24, 8)).astype(np.float32))).to_parquet(
        folder / "embeddings.parquet"
    )
    curves = [(s, e, 1 / e) for s in SUBJECTS for e in (1, 2, 3)]
    pd.DataFrame(curves, columns=["subject", "epoch", "loss"]).assign(
        dataset="casme2", seed=0
    ).to_parquet(folder / "learning_curves.parquet")
    (folder / "ablations").mkdir()
    ALWAYS_NEGATIVE.to_parquet(folder / "ablations" / "without_adapter.parquet")
    mapping = {"label": "negative", "num_clips": 8, "num_combinations": 2, "num_folds_counted": 0}
    classes = [mapping | {"label": name, "action_units": {"4": 3}, "sets": []} for name in CLASSES]
    write_json(folder / "cross_mapping.json", {"num_folds": 8, "classes": classes})
    epochs = pd.concat([ALWAYS_NEGATIVE.assign(epoch=1), predictions.assign(epoch=2)])
    epochs.assign(fold="casme2/" + epochs["subject"]).to_parquet(folder / "leaky_epochs.parquet")
    with pytest.MonkeyPatch.context() as patch:
        make_quick(patch)
        publish(folder)
    return folder


FIGURES = {
    *("scores", "confusion_matrix", "per_subject_accuracy", "gates", "embeddings", "leak"),
    *("learning_curves", "ablations", "cross_mapping", "bipartite", "reliability"),
}


def test_everything_that_a_run_left_is_in_page_and_markdown(full_run):
    assert {path.stem for path in (full_run / "figures").iterdir()} == FIGURES
    page = Page(full_run / "report.html")
    assert len(page.targets) == 2 * len(FIGURES)
    markdown = (full_run / "report.md").read_text(encoding="utf-8")
    linked = re.findall(r"!\[.+?\]\(figures/(\w+)\.png\)", markdown)
    assert set(linked) == FIGURES
    for text in (page.text, markdown):
        assert "the action units of other classes" in text
        assert "without the adapters" in text


def test_sections_without_data_do_not_appear(tmp_path):
    write_run(tmp_path, RIGHT)
    publish(tmp_path)
    page = Page(tmp_path / "report.html")
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    for heading in (
        *("What earns the score", "A diagnostic", "Without each part", "Other readings"),
        *("Corpus by corpus", "most wrong", "Inside the model", "Emotions and action units"),
    ):
        assert heading not in page.text
        assert heading not in markdown
    assert "PARTIAL" not in page.text


def test_the_leak_stands_in_a_box_of_its_own_and_never_in_the_headline(full_run):
    metrics = read_json(full_run / "metrics.json")
    source = (full_run / "report.html").read_text(encoding="utf-8")
    assert metrics["leak"]["num_epochs"] == 2
    box = re.search(r'<section class="aside">.*?</section>', source, re.DOTALL)[0]
    assert "A diagnostic, not a result" in box
    assert "do not quote them as results" in box
    assert "leaky" not in source.replace(box, "").lower()


def test_the_clips_most_wrong_stand_first_with_both_probabilities_and_branches(full_run):
    wrong = choose_examples(None, full_run, CLASSES)
    assert len(wrong) == 4
    assert wrong[0] == {
        "clip": "casme2/s06/0",
        "label": "negative",
        "prediction": "positive",
        "probability": pytest.approx(0.97),
        "true_probability": pytest.approx(0.02),
        "branches": [
            {"name": "holistic", "prediction": "negative", "gate": pytest.approx(0.25)},
            {"name": "componential", "prediction": "positive", "gate": pytest.approx(0.75)},
        ],
        "num_wrong": 4,
    }
    text = " ".join(Page(full_run / "report.html").text.split())
    assert "✗ positive with 0.970; truly negative with 0.020" in text
    assert "holistic: negative, gate 0.25" in text


def test_a_branch_that_is_off_is_not_told(tmp_path):
    one_branch = ALWAYS_NEGATIVE.assign(
        holistic_prediction="negative",
        componential_prediction=None,
        gate_holistic=np.nan,
        gate_componential=np.nan,
    )
    write_run(tmp_path, one_branch)
    assert choose_examples(None, tmp_path, CLASSES)[0]["branches"] == [
        {"name": "holistic", "prediction": "negative", "gate": None}
    ]


def test_text_of_others_stays_text_in_markdown(tmp_path):
    odd = table(*clips_of("a|b", "`c`", answers="nnn"), *clips_of("<d>"))
    write_run(tmp_path, odd, recipe="recipe:\n  note: '```x'\n")
    publish(tmp_path)
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "casme2/a\\|b/1" in markdown
    assert "`c`" not in markdown
    assert "````yaml\nnote: '```x'\n````" in markdown


def test_every_markdown_table_has_a_rule_and_rows_of_equal_length(full_run, tmp_path):
    both = table(*clips_of(*SUBJECTS), *clips_of(*SUBJECTS, dataset="samm"))
    write_run(tmp_path, both, coop=both)
    publish(tmp_path)
    numbers = []
    for folder in (full_run, tmp_path):
        markdown = (folder / "report.md").read_text(encoding="utf-8")
        blocks = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
        for block in blocks:
            lines = block.splitlines()
            assert set(lines[1]) == set("|-")
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, block
        numbers.append(len(blocks))
    # peers, controls, ablations, classes, wrong clips; peers, corpora, classes
    assert numbers == [5, 3]


@pytest.mark.slow
def test_the_same_run_gives_the_same_bytes(full_run):
    publish(full_run)
    before = {name: (full_run / name).read_bytes() for name in ("report.html", "report.md")}
    publish(full_run)
    assert {name: (full_run / name).read_bytes() for name in before} == before


def test_one_class_only_and_equal_predictions_are_scored_and_reported(tmp_path):
    # Of the one class that occurs everything is right: the others are left out, no 0/0.
    one_class = table(*[f"casme2/s{n}/{c} n n" for n in range(4) for c in range(2)])
    write_run(tmp_path / "one_class", one_class)
    metrics = publish(tmp_path / "one_class")
    assert metrics["metrics"] == {"accuracy": 1, "uf1": 1, "uar": 1}
    assert "–" in Page(tmp_path / "one_class" / "report.html").text
    write_run(tmp_path / "equal", ALWAYS_NEGATIVE)
    assert publish(tmp_path / "equal")["metrics"]["uar"] == pytest.approx(1 / 3)


def test_one_subject_is_reported_without_intervals_and_without_verdicts(tmp_path):
    one = table(*clips_of("s1"))
    write_run(tmp_path, one, chance=one, coop=table(*clips_of("s1", answers="nnn")))
    metrics = publish(tmp_path)
    assert metrics["interval_95"]["uf1"] is None
    text = Page(tmp_path / "report.html").text
    assert "one subject: cannot be said" in text
    assert "beaten" not in text
    assert "In short" not in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.assign(prob_negative=np.nan), "column prob_negative has no value for casme2"),
        (lambda d: pd.concat([d, d[:1]]), "casme2/s00/0 has two predictions for one seed"),
        (lambda d: d.assign(prediction="joy"), "prediction 'joy' of casme2/s00/0 is none of"),
    ],
)
def test_damaged_predictions_end_in_one_line(tmp_path, change, message):
    write_run(tmp_path, change(RIGHT))
    with pytest.raises(UserError, match=message):
        publish(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize("name", ["learning_curves", "embeddings"])
def test_a_damaged_table_beside_the_predictions_is_named(tmp_path, name):
    write_run(tmp_path, RIGHT)
    (tmp_path / f"{name}.parquet").write_bytes(b"half a file")
    with pytest.raises(UserError, match=f"{name}.parquet is not readable as parquet"):
        publish(tmp_path)


def test_a_comparison_with_other_clips_than_the_models_is_refused(tmp_path):
    write_run(tmp_path, RIGHT, coop=RIGHT[:-1])
    with pytest.raises(UserError, match="baseline coop and the model differ in clip casme2/s07/2"):
        write_metrics(tmp_path)


def test_leave_one_dataset_out_is_told_as_what_it_is(tmp_path):
    both = table(*clips_of(*SUBJECTS), *clips_of(*SUBJECTS, dataset="samm"))
    write_run(tmp_path, both, task={"protocol": "leave_one_dataset_out"})
    publish(tmp_path)
    text = Page(tmp_path / "report.html").text
    assert "each corpus held out in turn" in text
    assert "a model of all the other corpora" in text
    assert "each subject held out" not in text
    assert (
        json.loads((tmp_path / "metrics.json").read_text())["protocol"] == "leave_one_dataset_out"
    )
