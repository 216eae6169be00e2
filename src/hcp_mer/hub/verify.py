"""Load back what was pushed, as a reader will, and ask it what the original was asked."""

from __future__ import annotations

import contextlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hcp_mer.errors import UserError
from hcp_mer.hub.access import readable_hub_errors

LARGEST_DIFFERENCE = 1e-6  # of logits; loading the same bytes on the same machine gives 0


def verify(checkpoint: Path, repo_id: str, revision: str) -> None:
    """Check that a repository answers as the folder that was pushed.

    Raises:
        UserError: it does not, or cannot be loaded.
    """
    difference = compare_with_hub(checkpoint, repo_id, revision)
    if not difference <= LARGEST_DIFFERENCE:  # so that NaN does not pass
        raise UserError(
            f"{repo_id} at {revision} answers otherwise than what was pushed (logits differ by "
            f"{difference:.2g}, at most {LARGEST_DIFFERENCE:.0e} is allowed): do not use it, and "
            "push it again."
        )


def compare_with_hub(checkpoint: Path, repo_id: str, revision: str) -> float:
    """Largest difference of logits, on random images, between a folder and a repository.

    The repository is fetched into a cache of its own and runs its own code, as where this package
    is not installed; only a backbone that is fetched by name comes from the usual cache.

    Args: checkpoint: the local folder with weights and processor.
    Raises:
        UserError: the repository cannot be loaded, or its code was not what ran.
    """
    from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
    from hcp_mer.model.modeling_hcp_mer import HcpMerModel

    model = HcpMerModel.from_pretrained(checkpoint)
    ours = _logits(model, HcpMerImageProcessor.from_pretrained(checkpoint))
    with TemporaryDirectory(ignore_cleanup_errors=True) as cache:
        _lend_backbone(model.config, Path(cache))
        theirs = _logits(*_load_from_hub(repo_id, revision, cache))
    return (ours - theirs).abs().max().item()


def _load_from_hub(repo_id: str, revision: str, cache: str) -> tuple[Any, Any]:
    from transformers import AutoImageProcessor, AutoModel

    place = {"revision": revision, "cache_dir": cache, "trust_remote_code": True}
    with readable_hub_errors(f"model {repo_id}"):
        loaded = tuple(
            auto.from_pretrained(repo_id, **place) for auto in (AutoModel, AutoImageProcessor)
        )
    for part in loaded:
        if not type(part).__module__.startswith("transformers_modules"):
            raise UserError(
                f"{repo_id} was loaded with the code of this machine ({type(part).__module__}), "
                "not with its own: it cannot be said whether it works elsewhere."
            )
    return loaded


@torch.inference_mode()
def _logits(model: Any, processor: Any) -> Tensor:
    """Answers for two pairs of noise: (2, num_classes) float64."""
    rng = np.random.default_rng(0)
    views = {
        view: [rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
        for view in ("magnified", "flow")
    }
    return model.eval()(**processor(**views, return_tensors="pt")).logits.double()


def _lend_backbone(config: Any, cache: Path) -> None:
    """Let a fresh cache see the backbone that the usual one has: it may be 600 MB."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    if config.save_backbone:
        return
    name = repo_folder_name(repo_id=config.backbone, repo_type="model")
    usual = Path(constants.HF_HUB_CACHE) / name
    if usual.is_dir():
        with contextlib.suppress(OSError):  # where links are not allowed it is fetched again
            (cache / name).symlink_to(usual.resolve(), target_is_directory=True)
