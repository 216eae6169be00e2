"""Which action units show which emotion in the unseen domains.

Made up after FACS and EMFACS (Friesen & Ekman 1983; Ekman, Friesen & Hager 2002): full prototypes,
fragments as they leak through suppression, and another coder's view. AU23 (lips tightened) has no
motion here and is written as 24. All three differ from the table that corpora and pretraining use.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hcp_mer.data.synthetic.actions import ACTION_UNITS, COMBINATIONS

Table = Mapping[str, Mapping[tuple[int, ...], float]]
EXTRA_UNIT_PROBABILITY = 0.12  # of one more unit, which belongs to no emotion

PROTOTYPES: Table = {
    "disgust": {(9,): 0.25, (9, 10): 0.15, (10, 17): 0.15, (9, 17): 0.15, (10, 25): 0.15,
        (10,): 0.15},
    "fear": {(1, 2, 4, 5): 0.3, (1, 2, 4, 20): 0.2, (1, 2, 5, 25): 0.15, (5, 20, 26): 0.2,
        (1, 4, 20): 0.15},
    "anger": {(4, 5, 7): 0.25, (4, 7, 24): 0.3, (4, 5, 24): 0.2, (7, 24): 0.1, (4, 17, 24): 0.15},
    "sadness": {(1, 4): 0.2, (1, 4, 15): 0.3, (1, 15): 0.15, (15, 17): 0.15, (1, 4, 17): 0.2},
    "happiness": {(6, 12): 0.6, (6, 12, 25): 0.25, (12,): 0.15},
    "surprise": {(1, 2): 0.2, (1, 2, 5): 0.25, (1, 2, 26): 0.2, (1, 2, 5, 26): 0.25, (5, 26): 0.1},
    "others": {(14,): 0.3, (17, 24): 0.2, (4, 14): 0.15, (7,): 0.15, (25,): 0.1, (2, 14): 0.1},
}  # fmt: skip
"""Expressions as textbooks have them, most of their units at once."""

FRAGMENTS: Table = {
    "disgust": {(10,): 0.3, (9,): 0.25, (4, 9): 0.15, (7, 10): 0.15, (6, 9): 0.05, (10, 15): 0.1},
    "fear": {(5,): 0.2, (1, 2, 4): 0.25, (1, 5): 0.15, (20,): 0.25, (4, 5, 20): 0.15},
    "anger": {(4, 24): 0.3, (24,): 0.2, (4, 5): 0.15, (4, 7): 0.25, (4, 17): 0.1},
    "sadness": {(1,): 0.2, (15,): 0.3, (1, 17): 0.15, (4, 15): 0.15, (1, 15, 17): 0.2},
    "happiness": {(12,): 0.5, (6,): 0.1, (6, 12): 0.25, (12, 25): 0.15},
    "surprise": {(1, 2): 0.35, (2,): 0.15, (26,): 0.15, (5,): 0.05, (2, 5): 0.15, (1, 2, 25): 0.15},
    "others": {(4,): 0.2, (7,): 0.15, (14, 24): 0.15, (17,): 0.15, (12, 15): 0.15, (14,): 0.2},
}  # fmt: skip
"""One or two units, what is left of an expression that somebody holds back."""

SECOND_CODER: Table = {
    "disgust": {(4, 7, 9): 0.2, (9, 25): 0.15, (7, 10, 17): 0.2, (10, 14): 0.15,
        (6, 7, 9): 0.15, (10, 20): 0.15},
    "fear": {(1, 2, 20): 0.3, (2, 4, 5): 0.2, (1, 4, 25): 0.2, (5, 25): 0.15, (1, 20, 26): 0.15},
    "anger": {(4, 10): 0.1, (4, 7, 17): 0.3, (7, 17, 24): 0.2, (5, 24): 0.15,
        (4, 25): 0.1, (4, 6, 24): 0.15},
    "sadness": {(1, 14): 0.1, (4, 15, 17): 0.25, (1, 7, 15): 0.2, (6, 15): 0.2, (1, 4, 24): 0.25},
    "happiness": {(6, 7, 12): 0.35, (12, 17): 0.1, (7, 12, 25): 0.2, (12, 26): 0.1, (6, 12): 0.25},
    "surprise": {(2, 26): 0.2, (1, 5): 0.2, (1, 2, 25): 0.3, (2, 5, 25): 0.2, (1, 26): 0.1},
    "others": {(4, 17): 0.25, (7, 14): 0.2, (24, 25): 0.1, (2, 17): 0.1, (20,): 0.15,
        (14, 15): 0.2},
}  # fmt: skip
"""Units that another coder would add: lids, chin and lips beside the telling ones."""

TABLES: Mapping[str, Table] = {
    "house": COMBINATIONS,
    "prototypes": PROTOTYPES,
    "fragments": FRAGMENTS,
    "second_coder": SECOND_CODER,
}


def draw_units(table: Table, emotion: str, rng: np.random.Generator) -> tuple[int, ...]:
    """The action units of one clip that shows an emotion, ascending."""
    combinations = table[emotion]
    shares = np.array(list(combinations.values()))
    chosen = list(combinations)[int(rng.choice(len(shares), p=shares / shares.sum()))]
    units = set(chosen)
    if rng.random() < EXTRA_UNIT_PROBABILITY:
        units.add(int(rng.choice(ACTION_UNITS)))
    return tuple(sorted(units))
