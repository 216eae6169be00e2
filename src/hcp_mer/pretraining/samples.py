"""Procedural faces for the pretraining of the embedded backbone, of people that no corpus shows."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from tqdm import tqdm

from hcp_mer.data.synthetic.actions import ACTION_UNITS, COMBINATIONS
from hcp_mer.data.synthetic.clips import ClipStyle, render_clip
from hcp_mer.data.synthetic.identity import make_identity
from hcp_mer.errors import UserError
from hcp_mer.model.frames_hcp_mer import resize_frame
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pair

FIRST_IDENTITY = 2**32  # corpora draw identities below: no person is in both
RENDERED_SIZE, STORED_SIZE = 112, 64  # px; more than the backbone reads, for random crops
EMOTIONS = tuple(COMBINATIONS)
FREE = -1  # emotion index of clips with a free combination of action units


@dataclass(frozen=True)
class PretrainingSettings:
    """Sizes and lengths; the defaults make the backbone in hub_configs/face-motion-clip."""

    seed: int = 0
    num_identities: int = 800
    clips_per_identity: int = 8
    num_validation_identities: int = 60
    image_size: int = 28
    patch_size: int = 4
    num_steps: int = 1500
    flows_per_batch: int = 96
    faces_per_batch: int = 32
    own_share: float = 0.15  # of the flows: measured on rendered faces by our own pipeline
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    free_share: float = 0.35  # faces whose action units follow no emotion

    def check(self) -> None:
        """Raise UserError where nothing can be trained."""
        for name, least in (("seed", 0), ("num_steps", 1), ("patch_size", 1)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} must be at least {least}; got {getattr(self, name)}.")
        if self.image_size < self.patch_size or self.image_size % self.patch_size:
            raise UserError(
                "--image_size must be a multiple of --patch_size; got "
                f"{self.image_size} and {self.patch_size}."
            )
        if self.num_identities * self.clips_per_identity < self.faces_per_batch:
            least = -(-self.faces_per_batch // self.clips_per_identity)
            raise UserError(f"--num_identities must be at least {least}: one batch of faces.")


@dataclass(frozen=True)
class FaceMotionSamples:
    """Rendered clips, reduced to what the backbone reads.

    Attributes:
        faces, flows: (n, 64, 64, 3) uint8: magnified apex, flow image.
        emotions: (n,) index into the seven emotions, −1 for free combinations.
        action_units: (n, 16) bool, in the order of ACTION_UNITS.
    """

    faces: np.ndarray
    flows: np.ndarray
    emotions: np.ndarray
    action_units: np.ndarray

    def __len__(self) -> int:
        return len(self.emotions)


def render_samples(
    identities: range, settings: PretrainingSettings, num_proc: int
) -> FaceMotionSamples:
    """Render `clips_per_identity` clips of each person; the same for any number of processes."""
    work = partial(_render_person, settings=settings)
    # spawn: a forked child waits forever for threads of OpenCV that were at work in this process
    with ProcessPoolExecutor(num_proc, get_context("spawn")) as pool:
        people = list(
            tqdm(
                pool.map(work, identities, chunksize=4),
                total=len(identities),
                desc="rendering",
                unit="person",
            )
        )
    return FaceMotionSamples(*(np.concatenate(parts) for parts in zip(*people)))


def _render_person(index: int, settings: PretrainingSettings) -> tuple[np.ndarray, ...]:
    import cv2

    cv2.setNumThreads(1)
    identity = make_identity(FIRST_IDENTITY + index)
    rng = np.random.default_rng((settings.seed, index))
    faces, flows, emotions, units = [], [], [], []
    for _ in range(settings.clips_per_identity):
        emotion = int(rng.integers(len(EMOTIONS)))
        free = rng.random() < settings.free_share
        count = int(rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]))
        chosen = [int(u) for u in rng.choice(ACTION_UNITS, count, replace=False)] if free else None
        clip = render_clip(
            identity,
            EMOTIONS[emotion],
            seed=int(rng.integers(2**62)),
            size=RENDERED_SIZE,
            style=_random_style(rng),
            action_units=chosen,
            key_frames_only=True,
        )
        registered = bool(rng.random() < 0.5)
        pair = motion_pair(*clip.frames, MotionSettings(register=registered, mask_eyes=False))
        faces.append(resize_frame(pair.magnified, STORED_SIZE))
        flows.append(resize_frame(pair.flow_image, STORED_SIZE))
        emotions.append(FREE if free else emotion)
        present = {int(code.lstrip("LR")) for code in clip.action_units}
        units.append([unit in present for unit in ACTION_UNITS])
    return np.stack(faces), np.stack(flows), np.array(emotions), np.array(units)


def _random_style(rng: np.random.Generator) -> ClipStyle:
    """Stronger, weaker, noisier and shakier than any corpus: what varies here is learnt to vary."""
    return ClipStyle(
        peak_range_px=(0.4, 3.0),
        noise_std=float(rng.uniform(0.002, 0.014)),
        head_jitter_px=float(rng.uniform(0, 0.4)),
        head_rotation_deg=float(rng.uniform(0, 0.15)),
        tonic_std=float(rng.uniform(0.3, 0.6)),
        extra_action_probability=0.1,
    )
