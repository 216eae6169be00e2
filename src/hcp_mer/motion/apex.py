"""Apex spotting, for clips that carry no annotated apex: the frame that moved most."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.face_regions_hcp_mer import face_mask
from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.model.frames_hcp_mer import resize_frame
from hcp_mer.model.motion_hcp_mer import FlowEstimator
from hcp_mer.model.registration_hcp_mer import remove_head_motion

SPOTTING_WIDTH_PX = 112  # twice as wide costs four times the time and finds the apex no better
DRIFT_SHARE = 0.5  # of the energy at the end of the clip that is taken for drift, see spot_in_curve
WINDOW_SHARE = 0.2  # of the clip's length


def motion_energy(
    onset: np.ndarray, frame: np.ndarray, flow_estimator: FlowEstimator = estimate_flow
) -> float:
    """Mean |flow| in px over the face, from onset to frame, head motion taken out.

    Args: uint8 RGB frames of one size. The mean is weighted by `face_mask`.
    Raises ValueError for frames that the estimator refuses.
    """
    mask = face_mask(*onset.shape[:2])
    flow_px = remove_head_motion(flow_estimator(onset, frame), mask)
    return float(np.average(np.linalg.norm(flow_px, axis=-1), weights=mask))


def energy_curve(
    onset: np.ndarray,
    frames: Iterable[np.ndarray],
    flow_estimator: FlowEstimator = estimate_flow,
) -> np.ndarray:
    """The motion energy of each frame, (num_frames,) in px of the frames as they are given.

    Measured on frames shrunk to 112 px. They are taken one by one, so a generator keeps a single
    one in memory. Raises UserError where there are none.
    """
    size = min(SPOTTING_WIDTH_PX, onset.shape[1])
    small = resize_frame(onset, size)
    energies = [motion_energy(small, resize_frame(f, size), flow_estimator) for f in frames]
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
    flow_estimator: FlowEstimator = estimate_flow,
) -> int:
    """Index of the apex among `frames`, see `energy_curve` and `spot_in_curve`."""
    return spot_in_curve(energy_curve(onset, frames, flow_estimator))
