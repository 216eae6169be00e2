"""Frozen visual features, computed once for all folds, seeds and epochs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from tqdm import tqdm

from hcp_mer.data.pairs import Pairs
from hcp_mer.files import save_tensors
from hcp_mer.model.configuration_hcp_mer import HcpMerConfig
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.assembly import backbone_fingerprint

_BATCH = 16


def encode_pairs(
    model: HcpMerModel,
    processor: HcpMerImageProcessor,
    pairs: Pairs,
    rows: list[int],
    cache: Path | None,
) -> dict[str, Tensor]:
    """What heads read of the frozen tower, for each active branch.

    Args:
        rows: which pairs, in this order.
        cache: safetensors file; used again if backbone, pairs, preprocessing and rows are the
            same, otherwise written anew; None keeps nothing.
    Returns: branch → (len(rows), feature_size) float32 on the CPU.
    """
    if cache is None:
        return _encode(model, processor, pairs, rows, show=False)
    key = _cache_key(model, processor, pairs, rows)
    try:
        with safe_open(cache, "pt") as stored:
            if (stored.metadata() or {}).get("key") == key:
                return {branch: stored.get_tensor(branch) for branch in model.config.branches}
    except (FileNotFoundError, SafetensorError):
        pass  # none yet, or one cut short: it is written below
    features = _encode(model, processor, pairs, rows)
    cache.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(cache, features, metadata={"key": key})
    return features


def read_pixels(
    model: HcpMerModel, processor: HcpMerImageProcessor, pairs: Pairs, rows: list[int]
) -> dict[str, Tensor]:
    """Pixel values for each active branch, for a tower that is itself trained.

    Returns: branch → (len(rows), 3, image_size, image_size) float32 on the CPU, 0.6 MB an image
        of 224 px.
    """
    batches = list(_pixel_batches(model, processor, pairs, rows, "images"))
    return {branch: torch.cat([batch[branch] for batch in batches]) for branch in batches[0]}


@torch.inference_mode()
def _encode(
    model: HcpMerModel,
    processor: HcpMerImageProcessor,
    pairs: Pairs,
    rows: list[int],
    show: bool = True,
) -> dict[str, Tensor]:
    parts: dict[str, list[Tensor]] = {branch: [] for branch in model.config.branches}
    numbers = sum(map(model.config.feature_size, parts))
    what = f"frozen features, {4 * len(rows) * numbers / 1e6:.1f} MB"
    for batch in _pixel_batches(model, processor, pairs, rows, what, show):
        for branch, pixels in batch.items():
            features = model.encode_view(branch, pixels.to(model.device))
            parts[branch].append(features.float().cpu())
    return {branch: torch.cat(done).clone() for branch, done in parts.items()}


def _pixel_batches(
    model: HcpMerModel,
    processor: HcpMerImageProcessor,
    pairs: Pairs,
    rows: list[int],
    what: str,
    show: bool = True,
) -> Iterator[dict[str, Tensor]]:
    """branch → (batch, 3, image_size, image_size), batch by batch, under a progress bar."""
    hidden = {} if show else {"disable": True}  # else tqdm's own switch counts
    with tqdm(total=len(rows), desc=what, unit="clip", **hidden) as bar:
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            views = {branch: model.config.view_of(branch) for branch in model.config.branches}
            pixels = {
                view: torch.stack(
                    [
                        torch.from_numpy(processor.to_pixels(pairs.image(row, view), view))
                        for row in batch
                    ]
                )
                for view in set(views.values())
            }
            yield {branch: pixels[view] for branch, view in views.items()}
            bar.update(len(batch))


def _cache_key(
    model: HcpMerModel, processor: HcpMerImageProcessor, pairs: Pairs, rows: list[int]
) -> str:
    digest = hashlib.sha256()
    for part in (
        backbone_fingerprint(model),
        pairs.fingerprint(),
        processor.to_json_string(),
        repr(
            (rows, [(branch, *read_of(model.config, branch)) for branch in model.config.branches])
        ),
    ):
        digest.update(part.encode())
    return digest.hexdigest()


def read_of(config: HcpMerConfig, branch: str) -> tuple[str, int | None]:
    """What decides a branch's features beside backbone and images: its view, and which layer's
    patches; None for none.
    """
    layer = config.patch_layer(branch) if config.reads_patches(branch) else None
    return config.view_of(branch), layer
