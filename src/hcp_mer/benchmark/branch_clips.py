"""Clips in which the face at rest, the motion, or both tell the class: for a test of the branches.

Of every clip two emotions are planned. One gives the tonic look, which the face has from the first
frame to the last, so that flow cannot see it; the other the action units, which move. Whichever
cue a kind of clips withholds follows an emotion of a class drawn evenly and independently of the
label: the label's own class is among them, for "never the label" would be a cue, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from hcp_mer.data.pairs import VIEWS, Pairs
from hcp_mer.data.synthetic.actions import COMBINATIONS, EMOTIONS
from hcp_mer.data.synthetic.clips import MICRO_STYLE, ClipStyle, ProceduralClip, render_clip
from hcp_mer.data.synthetic.identity import make_identity
from hcp_mer.data.tasks import Task, label_of
from hcp_mer.errors import UserError
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pair
from hcp_mer.motion.pair import PairSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST_IDENTITY = 2**41  # corpora draw identities below 2**32, pretraining from there up
_PEOPLE_PER_SEED = 2**20
_DATASET = "procedural"  # whose label scheme says which emotions a class has


@dataclass(frozen=True)
class Kind:
    """What tells the class. Attributes: `look`, `motion`: whether that cue follows the label."""

    look: bool
    motion: bool
    style: ClipStyle


# A plain look in all kinds: at the usual corpus's strength the demo's holistic branch stayed at
# chance. Peaks were set until each branch that is told anything was well above chance by itself,
# and in `both` below its ceiling: where flow alone is right, fusion can add nothing. Only the
# branches' own scores were looked at for that, never the model in full.
_PLAIN_LOOK = replace(MICRO_STYLE, tonic_scale=3.0, tonic_std=0.2)
KINDS = {
    "face": Kind(True, False, replace(_PLAIN_LOOK, peak_range_px=(0.05, 0.2))),
    "motion": Kind(False, True, replace(_PLAIN_LOOK, peak_range_px=(0.1, 0.5))),
    "both": Kind(True, True, replace(_PLAIN_LOOK, peak_range_px=(0.02, 0.08))),
}


@dataclass(frozen=True)
class PlannedClip:
    """One clip before it is rendered.

    Attributes: `look` and `motion`, the emotions of the tonic look and of the action units;
    `seed`, of everything else that is drawn; it and the people are the same in every kind.
    """

    subject: int
    clip: int
    label: str
    look: str
    motion: str
    action_units: tuple[int, ...]
    seed: tuple[int, int, int]


def plan_clips(
    kind: str, task: Task, num_subjects: int, clips_per_subject: int, seed: int = 0
) -> list[PlannedClip]:
    """Who shows what; of every person each class as often, as near as that goes.

    Raises:
        UserError: an unknown kind, fewer than three subjects, or fewer clips than classes.
    """
    if kind not in KINDS:
        raise UserError(f"unknown kind of clips {kind!r}. Choose from {', '.join(KINDS)}.")
    if num_subjects < 3:
        raise UserError(
            f"leaving one subject out takes at least 3 subjects, got {num_subjects}: two to learn "
            "from, the gate from one what the branches learnt from the other."
        )
    if clips_per_subject < len(task.classes):
        raise UserError(
            f"a subject needs a clip of every class of {task.name}, at least {len(task.classes)}; "
            f"got {clips_per_subject}."
        )
    if seed < 0:
        raise UserError(f"seed must be at least 0, got {seed}.")
    emotions = {
        name: [e for e in EMOTIONS if label_of(e, task, _DATASET) == name] for name in task.classes
    }
    plans = []
    for subject in range(num_subjects):
        for clip in range(clips_per_subject):
            rng = np.random.default_rng([FIRST_IDENTITY, seed, subject, clip])
            label = task.classes[clip % len(task.classes)]
            # Drawn for every kind, so that the same clip differs in what is withheld alone.
            told = [str(rng.choice(emotions[label])) for _ in ("look", "motion")]
            others = [str(rng.choice(emotions[rng.choice(task.classes)])) for _ in told]
            look = told[0] if KINDS[kind].look else others[0]
            motion = told[1] if KINDS[kind].motion else others[1]
            units = _draw_units(rng, motion)
            plans.append(
                PlannedClip(subject, clip, label, look, motion, units, (seed, subject, clip))
            )
    return plans


def render_planned(plan: PlannedClip, style: ClipStyle) -> ProceduralClip:
    """Onset and apex of a planned clip."""
    person = FIRST_IDENTITY + _PEOPLE_PER_SEED * plan.seed[0] + plan.subject
    return render_clip(
        make_identity(person),
        plan.look,
        plan.seed,
        style=style,
        action_units=plan.action_units,
        key_frames_only=True,
    )


def pairs_of(kind: str, plans: Sequence[PlannedClip]) -> Pairs:
    """The pairs of planned clips, held in memory, by the default motion after registration."""
    import datasets

    settings = PairSettings(motion=MotionSettings(register=True))
    table = datasets.Dataset.from_list(list(_rows(plans, KINDS[kind].style, settings)))
    for view in VIEWS:
        table = table.cast_column(view, datasets.Image(decode=False))
    return Pairs(f"procedural clips, {kind}", table, settings.to_dict())


def _rows(
    plans: Sequence[PlannedClip], style: ClipStyle, settings: PairSettings
) -> Iterable[dict[str, object]]:
    for plan in plans:
        clip = render_planned(plan, style)
        pair = motion_pair(*clip.frames, settings.motion)
        yield {
            "magnified": _png(pair.magnified),
            "flow": _png(pair.flow_image),
            "emotion": plan.label,
            "subject": f"{plan.subject:02d}",
            "dataset": _DATASET,
            "clip_id": f"{plan.clip:03d}",
            "action_units": list(clip.action_units),
        }


def _png(image: np.ndarray) -> dict[str, object]:
    _, encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return {"bytes": encoded.tobytes(), "path": None}


def _draw_units(rng: np.random.Generator, emotion: str) -> tuple[int, ...]:
    """A combination of the emotion's; no unit besides, no side alone."""
    combinations = COMBINATIONS[emotion]
    return list(combinations)[rng.choice(len(combinations), p=list(combinations.values()))]
