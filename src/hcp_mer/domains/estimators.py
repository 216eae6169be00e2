"""How the unseen domains measure flow and show it: other estimators, another stretch."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.frames_hcp_mer import check_flow
from hcp_mer.motion.flow import ESTIMATORS, Estimator
from hcp_mer.motion.methods import chosen


class _OfScikitImage(Estimator):
    """scikit-image's estimators on grey frames in 0…1; they give rows first."""

    def __init__(self, weights: None = None) -> None:
        super().__init__(weights)
        try:
            import skimage.registration  # noqa: F401
        except ImportError:
            raise UserError(
                'this flow estimator needs scikit-image: pip install "hcp_mer[face]"'
            ) from None

    def _measure(self, onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        first, second = (
            cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
            for frame in (onset, apex)
        )
        down_px, across_px = self._rows_and_columns(first, second)
        return np.stack([across_px, down_px], axis=-1).astype(np.float32)

    def _rows_and_columns(self, onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class SkimageTVL1(_OfScikitImage):
    """Zach et al. (2007), scikit-image's, by its defaults."""

    def _rows_and_columns(self, onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        from skimage.registration import optical_flow_tvl1

        return optical_flow_tvl1(onset, apex)


class SkimageILK(_OfScikitImage):
    """Iterative Lucas–Kanade (Le Besnerais & Champagnat 2005), scikit-image's, by its defaults."""

    def _rows_and_columns(self, onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        from skimage.registration import optical_flow_ilk

        return optical_flow_ilk(onset, apex)


DOMAIN_ESTIMATORS: Mapping[str, type[Estimator]] = {
    **ESTIMATORS,
    "skimage_tvl1": SkimageTVL1,
    "skimage_ilk": SkimageILK,
}


def domain_estimator(name: str) -> Estimator:
    """The estimator of that name. Raises UserError with the closest name if there is none."""
    return chosen("flow estimator", DOMAIN_ESTIMATORS, name)()


def stretched_image(flow_px: np.ndarray, side: int) -> np.ndarray:
    """u, v and optical strain at `side` px, each channel min–max stretched on its own, uint8.

    So flow images are often published: zero and magnitude are lost, head motion is in. Strain is
    Shreve et al.'s (2011), taken at the small size by central differences. A channel that is
    constant becomes 0.

    Args: float32 (H, W, 2). Returns: (side, side, 3).
    """
    check_flow(flow_px)
    small = cv2.resize(flow_px, (side, side), interpolation=cv2.INTER_AREA)
    (u_y, u_x), (v_y, v_x) = (np.gradient(small[..., axis]) for axis in (0, 1))
    strain = np.sqrt(u_x**2 + v_y**2 + (u_y + v_x) ** 2 / 2)
    channels = np.dstack([small, strain]).astype(np.float64)
    low, high = channels.min(axis=(0, 1)), channels.max(axis=(0, 1))
    spread = np.where(high > low, high - low, 1)
    return np.rint(255 * (channels - low) / spread).astype(np.uint8)
