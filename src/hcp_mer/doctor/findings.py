"""What a check says, and how it is run so that no failure keeps the next one from running."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

OK, LOOK, WRONG = "ok", "look", "wrong"


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        name: of the check.
        state: "ok"; "look", which may be meant so; "wrong", to be mended before training.
        found: what was found, one sentence.
        advice: what to do; lines are kept apart, so that commands can be copied. "" if nothing.
    """

    name: str
    state: str
    found: str
    advice: str = ""


class Verdict(NamedTuple):
    """A finding that does not know yet under which name it was asked for."""

    state: str
    found: str
    advice: str = ""


def ok(found: str) -> Verdict:
    return Verdict(OK, found)


def look(found: str, advice: str) -> Verdict:
    return Verdict(LOOK, found, advice)


def wrong(found: str, advice: str) -> Verdict:
    return Verdict(WRONG, found, advice)


def run_check(name: str, check: Callable[[], Verdict]) -> Finding:
    """The check's finding; a check that breaks finds something wrong, whatever it broke on."""
    try:
        return Finding(name, *check())
    except Exception as error:
        text = " ".join(str(error).split())
        if isinstance(error, (ValueError, OSError)) and text:  # ours: they say what to do
            return Finding(name, WRONG, text)
        return Finding(
            name,
            WRONG,
            f"the check itself broke: {type(error).__name__}: {text}",
            "mend the lines above first; if they are fine, report this one and `packages`",
        )
