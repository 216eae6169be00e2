"""Reading pairs that somebody made: ids stay text, words find their class, slips are named."""

import pytest

from hcp_mer.data.pairs import label_pairs, load_pairs
from hcp_mer.data.tasks import task
from hcp_mer.errors import UserError
from tests.foreign_pairs import write_foreign_pairs, write_metadata


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "mine"


def small(folder, **options):
    return write_foreign_pairs(folder, subjects=("006", "7"), clips_per_class=1, **options)


def test_ids_stay_text_and_the_dataset_is_named_after_the_folder(folder):
    small(folder)
    pairs = load_pairs(folder)
    assert len(pairs) == 6
    assert set(pairs.column("subject")) == {"006", "7"}
    assert pairs.column("clip_id")[0] == "000n"
    assert set(pairs.column("dataset")) == {"mine"}
    assert pairs.image(0, "flow").shape == (64, 64, 3)


def test_the_train_split_of_an_imagefolder_is_found(folder):
    small(folder / "train")
    pairs = load_pairs(folder)
    assert (len(pairs), set(pairs.column("dataset"))) == (6, {"mine"})


def test_classes_of_the_task_are_taken_as_they_are(folder):
    small(folder, emotion_of=str.upper)
    labelled = label_pairs(load_pairs(folder), task(3))
    assert labelled.labels == [0, 1, 2, 0, 1, 2]
    assert labelled.dropped == {}


def test_words_of_a_corpus_go_through_its_scheme(folder):
    words = {"negative": "repression", "positive": "happiness", "surprise": "surprise"}
    rows = small(folder, emotion_of=words.get, extra_columns={"dataset": "casme2"})
    rows[0]["emotion"] = "Others"
    write_metadata(folder, rows)
    labelled = label_pairs(load_pairs(folder), task(3))
    assert labelled.rows == [1, 2, 3, 4, 5]
    assert labelled.labels == [1, 2, 0, 1, 2]
    assert labelled.dropped == {"others": 1}


def test_a_scheme_can_be_named(folder):
    words = {"negative": "contempt", "positive": "happiness", "surprise": "surprise"}
    small(folder, emotion_of=words.get)
    pairs = load_pairs(folder)
    with pytest.raises(
        UserError, match=r"no label scheme is named 'mine'.*at 006/000n.*--scheme cas"
    ):
        label_pairs(pairs, task(3))
    assert label_pairs(pairs, task(3), "samm").labels == [0, 1, 2, 0, 1, 2]
    with pytest.raises(UserError, match="unknown emotion 'contempt' in label scheme 'casme2'"):
        label_pairs(pairs, task(3), "casme2")


@pytest.mark.parametrize(
    ("number", "scheme", "said"),
    [(3, "megc2091", "unknown label scheme 'megc2091'"), (7, "casme2", "has no 7-class task")],
)
def test_a_wrong_scheme_is_not_taken_for_a_wrong_word(folder, number, scheme, said):
    small(folder)
    with pytest.raises(UserError, match=said) as error:
        label_pairs(load_pairs(folder), task(number), scheme)
    assert "It stands at" not in str(error.value)


def test_a_class_without_clips_is_named(folder):
    rows = small(folder)
    write_metadata(folder, [row for row in rows if row["emotion"] != "surprise"])
    with pytest.raises(UserError, match="no clip of class surprise"):
        label_pairs(load_pairs(folder), task(3))


def drop_column(rows):
    return [{k: v for k, v in row.items() if k != "subject"} for row in rows]


def repeat_row(rows):
    return [*rows, rows[0]]


def empty_subject(rows):
    return [{**rows[0], "subject": " "}, *rows[1:]]


def missing_file(rows):
    return [{**rows[0], "flow_file_name": "gone.png"}, *rows[1:]]


def outside(rows):
    return [{**rows[0], "flow_file_name": "../../secret.png"}, *rows[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_column, "lacks the column subject"),
        (repeat_row, "clip mine/006/000n stands 2 times"),
        (empty_subject, "empty subject"),
        (missing_file, r"names gone\.png, but there is no such file"),
        (outside, r"names \.\./\.\./secret\.png, which lies outside"),
    ],
)
def test_broken_metadata_is_one_line(folder, change, message):
    write_metadata(folder, change(small(folder)))
    with pytest.raises(UserError, match=message) as error:
        load_pairs(folder)
    assert "\n" not in str(error.value)


def test_an_image_that_cannot_be_read_names_its_clip(folder):
    rows = small(folder)
    path = folder / rows[2]["flow_file_name"]
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UserError, match="flow image of 006/000s"):
        load_pairs(folder).image(2, "flow")


def test_nothing_usable_is_said(tmp_path):
    for nowhere in (tmp_path / "nowhere", "nowhere", "./a/b", "a/b/c"):
        with pytest.raises(UserError, match="no such folder"):
            load_pairs(nowhere)
    with pytest.raises(UserError, match=r"neither pairs\.json .* nor metadata\.csv"):
        load_pairs(tmp_path)
    with pytest.raises(UserError, match=r"neither a folder here .* nor a dataset"):
        load_pairs("nobody/nothing")


def test_fingerprint_changes_with_ids_words_and_pixels(folder):
    rows = small(folder)
    first = load_pairs(folder).fingerprint()
    assert load_pairs(folder).fingerprint() == first
    write_metadata(folder, [{**rows[0], "emotion": "positive"}, *rows[1:]])
    second = load_pairs(folder).fingerprint()
    write_metadata(folder, rows)
    path, other = (folder / rows[i]["flow_file_name"] for i in (0, 1))
    path.write_bytes(other.read_bytes())
    assert len({first, second, load_pairs(folder).fingerprint()}) == 3


def test_each_word_that_is_a_class_is_taken_as_it_is_whatever_the_scheme(folder):
    rows = small(folder)
    rows[0]["emotion"] = "others"
    write_metadata(folder, rows)
    labelled = label_pairs(load_pairs(folder), task(3), "casme2")
    assert labelled.labels == [1, 2, 0, 1, 2]
    assert labelled.dropped == {"others": 1}


def test_ids_that_became_numbers_are_refused(monkeypatch, tmp_path):
    import datasets

    columns = {"emotion": ["surprise"], "subject": [6], "dataset": ["x"], "clip_id": ["1"]}
    table = datasets.Dataset.from_dict({**columns, "magnified": [None], "flow": [None]})
    monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: table)
    monkeypatch.setattr("hcp_mer.data.pairs._snapshot", lambda *repository: tmp_path)
    with pytest.raises(UserError, match=r"subject in some/pairs@\S+ must be text, got 6"):
        load_pairs("some/pairs")
