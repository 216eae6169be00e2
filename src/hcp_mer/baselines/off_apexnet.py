"""OFF-ApexNet: one small stream over u, one over v."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hcp_mer.baselines.networks import Dropout, NetworkPeer, Training
from hcp_mer.baselines.views import flow_levels
from hcp_mer.training.loso import LosoRun

_MAPS = (6, 16)
_WIDTH = 1024
_FULL_LEVEL = 127  # of u and v


class OffApexNet(NetworkPeer):
    """OFF-ApexNet (Gan et al., 2019, arXiv 1805.08699): 2,664,475 weights at three classes.

    We know of no code by the authors. Layers are those of the reimplementation beside Off-TANet
    (github.com/ECNU-Cross-Innovation-Lab/PRICAI2021-Off-TANet, which counts 2.66 M); the ReLU after
    a convolution, Adam at 1e-4, batches of 64 and 50 epochs are ours, chosen before any score.
    """

    name = "off_apexnet"
    training = Training(epochs=50, batch_size=64, learning_rate=1e-4)
    side_px = 28

    def network(self, num_classes: int) -> nn.Module:
        return TwoStreams(num_classes, self.side_px)

    def read(self, run: LosoRun) -> np.ndarray:
        return flow_levels(run, self.side_px) / _FULL_LEVEL


class TwoStreams(nn.Module):
    """Two convolutions for u and two for v, then two dense layers over both."""

    def __init__(self, num_classes: int, side_px: int = 28) -> None:
        super().__init__()
        self.horizontal, self.vertical = _stream(), _stream()
        self.dense = nn.Sequential(
            nn.Linear(2 * _MAPS[1] * (side_px // 4) ** 2, _WIDTH),
            nn.ReLU(),
            Dropout((_WIDTH,)),
            nn.Linear(_WIDTH, _WIDTH),
            nn.ReLU(),
            Dropout((_WIDTH,)),
            nn.Linear(_WIDTH, num_classes),
        )

    def forward(self, flow: Tensor) -> Tensor:
        """u, v and strain (batch, 3, side, side) to logits; strain is not looked at."""
        streams = (self.horizontal(flow[:, :1]), self.vertical(flow[:, 1:2]))
        return self.dense(torch.cat(streams, dim=1))


def _stream() -> nn.Sequential:
    first, second = _MAPS
    return nn.Sequential(
        nn.Conv2d(1, first, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )
