"""Which action units go with which class: counted by hand, in whatever way they are written."""

import pytest
from datasets import Dataset

from hcp_mer.data.cross_mapping import annotated_units, cross_mapping, frequent_sets
from hcp_mer.data.pairs import Pairs, load_pairs
from hcp_mer.errors import UserError
from tests.foreign_pairs import write_foreign_pairs, write_metadata

CLASSES = ("anger", "disgust", "surprise")
CLIPS = [
    (["4"], "anger"),
    (["4"], "disgust"),
    (["7", "4"], "anger"),
    (["L4", "7"], "anger"),
    (["L12", "R12"], "disgust"),
    ([], "surprise"),
]


@pytest.fixture
def mapping():
    return cross_mapping(*map(list, zip(*CLIPS)), CLASSES)


def sets_of(*combinations, most=4):
    """The frequent sets of a single class with these clips."""
    return frequent_sets(cross_mapping(combinations, [0] * len(combinations), ["x"]), "x", most)


def test_units_and_combinations_are_counted_by_class(mapping):
    assert mapping.units == {"anger": {4: 3, 7: 2}, "disgust": {4: 1, 12: 1}, "surprise": {}}
    assert mapping.combinations == {
        "anger": {(4,): 1, (4, 7): 2},
        "disgust": {(4,): 1, (12,): 1},
        "surprise": {},
    }


def test_sides_and_order_make_no_other_combination():
    mapping = cross_mapping([["R7", "4"], ["T4", "B4", "7"], [7, 4]], [0, 0, 0], ["x"])
    assert mapping.combinations == {"x": {(4, 7): 3}}
    assert mapping.units == {"x": {4: 3, 7: 3}}  # a clip with both sides shows a unit once


def test_clips_without_annotation_do_not_count(mapping):
    assert [mapping.num_clips(name) for name in CLASSES] == [3, 2, 0]


def test_labels_may_be_indices(mapping):
    indices = [CLASSES.index(label) for _, label in CLIPS]
    assert cross_mapping([units for units, _ in CLIPS], indices, CLASSES) == mapping


def test_a_number_that_facs_lacks_is_refused_and_so_are_lists_of_two_lengths():
    with pytest.raises(UserError, match="unknown action unit '3'"):
        cross_mapping([["3"]], ["anger"], CLASSES)
    with pytest.raises(ValueError, match="shorter"):
        cross_mapping([["4"], ["7"]], ["anger"], CLASSES)


def test_the_most_frequent_combinations_stand_first():
    clips = [["9"]] * 2 + [["4", "9"]] * 3 + [["10"]] * 5 + [["4"]] * 4 + [["7"]] * 2
    assert sets_of(*clips) == [[10], [4], [4, 9], [7]]
    assert sets_of(*clips, most=2) == [[10], [4]]


def test_a_combination_of_one_clip_counts_only_where_all_are_single():
    assert sets_of(["4"], ["4"], ["7"]) == [[4]]
    assert sets_of(["7"], ["4", "9"], ["5"]) == [[5]]
    assert sets_of() == []


def test_ties_go_to_fewer_units_and_then_to_lower_numbers_in_whatever_order_clips_come():
    clips = [["4", "7"], ["15"], ["6", "12"], ["12"]] * 2
    assert sets_of(*clips) == sets_of(*clips[::-1]) == [[12], [15], [4, 7], [6, 12]]
    assert sets_of(*clips, most=3) == [[12], [15], [4, 7]]


def test_long_combinations_are_left_out_not_cut():
    long = ["1", "2", "4", "5", "26"]
    assert sets_of(long, long, long, ["1", "2", "4", "5"]) == [[1, 2, 4, 5]]
    assert sets_of(long, long) == []


def test_pairs_may_lack_the_column_or_have_it_as_text():
    clips = {"subject": ["1", "2", "3"]}
    without = Pairs("x", Dataset.from_dict(clips))
    assert annotated_units(without, [2, 0]) == [(), ()]
    text = Pairs("x", Dataset.from_dict({**clips, "action_units": ["4+L12", "", None]}))
    assert annotated_units(text, [2, 0, 1]) == [(), ("4", "L12"), ()]
    lists = Pairs("x", Dataset.from_dict({**clips, "action_units": [["4", "R7"], [], ["12"]]}))
    assert annotated_units(lists, [0, 1]) == [("4", "R7"), ()]


def write_units(folder, cells):
    """Foreign pairs of one subject whose first clips have these cells, the others empty ones."""
    rows = write_foreign_pairs(folder, ("006",), clips_per_class=1, size=8)
    padded = [*cells, *[""] * len(rows)]
    write_metadata(folder, [{**row, "action_units": cell} for row, cell in zip(rows, padded)])


def test_an_imagefolder_may_say_its_action_units(tmp_path):
    write_units(tmp_path / "some", ["4+L12", "?"])
    assert load_pairs(tmp_path / "some").column("action_units") == [["4", "L12"], [], []]
    write_units(tmp_path / "none", [])
    assert load_pairs(tmp_path / "none").column("action_units") == [[], [], []]


def test_a_cell_that_cannot_be_read_is_named_by_its_clip(tmp_path):
    write_units(tmp_path / "odd", ["4", "AU4 and smile"])
    with pytest.raises(UserError, match=r"metadata\.csv, clip 006/000p: cannot read 'smile'"):
        load_pairs(tmp_path / "odd")
