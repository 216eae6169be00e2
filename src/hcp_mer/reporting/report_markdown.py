"""report.md: the report in brief, for a terminal, a pull request or a repository's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hcp_mer.files import write_whole
from hcp_mer.reporting.drawings import Drawing
from hcp_mer.reporting.markdown import render
from hcp_mer.reporting.table import SCORE_TITLES


def write_markdown(
    run_folder: Path,
    content: Mapping[str, Any],
    drawn: Mapping[str, Drawing],
    examples: Sequence[Mapping[str, Any]],
) -> Path:
    """Write <run>/report.md, which shows the figures that lie in <run>/figures.

    Args: content: as `read_content` returns it; drawn: the figures that were written; examples: as
        the page has them; their pictures stay there, since Markdown cannot hold them.
    Returns: its path.
    """
    text = render(
        "report.md.j2",
        **content,
        figures=drawn,
        wrong=[own for own in examples if own["label"] != own["prediction"]],
        score_titles=SCORE_TITLES,
    )
    path = run_folder / "report.md"
    write_whole(path, text)
    return path
