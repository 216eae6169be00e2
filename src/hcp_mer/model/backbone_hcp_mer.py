"""Loading the frozen CLIP that everything stands on."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPModel
from transformers.utils import cached_file


def load_backbone(name: str, revision: str | None = None, **access) -> CLIPModel:
    """A whole CLIP in fp32 from a folder or the Hub; never one with random weights.

    Raises:
        OSError: nothing is there. ValueError: it is no CLIP, or lacks weights.
    """
    settings, _ = CLIPConfig.get_config_dict(name, revision=revision, **access)
    if settings.get("model_type") != "clip":
        raise ValueError(
            f"{name} is a {settings.get('model_type', 'model of unknown type')}, not a CLIP. "
            "A backbone is a CLIPModel, such as openai/clip-vit-base-patch32."
        )
    clip, info = CLIPModel.from_pretrained(
        name, revision=revision, dtype=torch.float32, output_loading_info=True, **access
    )
    wanting = sorted(info["missing_keys"]) + [str(key) for key in info["mismatched_keys"]]
    if wanting:
        raise ValueError(
            f"the backbone {name} lacks {len(wanting)} weights ({wanting[0]}, …): its file is "
            "incomplete or of another model. Fetch it again."
        )
    return clip


def pinned_revision(name: str, revision: str | None, **access) -> str | None:
    """The commit that a Hub id's revision (a branch, a tag, None for main) stands for today.

    Read off the cache, where each commit has a folder of its own: nothing is fetched twice.
    """
    config = cached_file(name, "config.json", revision=revision, **access)
    commit = Path(config).parent.name
    is_commit = len(commit) == 40 and set(commit) <= set("0123456789abcdef")
    return commit if is_commit else revision
