"""What training leaves behind: the trained part of a fold, and checkpoints that load anywhere."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hcp_mer.errors import UserError
from hcp_mer.files import read_json
from hcp_mer.model.checkpoint_hcp_mer import BACKBONE
from hcp_mer.model.configuration_hcp_mer import HcpMerConfig
from hcp_mer.model.head_hcp_mer import HcpMerHead
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.model.modeling_hcp_mer import HcpMerModel
from hcp_mer.model.vision_lora_hcp_mer import lora_state, set_lora_state
from hcp_mer.training.run_folder import PROMPTS, RunFolder
from hcp_mer.training.stacked import LOSSES

PROMPT_FIELDS = ("prompt_groups", "prompt_token_ids")  # of a config: what folds may differ in
_LORA = "vision_lora."


def trained_part(model: HcpMerModel) -> dict[str, Tensor]:
    """Everything of a model but the frozen backbone: head, contexts, focal weights, LoRA."""
    own = {name: v for name, v in model.state_dict().items() if not name.startswith(BACKBONE)}
    state = {name: value.detach().cpu().clone() for name, value in own.items()}
    if model.config.vision_lora:
        state |= {_LORA + name: value for name, value in lora_state(model.clip).items()}
    return state


def apply_trained_part(
    model: HcpMerModel, state: dict[str, Tensor], vision_lora: dict | None = None
) -> None:
    """Give a model on the same backbone a fold's trained part.

    Args: vision_lora: settings of the recipe, where the model has no LoRA layers yet.
    Raises:
        ValueError: the part is of another model.
    """
    lora = {name.removeprefix(_LORA): v for name, v in state.items() if name.startswith(_LORA)}
    if lora and not model.config.vision_lora:
        model.add_vision_lora(vision_lora or {})
    if lora:
        set_lora_state(model.clip, lora)
    weights = {name: value for name, value in state.items() if name != LOSSES}
    own = {name: value for name, value in weights.items() if not name.startswith(_LORA)}
    missing = {name for name in model.state_dict() if not name.startswith(BACKBONE)} - set(own)
    unknown = model.load_state_dict(own, strict=False).unexpected_keys
    if missing or unknown:
        raise ValueError(
            f"this trained part is of another model: {next(iter([*missing, *unknown]))}."
        )


def load_head(model: HcpMerModel, state: dict[str, Tensor]) -> HcpMerHead:
    """A head in eval mode with the weights of a trained part."""
    head = model.new_head(seed=0)
    prefix = "head."
    own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    head.load_state_dict(own)
    return head.eval()


def save_checkpoint(model: HcpMerModel, processor: HcpMerImageProcessor, folder: Path) -> None:
    """Save weights, config, processor and the code that reads them (remote code)."""
    model.save_pretrained(folder)
    processor.save_pretrained(folder)


def load_fold(
    run_folder: str | Path, subject: str, dataset: str | None = None, seed: int | None = None
) -> HcpMerModel:
    """The model that was trained without one subject: the one whose answers the LOSO table has.

    Its prompt groups are the fold's own, which differ from fold to fold where they were counted.
    Its scores are not calibrated: the deployable model's temperature knows the held-out subject.

    Args:
        subject: the held-out subject; dataset: needed where two corpora have a subject of that
            name; seed: one of the recipe's, the first by default.
    Raises:
        UserError: no finished run, subject or seed of that name; a damaged file.
    """
    file = RunFolder(Path(run_folder)).trained_file(subject, dataset, seed)
    checkpoint = Path(run_folder) / "model"
    if not (checkpoint / "config.json").is_file():
        raise UserError(
            f"{run_folder} has no model/ yet, which holds what its folds share: let the run finish "
            "(the same train_loso command goes on where it was)."
        )
    config = HcpMerConfig.from_pretrained(checkpoint)
    for name, own in read_json(file.with_name(PROMPTS), PROMPT_FIELDS).items():
        setattr(config, name, own)
    config.score_temperature, config.unsure_below = 1.0, 0.0
    model = HcpMerModel.from_pretrained(checkpoint, config=config)
    try:
        apply_trained_part(model, load_file(file))
    except SafetensorError as error:
        raise UserError(f"{file} is damaged ({error}): delete its folder and run again.") from error
    return model.eval()
