"""Several corpora and cross-corpus tests: said the same in table, report and cards."""

from __future__ import annotations

import io
import json

import pandas as pd
import pytest
from huggingface_hub import ModelCard

from hcp_mer.reporting.card import render_fold_card, render_model_card
from hcp_mer.reporting.content import how_to_reproduce
from hcp_mer.reporting.figures import subjects_figure
from hcp_mer.reporting.html import write_report
from hcp_mer.reporting.scores import read_metrics, write_metrics
from hcp_mer.reporting.table import listed, print_scores
from tests.reporting.test_model_card import COMMIT, CONFIG, PROCESSOR
from tests.reporting.test_report_page import Page

CLASSES = ["negative", "positive", "surprise"]
NOT_THE_MEAN = "they are not the mean over the corpora"


def write_run(folder, protocol=None, corpora=("samm", "smic")):
    """samm: 4 clips of 2 people, all right. smic: 3 clips of 1, one wrong. Chance: negative."""
    clips = {
        "samm": ["s1 a negative", "s1 b positive", "s2 c surprise", "s2 d negative"],
        "smic": ["s1 a negative", "s1 b positive", "s1 c surprise"],
    }
    rows = [
        dict(zip(("dataset", "subject", "clip_id", "label"), (corpus, *clip.split())), seed=0)
        for corpus in corpora
        for clip in clips[corpus]
    ]
    right = pd.DataFrame(rows)
    ours = right.assign(prediction=right["label"])
    ours.loc[(ours["dataset"] == "smic") & (ours["clip_id"] == "c"), "prediction"] = "positive"
    (folder / "baselines").mkdir(parents=True)
    ours.to_parquet(folder / "predictions.parquet")
    right.assign(prediction="negative").to_parquet(folder / "baselines" / "chance.parquet")
    task = {"task": "3-class", "classes": CLASSES, **(protocol or {})}
    (folder / "task.json").write_text(json.dumps(task))
    write_metrics(folder)
    return folder


CROSS = {
    "protocol": "cross_corpus",
    "training_data": {
        "casme2": {"num_clips": 145, "num_subjects": 24},
        "casme3": {"num_clips": 862, "num_subjects": 100},
    },
}


def printed(folder):
    stream = io.StringIO()
    print_scores(read_metrics(folder), stream)
    return stream.getvalue()


def card(folder, **options):
    return render_model_card(read_metrics(folder), CONFIG, PROCESSOR, **options)


@pytest.fixture
def composite(tmp_path):
    return write_run(tmp_path / "composite")


@pytest.fixture
def cross(tmp_path):
    return write_run(tmp_path / "cross", CROSS)


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)


def test_a_run_that_does_not_say_left_subjects_out_and_trained_on_all_corpora(composite):
    metrics = read_metrics(composite)
    assert metrics["protocol"] == "leave_one_subject_out"
    assert metrics["training_data"] == {
        "samm": {"num_clips": 4, "num_subjects": 2},
        "smic": {"num_clips": 3, "num_subjects": 1},
    }


def test_the_headline_is_pooled_and_each_corpus_stands_beside_it(composite):
    metrics = read_metrics(composite)
    assert metrics["metrics"]["accuracy"] == pytest.approx(6 / 7)  # the mean would be 5/6
    assert {name: s["accuracy"] for name, s in metrics["per_dataset"].items()} == pytest.approx(
        {"samm": 1, "smic": 2 / 3}
    )
    assert metrics["per_dataset_interval_95"]["samm"]["uf1"] == [1, 1]
    assert metrics["per_dataset_interval_95"]["smic"]["uf1"] is None  # one subject
    # always negative: 2 of 4, 1 of 3
    of_chance = {n: b["chance"]["accuracy"] for n, b in metrics["per_dataset_baselines"].items()}
    assert of_chance == pytest.approx({"samm": 1 / 2, "smic": 1 / 3})


def test_the_printed_table_has_a_row_for_each_corpus_in_80_columns(composite):
    text = printed(composite)
    assert max(map(len, text.splitlines())) <= 80
    assert "LOSO" in text
    assert " ".join(text.split()).count(NOT_THE_MEAN) == 1
    lines = [line.split() for line in text.splitlines()]
    assert ["samm", *(["1.000", "[1.00,", "1.00]"] * 3)] in lines
    # UF1: negative 1, positive 2/3, surprise 0
    assert ["smic", "0.667", "0.556", "0.667"] in lines
    assert ["4/2"] in lines
    assert ["3/1"] in lines


def test_one_corpus_has_no_second_table(tmp_path):
    text = printed(write_run(tmp_path, corpora=("samm",)))
    assert "by itself" not in text
    assert NOT_THE_MEAN not in text


def test_the_table_of_a_cross_corpus_test_says_who_trained_and_who_was_tested(cross):
    text = " ".join(printed(cross).split())
    assert "7 clips, 3 subjects, trained on casme2 and casme3, tested on samm and smic," in text
    assert "LOSO" not in text


