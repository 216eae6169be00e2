"""The networks of FlowNet 2.0 (Ilg et al. 2017), with the parameter names of NVIDIA's release.

S, C and SD read a pair alone; CS, CSS and FlowNet2 stack them, each warping the second frame by
what the one before it found. `ARRANGEMENTS` lists all six. Every arrangement has `flow_px`, from
normalised frames (N, 6, H, W), H and W multiples of 64, to flow (N, 2, H, W) in px.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcp_mer.motion.flownet2_operations import channel_norm, correlation, resample

SCALE = 20.0  # networks answer in twentieths of a pixel: small numbers train better


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, size, stride, padding=(size - 1) // 2)
    return nn.Sequential(convolution, nn.LeakyReLU(0.1))


def linear_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Without activation, in a list of its own: so the published names have it."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1))


def deconv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(0.1))


def doubled_flow(bias: bool = True) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=bias)


def flow_of(inputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, 2, 3, padding=1)


class _Pyramid(nn.Module):
    """What S, C and SD share: from conv3_1 down to 1/64 of the size, and back up to a quarter."""

    refines = False  # SD smooths its features before it reads flow from them

    def _add_lower_layers(self, doubling_bias: bool) -> None:
        self.conv4, self.conv4_1 = conv(256, 512, stride=2), conv(512, 512)
        self.conv5, self.conv5_1 = conv(512, 512, stride=2), conv(512, 512)
        self.conv6, self.conv6_1 = conv(512, 1024, stride=2), conv(1024, 1024)
        self.predict_flow6 = flow_of(1024)
        inputs = 1024
        for level, skip, outputs in ((5, 512, 512), (4, 512, 256), (3, 256, 128), (2, 128, 64)):
            setattr(self, f"deconv{level}", deconv(inputs, outputs))
            setattr(self, f"upsampled_flow{level + 1}_to_{level}", doubled_flow(doubling_bias))
            inputs = skip + outputs + 2
            if self.refines:
                setattr(self, f"inter_conv{level}", linear_conv(inputs, outputs))
            width = outputs if self.refines else inputs
            setattr(self, f"predict_flow{level}", flow_of(width))

    def _flows(self, level2: Tensor, level3: Tensor) -> tuple[Tensor, ...]:
        """Flow at 1/4, 1/8 … 1/64 of the size, in units of 20 px, from features at 1/4 and 1/8."""
        level4 = self.conv4_1(self.conv4(level3))
        level5 = self.conv5_1(self.conv5(level4))
        features = self.conv6_1(self.conv6(level5))
        flows = [self.predict_flow6(features)]
        for level, skip in ((5, level5), (4, level4), (3, level3), (2, level2)):
            doubled = self.get_submodule(f"upsampled_flow{level + 1}_to_{level}")(flows[0])
            features = self.get_submodule(f"deconv{level}")(features)
            features = torch.cat([skip, features, doubled], dim=1)
            smooth = self.get_submodule(f"inter_conv{level}") if self.refines else nn.Identity()
            flows.insert(0, self.get_submodule(f"predict_flow{level}")(smooth(features)))
        return tuple(flows)

    def flow_px(self, images: Tensor) -> Tensor:
        return _quadrupled(SCALE * self(images)[0], "bilinear")


class FlowNetS(_Pyramid):
    """Frames concatenated and convolved. With 12 channels, it corrects another network's flow."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.conv1 = conv(channels, 64, 7, 2)
        self.conv2 = conv(64, 128, 5, 2)
        self.conv3, self.conv3_1 = conv(128, 256, 5, 2), conv(256, 256)
        self._add_lower_layers(doubling_bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, channels, H, W) → flow at 1/4 … 1/64 of the size, five of (N, 2, h, w)."""
        level2 = self.conv2(self.conv1(images))
        return self._flows(level2, self.conv3_1(self.conv3(level2)))


class FlowNetC(_Pyramid):
    """Each frame's features first, then their correlation at 441 displacements."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (
            conv(3, 64, 7, 2),
            conv(64, 128, 5, 2),
            conv(128, 256, 5, 2),
        )
        self.conv_redir = conv(256, 32, 1)
        self.conv3_1 = conv(473, 256)
        self._add_lower_layers(doubling_bias=True)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, 6, H, W) → flow at 1/4 … 1/64 of the size, five of (N, 2, h, w)."""
        level2, other2 = (self.conv2(self.conv1(image)) for image in images.chunk(2, dim=1))
        level3, other3 = self.conv3(level2), self.conv3(other2)
        likeness = F.leaky_relu(correlation(level3, other3), 0.1)
        level3 = self.conv3_1(torch.cat([self.conv_redir(level3), likeness], dim=1))
        return self._flows(level2, level3)


class FlowNetSD(_Pyramid):
    """For small displacements: 3 × 3 kernels, and features smoothed before flow is read."""

    refines = True

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = conv(6, 64)
        self.conv1, self.conv1_1 = conv(64, 64, stride=2), conv(64, 128)
        self.conv2, self.conv2_1 = conv(128, 128, stride=2), conv(128, 128)
        self.conv3, self.conv3_1 = conv(128, 256, stride=2), conv(256, 256)
        self._add_lower_layers(doubling_bias=True)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(N, 6, H, W) → flow at 1/4 … 1/64 of the size, five of (N, 2, h, w)."""
        level1 = self.conv1_1(self.conv1(self.conv0(images)))
        level2 = self.conv2_1(self.conv2(level1))
        return self._flows(level2, self.conv3_1(self.conv3(level2)))


