"""Pairs and corpora: what cannot be trained on is wrong, what differs from the paper is told."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from hcp_mer.data.records import CorpusReading, Problem
from hcp_mer.doctor import corpora, zero_shot
from hcp_mer.doctor.corpora import PreparedPairs, check_on_disk
from hcp_mer.doctor.findings import ok, run_check
from tests.foreign_pairs import write_foreign_pairs, write_metadata


@pytest.fixture
def prepared(demo_recipe):
    """prepared(folder, *overrides, **options) → pairs of somebody, and their metadata's rows."""

    def prepare(folder, *overrides, **options):
        rows = write_foreign_pairs(folder, clips_per_class=2, size=32, **options)
        return PreparedPairs([folder], demo_recipe(*overrides)), rows

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


def test_pairs_of_a_corpus_are_held_against_its_table(prepared, tmp_path):
    pairs, _ = prepared(tmp_path / "mine", extra_columns={"dataset": "smic"})
    assert pairs.known_corpora() == ["smic"]
    assert "negative 70 expected, 10 found" in pairs.check_counts("smic").found


WORDS = {"disgust": 63, "repression": 27, "happiness": 32, "surprise": 25, "others": 99}


@pytest.mark.parametrize(
    ("words", "problems", "state", "found"),
    [
        (WORDS, 0, "ok", "as in the paper's table"),
        ({**WORDS, "disgust": 61}, 0, "look", "MEGC2019's list"),
        ({**WORDS, "disgust": 62}, 0, "wrong", "negative 90 expected, 89 found"),
        ({**WORDS, "glee": 1}, 0, "wrong", "1 glee"),
        (WORDS, 3, "look", "row 7: no frames"),
    ],
)
def test_a_corpus_on_disk_is_counted(monkeypatch, demo_recipe, words, problems, state, found):
    records = [
        SimpleNamespace(emotion=word, dataset="casme2", subject="sub01", clip_id=f"{word}{index}")
        for word, n in words.items()
        for index in range(n)
    ]
    missing = Problem("CASME2-coding.xlsx", 7, "sub01/EP01", "no frames")
    reading = CorpusReading(tuple(records), (missing,) * problems)
    monkeypatch.setattr(corpora, "read_corpus", lambda corpus, folder: reading)
    verdict = check_on_disk("casme2", "anywhere", demo_recipe())
    assert verdict.state == state
    assert found in verdict.found


@pytest.mark.parametrize(
    ("corpus", "dataset", "word", "state", "found"),
    [
        ("smic-hs-e", "smic", "negative", "wrong", "smic, 3-class (scheme smic 1.0): 2 negative"),
        ("folder", "mine", "negative", "ok", "mine, 3-class (its own classes): 2 negative"),
        ("folder", "mine", "glee", "wrong", "emotions that mine does not know: 2 glee"),
        ("folder", "samm", "contempt", "wrong", "samm, 3-class (scheme samm 1.0): 2 negative"),
    ],
)
def test_a_reader_is_not_taken_for_its_dataset(
    monkeypatch, demo_recipe, corpus, dataset, word, state, found
):
    ids = {"emotion": word, "dataset": dataset, "subject": "1"}
    reading = CorpusReading(tuple(SimpleNamespace(**ids, clip_id=c) for c in "ab"), ())
    monkeypatch.setattr(corpora, "read_corpus", lambda corpus, folder: reading)
    verdict = check_on_disk(corpus, "anywhere", demo_recipe())
    assert (verdict.state, found in verdict.found) == (state, True), verdict


def test_several_sources_are_looked_at_as_one(demo_recipe, tmp_path):
    for seed, name in enumerate("ab"):
        write_foreign_pairs(tmp_path / name, ("1",), clips_per_class=1, size=32, seed=seed)
    pairs = PreparedPairs([tmp_path / "a", tmp_path / "b"], demo_recipe())
    assert pairs.check_readable() == ok("6 clips of 2 subjects of a, b")
