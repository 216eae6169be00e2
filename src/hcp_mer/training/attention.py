"""Where the branches of a finished run look: attributions of every held-out clip (Fig. 5)."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from hcp_mer.model.attention_hcp_mer import attribute_patches
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.training.checkpoint import apply_trained_part, load_head
from hcp_mer.training.folds import Fold
from hcp_mer.training.loso import LosoRun
from hcp_mer.training.reopen import trained_states

ATTENTION = "attention.parquet"
_BRANCHES = ("holistic", "componential")
_BATCH = 16


def write_attention(run: LosoRun) -> Path:
    """Explain each held-out clip by the model of its own fold, that of the recipe's first seed.

    Writes attention.parquet: dataset, subject, clip_id, label, and for each branch ("holistic",
    "componential"; None where it is off) a list of side · side numbers ≥ 0, row by row: what the
    branch's logit of the predicted class owes to the tower's patches, see `attribute_patches`; and
    holistic_view, which image the holistic branch saw.
    Folds are kept one by one: a run that was stopped goes on with the next.

    Args: run: a finished one, see `hcp_mer.training.reopen.reopen`.
    Raises:
        UserError: a fold's file is missing or damaged, or an image cannot be read.
    """
    import pandas

    total = sum(len(fold.test) for fold in run.folds)
    with tqdm(total=total, desc="attention", unit="clip") as bar:
        for fold, seed, state in trained_states(run):
            if seed != run.recipe.seeds[0]:
                continue
            place = run.folder.fold(fold) / ATTENTION
            if place.is_file():
                bar.update(len(fold.test))
                continue
            maps = _attribute_fold(run, fold, state, seed, bar)
            seen = {"holistic_view": run.model.config.holistic_input}
            table = pandas.DataFrame({**run.identities(fold), **maps, **seen})
            run.folder.save_table(table, str(place.relative_to(run.folder.root)))
    run.folder.collect(run.folds, Path(ATTENTION).stem, ATTENTION)
    return run.folder.root / ATTENTION


def _attribute_fold(
    run: LosoRun, fold: Fold, state: dict[str, Tensor], seed: int, bar: tqdm
) -> dict[str, list | None]:
    """branch → a flat attribution for each held-out clip; None for a branch that is off."""
    model, head, texts = fold_model(run, fold, state)
    classes = predicted(run, fold, seed)
    maps: dict[str, list | None] = dict.fromkeys(_BRANCHES)
    maps |= {branch: [] for branch in model.config.branches}
    for start in range(0, len(fold.test), _BATCH):
        rows = fold.test[start : start + _BATCH]
        for branch in model.config.branches:
            pixels = pixels_of(run, rows, model.config.view_of(branch))
            chosen = classes[start : start + _BATCH]
            own = attribute_patches(model, pixels, branch, chosen, text_embeds=texts, head=head)
            maps[branch] += list(own.flatten(1).cpu().numpy())
        bar.update(len(rows))
    return maps


def fold_model(
    run: LosoRun, fold: Fold, state: dict[str, Tensor]
) -> tuple[HcpMerModel, nn.Module, Tensor]:
    """The tower, head and texts that answered for a fold."""
    model = run.tower_of(fold).model
    if run.recipe.trains_tower:
        model = copy.deepcopy(model)  # LoRA's weights are the fold's own
        apply_trained_part(model, state, run.recipe.vision_lora)
    with torch.no_grad():
        texts = model.encode_prompts(state["prompts.context"].to(model.device))
    return model, load_head(model, state), texts


def predicted(run: LosoRun, fold: Fold, seed: int) -> Tensor:
    """Class indices that the run gave a fold's held-out clips, in their order."""
    import pandas

    answers = pandas.read_parquet(run.folder.fold(fold) / "predictions.parquet")
    answers = answers.loc[answers["seed"] == seed, "prediction"]
    return torch.tensor([run.classes.index(name) for name in answers])


def pixels_of(run: LosoRun, rows: np.ndarray, view: str) -> Tensor:
    """(clips, 3, image_size, image_size) of one view of some labelled clips."""
    images = [run.pairs.image(run.labelled.rows[row], view) for row in rows]
    return torch.stack([torch.from_numpy(run.processor.to_pixels(i, view)) for i in images])
