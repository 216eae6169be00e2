"""What lies in a checkpoint, and reading it so that nothing is ever left to chance.

config.json, model.safetensors   classes, prompts and sizes; the trained part, alone where the
                                 backbone is fetched from the Hub, else with the backbone
preprocessor_config.json         how frames become tensors
*_hcp_mer.py                     the code (remote code: trust_remote_code=True)
vision_lora/                     LoRA of the vision tower in PEFT's format, if there is any
"""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPConfig
from transformers.utils import cached_file

from .backbone_hcp_mer import load_backbone
from .configuration_hcp_mer import PIPELINE_TASK, HcpMerConfig
from .vision_lora_hcp_mer import LORA_FILES, VISION_LORA, without_lora

BACKBONE = "clip."
WEIGHTS = "model.safetensors"
AUTO_MAP = {
    "AutoConfig": "configuration_hcp_mer.HcpMerConfig",
    "AutoModel": "modeling_hcp_mer.HcpMerModel",
    "AutoModelForImageClassification": "modeling_hcp_mer.HcpMerModel",
    "AutoImageProcessor": "image_processing_hcp_mer.HcpMerImageProcessor",
}
CUSTOM_PIPELINES = {
    PIPELINE_TASK: {
        "impl": "pipeline_hcp_mer.MicroExpressionPipeline",
        "pt": ["AutoModel"],
        "type": "multimodal",
    }
}
_SIZES = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("projection_dim", "image_size", "patch_size", "vocab_size", "max_position_embeddings"),
)
_ACCESS = ("token", "cache_dir", "force_download", "local_files_only")
_PLACE = ("revision", "subfolder")


def hub_arguments(kwargs: dict) -> dict:
    """The arguments that say where a repository is, of all that from_pretrained got."""
    return {name: kwargs[name] for name in (*_ACCESS, *_PLACE) if name in kwargs}


def access_arguments(kwargs: dict) -> dict:
    """Those that hold for any repository, so for the backbone's too: no revision, no subfolder."""
    return {name: kwargs[name] for name in _ACCESS if name in kwargs}


def read_state(path: str, config: HcpMerConfig, kwargs: dict) -> dict[str, Tensor]:
    """Every weight of a checkpoint, the backbone's included wherever it comes from.

    Raises:
        OSError: weights or backbone are missing or damaged. ValueError: the backbone has other
            sizes than the one that the checkpoint was trained on.
    """
    file = cached_file(path, WEIGHTS, **hub_arguments(kwargs))
    try:
        # Copied out of the mapped file, over which the model may be saved again.
        state = {name: value.clone() for name, value in load_file(file).items()}
    except SafetensorError as error:
        raise OSError(
            f"{WEIGHTS} of {path} is damaged or no safetensors file ({error}): fetch it again. "
            "Pickled weights are not read."
        ) from error
    if config.save_backbone:
        return state
    clip = load_backbone(config.backbone, config.backbone_revision, **access_arguments(kwargs))
    _check_sizes(config, clip.config)
    return {**state, **{BACKBONE + key: value for key, value in clip.state_dict().items()}}


def _check_sizes(config: HcpMerConfig, found: CLIPConfig) -> None:
    """Raise ValueError unless the backbone is built like the one that was trained on."""
    for tower in ("vision_config", "text_config"):
        expected, own = getattr(config.clip_config, tower), getattr(found, tower)
        for field in _SIZES:
            was, now = (getattr(sizes, field, None) for sizes in (expected, own))
            if was != now:
                raise ValueError(
                    f"the backbone {config.backbone} has other sizes than the one that this "
                    f"checkpoint was trained on: its {tower} has {field} {now}, was {was}. "
                    f"The checkpoint asks for revision {config.backbone_revision}."
                )


def check_complete(path: str, info: dict, tolerant: bool) -> None:
    """Raise OSError where transformers would go on with random weights."""
    wanting = sorted(map(str, info["missing_keys"]))
    if not tolerant:  # ignore_mismatched_sizes=True asks for new weights of another shape
        wanting += sorted(
            f"{name}: {'×'.join(map(str, stored))}, not {'×'.join(map(str, own))}"
            for name, stored, own in info["mismatched_keys"]
        )
    if wanting:
        raise OSError(
            f"{WEIGHTS} of {path} lacks {len(wanting)} weights or has them in other sizes "
            f"({wanting[0]}, …): it does not belong to this config.json. Fetch both again."
        )


def vision_lora_folder(path: str, kwargs: dict) -> Path:
    """The local folder of a checkpoint's `vision_lora/`, fetched from the Hub where it is there."""
    place = hub_arguments(kwargs)
    place["subfolder"] = "/".join(filter(None, (place.get("subfolder"), VISION_LORA)))
    settings, _ = (cached_file(path, name, **place) for name in LORA_FILES)
    return Path(settings).parent


def weights_to_store(state: dict[str, Tensor], save_backbone: bool) -> dict[str, Tensor]:
    """A model's state as it is stored: LoRA apart; a backbone that fp16 holds exactly, as fp16."""
    return {
        key: value.half() if key.startswith(BACKBONE) and _fits_half(value) else value
        for key, value in without_lora(state).items()
        if save_backbone or not key.startswith(BACKBONE)
    }


def _fits_half(values: Tensor) -> bool:
    return bool(values.dtype == torch.float32 and torch.equal(values.half().float(), values))


def put_code(config: HcpMerConfig, folder: Path) -> None:
    """Copy this code into a checkpoint and say in its config which class is where.

    A model that was itself loaded as remote code has only the files that it needs: for the others
    the config goes on pointing to where it came from, if that is on the Hub.
    """
    for file in Path(__file__).parent.glob("*_hcp_mer.py"):
        shutil.copyfile(file, folder / file.name)
    there = {file.stem for file in folder.glob("*_hcp_mer.py")}
    entries = {auto: place for auto, place in AUTO_MAP.items() if place.split(".")[0] in there}
    config.auto_map = {**(getattr(config, "auto_map", None) or {}), **entries}
    on_the_hub = "--" in str(getattr(config, "custom_pipelines", ""))  # "owner/name--file.Class"
    if "pipeline_hcp_mer" in there:
        config.custom_pipelines = CUSTOM_PIPELINES
    elif not on_the_hub:
        config.custom_pipelines = {}
