"""Do the attributions say what matters? Held against what happens when a patch is covered."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from hcp_mer.files import write_json
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.attention import ATTENTION, fold_model, pixels_of, predicted
from hcp_mer.training.loso import LosoRun
from hcp_mer.training.reopen import trained_states

AGREEMENT = "attention.json"


def check_attention(run: LosoRun, num_clips: int = 60, seed: int = 0) -> dict[str, Any]:
    """Rank agreement of attributions with covering, and what another clip's would have reached.

    Every patch of a clip's view is covered alone, with the view's mean colour, and the fall of the
    branch's logit is ranked against the attribution (Spearman). An attribution that agrees no
    better than that of another clip says something of the tower, nothing of this clip.

    Args: run: one with attention.parquet; num_clips: drawn from all held-out clips by `seed`,
        since each costs a forward pass per patch.
    Returns: branch → {"agreement", "agreement_of_another_clip": means over clips, "num_clips":
        those for which both exist}, which is also written to attention.json.
    """
    import pandas

    table = pandas.read_parquet(run.folder.root / ATTENTION)
    drawn = np.random.default_rng(seed).permutation(len(table))[:num_clips]
    chosen = np.isin(np.arange(len(table)), drawn)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in run.model.config.branches}
    start = 0  # the table has the folds' clips one after another
    with tqdm(total=int(chosen.sum()), desc="covering", unit="clip") as bar:
        for fold, state_seed, state in trained_states(run):
            if state_seed != run.recipe.seeds[0]:
                continue
            own = np.flatnonzero(chosen[start : start + len(fold.test)])
            if len(own):
                model, head, texts = fold_model(run, fold, state)
                classes = predicted(run, fold, state_seed)
            for clip, branch in itertools.product(own, found):
                pixels = pixels_of(
                    run, fold.test[clip : clip + 1], run.model.config.view_of(branch)
                )
                drops = _drops(model, head, texts, pixels, branch, int(classes[clip]))
                # Half the table away is another fold's clip, as a rule.
                places = [start + clip, (start + clip + len(table) // 2) % len(table)]
                pair = [_rank_agreement(drops, own) for own in table[branch].iloc[places]]
                found[branch].append(tuple(pair))
                bar.update(branch == run.model.config.branches[-1])
            start += len(fold.test)
    result = {branch: _summary(pairs) for branch, pairs in found.items()}
    write_json(run.folder.root / AGREEMENT, result)
    return result


def in_words(agreement: dict[str, Any]) -> str:
    """One branch's result of `check_attention` in a sentence."""
    if not agreement["num_clips"]:
        return "no clip with an attribution and an effect of covering to compare"
    return (
        f"rank agreement with covering patches {agreement['agreement']:+.2f} over "
        f"{agreement['num_clips']} clips; of another clip's attribution "
        f"{agreement['agreement_of_another_clip']:+.2f}"
    )


@torch.inference_mode()
def _drops(
    model: HcpMerModel, head: nn.Module, texts: Tensor, pixels: Tensor, branch: str, index: int
) -> NDArray:
    """How far the logit of a class falls when each patch is covered alone, (side · side,)."""
    vision = model.config.clip_config.vision_config
    size, side = vision.patch_size, vision.image_size // vision.patch_size
    covered = pixels.repeat(side * side + 1, 1, 1, 1)  # the last stays as it is
    colour = pixels[0].mean(dim=(1, 2))[:, None, None]
    for patch in range(side * side):
        top, left = (size * place for place in divmod(patch, side))
        covered[patch, :, top : top + size, left : left + size] = colour
    parts = [model.encode_view(branch, part.to(model.device)) for part in covered.split(64)]
    branches, config = model.config.branches, model.config
    features = {
        name: parts[0].new_zeros(len(covered), config.feature_size(name)) for name in branches
    }
    output = head({**features, branch: torch.cat(parts)}, texts)
    logits = output.branch_logits[branches.index(branch)][:, index].float().cpu().numpy()
    return logits[-1] - logits[:-1]


def _rank_agreement(drops: NDArray, attribution: NDArray) -> float:
    """Spearman's correlation; not a number where one of both is the same everywhere."""
    from scipy.stats import spearmanr

    if np.ptp(drops) == 0 or np.ptp(attribution) == 0:
        return float("nan")
    return float(spearmanr(drops, attribution).statistic)


def _summary(pairs: list[tuple[float, float]]) -> dict[str, Any]:
    both = np.array(pairs)[np.isfinite(pairs).all(axis=1)]
    means = both.mean(axis=0) if len(both) else (None, None)
    own, another = (None if value is None else float(value) for value in means)
    return {"agreement": own, "agreement_of_another_clip": another, "num_clips": len(both)}
