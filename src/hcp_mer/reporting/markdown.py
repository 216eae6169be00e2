"""Filling the Markdown templates of the cards."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Any

from hcp_mer.errors import UserError


def render(template: str, **content: Any) -> str:
    """Text of templates/<template>, filled in.

    Filters: `cell` makes any text fit a table; `fenced(language)` shows it as code, as it is.

    Raises:
        UserError: jinja2, of the "report" extra, is absent.
    """
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise UserError(
            'cards are written with jinja2, which is absent: pip install "hcp_mer[report]"'
        ) from error
    templates = files("hcp_mer.reporting") / "templates"
    environment = Environment(
        loader=FunctionLoader(lambda name: (templates / name).read_text(encoding="utf-8")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _cell, "fenced": _fenced}
    return environment.get_template(template).render(**content)


def _cell(text: object) -> str:
    """Other people's ids and words, so that none ends a cell, a line, or a piece of code."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def _fenced(text: str, language: str) -> str:
    """A block of code, its fence longer than any in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
