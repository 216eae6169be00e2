"""Magnifiers by name: onset, apex and their flow in, magnified apex out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.magnification_hcp_mer import magnify
from hcp_mer.model.motion_hcp_mer import Magnifier
from hcp_mer.motion.flow import chosen


def lagrangian(
    onset: np.ndarray, apex: np.ndarray, flow_px: np.ndarray, alpha: float
) -> np.ndarray:
    """The apex warped along the flow, see `magnify`; the onset is not needed."""
    return magnify(apex, flow_px, alpha)


def eulerian(onset: np.ndarray, apex: np.ndarray, flow_px: np.ndarray, alpha: float) -> np.ndarray:
    """Linear Eulerian magnification (Wu et al. 2012) of two frames: onset + α·(apex − onset).

    It needs no flow, but multiplies noise by α and breaks where α·|u| nears the size of the
    texture; it leaves head motion in. Clipped to uint8; α = 1 returns the apex unchanged.
    Raises UserError for alpha < 1 or frames of two sizes.
    """
    if alpha < 1:
        raise UserError(f"alpha must be at least 1, which changes nothing, got {alpha}.")
    if onset.shape != apex.shape:
        raise UserError(f"onset and apex must have one size, got {onset.shape} and {apex.shape}.")
    start = onset.astype(np.float64)
    return np.rint(np.clip(start + alpha * (apex - start), 0, 255)).astype(np.uint8)


MAGNIFIERS: Mapping[str, Magnifier] = {"lagrangian": lagrangian, "eulerian": eulerian}
DEFAULT_MAGNIFIER = "lagrangian"


def magnifier(name: str = DEFAULT_MAGNIFIER) -> Magnifier:
    """The magnifier of that name. Raises UserError with the closest name if there is none."""
    return chosen("magnifier", MAGNIFIERS, name)
