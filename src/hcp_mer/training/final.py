"""The deployable model: trained on all it may see, saved so that AutoModel loads it anywhere."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from hcp_mer.training.assembly import load_tokenizer
from hcp_mer.training.checkpoint import apply_trained_part, save_checkpoint
from hcp_mer.training.loso import LosoRun, train_one_set


def train_final(run: LosoRun, calibration: Mapping[str, float] | None = None) -> Path:
    """Train once on every subject, with the run's first seed, and save `model/`.

    Its quality is what LOSO estimated: no subject is left to test it on. Where other corpora were
    tested on, it is the very model that was tested. A `model/` that is already there belongs to
    the same recipe and data (the folder was claimed), and is kept.

    Args: calibration: what the folds' answers say of its scores, fields of its config.json
        (`score_temperature`, `unsure_below`); None: they stay as trained.
    """
    folder = run.folder.root / "model"
    if folder.is_dir():
        return folder
    state = _final_state(run)
    model = copy.deepcopy(run.model)  # the run's own stays untrained
    apply_trained_part(model, state, run.recipe.vision_lora)
    model.config.update(dict(calibration or {}))
    partial = folder.with_name("model.partial")
    shutil.rmtree(partial, ignore_errors=True)
    save_checkpoint(model, run.processor, partial)
    if model.config.save_backbone:
        load_tokenizer(run.recipe).save_pretrained(partial)
    partial.replace(folder)
    run.tower.forget()
    run.folder.forget_snapshots()
    return folder


def _final_state(run: LosoRun) -> dict[str, Tensor]:
    if run.test_corpora:  # every fold has it: they train on the same clips with the same seeds
        fold = run.folds[0]
        return load_file(run.folder.trained_file(fold.subject, fold.dataset))
    training_set = run.training_set(run.final_fold(), run.recipe.seeds[0])
    return train_one_set(run, training_set, "final model, all subjects")
