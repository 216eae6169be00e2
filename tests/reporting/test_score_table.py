"""The printed table and the sentences: honest in words, legible in a log of 80 columns."""

from __future__ import annotations

import io

import pytest

from hcp_mer.reporting.table import baseline_verdicts, labels_in_words, print_scores, run_title


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    """Without a terminal and without this variable, 80 columns are assumed."""
    monkeypatch.delenv("COLUMNS", raising=False)


def metrics(difference=(0.01, 0.2), dataset="casme2", name="flow_logistic_regression", subjects=24):
    scores = {"accuracy": 0.8125, "uf1": 0.7911, "uar": 0.7756}
    other = {"accuracy": 0.5, "uf1": 0.7411, "uar": 0.4}
    interval = None if difference is None else [0.7421, 0.8379]
    spread = dict.fromkeys(scores, interval)
    return {
        "task": "3-class",
        "num_clips": 145,
        "num_subjects": subjects,
        "seeds": [0],
        "metrics": scores,
        "interval_95": spread,
        "per_dataset": {dataset: scores},
        "baselines": {name: other},
        "baseline_interval_95": {name: spread},
        "baseline_difference_95": {name: dict.fromkeys(scores, difference)},
    }


def printed(content) -> str:
    stream = io.StringIO()
    print_scores(content, stream)
    return stream.getvalue()


def test_table_shows_every_score_with_its_interval_in_80_columns():
    text = printed(metrics())
    assert max(len(line) for line in text.splitlines()) <= 80
    model = next(line for line in text.splitlines() if "HCP_MER " in line)
    assert model.split() == [
        *("HCP_MER", "0.812", "[0.74,", "0.84]"),
        *("0.791", "[0.74,", "0.84]", "0.776", "[0.74,", "0.84]"),
    ]
    assert "0.741" in text
    assert "flow logistic" in text


def test_title_states_task_size_protocol_and_whether_faces_were_rendered():
    assert run_title(metrics()) == "3-class, 145 clips, 24 subjects, LOSO, last step"
    assert run_title(metrics(dataset="procedural")) == (
        "3-class, synthetic, 145 clips, 24 subjects, LOSO, last step"
    )
    several = metrics() | {"seeds": [0, 1, 2]}
    assert run_title(several).endswith("last step, mean of 3 seeds")
    mixed = metrics() | {"per_dataset": {"procedural": {}, "casme2": {}}}
    assert "synthetic" not in run_title(mixed)


@pytest.mark.parametrize(
    ("difference", "verb"),
    [
        ((0.01, 0.09), "beats"),
        ((-0.01, 0.11), "does not clearly beat"),
        ((0.0, 0.11), "does not clearly beat"),
        ((-0.09, -0.01), "is worse than"),
    ],
)
def test_a_gain_counts_only_when_its_interval_lies_above_zero(difference, verb):
    (sentence,) = baseline_verdicts(metrics(difference))
    assert sentence.startswith(f"HCP_MER {verb} flow logistic regression: UF1 +0.050,")
    assert f"{difference[0]:+.3f} to {difference[1]:+.3f}" in sentence


def test_one_subject_gives_scores_without_intervals_and_says_why():
    text = printed(metrics(difference=None, subjects=1))
    assert "One subject only" in text
    assert "[" not in text
    assert "1 subject," in text
    assert "beat" not in text


def test_brackets_in_a_name_are_printed_not_obeyed():
    # in the table and in the sentence below it
    assert printed(metrics(name="[red]odd")).count("[red]odd") == 2


def test_counts_and_clips_that_the_protocol_leaves_out_are_said():
    metrics = {
        "task": "3-class",
        "left_out_by_protocol": {"others": 53, "fear": 1},
        "label_counts": ["casme2, 3-class (scheme paper 1.0): 90 negative; as in the table"],
    }
    assert labels_in_words(metrics) == [
        "Labels: casme2, 3-class (scheme paper 1.0): 90 negative; as in the table.",
        "The 3-class protocol leaves out 54 clips: others 53, fear 1.",
    ]
    assert labels_in_words({"task": "3-class"}) == []
