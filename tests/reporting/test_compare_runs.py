"""Two runs on the same subjects: the paired difference in words, and who may not be compared."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest

from hcp_mer.errors import UserError
from hcp_mer.metrics.intervals import bootstrap_difference_over_subjects
from hcp_mer.metrics.mer.scores import uf1
from hcp_mer.reporting.compare import compare_runs, print_comparison
from hcp_mer.reporting.scores import subject_confusions
from tests.reporting.runs_on_disk import CLASSES, clips_of, table, write_run

SUBJECTS = [f"s{number:02d}" for number in range(10)]
RIGHT = table(*clips_of(*SUBJECTS))
ALWAYS_NEGATIVE = table(*clips_of(*SUBJECTS, answers="nnn"))


@pytest.fixture
def compared(tmp_path):
    def compare(first: pd.DataFrame, second: pd.DataFrame, **second_run):
        a = write_run(tmp_path / "a", first)
        return compare_runs(a, write_run(tmp_path / "b", second, **second_run))

    return compare


def test_a_clear_difference_is_told_with_the_interval_of_the_same_subjects(compared):
    comparison = compared(RIGHT, ALWAYS_NEGATIVE)
    pooled = comparison["pooled"]
    # Always negative, a third of the clips: F1 1/2, 0 and 0. Every subject says the same.
    assert pooled["scores"]["B"]["uf1"] == pytest.approx(1 / 6)
    assert pooled["difference"]["uf1"] == pytest.approx(5 / 6)
    assert pooled["difference_95"]["uf1"] == pytest.approx([5 / 6, 5 / 6])
    assert pooled["verdict"].startswith("A is better than B on these 10 subjects: UF1 +0.833")


def test_the_other_way_round_it_is_worse(compared):
    assert compared(ALWAYS_NEGATIVE, RIGHT)["pooled"]["verdict"].startswith("A is worse than B")


def test_one_clip_in_thirty_is_no_difference_that_can_be_shown(compared):
    one_wrong = RIGHT.copy()
    one_wrong.loc[0, "prediction"] = "positive"
    comparison = compared(RIGHT, one_wrong)
    assert comparison["pooled"]["verdict"].startswith("No difference can be shown")
    expected = bootstrap_difference_over_subjects(
        subject_confusions(RIGHT, CLASSES), subject_confusions(one_wrong, CLASSES), uf1
    )
    assert comparison["pooled"]["difference_95"]["uf1"] == pytest.approx(list(expected))
    assert comparison["pooled"]["difference_95"]["uf1"][0] == 0  # the subject was not drawn


def test_clips_are_counted_and_the_exact_mcnemar_test_is_the_sign_test(compared):
    other = RIGHT.copy()
    other.loc[:5, "prediction"] = "surprise"  # rows 2 and 5 are surprise: still right
    clips = compared(
        RIGHT.assign(prediction=RIGHT["label"].where(RIGHT.index != 29, "negative")), other
    )["clips"]
    assert (clips["both_right"], clips["only_a"], clips["only_b"], clips["none"]) == (25, 4, 1, 0)
    assert clips["mcnemar_p"] == pytest.approx(2 * (1 + 5) / 2**5)  # two-sided, 5 coins


def test_runs_that_answer_alike_differ_by_nothing(compared):
    comparison = compared(RIGHT, RIGHT)
    assert comparison["pooled"]["difference_95"]["uf1"] == [0, 0]
    assert comparison["clips"]["mcnemar_p"] == 1
    assert comparison["pooled"]["verdict"].startswith("No difference can be shown")


def test_numbers_of_seeds_may_differ(compared):
    two = pd.concat([RIGHT, ALWAYS_NEGATIVE.assign(seed=1)])
    comparison = compared(RIGHT, two)
    assert comparison["seeds"] == {"A": [0], "B": [0, 1]}
    assert comparison["pooled"]["scores"]["B"]["uf1"] == pytest.approx((1 + 1 / 6) / 2)
    assert comparison["clips"]["only_a"] == 0  # seed 0 of each


def test_each_corpus_is_compared_by_itself(compared):
    a = table(*clips_of(*SUBJECTS), *clips_of(*SUBJECTS, dataset="samm"))
    b = table(*clips_of(*SUBJECTS), *clips_of(*SUBJECTS, dataset="samm", answers="nnn"))
    comparison = compared(a, b)
    assert comparison["per_dataset"]["casme2"]["difference"]["uf1"] == 0
    assert comparison["per_dataset"]["samm"]["difference"]["uf1"] == pytest.approx(5 / 6)


def test_what_differs_between_the_recipes_is_named(compared):
    comparison = compared(
        RIGHT, RIGHT, recipe="identity: 2\nrecipe:\n  task: 3-class\n  epochs: 40\n"
    )
    assert comparison["settings"] == {"recipe.epochs": ["80", "40"]}


def test_what_is_printed_has_letters_words_and_the_remark_on_independence(compared, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    stream = io.StringIO()
    print_comparison(compared(RIGHT, ALWAYS_NEGATIVE), stream)
    text = " ".join(stream.getvalue().split())
    assert "UF1 1.000 0.167 +0.833 [+0.833, +0.833]" in text
    assert "both right 10, only A 20, only B 0, neither 0" in text
    assert "takes clips for independent" in text


def test_one_subject_gives_a_difference_and_no_verdict(compared):
    comparison = compared(table(*clips_of("s1")), table(*clips_of("s1", answers="nnn")))
    assert comparison["pooled"]["difference_95"]["uf1"] is None
    assert "cannot be said" in comparison["pooled"]["verdict"]


@pytest.mark.parametrize(
    ("second", "options", "message"),
    [
        (RIGHT, {"task": {"task": "7-class"}}, "a run of the 3-class task and .*the 7-class task"),
        (
            RIGHT.replace("surprise", "others"),
            {"task": {"classes": ["negative", "positive", "others"]}},
            "tells negative, positive, surprise apart and .* negative, positive, others",
        ),
        (RIGHT[:-1], {}, "has 1 clip that .* lacks .first casme2/s09/2"),
        (
            RIGHT.assign(label=RIGHT["label"].replace({"surprise": "negative"})),
            {},
            "casme2/s00/2 is labelled surprise in .* and negative in .* .10 such clips",
        ),
        (
            pd.concat([RIGHT, RIGHT[1:].assign(seed=1)]),
            {},
            "casme2/s00/0 is missing from a seed",
        ),
    ],
)
def test_runs_that_cannot_be_compared_are_refused(compared, second, options, message):
    with pytest.raises(UserError, match=message):
        compared(RIGHT, second, **options)


def test_a_run_is_not_compared_with_itself(tmp_path):
    run = write_run(tmp_path / "a", RIGHT)
    with pytest.raises(UserError, match="are one folder"):
        compare_runs(run, tmp_path / "b" / ".." / "a")


def test_the_comparison_is_plain_json(compared):
    comparison = compared(RIGHT, ALWAYS_NEGATIVE)
    assert json.loads(json.dumps(comparison, allow_nan=False)) == comparison
