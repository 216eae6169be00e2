"""CapsuleNet: capsules over the first three stages of a ResNet-18, on the apex."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcp_mer.baselines.networks import NetworkPeer, Training
from hcp_mer.baselines.views import face_shares
from hcp_mer.training.loso import LosoRun

_MAPS = 256
_KERNEL = 9
_PRIMARY_SIZE, _CLASS_SIZE = 8, 16  # numbers in a capsule
_ROUTINGS = 3
_LEAST_LENGTH = 1e-8
# The margins of the loss, and the weight of the classes that are absent.
_PRESENT, _ABSENT, _ABSENT_WEIGHT = 0.99, 0.01, 0.5


class CapsuleNet(NetworkPeer):
    """CapsuleNet (Van Quang et al., FG 2019): 13,842,496 weights at three classes.

    Architecture, margin loss, Adam at 1e-4 times 0.9 every epoch, batches of 32 and 30 epochs as in
    the authors' code (github.com/davidnvq/me_recognition). Two things are missing: their ResNet-18
    starts from ImageNet's weights (and the whole from a network for macro-expressions), ours from
    scratch; they also turn, shift and recolour, and train on frames beside the apex, ours are
    mirrored only. They see the apex as it is, ours the magnified one that the pairs hold. Their
    script keeps, for each held-out subject, the epoch that suits it best: here the last counts. 214
    training clips take about an hour of one core (16 s a step): it wants a GPU.
    """

    name = "capsulenet"
    training = Training(epochs=30, batch_size=32, learning_rate=1e-4, decay=0.9)
    side_px = 224

    def network(self, num_classes: int) -> nn.Module:
        return ApexCapsules(num_classes, self.side_px)

    def read(self, run: LosoRun) -> np.ndarray:
        return face_shares(run, self.side_px)

    def mirrored(self, inputs: Tensor) -> Tensor:
        return inputs.flip(-1)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return margin_loss(outputs, labels)

    def why_not(self, run: LosoRun) -> str | None:
        """It needs no flow."""
        return None


def margin_loss(lengths: Tensor, labels: Tensor) -> Tensor:
    """Squared shortfall of the class's capsule below 0.99, half the others' excess over 0.01.

    Args: lengths (batch, num_classes); labels (batch,). Summed over classes, averaged over clips.
    """
    present = F.one_hot(labels, lengths.shape[1])
    missed = (_PRESENT - lengths).clamp_min(0) ** 2
    claimed = (lengths - _ABSENT).clamp_min(0) ** 2
    return (present * missed + _ABSENT_WEIGHT * (1 - present) * claimed).sum(1).mean()


def squash(capsules: Tensor) -> Tensor:
    """Lengths brought below 1, directions kept (Sabour et al., 2017): (…, size), the same out."""
    squared = (capsules**2).sum(-1, keepdim=True)
    return capsules * squared / (1 + squared) / (squared + _LEAST_LENGTH**2).sqrt()


class ApexCapsules(nn.Module):
    """ResNet-18 without its first pooling and its last stage, then two layers of capsules."""

    def __init__(self, num_classes: int, side_px: int = 224) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            *(ResidualBlock(64, 64), ResidualBlock(64, 64)),
            *(ResidualBlock(64, 128, stride=2), ResidualBlock(128, 128)),
            *(ResidualBlock(128, _MAPS, stride=2), ResidualBlock(_MAPS, _MAPS)),
        )
        self.convolution = nn.Conv2d(_MAPS, _MAPS, _KERNEL)
        self.primary = nn.Conv2d(_MAPS, _MAPS, _KERNEL, stride=2)
        side = (side_px // 8 - 2 * (_KERNEL - 1) - 1) // 2 + 1
        num_primary = _MAPS // _PRIMARY_SIZE * side**2
        self.routed = RoutedCapsules(num_primary, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, side, side) to the lengths of the classes' capsules, (batch, num_classes)."""
        features = self.convolution(self.backbone(images)).relu()
        maps = self.primary(features).movedim(1, -1)  # (batch, 6, 6, 256) at 224 px
        capsules = squash(maps.unflatten(-1, (-1, _PRIMARY_SIZE)).flatten(1, -2))
        return self.routed(capsules).norm(dim=-1)


class RoutedCapsules(nn.Module):
    """One capsule for each class, from those capsules that agree with it."""

    def __init__(self, num_inputs: int, num_classes: int) -> None:
        super().__init__()
        shape = (num_classes, num_inputs, _CLASS_SIZE, _PRIMARY_SIZE)
        self.weight = nn.Parameter(0.01 * torch.randn(shape))

    def forward(self, capsules: Tensor) -> Tensor:
        """(batch, num_inputs, 8) to (batch, num_classes, 16).

        Only the last round carries gradients: the couplings before it are constants.
        """
        votes = torch.einsum("kiod,nid->nkio", self.weight, capsules)
        couplings = torch.zeros_like(votes[..., 0])  # (batch, num_classes, num_inputs)
        for _ in range(_ROUTINGS - 1):
            agreed = self._combined(couplings, votes.detach())
            couplings = couplings + (agreed[:, :, None] * votes.detach()).sum(-1)
        return self._combined(couplings, votes)

    @staticmethod
    def _combined(couplings: Tensor, votes: Tensor) -> Tensor:
        shares = couplings.softmax(dim=1)  # of each input capsule, over classes
        return squash((shares[..., None] * votes).sum(2))


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a skip (He et al., 2016)."""

    def __init__(self, num_inputs: int, maps: int, stride: int = 1) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(num_inputs, maps, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(maps),
            nn.ReLU(),
            nn.Conv2d(maps, maps, 3, padding=1, bias=False),
            nn.BatchNorm2d(maps),
        )
        self.skip = nn.Identity()
        if stride > 1:
            self.skip = nn.Sequential(
                nn.Conv2d(num_inputs, maps, 1, stride=stride, bias=False), nn.BatchNorm2d(maps)
            )

    def forward(self, features: Tensor) -> Tensor:
        return (self.convolutions(features) + self.skip(features)).relu()
