"""Counts beside the published tables: equal, explained, or different by which clips."""

from collections import Counter

import pytest

from hcp_mer.data.published_counts import (
    MEGC2019_COUNTS,
    PAPER_COUNTS,
    check_counts,
    count_clips,
)
from hcp_mer.data.tasks import label_scheme, task


def check(counts, corpus="casme2", number=3, name=None, lost=None, present=()):
    scheme = label_scheme(name, corpus)
    return check_counts(Counter(counts), corpus, task(number), scheme, present, name, lost)


def test_expected_counts_add_up_as_the_tables_do():
    totals = {key: sum(counts.values()) for key, counts in PAPER_COUNTS.items()}
    assert totals == {
        **{("smic", "3-class"): 164, ("casme2", "3-class"): 147, ("samm", "3-class"): 133},
        **{("casme3", "3-class"): 701, ("casme3", "4-class"): 862, ("casme3", "7-class"): 862},
    }
    classes = [Counter(counts) for counts in MEGC2019_COUNTS.values()]
    assert sum(classes, Counter()) == {"negative": 250, "positive": 109, "surprise": 83}


@pytest.mark.parametrize(
    ("negative", "name", "state", "words"),
    [
        (90, None, "equal", "casme2, 3-class (scheme casme2 1.0): 90 negative, 32 positive"),
        (90, "paper", "equal", "147 in all; as in the paper's table"),
        (88, "paper", "known", "without sub04/EP12_01f and sub05/EP09_05f"),
        (88, "megc2019", "equal", "as in MEGC2019's list"),
        (90, "megc2019", "differs", "negative 88 expected, 90 found"),
        (89, None, "differs", "negative 90 expected, 89 found"),
    ],
)
def test_counts_are_held_against_the_table_of_their_scheme(negative, name, state, words):
    found = check({"negative": negative, "positive": 32, "surprise": 25}, name=name)
    assert found.state == state
    assert words in str(found)


def test_clips_that_were_lost_are_named_where_their_class_differs():
    lost = {"sub07/EP01": "negative", "sub09/EP02": "surprise"}
    found = check({"negative": 89, "positive": 32, "surprise": 25}, lost=lost)
    assert "annotated but not usable: sub07/EP01" in found.comparison
    assert "sub09/EP02" not in found.comparison


@pytest.mark.parametrize(
    "other",
    [{"lost": {"sub17/EP01_01f": "negative"}}, {"present": {("sub05", "EP09_05f")}}],
)
def test_a_count_that_agrees_by_chance_is_not_explained(other):
    counts = {"negative": 88, "positive": 32, "surprise": 25}
    assert check(counts).state == "known"
    assert check(counts, **other).state == "differs"


def test_counts_that_nobody_published_are_only_told():
    assert check({"negative": 9}, number=4).state == "unpublished"


def test_the_official_casme3_annotation_differs_by_two_happy_clips():
    official = {"disgust": 250, "fear": 86, "anger": 64, "sadness": 57, "happiness": 55}
    found = check({**official, "surprise": 187, "others": 161}, "casme3", 7, "paper")
    assert found.state == "known"
    assert "55 happy clips" in found.comparison


def test_counting_leaves_out_what_the_protocol_leaves_out():
    clips = [
        ("Disgust", "casme2", "sub04", "EP12_01f"),
        ("Disgust", "casme2", "sub04", "EP12_02f"),
        ("Others", "casme2", "sub04", "EP13_01"),
        ("Negative", "smic", "s01", "s01_ne_01"),
    ]
    assert count_clips(clips, task(3), "megc2019") == {"negative": 2}
    assert count_clips(clips, task(3), "paper") == {"negative": 3}
