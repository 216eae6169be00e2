"""Annotation in JSON lines (.jsonl), one object per clip, as the same Table that sheets give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hcp_mer.data.spreadsheet import SheetRow, Table, match_headings, unread_headings
from hcp_mer.errors import UserError


def read_json_table(path: Path, headings: Mapping[str, Sequence[str]]) -> Table:
    """One row per line that holds an object; rows are numbered as lines.

    A number is the text that stands there, so that 6.10 keeps its zero; null and NaN are empty.

    Args: headings: field → keys it may have; case, spaces and punctuation do not count.
    Raises:
        UserError: the file is not there, no UTF-8 text, or no line of it holds an object.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path.name} is no text in UTF-8: save it again in UTF-8.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    objects, broken = [], []
    for number, line in enumerate(lines, start=1):
        try:
            if line.strip():
                objects.append((number, _object(line)))
        except (ValueError, RecursionError) as error:
            broken.append((number, f"no JSON object on this line: {error}"))
    if broken and not objects:
        number, reason = broken[0]
        raise UserError(
            f"{path.name} holds no JSON lines, one object per line (line {number}: {reason})."
        )
    rows, unread = [], {}
    for number, content in objects:
        # By the line's own keys: one clip may say "au" and the next "action_units".
        keys = list(content)
        own = match_headings(keys, headings)
        rows.append(SheetRow(number, {field: content[keys[at]] for field, at in own.items()}))
        unread |= dict.fromkeys(unread_headings(keys, own))
    found = tuple(field for field in headings if any(field in row.cells for row in rows))
    return Table(path.name, headings, found, tuple(unread), rows, tuple(broken))


def _object(line: str) -> dict[str, Any]:
    """The object on a line.

    Raises:
        ValueError: there is none.
    """
    content = json.loads(
        line,
        parse_int=str,
        parse_float=str,
        parse_constant=_constant,
        object_pairs_hook=_without_repeats,
    )
    if not isinstance(content, dict):
        raise ValueError(f"got {line.strip()[:40]}")
    try:
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("it holds half a character, written \\ud800 to \\udfff") from None
    return content


def _constant(text: str) -> None:
    if text != "NaN":
        raise ValueError(f"{text} is no number")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return content
