"""How many folds fit side by side: measured, not guessed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
from torch.autograd.graph import saved_tensors_hooks

from hcp_mer.model.modeling_hcp_mer import HcpMerModel

# Beyond some 24 stacked sets a CPU gains nothing, and a stopped run loses more.
MOST_SETS_ON_CPU = 24
_CLIPS = 500  # in the largest composites that are usual
_SHARE_OF_FREE = {"cpu": 0.5, "cuda": 0.8}
_CGROUP = Path("/sys/fs/cgroup")


def sets_that_fit(model: HcpMerModel, num_processes_here: int = 1) -> int:
    """How many training sets may be stacked on the model's device; at least one.

    Args: num_processes_here: processes that share this machine's memory.
    """
    kind = model.device.type
    free = free_bytes(model.device) * _SHARE_OF_FREE.get(kind, 0.5)
    if kind == "cpu":
        free /= num_processes_here
    fitting = max(1, int(free // bytes_per_set(model)))
    return min(fitting, MOST_SETS_ON_CPU) if kind == "cpu" else fitting


def bytes_per_set(model: HcpMerModel) -> int:
    """What one more stacked set takes at its peak: measured on one encoding of its prompts.

    The text tower's activations outweigh everything else; they count twice, for what a backward
    pass makes besides. The head's weights count four times (weight, gradient, two moments), and a
    set has features of its own, here of a corpus of usual size.
    """
    head = sum(p.numel() * p.element_size() for p in model.head.parameters())
    rows = sum(model.config.feature_size(branch) for branch in model.config.branches)
    features = _CLIPS * rows * model.prompts.context.element_size()
    learnt = model.config.learn_context  # else texts are encoded once, for all sets
    return (2 * _text_activations(model) if learnt else 0) + 4 * head + features


def _text_activations(model: HcpMerModel) -> int:
    """Bytes that one encoding of all prompts keeps for its backward pass."""
    kept: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    context = model.prompts.context.detach().clone().requires_grad_()
    with torch.inference_mode(False), torch.enable_grad():
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            texts = model.encode_prompts(context[None])
        total = sum(size for place, size in kept.items() if place not in own)
        del texts
    return total


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device; of the CPU, what this process may still take."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    free = psutil.virtual_memory().available
    try:  # a container may be given less than the machine has
        limit = int((_CGROUP / "memory.max").read_text())
        taken = int((_CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        # Files that were read count as taken, and are dropped when somebody needs the room.
        free = min(free, limit - taken + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        pass
    return max(free, 0)


def num_processes_here() -> int:
    """Processes of this run on this machine, as torchrun and accelerate say it."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def peak_memory() -> str:
    """The most memory that this process has had at once, in words."""
    parts = []
    if sys.platform != "win32":
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        parts.append(f"{peak * (1 if sys.platform == 'darwin' else 1024) / 1e9:.1f} GB of RAM")
    if torch.cuda.is_available():
        parts.append(f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB of GPU memory")
    return ", ".join(parts)
