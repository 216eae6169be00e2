"""MagNet (Oh et al. 2018): one network, three public variants.

Texture and shape of each frame are encoded apart; the manipulator magnifies how the shape changed,
the decoder paints the second frame's texture in the magnified shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Variant:
    """How a public implementation differs from the others.

    Attributes:
        bias: whether convolutions have one.
        pads_as_tensorflow: strided convolutions see zeros below and right, not a reflection.
        has_shape_conv: one before the shape's residual blocks.
        manipulator_size: of the manipulator's first kernel, px of the shape.
        has_texture_conv: one after the texture is doubled.
        has_upsample_conv: one after the decoder's blocks are doubled.
        unchanged_at: the amplification that means no change: the authors multiply by α − 1, the
            ports by what they are given.
    """

    bias: bool
    pads_as_tensorflow: bool
    has_shape_conv: bool
    manipulator_size: int
    has_texture_conv: bool
    has_upsample_conv: bool
    unchanged_at: float


VARIANTS = {
    "official": Variant(
        bias=False,
        pads_as_tensorflow=True,
        has_shape_conv=False,
        manipulator_size=7,
        has_texture_conv=True,
        has_upsample_conv=False,
        unchanged_at=1.0,
    ),
    "zhengpeng7": Variant(
        bias=False,
        pads_as_tensorflow=False,
        has_shape_conv=True,
        manipulator_size=3,
        has_texture_conv=False,
        has_upsample_conv=False,
        unchanged_at=0.0,
    ),
    "postech": Variant(
        bias=True,
        pads_as_tensorflow=False,
        has_shape_conv=True,
        manipulator_size=7,
        has_texture_conv=True,
        has_upsample_conv=True,
        unchanged_at=0.0,
    ),
}


class MagNetNetwork(nn.Module):
    """Encoder, manipulator and decoder; frames (N, 3, H, W) in [−1, 1], multiples of 4 px."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.unchanged_at = variant.unchanged_at
        self.encoder = Encoder(variant)
        self.manipulator = Manipulator(variant)
        self.decoder = Decoder(variant)

    def forward(self, frame_a: Tensor, frame_b: Tensor, amplification: Tensor) -> Tensor:
        """Frame B with its motion since A amplified, (N, 3, H, W), unclipped.

        Args: amplification: (N, 1, 1, 1), as the variant's authors count it.
        """
        texture, shape = self.encoder(frame_b)
        _, shape_before = self.encoder(frame_a)
        change = self.magnified_change(shape - shape_before, amplification)
        return self.decoder(texture, shape + change)

    def magnified_change(self, change: Tensor, amplification: Tensor) -> Tensor:
        """What to add to a shape so that a change of it is amplified, (N, 32, H/2, W/2)."""
        return self.manipulator(change, amplification - self.unchanged_at)


class Encoder(nn.Module):
    """A frame → texture (N, 32, H/4, W/4) and shape (N, 32, H/2, W/2)."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.pads_as_tensorflow = variant.pads_as_tensorflow
        self.conv1 = _conv(3, 16, 7, variant)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, bias=variant.bias)
        self.residual = _blocks(3, 32, variant)
        self.texture_conv = nn.Conv2d(32, 32, 3, stride=2, bias=variant.bias)
        self.texture_residual = _blocks(2, 32, variant)
        if variant.has_shape_conv:
            self.shape_conv = _conv(32, 32, 3, variant)
        self.shape_residual = _blocks(2, 32, variant)

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        features = F.relu(self.conv2(self._padded(F.relu(self.conv1(frame)))))
        features = self.residual(features)
        texture = F.relu(self.texture_conv(self._padded(features)))
        if hasattr(self, "shape_conv"):
            features = F.relu(self.shape_conv(features))
        return self.texture_residual(texture), self.shape_residual(features)

    def _padded(self, features: Tensor) -> Tensor:
        """For a 3 × 3 convolution of stride 2 on an even size."""
        if self.pads_as_tensorflow:
            return F.pad(features, (0, 1, 0, 1))
        return F.pad(features, (1, 1, 1, 1), mode="reflect")


class Manipulator(nn.Module):
    """h(gain · g(change)): g finds what moved, h turns it into shape."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.conv1 = _conv(32, 32, variant.manipulator_size, variant)
        self.conv2 = _conv(32, 32, 3, variant)
        self.residual = _blocks(1, 32, variant)

    def forward(self, change: Tensor, gain: Tensor) -> Tensor:
        return self.residual(self.conv2(gain * F.relu(self.conv1(change))))


class Decoder(nn.Module):
    """Texture and shape → a frame (N, 3, H, W)."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        if variant.has_texture_conv:
            self.texture_conv = _conv(32, 32, 3, variant)
        self.residual = _blocks(9, 64, variant)
        if variant.has_upsample_conv:
            self.upsample_conv = _conv(64, 64, 3, variant)
        self.conv1 = _conv(64, 32, 3, variant)
        self.conv2 = _conv(32, 3, 7, variant)

    def forward(self, texture: Tensor, shape: Tensor) -> Tensor:
        texture = F.interpolate(texture, scale_factor=2, mode="nearest")
        if hasattr(self, "texture_conv"):
            texture = F.relu(self.texture_conv(texture))
        features = self.residual(torch.cat([texture, shape], dim=1))
        features = F.interpolate(features, scale_factor=2, mode="nearest")
        if hasattr(self, "upsample_conv"):
            features = F.relu(self.upsample_conv(features))
        return self.conv2(F.relu(self.conv1(features)))


class ResidualBlock(nn.Module):
    def __init__(self, channels: int, variant: Variant) -> None:
        super().__init__()
        self.conv1 = _conv(channels, channels, 3, variant)
        self.conv2 = _conv(channels, channels, 3, variant)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv2(F.relu(self.conv1(features)))


def _blocks(count: int, channels: int, variant: Variant) -> nn.Sequential:
    return nn.Sequential(*[ResidualBlock(channels, variant) for _ in range(count)])


def _conv(inputs: int, outputs: int, size: int, variant: Variant) -> nn.Conv2d:
    padding = size // 2
    return nn.Conv2d(
        inputs, outputs, size, padding=padding, padding_mode="reflect", bias=variant.bias
    )
