"""A run's calibration: in its metrics, on its pages, and in words that hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hcp_mer.errors import UserError
from hcp_mer.files import read_json, write_json
from hcp_mer.reporting import calibration
from hcp_mer.reporting.compare import compare_runs
from hcp_mer.reporting.figures import DARK, LIGHT, reliability_figure
from hcp_mer.reporting.html import write_report
from hcp_mer.reporting.publish import publish
from hcp_mer.reporting.run_figures import draw_figure
from hcp_mer.reporting.scores import write_metrics
from tests.reporting.runs_on_disk import CLASSES, clips_of, make_quick, table, write_run

COLUMNS = [f"prob_{name}" for name in CLASSES]
SUBJECTS = [f"s{number:02d}" for number in range(6)]
# Score 0.8, two of three right: (0.8 / 0.1)^(1/T) = 4, since 4 / (4 + 1 + 1) = 2/3.
T_OF_TWO_IN_THREE = np.log(8) / np.log(4)
TWO_IN_THREE = table(*clips_of(*SUBJECTS, answers="npn"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    make_quick(monkeypatch)


def test_scores_of_080_that_are_right_in_two_of_three_cases_become_067():
    own = calibration.calibrate(TWO_IN_THREE, CLASSES)
    assert own["temperature"] == pytest.approx(T_OF_TWO_IN_THREE, rel=1e-3)
    assert own["temperatures_of_others"] == pytest.approx([T_OF_TWO_IN_THREE] * 2, rel=1e-3)
    assert own["at_bound"] is False
    assert own["num_answers"] == 18
    assert own["ece"]["raw"] == pytest.approx(0.8 - 2 / 3)
    assert own["ece"]["calibrated"] == pytest.approx(0, abs=1e-4)
    # −(2 log 0.8 + log 0.1) / 3 and −(2 log(2/3) + log(1/6)) / 3
    assert own["nll"]["raw"] == pytest.approx(0.91629, abs=1e-5)
    assert own["nll"]["calibrated"] == pytest.approx(0.86756, abs=1e-5)
    # (2 · 0.06 + 0.8² + 0.9² + 0.1²) / 3 and (2 · (1/9 + 2/36) + 4/9 + 25/36 + 1/36) / 3
    assert own["brier"] == pytest.approx({"raw": 1.58 / 3, "calibrated": 0.5}, abs=1e-4)
    assert own["unsure_below"] == 0.5
    assert (own["answered_share"], own["accuracy_when_answered"]) == (1, pytest.approx(2 / 3))
    assert [sum(own["bins"][name]["count"]) for name in ("raw", "calibrated")] == [18, 18]


def test_an_answer_that_is_likelier_wrong_than_right_is_unsure():
    # One of three right at 0.8: no likelier than the other classes, so no score reaches a half.
    own = calibration.calibrate(table(*clips_of(*SUBJECTS, answers="nsp")), CLASSES)
    assert own["temperature"] == 20.0
    assert (own["answered_share"], own["accuracy_when_answered"]) == (0, None)
    words = " ".join(calibration.in_words({"calibration": own, "metrics": {"accuracy": 1 / 3}}))
    assert words.endswith("is called unsure: here all are.")


def test_the_answers_that_remain_are_counted():
    # Right in two of three cases at 0.8, in one of three at 0.45: the first half remains.
    unsure = table(*clips_of(*SUBJECTS, answers="nnn"))
    unsure["clip_id"] = "u" + unsure["clip_id"]
    unsure[COLUMNS] = [0.45, 0.3, 0.25]
    both = pd.concat([TWO_IN_THREE, unsure], ignore_index=True)
    own = calibration.calibrate(both, CLASSES)
    assert own["answered_share"] == 0.5
    assert own["accuracy_when_answered"] == pytest.approx(2 / 3)


def test_no_subject_changes_its_own_calibrated_scores():
    def bins_of(first_subject_answers):
        first = table(*clips_of("s00", answers=first_subject_answers))
        rest = table(*clips_of(*SUBJECTS[1:], answers="npn"))
        return calibration.calibrate(pd.concat([first, rest], ignore_index=True), CLASSES)

    right, wrong = bins_of("nps"), bins_of("psn")
    # The three answers of s00 keep score 2/3, fitted on the rest, whatever they are.
    place = int(np.ceil(2 / 3 * 15)) - 1
    for own in (right, wrong):
        near = sum(own["bins"]["calibrated"]["count"][place - 1 : place + 2])
        assert near >= 3
        assert own["temperatures_of_others"][0] <= T_OF_TWO_IN_THREE * 1.001
        assert own["temperatures_of_others"][1] >= T_OF_TWO_IN_THREE * 0.999
    assert right["temperature"] < T_OF_TWO_IN_THREE < wrong["temperature"]


def test_namesakes_in_two_corpora_are_two_people_and_seeds_are_answers():
    one = table(*clips_of("s01", dataset="casme2", answers="npn"))
    other = table(*clips_of("s01", dataset="samm", answers="npn"))
    assert calibration.calibrate(one, CLASSES) is None  # nobody else to fit on
    both = pd.concat([one, other], ignore_index=True)
    again = pd.concat([both, both.assign(seed=1)], ignore_index=True)
    assert calibration.calibrate(both, CLASSES)["num_answers"] == 6
    own = calibration.calibrate(again, CLASSES)
    assert own["num_answers"] == 12
    assert own["temperature"] == pytest.approx(T_OF_TWO_IN_THREE, rel=1e-3)


def test_without_probabilities_nothing_is_said_and_half_of_them_are_refused(tmp_path):
    assert calibration.calibrate(TWO_IN_THREE.drop(columns=COLUMNS), CLASSES) is None
    assert calibration.config_fields(TWO_IN_THREE.drop(columns=COLUMNS), CLASSES) == {}
    with pytest.raises(UserError, match="no column prob_positive, though other classes"):
        calibration.calibrate(TWO_IN_THREE.drop(columns="prob_positive"), CLASSES)
    write_run(tmp_path, TWO_IN_THREE.assign(prob_positive=0.5))
    with pytest.raises(UserError, match="predictions' probabilities must not be negative and must"):
        write_metrics(tmp_path)


def test_a_checkpoint_gets_the_temperature_of_all_answers():
    fields = calibration.config_fields(TWO_IN_THREE, CLASSES)
    assert fields == {
        "score_temperature": pytest.approx(T_OF_TWO_IN_THREE, rel=1e-3),
        "unsure_below": 0.5,
    }


def test_a_temperature_at_its_bound_is_reported():
    own = calibration.calibrate(table(*clips_of(*SUBJECTS)), CLASSES)
    assert (own["temperature"], own["at_bound"]) == (0.05, True)
    words = calibration.in_words({"calibration": own, "metrics": {"accuracy": 1.0}})
    assert words[1].startswith("This is the lowest temperature there may be")


def test_metrics_page_and_markdown_have_it(tmp_path):
    write_run(tmp_path, TWO_IN_THREE)
    metrics = publish(tmp_path)
    assert metrics["calibration"] == read_json(tmp_path / "metrics.json")["calibration"]
    assert (tmp_path / "figures" / "reliability.png").is_file()
    page, markdown = (
        (tmp_path / name).read_text(encoding="utf-8") for name in ("report.html", "report.md")
    )
    for text in (page, markdown):
        assert "How sure it is" in text
        assert "the expected calibration error is 0.000 with a temperature, 0.133 without" in text
        assert "100.0% of the answers remain, 66.7% of them right" in text
    assert "figures/reliability.png" in markdown


def test_a_run_scored_by_an_older_version_is_reported_and_compared_as_before(tmp_path):
    old, new = (write_run(tmp_path / name, TWO_IN_THREE) for name in ("old", "new"))
    for run in (old, new):
        write_metrics(run)
    metrics = read_json(old / "metrics.json")
    del metrics["calibration"]
    write_json(old / "metrics.json", metrics)
    assert "How sure it is" not in write_report(old).read_text(encoding="utf-8")
    assert not (old / "figures" / "reliability.png").exists()
    assert compare_runs(old, new)["pooled"]["difference"]["uf1"] == 0
    with pytest.raises(UserError, match=r"says nothing of calibration: .*make_report\.py"):
        draw_figure("reliability", [old], LIGHT, lambda run: None)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_a_bar_is_as_high_as_answers_are_right_and_says_how_many_there_are(theme):
    own = calibration.calibrate(TWO_IN_THREE, CLASSES)
    raw, softened = reliability_figure(own, theme).axes
    (bar,) = raw.patches
    assert (bar.get_x(), bar.get_width()) == pytest.approx((11 / 15, 1 / 15))  # (0.733, 0.8]
    assert bar.get_height() == pytest.approx(2 / 3)
    assert [text.get_text() for text in raw.texts] == ["18"]
    assert list(raw.lines[1].get_ydata()) == pytest.approx([0.8, 0.8])  # what it claimed
    assert raw.get_title(loc="left") == "as trained: ECE 0.133"
    assert sum(int(text.get_text()) for text in softened.texts) == 18
    assert list(softened.lines[-1].get_xdata()) == [0.5, 0.5]
