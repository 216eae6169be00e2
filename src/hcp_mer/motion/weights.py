"""Weights that others trained: read without running their code, and checked name by name."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from hcp_mer.errors import UserError

WRAPPERS = ("state_dict", "model_state_dict")  # under which a training script keeps the weights
PARALLEL = "module."  # what DataParallel puts before every name


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Tensors by name, on the CPU, from a PyTorch checkpoint or a .safetensors file.

    Raises UserError for a file that is missing, holds no tensors, or would have to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"no weights at {path}: give the file that its authors published.")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        if "GLOBAL" in str(error):  # what torch says of a name that it would have to import
            raise UserError(
                f"{path.name} holds more than tensors, and reading it could run code: load it "
                "where you trust it and save its state_dict alone."
            ) from error
        raise UserError(f"{path.name} is no PyTorch checkpoint, or a damaged one.") from error
    for wrapper in WRAPPERS:
        if isinstance(stored, Mapping) and isinstance(stored.get(wrapper), Mapping):
            stored = stored[wrapper]
    if not isinstance(stored, Mapping) or not all(isinstance(w, Tensor) for w in stored.values()):
        raise UserError(f"{path.name} holds no state_dict: a name and a tensor for every weight.")
    return {str(name).removeprefix(PARALLEL): tensor for name, tensor in stored.items()}


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path.name} is no safetensors file, or a damaged one.") from error


def fill(network: nn.Module, weights: Mapping[str, Tensor], kind: str) -> nn.Module:
    """The network with these weights as float32, in eval mode.

    Args: network: may be on the meta device. kind: what the weights were taken for, for messages.

    Raises UserError naming the first weight that is missing, of another shape, or too many.
    """
    expected = network.state_dict()
    missing = [name for name in expected if name not in weights]
    foreign = [name for name in weights if name not in expected]
    misfits = [
        name for name in expected if name in weights and weights[name].shape != expected[name].shape
    ]
    if missing:
        raise UserError(
            f"these weights look like {kind}, but {len(missing)} of {len(expected)} tensors are "
            f"missing, {missing[0]} first."
        )
    if foreign:
        raise UserError(
            f"these weights look like {kind}, but hold {len(foreign)} tensors that it has not, "
            f"{foreign[0]} first."
        )
    if misfits:
        name = misfits[0]
        raise UserError(
            f"these weights look like {kind}, but {len(misfits)} tensors have another shape: "
            f"{name} is {tuple(weights[name].shape)}, not {tuple(expected[name].shape)}."
        )
    weights = {name: weights[name].detach().float() for name in expected}
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise UserError(
            f"these weights of {kind} hold NaN or infinite values: the file is damaged."
        )
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(False)
