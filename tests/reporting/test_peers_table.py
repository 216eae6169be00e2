"""Peers beside each other: scores by hand, the table in 80 columns, the notes."""

import io

import pandas as pd
import pytest

from hcp_mer.reporting.peers import compare_peers, notes, peers_markdown, print_peers

CLASSES = ("negative", "positive", "surprise")


def table(answers, seed=0, datasets=("casme2",)):
    """Two subjects a corpus with three clips each, one of each class; `answers` by clip."""
    rows = [
        {"dataset": dataset, "subject": f"s{subject}", "clip_id": label, "label": label}
        for dataset in datasets
        for subject in (1, 2)
        for label in CLASSES
    ]
    return pd.DataFrame(rows).assign(prediction=answers, seed=seed)


RIGHT = list(CLASSES) * 2
ALWAYS_NEGATIVE = ["negative"] * 6
COST = {"seconds": 3.21, "num_folds": 2, "num_parameters": 7059, "deterministic": True}
PROTOCOL = {"protocol": "leave_one_subject_out", "training_data": {"casme2": {}}}


def compared(tables, costs=None, protocol=PROTOCOL):
    return compare_peers(tables, costs or {}, "3-class", CLASSES, protocol)


def printed(result):
    file = io.StringIO()
    print_peers(result, file)
    return file.getvalue()


def test_scores_are_those_by_hand():
    result = compared({"majority": table(ALWAYS_NEGATIVE), "flow_svm": table(RIGHT)})
    scores = result["systems"]["majority"]["metrics"]
    # Precision 1/3 and recall 1 for negative: F1 = 1/2, and 0 for the others.
    assert scores == pytest.approx({"accuracy": 1 / 3, "uf1": 1 / 6, "uar": 1 / 3})
    assert result["systems"]["flow_svm"]["metrics"]["uf1"] == 1
    assert result["num_clips"] == 6
    assert result["num_subjects"] == 2
    assert result["title"] == "3-class, 6 clips, 2 subjects, LOSO, last step"


@pytest.mark.parametrize(
    ("answers", "cell"), [(RIGHT, "1.00 [1.0, 1.0]"), (ALWAYS_NEGATIVE, ".167 [.17, .17]")]
)
def test_the_table_fits_80_columns_with_the_longest_name_and_a_large_network(answers, cell):
    costs = {"alexnet": {"seconds": 12345.0, "num_parameters": 57_016_131}, "flow_svm": COST}
    names = ("flow_logistic_regression", "alexnet", "flow_svm")
    result = compared({name: table(answers) for name in names}, costs)
    text = printed(result)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert "57.0 M 12,345" in " ".join(text.split())
    assert "7,059" in text
    assert cell in text
    assert "–" in text  # of the regression nothing is known


def test_the_markdown_has_every_digit_and_a_column_for_each_cell():
    result = compared({"flow_svm": table(RIGHT)}, {"flow_svm": COST})
    lines = [line for line in peers_markdown(result).splitlines() if line.startswith("|")]
    assert lines[-1] == "| flow svm | 1.00 [1.0, 1.0] | 1.00 [1.0, 1.0] | " + (
        "1.00 [1.0, 1.0] | 7,059 | 3.2 |"
    )
    assert {line.count("|") for line in lines} == {7}


def test_each_corpus_has_a_column_and_its_name_ends_no_cell():
    corpora = ("casme2", "our|own")
    answers = RIGHT + ALWAYS_NEGATIVE
    protocol = {**PROTOCOL, "training_data": {name: {} for name in corpora}}
    result = compared({"flow_svm": table(answers, datasets=corpora)}, protocol=protocol)
    by_corpus = result["systems"]["flow_svm"]["per_dataset"]
    assert by_corpus["casme2"]["uf1"] == 1
    assert by_corpus["our|own"]["uf1"] == pytest.approx(1 / 6)
    assert "UF1 on each corpus by itself" in printed(result)
    assert "our\\|own" in peers_markdown(result)


def test_what_is_synthetic_says_so():
    tables = {"flow_svm": table(RIGHT, datasets=("procedural",))}
    protocol = {**PROTOCOL, "training_data": {"procedural": {}}}
    assert "synthetic" in compared(tables, protocol=protocol)["title"]


def test_the_notes_say_which_have_several_seeds_and_which_need_one():
    seeds = pd.concat([table(RIGHT), table(ALWAYS_NEGATIVE, seed=1)])
    result = compared({"coop": seeds, "flow_svm": table(RIGHT)}, {"flow_svm": COST})
    words = " ".join(notes(result))
    assert "Means of 2 seeds: coop." in words
    assert "one seed is all: flow svm." in words
    assert result["systems"]["coop"]["metrics"]["uf1"] == pytest.approx((1 + 1 / 6) / 2)


def test_a_trial_is_called_one_above_and_below_the_table():
    result = compared({"htnet": table(RIGHT)})
    result["trial"] = {"num_folds": 2, "of": 68, "expected_seconds": {"htnet": 7200.0}}
    text = " ".join(printed(result).split())
    assert "trial of 2 of 68 folds" in text
    assert "A TRIAL on 2 of 68 folds: no result" in text
    assert "htnet 2.0 h" in text
