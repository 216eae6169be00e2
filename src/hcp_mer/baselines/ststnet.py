"""STSTNet: three shallow streams over u, v and strain."""

from __future__ import annotations

from torch import Tensor, nn

from hcp_mer.baselines.networks import Dropout, NetworkPeer, Training

_MAPS = (3, 5, 8)  # of the three streams


class StstNet(NetworkPeer):
    """STSTNet (Liong et al., FG 2019, arXiv 1902.03634): 1,683 weights at three classes.

    Architecture, Adam at 5e-5, batches of 256 and 800 epochs are those of the authors' main.py
    (github.com/christy1206/STSTNet), where the last epoch counts, as here. Ours: u and v are
    centred, so that the padding is no motion; classes are balanced; clips are mirrored. A fold of
    214 training clips takes about a minute of one core.
    """

    name = "ststnet"
    training = Training(epochs=800, batch_size=256, learning_rate=5e-5)
    side_px = 28
    folds_on_gpu = 16

    def network(self, num_classes: int) -> nn.Module:
        return ThreeStreams(num_classes, self.side_px)


class ThreeStreams(nn.Module):
    """Three streams over the same input, each convolution, ReLU, BatchNorm, pooling and dropout.

    All of these act map by map: the streams are one convolution of 3 + 5 + 8 maps.
    """

    def __init__(self, num_classes: int, side_px: int = 28) -> None:
        super().__init__()
        maps, pooled = sum(_MAPS), (side_px + 4) // 3
        self.streams = nn.Sequential(
            nn.Conv2d(3, maps, 3, padding=2),
            nn.ReLU(),
            nn.BatchNorm2d(maps),
            nn.MaxPool2d(3, stride=3, padding=1),
            Dropout((maps, pooled, pooled)),
            nn.AvgPool2d(2),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(maps * (pooled // 2) ** 2, num_classes)

    def forward(self, flow: Tensor) -> Tensor:
        """Levels (batch, 3, side, side) to logits (batch, num_classes)."""
        return self.classifier(self.streams(flow))
