"""FlowNet 2.0 (Ilg et al. 2017) from its published weights: the paper's optical flow."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hcp_mer.errors import UserError
from hcp_mer.motion.flownet2_networks import ARRANGEMENTS
from hcp_mer.motion.weights import fill, read_weights

MULTIPLE_PX = 64  # six halvings
LARGEST_SIDE_PX = 1024  # larger frames are shrunk: the networks were trained on smaller ones
SMALLEST_SIDE_PX = 16

# A weight that only this arrangement has among those after it.
SIGNS = {
    "FlowNet2": "flownetfusion.conv0.0.weight",
    "FlowNet2-CSS": "flownets_2.conv1.0.weight",
    "FlowNet2-CS": "flownets_1.conv1.0.weight",
    "FlowNet2-C": "conv_redir.0.weight",
    "FlowNet2-SD": "inter_conv2.0.weight",
    "FlowNet2-S": "predict_flow2.weight",
}


class FlowNet(nn.Module):
    """A FlowNet 2.0 network that reads frames of any size.

    Frames are resized to multiples of 64, and first shrunk if a side exceeds 1024 px; the flow is
    resized back and its lengths with it. At such multiples nothing is resized.

    Attributes:
        variant: one of `ARRANGEMENTS`, such as FlowNet2-CSS.
        network: the published network, with its parameter names.
    """

    def __init__(self, variant: str, network: nn.Module) -> None:
        super().__init__()
        self.variant, self.network = variant, network

    def forward(self, frames: Tensor) -> Tensor:
        """Flow from the first frame to the second.

        Args: frames: (N, 3, 2, H, W), RGB, floats 0…255; at least 16 px a side.
        Returns: (N, 2, H, W) in px, dx then dy; float32, whatever autocast says.

        Raises UserError for another shape, another type, or values that are not finite.
        """
        _check_frames(frames)
        height, width = frames.shape[-2:]
        shrink = min(1.0, LARGEST_SIDE_PX / max(height, width))
        size = [MULTIPLE_PX * -(-round(side * shrink) // MULTIPLE_PX) for side in (height, width)]
        with torch.autocast(frames.device.type, enabled=False):
            flow_px = self.network.flow_px(_normalised(_resized(frames.float(), size)))
            if size == [height, width]:
                return flow_px
            flow_px = F.interpolate(flow_px, (height, width), mode="bilinear", align_corners=False)
            return flow_px * flow_px.new_tensor([width / size[1], height / size[0]])[:, None, None]


def load_flownet2(path: str | Path) -> FlowNet:
    """The network whose weights a file holds: NVIDIA's checkpoints, or a state_dict of theirs.

    All six arrangements are recognised by their parameters' names. Nothing in the file is run.

    Raises UserError for a file that is not such a checkpoint, in one line.
    """
    weights = read_weights(path)
    name = Path(path).name
    if any(key.endswith("running_mean") for key in weights):
        raise UserError(
            f"{name} holds a FlowNet with batch normalisation, which the published FlowNet 2.0 "
            "weights do not have: give one of those."
        )
    variant = next((variant for variant, sign in SIGNS.items() if sign in weights), None)
    if variant is None:
        first = next(iter(weights), "nothing")
        raise UserError(
            f"{name} holds no FlowNet 2.0: none of its parameters, but {first} and "
            f"{max(0, len(weights) - 1)} others. The weights must be NVIDIA's "
            f"{', '.join(ARRANGEMENTS)}."
        )
    with torch.device("meta"):
        network = ARRANGEMENTS[variant]()
    return FlowNet(variant, fill(network, weights, variant)).eval()


def _check_frames(frames: Tensor) -> None:
    if frames.dim() != 5 or tuple(frames.shape[1:3]) != (3, 2):
        raise UserError(f"frames must have shape (N, 3, 2, H, W), got {tuple(frames.shape)}.")
    if min(frames.shape[-2:]) < SMALLEST_SIDE_PX:
        raise UserError(
            f"frames must have at least {SMALLEST_SIDE_PX} px a side, got "
            f"{tuple(frames.shape[-2:])}."
        )
    if not frames.is_floating_point():
        raise UserError(f"frames must be floats 0…255, got {frames.dtype}.")
    if not torch.isfinite(frames).all():
        raise UserError("frames must be finite, got NaN or infinity.")


def _resized(frames: Tensor, size: list[int]) -> Tensor:
    """Both frames at another size: (N, 3, 2, H, W) in and out."""
    if size == list(frames.shape[-2:]):
        return frames
    images = frames.flatten(1, 2)
    images = F.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
    return images.unflatten(1, (3, 2))


def _normalised(frames: Tensor) -> Tensor:
    """(N, 6, H, W): minus each channel's mean over both frames, in units of 255."""
    means = frames.mean(dim=(2, 3, 4), keepdim=True)
    return ((frames - means) / 255).transpose(1, 2).flatten(1, 2)
