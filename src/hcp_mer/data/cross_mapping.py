"""The cross mapping of emotions and action units (Appendix A), counted on annotated clips.

One action unit stands in several emotions, one emotion shows in several combinations of action
units. Sides are dropped, since prompts name FACS numbers: "L12" counts as 12.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hcp_mer.data.action_units import action_unit_number, parse_action_units

if TYPE_CHECKING:
    from hcp_mer.data.pairs import Pairs

LEAST_CLIPS = 2
MOST_UNITS = 4


@dataclass(frozen=True)
class CrossMapping:
    """How often which class shows what; clips without any action unit do not count.

    Attributes:
        units: class → action unit → clips that show it, whatever else they show.
        combinations: class → all the action units of a clip, ascending → clips annotated so.
    """

    units: dict[str, Counter[int]]
    combinations: dict[str, Counter[tuple[int, ...]]]

    def num_clips(self, class_name: str) -> int:
        """Clips of a class that have any action unit."""
        return self.combinations[class_name].total()


def cross_mapping(
    action_units: Sequence[Iterable[str | int]],
    labels: Sequence[str | int],
    classes: Sequence[str],
) -> CrossMapping:
    """Count action units and their combinations by class, Fig. 6.

    Args:
        action_units: of each clip, with or without sides: ["4", "L12"]; empty where a clip has no
            annotation.
        labels: of each clip, the name of its class or its index in `classes`.
    Raises:
        UserError: a unit that FACS does not have. ValueError: not as many labels as clips.
    """
    mapping = CrossMapping({name: Counter() for name in classes}, {n: Counter() for n in classes})
    for written, label in zip(action_units, labels, strict=True):
        combination = tuple(sorted({action_unit_number(unit) for unit in written}))
        if combination:
            name = label if isinstance(label, str) else classes[label]
            mapping.units[name].update(combination)
            mapping.combinations[name][combination] += 1
    return mapping


def frequent_sets(mapping: CrossMapping, class_name: str, most: int = 4) -> list[list[int]]:
    """The action-unit sets that a class gets as prompts: its most frequent whole combinations.

    A set must stand at LEAST_CLIPS clips, since a single clip is one person's; a class in which
    every combination is single gets the first of them. Ties: fewer units first, then by number.
    A combination of more than MOST_UNITS units is left out, not cut: a cut set is one that no
    coder wrote, and a prompt that lists half the face tells no class from another.

    Returns: at most `most` sets, the most frequent first, each ascending; empty for a class
        without a combination that could be taken.
    """
    counts = mapping.combinations[class_name]
    short = [combination for combination in counts if len(combination) <= MOST_UNITS]
    ranked = sorted(short, key=lambda units: (-counts[units], len(units), units))
    frequent = [units for units in ranked if counts[units] >= LEAST_CLIPS][:most]
    return [list(units) for units in frequent or ranked[:1]]


def annotated_units(pairs: Pairs, rows: Sequence[int]) -> list[tuple[str, ...]]:
    """The action units of some pairs as annotated, with sides; () for a clip without any.

    The column is optional; a cell is a list, as prepare_dataset writes it, or text such as
    "4+L12", as somebody's own table may have it.

    Raises:
        UserError: text that is no action unit.
    """
    if "action_units" not in pairs.table.column_names:
        return [()] * len(rows)
    cells = pairs.column("action_units")
    return [_as_units(cells[row]) for row in rows]


def _as_units(cell: object) -> tuple[str, ...]:
    return tuple(cell) if isinstance(cell, (list, tuple)) else parse_action_units(cell)
