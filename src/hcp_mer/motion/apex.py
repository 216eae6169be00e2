"""Apex spotting, for clips that carry no annotated apex: the frame that moved most."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.face_regions_hcp_mer import face_mask
from hcp_mer.model.frames_hcp_mer import resize_frame
from hcp_mer.model.registration_hcp_mer import remove_head_motion
from hcp_mer.motion.flow import Estimator, estimator

SPOTTING_WIDTH_PX = 112  # twice as wide costs four times the time and finds the apex no better
DRIFT_SHARE = 0.5  # of the energy at the end of the clip that is taken for drift, see spot_in_curve
WINDOW_SHARE = 0.2  # of the clip's length


def motion_energy(flow_px: np.ndarray) -> float:
    """Mean |flow| in px over the face, head motion taken out.

    Args: flow_px: (H, W, 2), from the onset. The mean is weighted by `face_mask`.
    """
    mask = face_mask(*flow_px.shape[:2])
    flow_px = remove_head_motion(flow_px, mask)
    return float(np.average(np.linalg.norm(flow_px, axis=-1), weights=mask))


def energy_curve(
    onset: np.ndarray,
    frames: Iterable[np.ndarray],
    flow_estimator: Estimator | None = None,
) -> np.ndarray:
    """The motion energy of each frame, (num_frames,) in px of the frames as they are given.

    Measured on frames shrunk to 112 px. They are taken one by one, or as many as the estimator
    reads at once, so that of a generator no more are in memory.
    Raises UserError where there are none, ValueError for frames that the estimator refuses.
    """
    flow_estimator = flow_estimator or estimator()
    size = min(SPOTTING_WIDTH_PX, onset.shape[1])
    small, rest = resize_frame(onset, size), (resize_frame(frame, size) for frame in frames)
    energies: list[float] = []
    while batch := list(islice(rest, flow_estimator.batch)):
        energies += map(motion_energy, flow_estimator.many([small] * len(batch), batch))
    if not energies:
        raise UserError("apex spotting needs at least one frame after the onset, got none.")
    return np.array(energies) * onset.shape[1] / size


def spot_in_curve(energies_px: np.ndarray) -> int:
    """Index of the apex in an energy curve, the first of equals.

    What is left of the head's drift grows with time, and at the offset the face is at rest again,
    or on its way: half of the energy there is taken for drift that grew evenly, and subtracted.
    Then a sub-window search, as Liong et al. (2015) narrow the clip down: the fifth of it with the
    largest mean, and in that the largest value, so that a single spike does not decide.

    Args: energies_px: (num_frames,), from the frame after the onset to the offset.
    """
    count = len(energies_px)
    drift_px = DRIFT_SHARE * np.mean(energies_px[-2:]) if count > 3 else 0.0
    curve = energies_px - drift_px * np.arange(1, count + 1) / count
    width = max(1, round(WINDOW_SHARE * count))
    means = np.convolve(curve, np.ones(width) / width, "valid")
    first = int(np.argmax(means))
    return first + int(np.argmax(curve[first : first + width]))


def spot_apex(
    onset: np.ndarray,
    frames: Iterable[np.ndarray],
    flow_estimator: Estimator | None = None,
) -> int:
    """Index of the apex among `frames`, see `energy_curve` and `spot_in_curve`."""
    return spot_in_curve(energy_curve(onset, frames, flow_estimator))
