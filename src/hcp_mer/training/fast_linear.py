"""oneDNN's matrix product for frozen linear layers, on CPUs where it is faster than PyTorch's own.

PyTorch multiplies fp32 matrices with MKL, which is slow on some CPUs that are not Intel's. Which
is faster here is found out by measuring; `F.linear` is the reference, and what happens everywhere
else: on a GPU, in another precision, without the operator, where nothing is gained.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MARGIN = 1.15  # oneDNN must be that much faster: less is noise
# Of the largest value. One product that was 1e-6 off in each layer made losses at CLIP's scale of
# 100 differ by 4e-5 (an AMD EPYC): faster, but no longer the same training.
TOLERANCE = 5e-7
_MOST_ROWS = 256  # enough to tell them apart, in a fraction of a second
_ROUNDS = 9


def layers_that_gain(module: nn.Module, num_rows: int) -> list[nn.Linear]:
    """The frozen linear layers that oneDNN runs faster by MARGIN; none where it cannot be used.

    Args:
        module: the frozen text tower, for example; layers with trained weights are left alone.
        num_rows: how many tokens the layers will see at once, all sequences together.
    """
    return [layer for layer, gain in measured_gains(module, num_rows).items() if gain >= MARGIN]


def measured_gains(module: nn.Module, num_rows: int) -> dict[nn.Linear, float]:
    """`measured_gain` of every frozen linear layer; layers of one size are measured once."""
    gains: dict[tuple[int, int, bool], float] = {}
    found = {}
    for name, layer in module.named_modules():
        if not _is_eligible(name, layer):
            continue
        size = (layer.in_features, layer.out_features, layer.bias is None)
        if size not in gains:
            gains[size] = measured_gain(layer, num_rows)
        found[layer] = gains[size]
    return found


def measured_gain(layer: nn.Linear, num_rows: int) -> float:
    """How many times faster a layer's forward and backward are through oneDNN.

    Returns: 0.0 where oneDNN cannot be used, or does not equal `F.linear` within TOLERANCE; of
        least and middle times the smaller gain, since other work on the machine disturbs either.
    """
    if _operator() is None or not _is_eligible("", layer):
        return 0.0
    rows = min(max(num_rows, 2), _MOST_ROWS)
    # Not torch's generator: measuring must not change what is drawn later.
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(rows, layer.in_features, generator=generator)
    ways = [partial(F.linear, weight=layer.weight, bias=layer.bias), partial(_forward, layer)]
    try:
        expected, found = (_output_and_gradient(way, inputs) for way in ways)
    except RuntimeError:  # this build has the operator's name alone
        return 0.0
    if not all(map(_are_equal, expected, found)):
        return 0.0
    # Of one thread the processor's time counts: on shared cores wall time measures the others.
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: list[list[float]] = [[], []]
    for _ in range(_ROUNDS):
        for way, own in zip(ways, seconds):
            start = clock()
            _output_and_gradient(way, inputs)
            own.append(clock() - start)
    plain, ours = seconds
    return min(min(plain) / min(ours), median(plain) / median(ours))


@contextmanager
def swapped(layers: list[nn.Linear]) -> Iterator[int]:
    """Run these layers on oneDNN inside this context; results differ by rounding alone.

    Yields: how many they are.
    """
    try:
        for layer in layers:
            layer.forward = partial(_forward, layer)
        yield len(layers)
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


class _OneDnnLinear(torch.autograd.Function):
    """x Wᵀ + b of a frozen layer, and the gradient for x, both through oneDNN."""

    @staticmethod
    def forward(ctx, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _operator()(inputs.contiguous(), weight, bias, "none", [], "")

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor):
        (weight,) = ctx.saved_tensors
        return _operator()(gradient.contiguous(), weight.t(), None, "none", [], ""), None, None


def _forward(layer: nn.Linear, inputs: Tensor) -> Tensor:
    """The layer's new forward; whatever it was not measured for goes the old way."""
    plain = inputs.dtype == layer.weight.dtype == torch.float32
    plain = plain and inputs.device.type == layer.weight.device.type == "cpu"
    plain = plain and inputs.dim() > 1 and inputs.numel() > 0 and type(inputs) is Tensor
    if not plain or layer.weight.requires_grad or torch.is_autocast_enabled("cpu"):
        return F.linear(inputs, layer.weight, layer.bias)
    return _OneDnnLinear.apply(inputs, layer.weight, layer.bias)


def _operator() -> Callable[..., Tensor] | None:
    """oneDNN's linear layer, None in a build of PyTorch without it: it is no public name."""
    backend = getattr(torch.backends, "mkldnn", None)
    if backend is None or not backend.is_available() or not getattr(backend, "enabled", True):
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def _is_eligible(name: str, layer: nn.Module) -> bool:
    """Plain, frozen, fp32, on the CPU: no LoRA, nothing quantised, no other's forward."""
    if type(layer) is not nn.Linear or "forward" in vars(layer):
        return False
    if "lora_" in name or name.rpartition(".")[2] == "base_layer":
        return False
    tensors = [tensor for tensor in (layer.weight, layer.bias) if tensor is not None]
    return all(
        type(tensor.data) is Tensor
        and tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        and not tensor.requires_grad
        for tensor in tensors
    )


@torch.enable_grad()
def _output_and_gradient(way: Callable[[Tensor], Tensor], inputs: Tensor) -> tuple[Tensor, Tensor]:
    leaf = inputs.detach().requires_grad_()
    output = way(leaf)
    (gradient,) = torch.autograd.grad(output, leaf, output.detach())
    return output.detach(), gradient


def _are_equal(expected: Tensor, found: Tensor) -> bool:
    return bool((expected - found).abs().max() <= TOLERANCE * expected.abs().max())
