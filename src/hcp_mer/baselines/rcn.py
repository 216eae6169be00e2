"""RCN-A: a recurrent convolution with an attention map that has no weights of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcp_mer.baselines.networks import Dropout, NetworkPeer, Training
from hcp_mer.baselines.views import flow_levels
from hcp_mer.training.loso import LosoRun

_MAPS = 32
_POOLED = 5  # side of the map that the classifier reads
_LEAST_RANGE = 1e-6  # of an attention map: where everything is equal, it is 0


class Rcn(NetworkPeer):
    """RCN-A (Xia et al., TIP 2020, arXiv 2006.09674): 15,331 weights at three classes.

    Architecture as in the authors' MeNets.py (RCN_A, version 3;
    github.com/xiazhaoqiang/ParameterFreeRCNs-MicroExpressionRec) with the 32 maps and the 5×5 pool
    of their README; gradient descent at 5e-4, halved every 10 epochs, batches of 64 and 100 epochs
    are the defaults of their training script, where the last epoch counts, as here. The size of
    their input is not in the code: 60 px is ours, and so are balanced classes and mirrored clips. A
    fold of 214 training clips takes under two minutes of one core.
    """

    name = "rcn"
    training = Training(
        epochs=100, batch_size=64, learning_rate=5e-4, momentum=0.9, decay=0.5, decay_epochs=10
    )
    side_px = 60
    folds_on_gpu = 16

    def network(self, num_classes: int) -> nn.Module:
        return RecurrentNetwork(num_classes, self.side_px)

    def read(self, run: LosoRun) -> np.ndarray:
        """The authors' images have values from 0 to 1; ours are centred, as wide."""
        return flow_levels(run, self.side_px) / 255


class RecurrentNetwork(nn.Module):
    """A convolution, a recurrent one, and attention over what the classifier reads."""

    def __init__(self, num_classes: int, side_px: int = 60) -> None:
        super().__init__()
        half, quarter = (side_px - 4) // 2, (side_px - 4) // 4
        self.first = nn.Sequential(
            *_convolution(3, 5, padding=0), nn.MaxPool2d(2), Dropout((_MAPS, half, half))
        )
        self.feed_forward = nn.Sequential(*_convolution(_MAPS, 1, padding=0))
        self.recurrent = nn.Sequential(*_convolution(_MAPS, 3, padding=1))
        self.shrink = nn.Sequential(nn.MaxPool2d(2), Dropout((_MAPS, quarter, quarter)))
        self.classifier = nn.Linear(_MAPS * _POOLED**2, num_classes)
        self.apply(_initialise)

    def forward(self, flow: Tensor) -> Tensor:
        """Levels (batch, 3, side, side) to logits (batch, num_classes)."""
        features = self.first(flow)  # (batch, maps, half, half)
        attention = self.attention(F.adaptive_avg_pool2d(features, _POOLED))
        state = self.feed_forward(features)
        for _ in range(2):
            state = self.recurrent(features + state)
        state = F.adaptive_avg_pool2d(self.shrink(state), _POOLED)
        return self.classifier((state * attention).flatten(1))

    def attention(self, features: Tensor) -> Tensor:
        """Where the classifier's own weights answer, from 0 to 1: (batch, 1, 5, 5).

        One map per class, each stretched to 0…1, then their mean.
        """
        weights = self.classifier.weight.unflatten(1, features.shape[1:])
        maps = torch.einsum("kchw,nchw->nkhw", weights, features) / features.shape[1]
        maps = maps - maps.amin((-2, -1), keepdim=True)
        maps = maps / maps.amax((-2, -1), keepdim=True).clamp_min(_LEAST_RANGE)
        return maps.mean(1, keepdim=True)


def _convolution(num_inputs: int, size: int, padding: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(num_inputs, _MAPS, size, padding=padding)
    return convolution, nn.BatchNorm2d(_MAPS), nn.ReLU()


def _initialise(layer: nn.Module) -> None:
    """The authors' initial weights."""
    if isinstance(layer, nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(layer, nn.Linear):
        nn.init.normal_(layer.weight, std=0.01)
        nn.init.zeros_(layer.bias)
