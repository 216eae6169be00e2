"""The deployable model: trained on all subjects, saved so that AutoModel loads it anywhere."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path

import numpy as np

from hcp_mer.training.assembly import save_tokenizer
from hcp_mer.training.checkpoint import apply_trained_part, save_checkpoint
from hcp_mer.training.folds import Fold
from hcp_mer.training.loso import LosoRun, train_one_set


def train_final(run: LosoRun) -> Path:
    """Train once on every subject, with the run's first seed, and save `model/`.

    Its quality is what LOSO estimated: no subject is left to test it on. A `model/` that is
    already there belongs to the same recipe and data (the folder was claimed), and is kept.
    """
    folder = run.folder.root / "model"
    if folder.is_dir():
        return folder
    everybody = Fold("all", "all", np.arange(len(run.labels)), np.arange(0))
    training_set = run.training_set(everybody, run.recipe.seeds[0])
    state = train_one_set(run, training_set, "final model, all subjects")
    model = copy.deepcopy(run.model)  # the run's own stays untrained
    apply_trained_part(model, state, run.recipe.vision_lora)
    partial = folder.with_name("model.partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_checkpoint(model, run.processor, partial)
    if model.config.save_backbone:
        save_tokenizer(run.recipe, partial)
    partial.replace(folder)
    run.tower.forget()
    run.folder.forget_snapshots()
    return folder