class FlowNetFusion(nn.Module):
    """Chooses between the flow for large and for small displacements, at full size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = conv(11, 64)
        self.conv1, self.conv1_1 = conv(64, 64, stride=2), conv(64, 128)
        self.conv2, self.conv2_1 = conv(128, 128, stride=2), conv(128, 128)
        self.deconv1, self.deconv0 = deconv(128, 32), deconv(162, 16)
        self.inter_conv1, self.inter_conv0 = linear_conv(162, 32), linear_conv(82, 16)
        self.predict_flow2, self.predict_flow1 = flow_of(128), flow_of(32)
        self.predict_flow0 = flow_of(16)
        self.upsampled_flow2_to_1, self.upsampled_flow1_to_0 = doubled_flow(), doubled_flow()

    def forward(self, evidence: Tensor) -> Tensor:
        """(N, 11, H, W) → flow (N, 2, H, W) in px."""
        level0 = self.conv0(evidence)
        level1 = self.conv1_1(self.conv1(level0))
        level2 = self.conv2_1(self.conv2(level1))
        flow = self.upsampled_flow2_to_1(self.predict_flow2(level2))
        features = torch.cat([level1, self.deconv1(level2), flow], dim=1)
        flow = self.upsampled_flow1_to_0(self.predict_flow1(self.inter_conv1(features)))
        features = torch.cat([level0, self.deconv0(features), flow], dim=1)
        return self.predict_flow0(self.inter_conv0(features))


class FlowNet2CS(nn.Module):
    """C, then S on what C left over."""

    def __init__(self) -> None:
        super().__init__()
        self.flownetc, self.flownets_1 = FlowNetC(), FlowNetS(12)

    def flow_px(self, images: Tensor) -> Tensor:
        return _quadrupled(self._corrected_once(images), "bilinear")

    def _corrected_once(self, images: Tensor) -> Tensor:
        """In px at a quarter of the size."""
        flow_px = _quadrupled(SCALE * self.flownetc(images)[0], "bilinear")
        return SCALE * self.flownets_1(_left_over(images, flow_px))[0]


class FlowNet2CSS(FlowNet2CS):
    """C, then S twice."""

    def __init__(self) -> None:
        super().__init__()
        self.flownets_2 = FlowNetS(12)

    def flow_px(self, images: Tensor) -> Tensor:
        flow_px = _quadrupled(self._corrected_once(images), "bilinear")
        # Nearest here and not bilinear: so the published weights were trained.
        return _quadrupled(SCALE * self.flownets_2(_left_over(images, flow_px))[0], "nearest")


class FlowNet2(FlowNet2CSS):
    """CSS for large displacements, SD for small ones, and their fusion."""

    def __init__(self) -> None:
        super().__init__()
        self.flownets_d, self.flownetfusion = FlowNetSD(), FlowNetFusion()

    def flow_px(self, images: Tensor) -> Tensor:
        large_px = super().flow_px(images)
        # Divided, where the other networks multiply: SD was trained in units of 1/20 px here.
        small_px = _quadrupled(self.flownets_d(images)[0] / SCALE, "nearest")
        onset, apex = images.chunk(2, dim=1)
        flows = [small_px, large_px]
        lengths = [channel_norm(flow_px) for flow_px in flows]
        misfits = [channel_norm(onset - resample(apex, flow_px)) for flow_px in flows]
        return self.flownetfusion(torch.cat([onset, *flows, *lengths, *misfits], dim=1))


ARRANGEMENTS: dict[str, type[nn.Module]] = {
    "FlowNet2": FlowNet2,
    "FlowNet2-CSS": FlowNet2CSS,
    "FlowNet2-CS": FlowNet2CS,
    "FlowNet2-C": FlowNetC,
    "FlowNet2-SD": FlowNetSD,
    "FlowNet2-S": FlowNetS,
}


def _quadrupled(flow: Tensor, mode: str) -> Tensor:
    corners = {"align_corners": False} if mode == "bilinear" else {}
    return F.interpolate(flow, scale_factor=4, mode=mode, **corners)


def _left_over(images: Tensor, flow_px: Tensor) -> Tensor:
    """Both frames, the second one warped back, the flow, and what still differs: 12 channels."""
    onset, apex = images.chunk(2, dim=1)
    warped = resample(apex, flow_px)
    return torch.cat([images, warped, flow_px / SCALE, channel_norm(onset - warped)], dim=1)
