"""Pairs and corpora: what cannot be trained on is wrong, what differs from the paper is told."""

import shutil
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hcp_mer.data.records import CorpusReading, Problem
from hcp_mer.data.tasks import task
from hcp_mer.doctor import corpora, zero_shot
from hcp_mer.doctor.corpora import PreparedPairs, check_corpus, compare_counts
from hcp_mer.doctor.findings import ok, run_check
from hcp_mer.doctor.published import PAPER_COUNTS
from tests.foreign_pairs import write_foreign_pairs, write_metadata


@pytest.fixture
def prepared(demo_recipe):
    """prepared(folder, *overrides, **options) → pairs of somebody, and their metadata's rows."""

    def prepare(folder, *overrides, **options):
        rows = write_foreign_pairs(folder, clips_per_class=2, size=32, **options)
        return PreparedPairs(folder, demo_recipe(*overrides)), rows

    return prepare


def test_good_pairs_are_fine(prepared, backbone_of, tmp_path):
    pairs, _ = prepared(tmp_path / "mine")
    assert pairs.check_readable() == ok("30 clips of 5 subjects of mine")
    assert pairs.check_classes() == ok("3-class: 10 negative, 10 positive, 10 surprise")
    assert pairs.check_flow().state == "ok"
    assert pairs.known_corpora() == []
    verdict = zero_shot.check_pairs(backbone_of(), pairs.pairs, pairs.labelled)
    assert verdict.state == "ok"
    assert "chance" in verdict.found


def test_an_image_that_cannot_be_read_is_named(prepared, tmp_path):
    pairs, rows = prepared(tmp_path / "mine")
    (tmp_path / "mine" / rows[3]["magnified_file_name"]).write_bytes(b"no image")
    finding = run_check("pairs", pairs.check_readable)
    assert finding.state == "wrong"
    assert f"{rows[3]['subject']}/{rows[3]['clip_id']}" in finding.found


def test_one_subject_is_too_few(prepared, tmp_path):
    assert prepared(tmp_path / "mine", subjects=("1",))[0].check_readable().state == "wrong"


def test_a_class_that_one_subject_alone_shows_is_worth_a_look(prepared, tmp_path):
    pairs, rows = prepared(tmp_path / "mine")
    kept = [row for row in rows if row["emotion"] != "surprise" or row["subject"] == "006"]
    write_metadata(tmp_path / "mine", kept)
    verdict = pairs.check_classes()
    assert verdict.state == "look"
    assert "only one subject shows surprise" in verdict.found


def test_words_that_no_scheme_knows_are_wrong(prepared, tmp_path):
    pairs, _ = prepared(tmp_path / "mine", "scheme=casme2", emotion_of=lambda label: "glee")
    finding = run_check("classes", pairs.check_classes)
    assert finding.state == "wrong"
    assert "'glee'" in finding.found


@pytest.mark.parametrize(("num_flat", "state"), [(1, "look"), (10, "wrong")])
def test_flat_flow_images_are_counted(prepared, tmp_path, num_flat, state):
    pairs, rows = prepared(tmp_path / "mine")
    for row in rows[:num_flat]:
        Image.new("RGB", (32, 32), (128, 128, 0)).save(tmp_path / "mine" / row["flow_file_name"])
    verdict = pairs.check_flow()
    assert verdict.state == state
    assert f"{num_flat} of 30 flow images are flat" in verdict.found


def test_the_same_flow_for_every_clip_is_wrong(prepared, tmp_path):
    pairs, rows = prepared(tmp_path / "mine")
    for row in rows[1:]:
        shutil.copy(
            tmp_path / "mine" / rows[0]["flow_file_name"], tmp_path / "mine" / row["flow_file_name"]
        )
    assert pairs.check_flow().state == "wrong"


def test_chance_is_what_shuffled_labels_score():
    labels = np.repeat([0, 1, 2], 40)
    score, chance, high = zero_shot.uf1_and_chance(labels, labels, 3)
    assert score == 1
    assert chance == pytest.approx(1 / 3, abs=0.02)
    assert chance < high < 0.5
    score, _, high = zero_shot.uf1_and_chance(labels, np.tile([0, 1, 2], 40), 3)
    assert score < high


def test_expected_counts_add_up_as_the_papers_tables_do():
    totals = {key: sum(counts.values()) for key, counts in PAPER_COUNTS.items()}
    assert totals == {
        **{("smic", "3-class"): 164, ("casme2", "3-class"): 147, ("samm", "3-class"): 133},
        **{("casme3", "3-class"): 701, ("casme3", "4-class"): 862, ("casme3", "7-class"): 862},
    }


@pytest.mark.parametrize(
    ("negative", "state", "words"),
    [
        (90, "ok", "as in the paper"),
        (88, "look", "MEGC2019"),
        (89, "wrong", "negative 90 expected, 89 found"),
    ],
)
def test_counts_are_held_against_table_4(negative, state, words):
    counts = Counter(negative=negative, positive=32, surprise=25)
    verdict = compare_counts(counts, "casme2", task(3))
    assert verdict.state == state
    assert words in verdict.found


def test_counts_that_the_paper_does_not_give_are_only_told():
    assert compare_counts(Counter(negative=9), "casme2", task(4)).state == "look"


def test_pairs_of_a_corpus_are_held_against_its_table(prepared, tmp_path):
    pairs, _ = prepared(tmp_path / "mine", extra_columns={"dataset": "smic"})
    assert pairs.known_corpora() == ["smic"]
    assert "negative 70 expected, 10 found" in pairs.check_counts("smic").found


WORDS = {"disgust": 63, "repression": 27, "happiness": 32, "surprise": 25, "others": 99}


@pytest.mark.parametrize(
    ("words", "problems", "state"),
    [
        (WORDS, 0, "ok"),
        ({**WORDS, "disgust": 62}, 0, "wrong"),
        ({**WORDS, "glee": 1}, 0, "wrong"),
        (WORDS, 3, "look"),
    ],
)
def test_a_corpus_on_disk_is_counted(monkeypatch, words, problems, state):
    records = [SimpleNamespace(emotion=word) for word, n in words.items() for _ in range(n)]
    missing = Problem("CASME2-coding.xlsx", 7, "sub01/EP01", "no frames")
    reading = CorpusReading(tuple(records), (missing,) * problems)
    monkeypatch.setitem(corpora.READERS, "casme2", lambda folder: reading)
    verdict = check_corpus("casme2", "anywhere", task(3))
    assert verdict.state == state
    assert ("row 7: no frames" in verdict.found) == bool(problems)
