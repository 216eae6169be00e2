"""Loading the frozen CLIP that everything stands on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
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
    with _no_conversion():
        clip, info = CLIPModel.from_pretrained(
            name,
            revision=revision,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are reported below, in one line
            **access,
        )
    wanting = sorted(info["missing_keys"]) + [str(key) for key in info["mismatched_keys"]]
    if wanting:
        raise ValueError(
            f"the backbone {name} lacks {len(wanting)} weights ({wanting[0]}, …): its file is "
            "incomplete or of another model. Fetch it again."
        )
    return clip


@contextmanager
def _no_conversion() -> Iterator[None]:
    """Keep transformers from fetching a pickled backbone once more, converted, in a thread.

    Revision 3d74acf9 of openai/clip-vit-base-patch32 is pickled alone (it is read with
    `weights_only`); the 605 MB of its conversion would never be used.
    """
    name = "DISABLE_SAFETENSORS_CONVERSION"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def pinned_revision(name: str, revision: str | None, **access) -> str | None:
    """The commit that a Hub id's revision (a branch, a tag, None for main) stands for today.

    Read off the cache, where each commit has a folder of its own: nothing is fetched twice.
    """
    config = cached_file(name, "config.json", revision=revision, **access)
    commit = Path(config).parent.name
    is_commit = len(commit) == 40 and set(commit) <= set("0123456789abcdef")
    return commit if is_commit else revision
