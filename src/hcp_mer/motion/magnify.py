"""Magnifiers by name: onset, apex and their flow in, magnified apex out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hcp_mer.model.frames_hcp_mer import check_alpha, check_frame_pair
from hcp_mer.model.magnification_hcp_mer import magnify
from hcp_mer.motion.methods import NETWORK_BATCH, MotionMethod, device, made


class Magnifier(MotionMethod):
    """A way to magnify motion. `MAGNIFIERS` has all by name: a new one is one class and one line.

    α = 1 returns the apex unchanged, whatever the method. Frames are uint8 RGB (H, W, 3) of one
    size, a flow is float32 (H, W, 2) in px. Raises ValueError for other frames or α < 1.
    """

    def __call__(
        self, onset: np.ndarray, apex: np.ndarray, flow_px: np.ndarray, alpha: float
    ) -> np.ndarray:
        """The apex with α times its motion since the onset, uint8 (H, W, 3)."""
        return self.many([onset], [apex], [flow_px], [alpha])[0]

    def many(
        self,
        onsets: Sequence[np.ndarray],
        apexes: Sequence[np.ndarray],
        flows_px: Sequence[np.ndarray],
        alphas: Sequence[float],
    ) -> list[np.ndarray]:
        """The magnified apex of each clip; frames of one size throughout."""
        for onset, apex, alpha in zip(onsets, apexes, alphas, strict=True):
            check_alpha(alpha)
            check_frame_pair(onset, apex)
        return self._magnified(onsets, apexes, flows_px, alphas)

    def _magnified(self, onsets, apexes, flows_px, alphas) -> list[np.ndarray]:
        raise NotImplementedError


class Lagrangian(Magnifier):
    """The apex warped along the flow, see `magnify`; the onset is not needed. Travels."""

    def _magnified(self, onsets, apexes, flows_px, alphas) -> list[np.ndarray]:
        return [magnify(*given) for given in zip(apexes, flows_px, alphas, strict=True)]


class Eulerian(Magnifier):
    """Linear Eulerian magnification (Wu et al. 2012) of two frames: onset + α·(apex − onset).

    It needs no flow, but multiplies noise by α and breaks where α·|u| nears the size of the
    texture; it leaves head motion in. Clipped to uint8.
    """

    def _magnified(self, onsets, apexes, flows_px, alphas) -> list[np.ndarray]:
        magnified = []
        for onset, apex, alpha in zip(onsets, apexes, alphas, strict=True):
            start = onset.astype(np.float64)
            levels = start + alpha * (apex - start)
            magnified.append(np.rint(np.clip(levels, 0, 255)).astype(np.uint8))
        return magnified


class MagNetMagnifier(Magnifier):
    """MagNet (Oh et al. 2018), the paper's, from its published weights; the flow is not needed.

    It reads onset and apex. The authors' amplification is α; their ports mean α − 1 by theirs.
    """

    needs_weights = True

    def __init__(self, weights: str | Path) -> None:
        super().__init__(weights)
        from hcp_mer.motion.magnet import load_magnet

        self._network = load_magnet(weights).to(device())
        self.variant = self._network.variant
        self.batch = NETWORK_BATCH[device()]

    def _magnified(self, onsets, apexes, flows_px, alphas) -> list[np.ndarray]:
        import torch

        from hcp_mer.motion.magnet_video import from_network, to_network

        amplification = torch.tensor(alphas, dtype=torch.float32) - 1 + self._network.unchanged_at
        with torch.inference_mode():
            frames = [to_network(np.stack(given), self._network) for given in (onsets, apexes)]
            answers = self._network(*frames, amplification.to(frames[0].device))
        return [
            apex.copy() if alpha == 1 else from_network(answer[None])
            for apex, alpha, answer in zip(apexes, alphas, answers, strict=True)
        ]


MAGNIFIERS: Mapping[str, type[Magnifier]] = {
    "lagrangian": Lagrangian,
    "eulerian": Eulerian,
    "magnet": MagNetMagnifier,
}
DEFAULT_MAGNIFIER = "lagrangian"


def magnifier(name: str = DEFAULT_MAGNIFIER, weights: str | None = None) -> Magnifier:
    """The magnifier of that name, one for each process; networks are loaded here.

    Raises UserError with the closest name if there is none, and where weights are missing, not
    wanted, or another network's.
    """
    return made("magnifier", MAGNIFIERS, name, weights)
