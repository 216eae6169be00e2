"""AlexNet, from scratch."""

from __future__ import annotations

from typing import Literal

import numpy as np
from torch import Tensor, nn

from hcp_mer.baselines.networks import Dropout, NetworkPeer, Training
from hcp_mer.baselines.views import face_shares, flow_levels, why_no_flow
from hcp_mer.training.loso import LosoRun

_POOLED = 6
_WIDTH = 4096


class AlexNet(NetworkPeer):
    """AlexNet (Krizhevsky, 2014, "One weird trick") as a peer in Zhang & Zhang (2022).

    The layers are torchvision's, 57,016,131 weights at three classes. It starts from scratch: the
    weights learnt on ImageNet, which others start from, are not here. Adam at 5e-5, batches of 256
    and 800 epochs are those of the AlexNet in HTNet's repository (Alex_for_three_datasets.py),
    where the last epoch counts, as here; we know of no code with Zhang & Zhang's own. Balanced
    classes and mirrored clips: ours. 214 training clips take about two hours of one core (9.6 s a
    step): it wants a GPU.

    Args: `view`, "flow" or "magnified", the apex.
    """

    name = "alexnet"
    training = Training(epochs=800, batch_size=256, learning_rate=5e-5)
    side_px = 224

    def __init__(
        self, epochs: int | None = None, view: Literal["flow", "magnified"] = "flow"
    ) -> None:
        super().__init__(epochs)
        self.view = view

    def network(self, num_classes: int) -> nn.Module:
        return AlexLayers(num_classes)

    def read(self, run: LosoRun) -> np.ndarray:
        """Values of about −1 to 1: without a norm inside, AlexNet is sensitive to their size."""
        if self.view == "flow":
            return flow_levels(run, self.side_px) / 127
        return 2 * face_shares(run, self.side_px) - 1

    def mirrored(self, inputs: Tensor) -> Tensor:
        return super().mirrored(inputs) if self.view == "flow" else inputs.flip(-1)

    def why_not(self, run: LosoRun) -> str | None:
        return why_no_flow(run) if self.view == "flow" else None


class AlexLayers(nn.Module):
    """Five convolutions and three dense layers."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
            *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
            nn.AdaptiveAvgPool2d(_POOLED),
            nn.Flatten(),
        )
        num_features = 256 * _POOLED**2
        self.classifier = nn.Sequential(
            *(Dropout((num_features,)), nn.Linear(num_features, _WIDTH), nn.ReLU()),
            *(Dropout((_WIDTH,)), nn.Linear(_WIDTH, _WIDTH), nn.ReLU()),
            nn.Linear(_WIDTH, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, side, side), 64 px or more a side, to logits (batch, num_classes)."""
        return self.classifier(self.features(images))