def test_the_report_shows_each_corpus_with_its_size_and_its_baselines(composite):
    text = " ".join(Page(write_report(composite)).text.split())
    assert "On 7 clips of 3 subjects (samm and smic pooled), each subject held out in turn" in text
    assert NOT_THE_MEAN in text
    assert "samm4 clips, 2 subjects 1.0001.000 to 1.000" in text
    assert "smic3 clips, 1 subject 0.667 0.556 0.667" in text
    assert "chance0.2220.167" in text  # UF1: (2/3) / 3 and (1/2) / 3
    assert "different people, also where they have one name" in text


def test_the_report_of_a_cross_corpus_test_says_so(cross):
    text = " ".join(Page(write_report(cross)).text.split())
    assert "Trained on casme2 and casme3 and tested on 7 clips of 3 subjects" in text
    assert "Nothing of the corpora above was used" in text
    assert "cross-corpus" in text
    assert "leave one subject out" not in text.lower()
    assert "held out in turn" not in text


def test_the_report_of_one_corpus_is_as_it_was(tmp_path):
    text = " ".join(Page(write_report(write_run(tmp_path, corpora=("samm",)))).text.split())
    assert "On 4 clips of 2 subjects (samm), each subject held out in turn" in text
    assert "Corpus by corpus" not in text
    assert "different people" not in text


def test_the_command_names_every_source():
    recipe = "dataset: [a, 'b c']\ntest_dataset: d\n"
    assert "--dataset a 'b c' --test_dataset d --output_dir" in how_to_reproduce(recipe)[1]
    assert (
        "--dataset a --test_dataset d e " in how_to_reproduce("dataset: a\ntest_dataset: [d, e]")[1]
    )
    for odd in ("dataset: [1]", "dataset: {a: b}"):
        assert "--dataset PAIRS --output_dir" in how_to_reproduce(odd)[1]


def test_the_card_of_a_composite_run_scores_each_corpus(composite):
    text = card(composite, datasets=[f"user/{name}@{COMMIT}" for name in ("samm", "smic")])
    assert "| samm | 4 | 2 | 1.000 [1.000, 1.000] |" in text
    assert "| smic | 3 | 1 | 0.667 | 0.556 | 0.667 |" in text
    assert NOT_THE_MEAN in text
    assert "then trained on all subjects" in text
    data = ModelCard(text).data
    assert data.datasets == ["user/samm", "user/smic"]
    assert [r.dataset_args["protocol"] for r in data.eval_results] == ["leave-one-subject-out"] * 9
    of_samm = [r for r in data.eval_results if r.dataset_type == "samm"]
    assert of_samm[0].metric_args["interval_95"] == [1, 1]


def test_the_card_of_a_cross_corpus_test_is_about_the_model_that_was_tested(cross):
    text = card(cross)
    assert "trained on\ncasme2 and casme3 alone" in text
    assert "then trained on all subjects" not in text
    training = text.split("## Training data")[1].split("##")[0]
    assert "- casme2: 145 clips of 24 subjects" in training
    assert "samm" not in training
    result = ModelCard(text).data.eval_results[0]
    assert result.dataset_args["protocol"] == "cross-corpus"
    assert result.dataset_args["trained_on"] == ["casme2", "casme3"]


def test_weights_trained_on_a_licensed_corpus_are_licensed_whatever_they_were_tested_on(tmp_path):
    folder = write_run(tmp_path, CROSS)
    metrics = read_metrics(folder)
    tested = {"procedural": metrics["per_dataset"]["samm"]}
    rows = [{**row, "dataset": "procedural"} for row in metrics["per_subject"]]
    drawn = {**metrics, "per_dataset": tested, "per_subject": rows}
    text = render_model_card(drawn, CONFIG, PROCESSOR)
    assert ModelCard(text).data.license == "other"
    assert "**Synthetic.** Tested on rendered faces" in text


def test_the_card_of_a_held_out_corpus_says_what_was_trained_on(cross):
    fold = {"dataset": "samm", "subject": "all", "num_clips": 4, "accuracy": 1.0, "seed": 0}
    text = render_fold_card(
        fold, read_metrics(cross), CONFIG, model="user/demo", revision="fold-samm-all"
    )
    assert "# One fold of HCP_MER, 3-class: without samm\n" in text
    assert "Trained on casme2 and casme3 alone, with seed 0." in text
    assert "The 4 clips of `samm`" in text
    assert "On every clip of casme2 and casme3 it has been trained." in text


def test_names_in_a_sentence():
    assert [listed("abc"[:n]) for n in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_bars_of_several_corpora_name_the_corpus(composite):
    axes = subjects_figure(read_metrics(composite)["per_subject"]).axes[0]
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert sorted(names) == ["samm/s1", "samm/s2", "smic/s1"]
