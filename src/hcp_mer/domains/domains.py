"""Six procedural target corpora on which a pretrained backbone is measured, and their rendering.

Each differs from what pretraining saw in who is filmed, how faces are drawn or move, how flow is
measured and shown, or which units show an emotion. They are fixed for good and tuned to no model;
`closed` ones are for the last measurement alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import cv2
import numpy as np

from hcp_mer.data.action_units import action_unit_number
from hcp_mer.data.synthetic.actions import (
    ACTION_UNITS,
    EMOTION_COUNTS,
    EMOTIONS,
    ONE_SIDED_ACTION_UNITS,
)
from hcp_mer.data.synthetic.clips import MICRO_STYLE, render_clip
from hcp_mer.data.synthetic.identity import make_identity
from hcp_mer.domains.camera import CameraStyle
from hcp_mer.domains.emotion_tables import TABLES, draw_units
from hcp_mer.domains.estimators import domain_estimator, stretched_image
from hcp_mer.domains.head import ALIGNED, TIGHT, Head, View, make_head
from hcp_mer.domains.muscle_face import render_muscle_clip
from hcp_mer.errors import UserError
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pairs
from hcp_mer.motion.methods import chosen

FIRST_IDENTITY = 2**40  # corpora draw identities below 2³², pretraining from there up
DRAWN, MUSCLES = "drawn", "muscles"
STRETCHED = "stretched"


@dataclass(frozen=True)
class Domain:
    """One unseen domain.

    Attributes: `name`, `description`; `closed`, kept for the last measurement; `number`, of its
    identities; `renderer`, "drawn" (data.synthetic) or "muscles"; `frame_px`, side of the frames,
    `flow_image_px`, of the flow images; `estimator`, see DOMAIN_ESTIMATORS; `encoding`, one of
    flow_to_image's, by the clip's own scale and without head motion, or "stretched", see
    `stretched_image`, with it; `register`, whether the apex is moved onto the onset first;
    `view`, how the face lies in the frame (muscles only); `camera`; `emotion_table`, in TABLES;
    `accessories`, chance of glasses and that of a beard (muscles only); `tonic_scale`, how much of
    an emotion a face shows at rest (drawn only).
    """

    name: str
    description: str
    closed: bool
    number: int
    renderer: str
    frame_px: int
    flow_image_px: int
    estimator: str = "lucas_kanade"
    encoding: str = "uv_strain"
    register: bool = False
    view: View = ALIGNED
    camera: CameraStyle = field(default_factory=CameraStyle)
    emotion_table: str = "house"
    accessories: float = 0.0
    tonic_scale: float = 0.0

    def identity_seed(self, seed: int, subject: int) -> int:
        """Seed of a person, whom neither a corpus, nor pretraining, nor another domain has."""
        drawn = int(np.random.SeedSequence([seed, subject]).generate_state(1)[0])  # below 2³²
        return FIRST_IDENTITY + self.number * 2**32 + drawn


DOMAINS: Mapping[str, Domain] = {
    domain.name: domain
    for domain in (
        Domain(
            "own_pipeline",
            "new people of the first renderer, default flow, registered",
            closed=False,
            number=0,
            renderer=DRAWN,
            frame_px=224,
            flow_image_px=224,
            register=True,
            tonic_scale=MICRO_STYLE.tonic_scale,
        ),
        Domain(
            "grey_farneback_28",
            "first renderer, grey, blurred, JPEG 80, Farnebäck, stretched, 28 px",
            closed=False,
            number=1,
            renderer=DRAWN,
            frame_px=160,
            flow_image_px=28,
            estimator="farneback",
            encoding=STRETCHED,
            camera=CameraStyle(blur_px=0.8, grey=True, jpeg_quality=80),
        ),
        Domain(
            "muscles_lucas_kanade",
            "second renderer, default flow, 112 px",
            closed=False,
            number=2,
            renderer=MUSCLES,
            frame_px=112,
            flow_image_px=112,
            camera=CameraStyle(blur_px=0.4, noise_levels=2.0),
            emotion_table="prototypes",
        ),
        Domain(
            "muscles_dis_28",
            "second renderer, tight crops, dense inverse search, stretched, 28 px",
            closed=False,
            number=3,
            renderer=MUSCLES,
            frame_px=160,
            flow_image_px=28,
            estimator="dis",
            encoding=STRETCHED,
            view=TIGHT,
            camera=CameraStyle(blur_px=0.6, noise_levels=1.5, jpeg_quality=92),
            emotion_table="prototypes",
        ),
        Domain(
            "muscles_tvl1_28",
            "second renderer, glasses and beards, TV-L1, stretched, 28 px, fragments",
            closed=True,
            number=4,
            renderer=MUSCLES,
            frame_px=128,
            flow_image_px=28,
            estimator="skimage_tvl1",
            encoding=STRETCHED,
            camera=CameraStyle(blur_px=0.5, noise_levels=1.5, jpeg_quality=90),
            emotion_table="fragments",
            accessories=0.3,
        ),
        Domain(
            "grey_ilk_56",
            "first renderer, grey, low contrast, iterative Lucas–Kanade, magnitude, 56 px",
            closed=True,
            number=5,
            renderer=DRAWN,
            frame_px=112,
            flow_image_px=56,
            estimator="skimage_ilk",
            encoding="uv_magnitude",
            camera=CameraStyle(contrast=0.45, noise_levels=1.0, grey=True),
            emotion_table="second_coder",
        ),
    )
}
"""The unseen domains by name."""


@dataclass(frozen=True, eq=False)
class DomainClip:
    """One clip: `onset`, `apex`, `magnified` RGB uint8 (S, S, 3), `flow` (s, s, 3), its labels."""

    onset: np.ndarray
    apex: np.ndarray
    magnified: np.ndarray
    flow: np.ndarray
    emotion: str
    action_units: tuple[int, ...]
    subject: str
    clip_id: str


@dataclass(frozen=True, eq=False)
class DomainClips:
    """All n clips of a domain.

    Attributes: `magnified` (n, S, S, 3) and `flow` (n, s, s, 3), uint8; `emotions`, `subjects`,
    `clip_ids`, (n,) text; `action_units`, (n, 16) bool in the order of ACTION_UNITS.
    """

    magnified: np.ndarray
    flow: np.ndarray
    emotions: np.ndarray
    action_units: np.ndarray
    subjects: np.ndarray
    clip_ids: np.ndarray


def domain(name: str) -> Domain:
    """The domain of that name. Raises UserError with the closest name if there is none."""
    return chosen("domain", DOMAINS, name)


def render_domain(
    name: str, num_subjects: int = 20, clips_per_subject: int = 10, seed: int = 0
) -> DomainClips:
    """A domain in memory; the same arguments give the same pixels.

    Raises UserError for an unknown name, counts below 1 and a negative seed.
    """
    clips = list(iterate_domain(name, num_subjects, clips_per_subject, seed))
    return DomainClips(
        magnified=np.stack([clip.magnified for clip in clips]),
        flow=np.stack([clip.flow for clip in clips]),
        emotions=np.array([clip.emotion for clip in clips]),
        action_units=np.array([[u in clip.action_units for u in ACTION_UNITS] for clip in clips]),
        subjects=np.array([clip.subject for clip in clips]),
        clip_ids=np.array([clip.clip_id for clip in clips]),
    )


def iterate_domain(
    name: str, num_subjects: int = 20, clips_per_subject: int = 10, seed: int = 0
) -> Iterator[DomainClip]:
    """The clips of `render_domain` one by one, subject by subject."""
    chosen_domain = domain(name)
    for given, value, least in (
        ("num_subjects", num_subjects, 1),
        ("clips_per_subject", clips_per_subject, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise UserError(f"{given} must be at least {least}, got {value}.")
    emotions = iter(_emotions(num_subjects * clips_per_subject, [seed, chosen_domain.number]))
    return (
        _render(chosen_domain, seed, subject, clip, next(emotions))
        for subject in range(1, num_subjects + 1)
        for clip in range(1, clips_per_subject + 1)
    )


def _emotions(total: int, seed: list[int]) -> list[str]:
    """One emotion per clip, in Table 5's proportions; the order is drawn.

    Of the remainders, which no whole clip is left for, the rarest emotions are served first.
    """
    shares = np.array(list(EMOTION_COUNTS.values())) / sum(EMOTION_COUNTS.values())
    counts = np.floor(total * shares).astype(int)
    counts[np.argsort(counts, kind="stable")[: total - counts.sum()]] += 1
    return np.random.default_rng(seed).permutation(np.repeat(EMOTIONS, counts)).tolist()


def _render(which: Domain, seed: int, subject: int, clip: int, emotion: str) -> DomainClip:
    key = (seed, which.number, subject, clip)
    rng = np.random.default_rng(key)
    units = draw_units(TABLES[which.emotion_table], emotion, rng)
    person = which.identity_seed(seed, subject)
    renderer = _drawn if which.renderer == DRAWN else _muscled
    onset, apex, shown = renderer(which, person, emotion, units, key)
    onset, apex = which.camera.film(onset, rng), which.camera.film(apex, rng)
    magnified, flow = _views(which, onset, apex)
    return DomainClip(
        *(onset, apex, magnified, flow, emotion, shown),
        subject=f"s{subject:03d}",
        clip_id=f"c{clip:03d}",
    )


def _drawn(
    which: Domain, person: int, emotion: str, units: tuple[int, ...], key: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Onset, apex and units of a clip of the first renderer."""
    clip = render_clip(
        make_identity(person),
        emotion,
        key,
        size=which.frame_px,
        style=replace(MICRO_STYLE, tonic_scale=which.tonic_scale),
        action_units=_codes(units, np.random.default_rng([*key, 1])),
        key_frames_only=True,
    )
    return *clip.frames, tuple(action_unit_number(code) for code in clip.action_units)


