"""Action-unit cells as the corpora really write them, and the names of FACS."""

import pytest

from hcp_mer.data.action_units import action_unit_number, parse_action_units
from hcp_mer.errors import UserError
from hcp_mer.model.action_units_hcp_mer import action_unit_name


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (12, ("12",)),
        (12.0, ("12",)),
        ("4+7", ("4", "7")),
        ("4+L12", ("4", "L12")),
        ("l12 + r14", ("L12", "R14")),
        ("R14A", ("R14",)),
        ("T28", ("T28",)),
        ("B25", ("B25",)),
        ("7B or 4", ("7", "4")),
        ("1+2, 5", ("1", "2", "5")),
        ("AU4+AU7", ("4", "7")),
        ("12?", ("12",)),
        ("4 + ?", ("4",)),
        ("4+4", ("4",)),
        ("?", ()),
        ("/", ()),
        ("-", ()),
        ("nan", ()),
        ("1，2", ("1", "2")),
        ("４＋Ｌ１２", ("4", "L12")),
        ("4、7", ("4", "7")),
        ("R14A或12", ("R14", "12")),
        ("？", ()),
        ("", ()),
        ("  ", ()),
        (None, ()),
        (float("nan"), ()),
    ],
)
def test_a_cell_reads_as_its_units(cell, expected):
    assert parse_action_units(cell) == expected


@pytest.mark.parametrize(
    ("cell", "culprit"),
    [
        ("smile", "'smile'"),
        ("4+x", "'x' in the action units '4.x'"),
        ("123", "'123'"),
        (4.7, "'4.7'"),
        (float("inf"), "'inf'"),
        ("4，笑", "'笑' in the action units '4，笑'"),
        ("LL12", "'LL12'"),
        ("12F", "'12F'"),
    ],
)
def test_a_cell_with_something_else_is_refused_with_the_culprit(cell, culprit):
    with pytest.raises(UserError, match=f"cannot read {culprit}"):
        parse_action_units(cell)


@pytest.mark.parametrize("number", [0, 3, 40, 99])
def test_numbers_that_facs_does_not_have_are_refused(number):
    with pytest.raises(UserError, match=f"unknown action unit '{number}'"):
        parse_action_units(str(number))
    with pytest.raises(ValueError, match=f"AU{number} is unknown to FACS"):
        action_unit_name(number)


def test_a_unit_with_a_side_has_the_number_of_the_unit():
    assert action_unit_number("L12") == 12
    assert action_unit_number("R14A") == 14
    assert action_unit_number(4) == 4


@pytest.mark.parametrize(
    ("unit", "name"),  # from the FACS manual
    [
        (1, "inner brow raiser"),
        (4, "brow lowerer"),
        (9, "nose wrinkler"),
        (12, "lip corner puller"),
        (14, "dimpler"),
        (26, "jaw drop"),
        (38, "nostril dilator"),
        (45, "blink"),
    ],
)
def test_names_are_those_of_facs(unit, name):
    assert action_unit_name(unit) == name
