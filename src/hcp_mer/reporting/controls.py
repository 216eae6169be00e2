"""Controls: the same training without one thing. Which they are, and what a tie with one means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["better", "worse", "tie"]


@dataclass(frozen=True)
class Control:
    """One thing taken away from the model, all else equal.

    Attributes:
        title: what remains, for a table's first column; takes_away: a sentence about it;
        thing: what was taken away, as the subject of "… earned nothing".
    """

    title: str
    takes_away: str
    thing: str

    def lesson(self, result: Outcome) -> str:
        """What the comparison says of the thing that was taken away."""
        return {
            "better": f"on these clips {self.thing} earned something",
            "tie": f"on these clips {self.thing} earned nothing beyond noise",
            "worse": f"on these clips {self.thing} did harm",
        }[result]


CONTROLS = {
    "permuted_action_units": Control(
        "the action units of other classes",
        "Takes away which action units belong to which emotion: every class is prompted with "
        "those of another.",
        "the action-unit texts",
    ),
    "linear_head": Control(
        "no text at all",
        "Takes away the texts: free vectors, one for each branch and class, stand in for the "
        "prompts.",
        "the texts",
    ),
    "flow_in_both": Control(
        "the flow in both branches",
        "Takes away the magnified apex: the holistic branch is shown the flow, too.",
        "the magnified apex",
    ),
    "random_backbone": Control(
        "a random backbone",
        "Takes away pretraining: the weights of both towers are drawn at random.",
        "the pretrained backbone",
    ),
    "chance": Control(
        "shuffled labels",
        "Takes away the labels: the same training on labels shuffled among the training clips.",
        "learning from the true labels",
    ),
}


def outcome(interval: Sequence[float] | None) -> Outcome | None:
    """Whether a difference, model minus other, is beyond what subjects explain.

    Args: interval: its 95 % interval; None, and then so is the answer, with one subject only.
    """
    if interval is None:
        return None
    low, high = interval
    return "better" if low > 0 else "worse" if high < 0 else "tie"
