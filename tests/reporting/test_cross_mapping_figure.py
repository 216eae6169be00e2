"""Emotions against action units: what the run counted, drawn and said without a word added."""

import json

import pytest

from hcp_mer.errors import UserError
from hcp_mer.reporting.cross_mapping import in_words, matrix, read_cross_mapping, rows_of_sets
from hcp_mer.reporting.figures import cross_mapping_figure
from hcp_mer.reporting.html import write_report
from hcp_mer.reporting.scores import write_metrics
from tests.reporting.test_report_page import Page, write_run


def row_of(label, units, sets, num_clips, num_combinations, num_folds_counted=0):
    return {
        "label": label,
        "num_folds_counted": num_folds_counted,
        "num_clips": num_clips,
        "num_combinations": num_combinations,
        "action_units": units,
        "sets": [{"action_units": own, "num_folds": folds} for own, folds in sets],
    }


@pytest.fixture
def mapping():
    return {
        "num_folds": 6,
        "classes": [
            row_of("negative", {"4": 3, "14": 1}, [([4], 6), ([4, 7], 5)], 4, 3, 6),
            row_of("positive", {"4": 1, "12": 2}, [([12], 6)], 2, 2, 4),
            row_of("surprise", {}, [([1, 2], 6)], 0, 0),
        ],
    }


def test_each_cell_says_its_clips_and_their_share_of_the_annotated_ones(mapping):
    units, counts = matrix(mapping)
    assert units == [4, 12, 14]
    assert counts == [[3, 0, 1], [1, 2, 0], [0, 0, 0]]
    (axes,) = cross_mapping_figure(counts, [4, 2, 0], ["neg", "pos", "sur"], units).axes
    texts = {text.get_position()[::-1]: text.get_text() for text in axes.texts}
    assert texts == {
        **dict.fromkeys([(r, c) for r in range(3) for c in range(3)], ""),
        (0, 0): "3\n75%",
        (0, 2): "1\n25%",
        (1, 0): "1\n50%",
        (1, 1): "2\n100%",
    }
    assert [label.get_text() for label in axes.get_xticklabels()] == ["4", "12", "14"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "neg (4)",
        "pos (2)",
        "sur (0)",
    ]


def test_both_directions_are_told_by_their_strongest_example(mapping):
    assert in_words(mapping) == [
        "Many to one: AU4 was annotated in negative and positive.",
        "One to many: negative was annotated in 3 combinations of units.",
    ]
    mapping["classes"][1]["action_units"] = {"12": 2}
    assert in_words(mapping)[0] == "No action unit was annotated in two classes."


def test_the_table_says_which_sets_a_class_has_in_how_many_folds_and_from_where(mapping):
    rows = rows_of_sets(mapping)
    assert [row["sets"] for row in rows] == ["AU4, AU4+AU7 (5 of 6 folds)", "AU12", "AU1+AU2"]
    sources = ["counted", "counted in 4 of 6 folds, else recipe", "recipe"]
    assert [row["source"] for row in rows] == sources


@pytest.mark.slow
def test_the_report_shows_it_where_the_run_counted_and_nothing_where_not(tmp_path, mapping):
    write_metrics(write_run(tmp_path))
    plain = Page(write_report(tmp_path))
    assert read_cross_mapping(tmp_path) is None
    assert "Emotions and action units" not in plain.text
    (tmp_path / "cross_mapping.json").write_text(json.dumps(mapping))
    page = Page(write_report(tmp_path))
    assert "AU4, AU4+AU7 (5 of 6 folds)" in page.text
    assert "Many to one: AU4" in page.text
    assert len(page.targets) == len(plain.targets) + 4  # two figures in two themes
    assert (tmp_path / "figures" / "cross_mapping.png").is_file()


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "cross_mapping.json").write_text('{"classes": []}')
    with pytest.raises(UserError, match=r"cross_mapping\.json is damaged"):
        read_cross_mapping(tmp_path)
