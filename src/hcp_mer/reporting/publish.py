"""What a finished run shows: scores, report, model card, and what is printed at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from hcp_mer.reporting.card import usage_lines, write_model_card
from hcp_mer.reporting.examples import choose_examples
from hcp_mer.reporting.html import write_report
from hcp_mer.reporting.scores import write_metrics
from hcp_mer.reporting.table import print_scores

_VIEWS = ("magnified", "flow")


def publish(run_folder: Path, pairs: Any | None = None) -> dict[str, Any]:
    """Score a run; write metrics.json, report.html, report.md, figures and the checkpoint's card.

    Args: pairs: the run's prepared pairs, for the report's pictures; None leaves those out.
    Returns: the content of metrics.json.
    Raises:
        UserError: the run is incomplete.
    """
    metrics = write_metrics(run_folder)
    examples = choose_examples(pairs, run_folder, metrics["classes"])
    write_report(run_folder, examples, pairs)
    for example in [own for own in examples if "magnified" in own][:1]:
        for view in _VIEWS:
            Image.fromarray(example[view]).save(_example(run_folder, view))
    checkpoint = run_folder / "model"
    if (checkpoint / "config.json").is_file():
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        write_model_card(checkpoint, metrics, config, _face(run_folder / "recipe.yaml"))
    return metrics


def _face(recipe: Path) -> dict[str, Any] | None:
    """How the run's faces were found, or None where it does not say."""
    import yaml

    if not recipe.is_file():
        return None
    content = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    return content.get("face") if isinstance(content, dict) else None


def announce(run_folder: Path, metrics: dict[str, Any]) -> None:
    """Print the table, where report and checkpoint lie, and the lines that use the checkpoint."""
    print_scores(metrics)
    print(f"report:     {run_folder / 'report.html'}")
    checkpoint = run_folder / "model"
    if not checkpoint.is_dir():
        return
    size = sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file())
    print(f"checkpoint: {checkpoint} ({size / 1e6:.1f} MB)")
    views = {view: str(_example(run_folder, view)) for view in _VIEWS}
    print("use it:")
    for line in usage_lines(str(checkpoint), **views):
        print(f"    {line}")


def _example(run_folder: Path, view: str) -> Path:
    """One view of an example clip as a file, so that the printed lines run as they are."""
    return run_folder / "figures" / f"example_{view}.png"
