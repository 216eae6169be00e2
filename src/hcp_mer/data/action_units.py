"""FACS action units: the many ways in which corpora write them (their names are in model/)."""

from __future__ import annotations

import re
import unicodedata

from hcp_mer.errors import UserError
from hcp_mer.model.action_units_hcp_mer import ACTION_UNIT_NAMES

_SEPARATOR = re.compile(r"[+,;&/、\s]+|or|and|或|和", re.IGNORECASE)
_NOTHING = ("", "?", "-", "nan")
# A unit as coders write it: AU? side? number intensity? doubt?, e.g. "AU4", "R14A", "T23", "12?".
_UNIT = re.compile(r"(?:AU)?(?P<side>[LRTB]?)(?P<number>\d{1,2})[A-E]?\??", re.IGNORECASE)


def parse_action_units(cell: object) -> tuple[str, ...]:
    """The action units in an annotation cell, in the order written, each once.

    Sides are kept (L left, R right, T top, B bottom); intensity letters and question marks are
    not. `or` joins alternatives of the coder: all of them are returned. Characters may be
    full-width, as Chinese keyboards type them.

    Args:
        cell: a spreadsheet's cell: 12, 12.0, "4+L12", "R14A or 12", "?", "" or None.
    Returns:
        for example ("4", "L12"); empty where the cell is empty, "/", "-" or "?".
    Raises:
        UserError: something that is no unit, or a number that FACS does not have.
    """
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    text = "" if cell is None or cell != cell else str(cell).strip()
    units = []
    for token in _SEPARATOR.split(unicodedata.normalize("NFKC", text)):
        if token.lower() in _NOTHING:
            continue
        match = _UNIT.fullmatch(token)
        if match is None:
            raise UserError(
                f"cannot read {token!r} in the action units {text!r}. "
                "Write numbers joined by +, with L, R, T or B in front for a side: 4+L12."
            )
        number = action_unit_number(match["number"])
        units.append(f"{match['side'].upper()}{number}")
    return tuple(dict.fromkeys(units))


def action_unit_number(unit: str | int) -> int:
    """The FACS number of a unit with or without a side: "L12" → 12.

    Raises:
        UserError: the text is no unit, or FACS has no such number.
    """
    match = _UNIT.fullmatch(str(unit).strip())
    number = int(match["number"]) if match else None
    if number not in ACTION_UNIT_NAMES:
        raise UserError(
            f"unknown action unit {unit!r}. FACS numbers are those of ACTION_UNIT_NAMES, "
            "1–66 with gaps; correct the annotation."
        )
    return number
