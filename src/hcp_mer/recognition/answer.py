"""What is said of one clip: a class, "unsure" or "no micro-expression", and all that led there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

NO_EXPRESSION, UNSURE = "no micro-expression", "unsure"


@dataclass(frozen=True, eq=False)
class Views:
    """The pictures that were looked at, aligned squares, RGB uint8 (S, S, 3) each.

    Attributes: `onset` and `apex`; `magnified`, the apex, and `flow`, the flow image; of a pair
    that was given ready-made the first two are None. `attention`, branch ("holistic",
    "componential") → (S, S) float, how much each place speaks for the answer, where it was asked
    for; `seen`, branch → which of the two it looked at, "magnified" or "flow".
    """

    magnified: np.ndarray | None
    flow: np.ndarray | None
    onset: np.ndarray | None = None
    apex: np.ndarray | None = None
    attention: dict[str, np.ndarray] = field(default_factory=dict)
    seen: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Course:
    """How a clip moved: for each frame its number, its time if it is known, and its energy.

    Attributes: `numbers`; `times_s`, from the first frame, or None; `energies_px` (n,), mean |flow|
    over the face from the onset, head motion out, in px of a face 224 px wide; `noise_px`, the
    clip's own noise floor; `onset`, `apex` and `offset`, indices into these.
    """

    numbers: list[int]
    times_s: list[float] | None
    energies_px: np.ndarray
    noise_px: float
    onset: int
    apex: int
    offset: int


@dataclass(frozen=True, eq=False)
class Recognition:
    """The answer to one clip.

    Attributes:
        name: the clip's file name, without its folder.
        answer: a class, UNSURE or NO_EXPRESSION; `reason`: why, in a sentence.
        scores: [{"label": str, "score": float}, …] calibrated, the likeliest first; empty where
            nothing moved and no model was asked.
        explanation: the pipeline's with explain=True ("gate", "holistic", "componential",
            "action_units": [{"action_unit": "AU4", "name", "similarity" | "log_odds"}, …]), or
            None.
        course: how the clip moved; None of a single pair of frames.
        views: what the model saw; None where it was not asked.
        seconds: stage → how long it took.
        frames: the clip's aligned squares, RGB uint8 (S, S, 3), one for each number of `course`.
    """

    name: str
    answer: str
    reason: str
    scores: list[dict[str, Any]]
    explanation: dict[str, Any] | None = None
    course: Course | None = None
    views: Views | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    frames: list[np.ndarray] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON: no pictures."""
        key_frames = {}
        if self.course is not None:
            course = self.course
            for name in ("onset", "apex", "offset"):
                index = getattr(course, name)
                time_s = None if course.times_s is None else round(course.times_s[index], 4)
                key_frames[name] = {"frame": course.numbers[index], "time_s": time_s}
            peak_px = float(course.energies_px[course.apex])
            key_frames |= {"movement_px": round(peak_px, 4), "noise_px": round(course.noise_px, 4)}
        return {
            "name": self.name,
            "answer": self.answer,
            "reason": self.reason,
            "scores": self.scores,
            **key_frames,
            "explanation": self.explanation,
        }
