"""Label schemes against the counts that the corpora and the paper publish."""

import pytest

from hcp_mer.data.tasks import (
    PROTOCOLS,
    SCHEMES,
    TASKS,
    label_of,
    label_of_clip,
    label_scheme,
    task,
)
from hcp_mer.errors import UserError

# Published emotion counts, and the class counts they must give.
CASME3 = {
    "disgust": 250,
    "fear": 86,
    "anger": 64,
    "sad": 57,
    "happy": 57,
    "surprise": 187,
    "others": 158,
    "Others": 3,
}


def class_counts(emotion_counts, task_name, scheme):
    counts = {}
    for emotion, count in emotion_counts.items():
        label = label_of(emotion, task_name, scheme)
        counts[label] = counts.get(label, 0) + count
    return counts


def test_casme3_gives_table_5():
    assert class_counts(CASME3, "3-class", "casme3") == {
        "negative": 457,
        "positive": 57,
        "surprise": 187,
        None: 161,
    }
    assert class_counts(CASME3, "4-class", "casme3") == {
        "negative": 457,
        "positive": 57,
        "surprise": 187,
        "others": 161,
    }
    assert class_counts(CASME3, "7-class", "casme3") == {
        "disgust": 250,
        "fear": 86,
        "anger": 64,
        "sadness": 57,
        "happiness": 57,
        "surprise": 187,
        "others": 161,
    }


def test_casme2_gives_table_4():
    # disgust 63 + repression 27 = the paper's 90 negative clips
    published = {"disgust": 63, "repression": 27, "happiness": 32, "surprise": 25}
    dropped = {"others": 99, "sadness": 7, "fear": 2}
    assert class_counts(published | dropped, 3, "casme2") == {
        "negative": 90,
        "positive": 32,
        "surprise": 25,
        None: 108,
    }
    assert label_of("others", "4-class", "casme2") == "others"
    assert label_of("sadness", "4-class", "casme2") is None


def test_samm_gives_table_4():
    published = {
        "Anger": 57,
        "Contempt": 12,
        "Disgust": 9,
        "Fear": 8,
        "Sadness": 6,
        "Happiness": 26,
        "Surprise": 15,
        "Other": 26,
    }
    assert class_counts(published, "3", "samm") == {
        "negative": 92,
        "positive": 26,
        "surprise": 15,
        None: 26,
    }


def test_smic_words_are_classes_already():
    for word in ("negative", "positive", "surprise"):
        assert label_of(word, "3-class", "smic") == word


@pytest.mark.parametrize("emotion", ["anger", "sadness", "happiness", "others"])
def test_the_procedural_corpus_is_labelled_like_casme3(emotion):
    for name in TASKS:
        assert label_of(emotion, name, "procedural") == label_of(emotion, name, "casme3")


def test_every_label_is_a_class_of_its_task():
    for scheme in SCHEMES.values():
        for name in scheme.tasks:
            labels = {label_of(word, name, scheme.name) for word in scheme.coarse}
            assert labels - {None} <= set(task(name).classes)


@pytest.mark.parametrize("name", ["3-class", "3", 3, " 3-Class "])
def test_a_task_goes_by_several_names(name):
    assert task(name).classes == ("negative", "positive", "surprise")


def test_wrong_names_are_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"unknown task 5.*3-class, 4-class, 7-class"):
        task(5)
    with pytest.raises(UserError, match=r"'casme_2'.*Did you mean 'casme2'"):
        label_scheme("casme_2", "casme2")
    with pytest.raises(UserError, match=r"'bored'.*disgust, repression, happiness"):
        label_of("bored", "3-class", "casme2")


@pytest.mark.parametrize(("name", "scheme"), [("7-class", "smic"), ("4-class", "smic")])
def test_a_task_that_a_corpus_cannot_serve_is_refused(name, scheme):
    with pytest.raises(UserError, match=f"'smic' has no {name} task, only 3-class.*casme3"):
        label_of("negative", name, scheme)


def test_casme2_cannot_serve_seven_classes_because_nobody_is_angry_in_it():
    with pytest.raises(UserError, match="no 7-class task"):
        label_of("disgust", "7-class", "casme2")


def test_the_paper_and_megc2019_differ_by_two_clips_of_casme2():
    clips = [("sub04", "EP12_01f"), ("sub05", "EP09_05f"), ("sub05", "EP09_06f")]
    labels = {
        scheme: [label_of_clip("Disgust", TASKS["3-class"], scheme, "casme2", *c) for c in clips]
        for scheme in ("paper", "megc2019", None)
    }
    assert labels["paper"] == labels[None] == ["negative"] * 3
    assert labels["megc2019"] == [None, None, "negative"]


def test_clips_of_those_names_in_another_corpus_stay():
    label = label_of_clip("disgust", TASKS["3-class"], "megc2019", "samm", "sub04", "EP12_01f")
    assert label == "negative"


def test_a_protocol_knows_its_corpora_only():
    with pytest.raises(UserError, match=r"'megc2019' is about smic, casme2, samm.*'casme3'"):
        label_of_clip("sad", TASKS["3-class"], "megc2019", "casme3", "spNO.1", "a_1")
    with pytest.raises(UserError, match="no 7-class task"):
        label_of_clip("anger", TASKS["7-class"], "megc2019", "samm", "006", "1")
    assert label_of_clip("Sad", TASKS["7-class"], "paper", "casme3", "1", "a") == "sadness"


def test_no_protocol_is_named_like_a_scheme():
    assert not PROTOCOLS.keys() & SCHEMES.keys()
