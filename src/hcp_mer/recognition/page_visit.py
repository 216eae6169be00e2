"""What a page keeps of an answer while its visitor looks at it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hcp_mer.model.frames_hcp_mer import REFERENCE_WIDTH_PX
from hcp_mer.model.magnification_hcp_mer import limited_alpha, magnify
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pairs
from hcp_mer.recognition.answer import Recognition, Views

LEAST_ALPHA, MOST_ALPHA, ALPHA_STEP = 1.0, 30.0, 0.5
# More than a checkpoint adds (10 px), so that there is something beyond what it saw, and little
# enough that skin does not fold.
MOST_ADDED_PX = 15.0


@dataclass(frozen=True, eq=False)
class Movement:
    """Onset to apex, measured once, to be magnified by any factor.

    Attributes: `apex`, brought onto the onset, uint8 RGB (S, S, 3); `flow_px` (S, S, 2), onset →
    apex, the head's movement out; `alpha`, as the model saw it, in the slider's steps; `most`, the
    largest factor at which the skin does not fold.
    """

    apex: np.ndarray
    flow_px: np.ndarray
    alpha: float
    most: float

    def clipped(self, alpha: float) -> float:
        """A factor that can be shown."""
        return float(np.clip(alpha, LEAST_ALPHA, self.most))

    def magnified(self, alpha: float) -> np.ndarray:
        """The apex with the movement `alpha` times as large, uint8 RGB (S, S, 3)."""
        return magnify(self.apex, self.flow_px, self.clipped(alpha))


def movement_of(views: Views, motion: dict[str, Any]) -> Movement:
    """From the onset and the apex that a model saw, by its own composition.

    Args: `motion`, its image processor's settings.
    """
    seen: list[tuple[np.ndarray, np.ndarray, float]] = []

    def look_on(_, apexes, flows_px, alphas):
        seen.extend(zip(apexes, flows_px, alphas, strict=True))
        return apexes

    motion_pairs([views.onset], [views.apex], MotionSettings(**motion), magnifier=look_on)
    ((apex, flow_px, alpha),) = seen
    added_px = MOST_ADDED_PX * flow_px.shape[1] / REFERENCE_WIDTH_PX
    most = _in_steps(limited_alpha(flow_px, MOST_ALPHA, added_px))
    most = max(most, LEAST_ALPHA + ALPHA_STEP)  # a slider needs some way to go
    return Movement(apex, flow_px, min(_in_steps(alpha), most), most)


def _in_steps(alpha: float) -> float:
    return float(ALPHA_STEP * np.floor(alpha / ALPHA_STEP))


@dataclass(frozen=True, eq=False)
class Visit:
    """An answer without its frames, and its movement where the model was asked."""

    found: Recognition
    movement: Movement | None

    @classmethod
    def of(cls, found: Recognition, motion: dict[str, Any]) -> Visit:
        """Args: see `movement_of`."""
        own = None if found.views is None else movement_of(found.views, motion)
        return cls(replace(found, frames=None), own)
