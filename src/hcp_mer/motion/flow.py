"""Flow estimators by name: two frames in, raw flow in px out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.model.frames_hcp_mer import check_trackable
from hcp_mer.motion.methods import NETWORK_BATCH, MotionMethod, device, made


class Estimator(MotionMethod):
    """A way to measure flow. `ESTIMATORS` has all by name: a new one is one class and one line.

    Frames are uint8 RGB (H, W, 3) of one size, at least 32 px a side; a flow is float32 (H, W, 2)
    in px, dx then dy, head motion left in. Raises ValueError for other frames.
    """

    def __call__(self, onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        """Raw flow from onset to apex."""
        return self.many([onset], [apex])[0]

    def many(self, onsets: Sequence[np.ndarray], apexes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The flow of each pair; frames of one size throughout."""
        for onset, apex in zip(onsets, apexes, strict=True):
            check_trackable(onset, apex)
        return [self._measure(onset, apex) for onset, apex in zip(onsets, apexes, strict=True)]

    def _measure(self, onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class LucasKanade(Estimator):
    """The default, see `estimate_flow`: Lucas and Kanade's equations, solved for the whole face.

    It alone travels with a checkpoint.
    """

    def _measure(self, onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        return estimate_flow(onset, apex)


class _OnGrey(Estimator):
    def _measure(self, onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (onset, apex)]
        return self._measure_grey(*grey)

    def _measure_grey(self, onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class DenseInverseSearch(_OnGrey):
    """Kroeger et al. (2016), OpenCV's medium preset.

    Fast and good for large movements, but under sensor noise its error at 0.05 px exceeds that of
    predicting no motion: a baseline here.
    """

    def _measure_grey(self, onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        return search.calc(onset, apex, None)


class Farneback(_OnGrey):
    """Farnebäck (2003), OpenCV's, in windows of 15 px."""

    def _measure_grey(self, onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        return cv2.calcOpticalFlowFarneback(
            onset, apex, None, pyr_scale=0.5, levels=3, winsize=15, iterations=5, poly_n=7,
            poly_sigma=1.5, flags=0,
        )  # fmt: skip


class TVL1(_OnGrey):
    """Zach et al. (2007), of OpenCV's contributed modules, where they are installed."""

    def __init__(self, weights: None = None) -> None:
        super().__init__(weights)
        if not hasattr(cv2, "optflow"):
            raise UserError(
                "flow estimator tvl1 needs OpenCV's contributed modules: pip uninstall -y "
                "opencv-python && pip install opencv-contrib-python, which holds both."
            )
        self._method = cv2.optflow.DualTVL1OpticalFlow_create()

    def _measure_grey(self, onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
        return self._method.calc(onset, apex, None)


class FlowNet2(Estimator):
    """FlowNet 2.0 (Ilg et al. 2017), the paper's, from its published weights."""

    needs_weights = True

    def __init__(self, weights: str | Path) -> None:
        super().__init__(weights)
        from hcp_mer.motion.flownet2 import load_flownet2

        self._network = load_flownet2(weights).to(device())
        self.variant = self._network.variant
        self.batch = NETWORK_BATCH[device()]

    def many(self, onsets: Sequence[np.ndarray], apexes: Sequence[np.ndarray]) -> list[np.ndarray]:
        import torch

        for onset, apex in zip(onsets, apexes, strict=True):
            check_trackable(onset, apex)
        frames = np.stack([np.stack(onsets), np.stack(apexes)], axis=1)  # (N, 2, H, W, 3)
        with torch.inference_mode():
            tensor = torch.from_numpy(frames).to(device()).permute(0, 4, 1, 2, 3).float()
            flows_px = self._network(tensor).permute(0, 2, 3, 1).cpu().numpy()
        return [np.ascontiguousarray(flow_px) for flow_px in flows_px]


ESTIMATORS: Mapping[str, type[Estimator]] = {
    "lucas_kanade": LucasKanade,
    "dis": DenseInverseSearch,
    "farneback": Farneback,
    "tvl1": TVL1,
    "flownet2": FlowNet2,
}
DEFAULT_ESTIMATOR = "lucas_kanade"


def estimator(name: str = DEFAULT_ESTIMATOR, weights: str | None = None) -> Estimator:
    """The estimator of that name, one for each process; networks are loaded here.

    Raises UserError with the closest name if there is none, and where weights are missing, not
    wanted, or another network's.
    """
    return made("flow estimator", ESTIMATORS, name, weights)
