"""A CLIP with the sizes, names and files of openai/clip-vit-base-patch32, and random weights.

For what a tiny CLIP cannot show: the published configuration with its quirks, the real vocabulary,
the logit scale of 100, the time and the memory that 151 million parameters take.
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel

from tests.clip_vocabulary import make_clip_tokenizer, published_files

WEIGHTS_BYTES = 605_157_884  # of the published model.safetensors: fixed by names and shapes
_COMMON = {
    "num_hidden_layers": 12,
    "projection_dim": 512,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-05,
    "attention_dropout": 0.0,
    "dropout": 0.0,
    "initializer_range": 0.02,
    "initializer_factor": 1.0,
}
CONFIG = {
    "architectures": ["CLIPModel"],
    "model_type": "clip",
    "projection_dim": 512,
    "logit_scale_init_value": 2.6592,
    "initializer_factor": 1.0,
    "text_config_dict": None,
    "vision_config_dict": None,
    "text_config": {
        **_COMMON,
        "model_type": "clip_text_model",
        "hidden_size": 512,
        "intermediate_size": 2048,
        "num_attention_heads": 8,
        "max_position_embeddings": 77,
        "vocab_size": 49408,
        # As published, though the vocabulary's are 49406 and 49407: transformers takes a 2 for
        # an old configuration and then pools at the highest id of a text, which is its end.
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    },
    "vision_config": {
        **_COMMON,
        "model_type": "clip_vision_model",
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 32,
    },
}
PREPROCESSING = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": 224,
}


def write_random_clip(folder: str | Path, seed: int = 0, pickled: bool = False) -> Path:
    """Write the folder as a Hub repository would hold it: 605 MB, some 4 s; returns it.

    Name it clip-vit-base-patch32 and it is held against the published model. `pickled`: the
    weights as pytorch_model.bin alone, which is all that the published main (3d74acf9) has;
    model.safetensors lies in conversions of other revisions.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("config.json", CONFIG), ("preprocessor_config.json", PREPROCESSING)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    make_clip_tokenizer().save_pretrained(folder)
    for name, content in published_files().items():
        (folder / name).write_text(content, encoding="utf-8", newline="\n")
    weights = random_weights(CLIPConfig.from_pretrained(folder), seed)
    if pickled:
        torch.save(weights, folder / "pytorch_model.bin")
    else:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def random_weights(config: CLIPConfig, seed: int) -> dict[str, torch.Tensor]:
    """Every tensor of the published file by its name there, logit scale ln 100."""
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in CLIPModel(config).state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        if name == "logit_scale":
            weights[name] = torch.full(shape, math.log(100))
        elif name.endswith("bias"):
            weights[name] = torch.zeros(shape)
        elif "norm" in name or "layrnorm" in name:
            weights[name] = torch.ones(shape)
        else:  # drawn here: the library's own initialisation takes longer than everything else
            weights[name] = torch.empty(shape).normal_(std=0.02, generator=generator)
    # Position ids are in the published file, though the model no longer stores them.
    for tower, length in (("text_model", 77), ("vision_model", 50)):
        weights[f"{tower}.embeddings.position_ids"] = torch.arange(length)[None]
    return weights
