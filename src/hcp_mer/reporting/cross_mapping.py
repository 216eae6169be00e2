"""Emotions and action units of a run's clips, as the paper's Fig. 6 has them: in words and rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hcp_mer.files import read_json
from hcp_mer.reporting.table import counted, listed


def read_cross_mapping(run_folder: Path) -> dict[str, Any] | None:
    """What the run counted, None where its clips have no action units.

    Returns: {"num_folds", "classes": [{"label", "num_clips", "num_combinations", "action_units":
        {number: clips}, "sets": [{"action_units", "num_folds"}, …], "num_folds_counted"}, …]};
        num_folds_counted: in how many folds the sets were counted on the training clips.
    Raises:
        UserError: the file is damaged.
    """
    path = run_folder / "cross_mapping.json"
    return read_json(path, ("num_folds", "classes")) if path.is_file() else None


def matrix(mapping: Mapping[str, Any]) -> tuple[list[int], list[list[int]]]:
    """The action units that occur, ascending, and clips (classes, units) that show them."""
    units = sorted({int(unit) for own in mapping["classes"] for unit in own["action_units"]})
    rows = [[own["action_units"].get(str(u), 0) for u in units] for own in mapping["classes"]]
    return units, rows


def in_words(mapping: Mapping[str, Any]) -> list[str]:
    """Both directions of the cross mapping (Fig. 6a, 6b), each by its strongest example."""
    units, rows = matrix(mapping)
    columns = dict(zip(units, zip(*rows)))
    unit = max(columns, key=lambda u: (sum(n > 0 for n in columns[u]), sum(columns[u])))
    shown = [own["label"] for own, n in zip(mapping["classes"], columns[unit]) if n]
    many_to_one = f"Many to one: AU{unit} was annotated in {listed(shown)}."
    if len(shown) < 2:
        many_to_one = "No action unit was annotated in two classes."
    richest = max(mapping["classes"], key=lambda own: own["num_combinations"])
    number = counted(richest["num_combinations"], "combination")
    return [many_to_one, f"One to many: {richest['label']} was annotated in {number} of units."]


def rows_of_sets(mapping: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per class its sizes, and the sets that its prompts name: "AU4+AU7 (24 of 26 folds)"."""
    everywhere = mapping["num_folds"]

    def source(number: int) -> str:
        if number in (0, everywhere):
            return "counted" if number else "recipe"
        return f"counted in {number} of {everywhere} folds, else recipe"

    def in_text(own: Mapping[str, Any]) -> str:
        name = "+".join(f"AU{unit}" for unit in own["action_units"])
        folds = own["num_folds"]
        return name if folds == everywhere else f"{name} ({folds} of {everywhere} folds)"

    return [
        {
            **own,
            "sets": ", ".join(map(in_text, own["sets"])),
            "source": source(own["num_folds_counted"]),
        }
        for own in mapping["classes"]
    ]