def _codes(units: tuple[int, ...], rng: np.random.Generator) -> list[str]:
    """The units as FACS codes, in some clips on one side where people can do that: "12", "L12"."""
    one_sided = rng.random() < MICRO_STYLE.one_sided_probability
    side = str(rng.choice(["L", "R"])) if one_sided else ""
    return [f"{side if unit in ONE_SIDED_ACTION_UNITS else ''}{unit}" for unit in units]


@lru_cache(maxsize=2)
def _head(person: int, accessories: float) -> Head:
    """One object per person, so that the renderer's layers of it are made once."""
    return make_head(person, accessories)


def _muscled(
    which: Domain, person: int, _: str, units: tuple[int, ...], key: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Onset, apex and units of a clip of the second renderer, which knows no emotion."""
    head = _head(person, which.accessories)
    clip = render_muscle_clip(head, units, key, side=which.frame_px, view=which.view)
    return clip.onset, clip.apex, clip.action_units


def _views(which: Domain, onset: np.ndarray, apex: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The magnified apex, and the flow image at the domain's size."""
    estimator = domain_estimator(which.estimator)
    stretched = which.encoding == STRETCHED
    settings = MotionSettings(register=which.register)
    if not stretched:
        settings = replace(settings, flow_encoding=which.encoding)
    raw_px = []

    def measured(onsets: list[np.ndarray], apexes: list[np.ndarray]) -> list[np.ndarray]:
        raw_px.extend(estimator.many(onsets, apexes))
        return raw_px

    (pair,) = motion_pairs([onset], [apex], settings, flow_estimator=measured)
    side = which.flow_image_px
    if stretched:
        return pair.magnified, stretched_image(raw_px[0], side)
    flow = pair.flow_image
    if side != which.frame_px:
        flow = cv2.resize(flow, (side, side), interpolation=cv2.INTER_AREA)
    return pair.magnified, flow
