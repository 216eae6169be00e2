"""The embedded backbone as a Hub repository: weights, tokenizer, preprocessing, card, record."""

from __future__ import annotations

import dataclasses
import json
import platform
from pathlib import Path

import torch
from safetensors.torch import load_file

from hcp_mer.pretraining.contrastive import IMAGE_MEAN, IMAGE_STD
from hcp_mer.pretraining.samples import PretrainingSettings

RECORD = "pretraining.json"
# How an HCP_MER on it reads it, unless a recipe says otherwise: pooled, motion loses its place.
READING = {"adapter_input": "patches"}

_CARD = """---
license: apache-2.0
library_name: transformers
tags: [clip, micro-expression, optical-flow, synthetic]
---
# Face-motion CLIP

A CLIP of {parameters:.1f} M parameters for machines without a network: it reads facial action units
off optical flow, and lets the whole of hcp_mer run, from corpus to checkpoint, with no download.

**How it was made.** `python scripts/pretrain_backbone.py`: {steps} steps on optical flow that is
rendered straight from action units, as many pipelines, resolutions, crops and encodings would show
it, and on the magnified apex frames of {clips} clips of {people} procedural faces (rendered, nobody
is shown; no person of the demo's corpus is among them) under other light, crops and cameras. Flow
meets captions of action units and emotions, faces captions of emotions and action units; one CPU
thread, seed {seed}. The tokenizer was written with it, belongs to it, and knows the words of its
captions; other words fall back to characters. Weights are stored as fp16; training and inference
use those values in fp32.

**How to feed it.** Flow images (u, v, and strain or magnitude as channels) of any size from 28 px
and any scale, standardised by hcp_mer's image processor (`flow_normalisation` in
preprocessor_config.json). Its config.json says under `hcp_mer` how its adapters best read it, and
holds the calibration that turns similarities into log-odds of action units.

**How good it is.** On {unseen} rendered people that it did not see: a mean AUC of
{action_unit_auc:.2f} for single action units from the flow image alone, and {emotion_accuracy:.2f}
accuracy over seven emotions from the magnified apex alone (chance 0.14). On unseen procedural
domains: `python scripts/benchmark.py backbone`.

**What it is not.** It has never seen a photograph, a real face, or real optical flow. Scores on
what is rendered say nothing about people.
"""


def save_backbone(
    model,
    tokenizer,
    settings: PretrainingSettings,
    losses: list[float],
    scores: dict[str, float],
    calibration: dict,
    folder: Path,
) -> None:
    """Write the repository.

    Args: losses: of each step; scores: from `validate`; calibration: from `calibrate`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.config.dtype = torch.float32  # how the fp16 values are to be held
    model.config.hcp_mer = {**READING, "action_unit_calibration": calibration}
    state = {name: value.half() for name, value in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)
    side = settings.image_size
    preprocessing = {
        "image_processor_type": "CLIPImageProcessor",
        "do_center_crop": False,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [IMAGE_MEAN] * 3,
        "image_std": [IMAGE_STD] * 3,
        "resample": 3,
        "flow_normalisation": "standardised",
        "size": {"height": side, "width": side},
    }
    record = {
        "settings": dataclasses.asdict(settings),
        "loss_per_hundred_steps": [
            round(sum(part) / len(part), 4)
            for part in (losses[start : start + 100] for start in range(0, len(losses), 100))
        ],
        "unseen_people": scores,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    _write(folder / "preprocessor_config.json", json.dumps(preprocessing, indent=2))
    _write(folder / RECORD, json.dumps(record, indent=2))
    card = _CARD.format(
        parameters=sum(p.numel() for p in model.parameters()) / 1e6,
        clips=settings.num_identities * settings.clips_per_identity,
        people=settings.num_identities,
        steps=settings.num_steps,
        seed=settings.seed,
        unseen=settings.num_validation_identities,
        **scores,
    )
    _write(folder / "README.md", card)


def weights_difference(one: Path, other: Path) -> float:
    """Largest absolute difference between two saved backbones' weights.

    Raises:
        ValueError: they have other tensors or shapes.
    """
    first, second = (load_file(folder / "model.safetensors") for folder in (one, other))
    shapes = [{name: v.shape for name, v in state.items()} for state in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{one} and {other} hold backbones of different sizes.")
    return max(float((first[n].float() - second[n].float()).abs().max()) for n in first)


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip() + "\n", encoding="utf-8")
