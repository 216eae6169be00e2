"""LoRA on the vision tower, through PEFT's own API and in PEFT's own format.

The paper keeps CLIP frozen; this is the way to move it a little. The adapter is one of the bare
CLIPModel: PEFT or transformers loads it onto a CLIP that has never heard of HCP_MER.
"""

from __future__ import annotations

import copy
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor, nn

# A folder of the checkpoint: in its root, an adapter_config.json would make transformers take the
# whole checkpoint for an adapter of the backbone.
VISION_LORA = "vision_lora"
LORA_FILES = ("adapter_config.json", "adapter_model.safetensors")
_PROJECTIONS = ("q_proj", "v_proj")
_ADAPTER = "default"
_PEFT_PREFIX = "base_model.model."


def is_lora(name: str) -> bool:
    """Whether a parameter's or module's name is one of LoRA's own."""
    return "lora_" in name


def add_vision_lora(clip: nn.Module, settings: dict) -> None:
    """Put untrained LoRA layers on the vision tower of a CLIP: it answers as before.

    Args:
        settings: fields of PEFT's LoraConfig, see HcpMerConfig.vision_lora. `target_modules` names
            linear layers of the vision tower; without it the projections of queries and values.
    Raises:
        ImportError: PEFT is not installed. ValueError: no layer has such a name.
    """
    names = settings.get("target_modules", _PROJECTIONS)
    # A pattern, since bare names would reach into the text tower too.
    layers = rf"vision_model\..*\.({'|'.join(names)})"
    try:
        config = _peft().LoraConfig(**{**settings, "target_modules": layers})
        clip.add_adapter(config, _ADAPTER)
    except (TypeError, ValueError) as error:
        raise ValueError(f"vision_lora {settings} does not fit this CLIP: {error}") from error


def save_vision_lora(clip: nn.Module, checkpoint: Path, backbone: str | None) -> None:
    """Write `vision_lora/` into a checkpoint, as PEFT writes an adapter of `backbone`."""
    folder = checkpoint / VISION_LORA
    config = copy.copy(clip.peft_config[_ADAPTER])
    config.base_model_name_or_path, config.inference_mode = backbone or "", True
    config.save_pretrained(folder)
    state = {_PEFT_PREFIX + name: value for name, value in lora_state(clip).items()}
    save_file(state, folder / LORA_FILES[1], metadata={"format": "pt"})


def load_vision_lora(clip: nn.Module, folder: Path) -> None:
    """Put the LoRA layers of a `vision_lora/` folder on a CLIP that has none; they can be trained.

    Raises:
        ImportError: PEFT is not installed. OSError: a file is missing.
    """
    _peft()
    clip.load_adapter(str(folder), adapter_name=_ADAPTER, is_trainable=True)
    dtype = clip.visual_projection.weight.dtype
    for name, parameter in clip.named_parameters():
        if is_lora(name):  # PEFT makes them fp32, whatever the tower is
            parameter.data = parameter.data.to(dtype)


def lora_state(clip: nn.Module) -> dict[str, Tensor]:
    """The LoRA weights by PEFT's names, on the CPU."""
    # Left to itself, PEFT asks the Hub whether the backbone's vocabulary has changed.
    state = _peft().get_peft_model_state_dict(
        clip, adapter_name=_ADAPTER, save_embedding_layers=False
    )
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def set_lora_state(clip: nn.Module, state: dict[str, Tensor]) -> None:
    """Give LoRA layers the weights of `lora_state`.

    Raises:
        ValueError: weights of other layers or sizes.
    """
    own = lora_state(clip)
    if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in state.items()}:
        raise ValueError(
            f"these LoRA weights ({len(state)} tensors) are not of this model ({len(own)} tensors "
            "of other names or sizes): they belong to another recipe."
        )
    _peft().set_peft_model_state_dict(clip, state, adapter_name=_ADAPTER)


def without_lora(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with LoRA's own weights left out and the names that its layers changed back."""
    return {k.replace(".base_layer.", "."): v for k, v in state.items() if not is_lora(k)}


def _peft():
    try:
        import peft
    except ImportError as error:
        raise ImportError(
            "LoRA on the vision tower needs PEFT, which is not installed: pip install peft"
        ) from error
    return peft
