"""From a recipe to what it describes: an untrained model and its image processor."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from hcp_mer.errors import UserError
from hcp_mer.training.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
    from hcp_mer.model.modeling_hcp_mer import HcpMerModel


def build_model(recipe: Recipe, groups: list[dict]) -> HcpMerModel:
    """The recipe's untrained model, in eval mode: it answers as zero-shot CLIP does.

    Args: groups: of prompts, with their action-unit sets; see `fold_prompts`.
    Raises:
        UserError: the backbone is neither a folder nor reachable, or the groups do not fit it.
    """
    from hcp_mer.model.modeling_hcp_mer import HcpMerModel

    location = recipe.backbone_location()
    try:
        return HcpMerModel.from_backbone(
            location,
            groups,
            revision=recipe.backbone_revision,
            **recipe.model,
        )
    except OSError as error:
        problem = "is no folder here and cannot be fetched from the Hub"
        if Path(location).is_dir():
            problem = f"is a folder without a whole model ({str(error).splitlines()[0]})"
        raise UserError(
            f"the backbone {recipe.backbone!r} {problem}. "
            "Without a network use --set backbone=hub_configs/face-motion-clip."
        ) from error


def build_processor(
    recipe: Recipe, model: HcpMerModel, pair_settings: dict
) -> HcpMerImageProcessor:
    """The processor of this backbone and of these pairs' motion settings.

    Mean, standard deviation, filter and normalisation of flow are the backbone's own (its
    preprocessor_config.json), CLIP's where it has none.
    """
    from transformers.utils import cached_file

    from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor

    found = cached_file(
        recipe.backbone_location(),
        "preprocessor_config.json",
        revision=recipe.backbone_revision,
        _raise_exceptions_for_missing_entries=False,
    )
    own = json.loads(Path(found).read_text()) if found else {}
    made_by = {"estimator": "unknown", "magnifier": "unknown"}  # pairs that somebody else made
    if pair_settings:
        weights = ("estimator_weights", "magnifier_weights")  # older pairs have none
        made_by = {key: pair_settings[key] for key in made_by}
        made_by |= {key: pair_settings.get(key) for key in weights}
        made_by |= {"motion_size": pair_settings["image_size"], "motion": pair_settings["motion"]}
    return HcpMerImageProcessor(
        image_size=model.config.clip_config.vision_config.image_size,
        image_mean=own.get("image_mean"),
        image_std=own.get("image_std"),
        resample=own.get("resample", 3),
        flow_normalisation=own.get("flow_normalisation", "image"),
        **made_by,
    )


def load_tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    """The backbone's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(
        recipe.backbone_location(), revision=recipe.backbone_revision, trust_remote_code=False
    )


def backbone_fingerprint(model: HcpMerModel) -> str:
    """Hash of the frozen weights."""
    digest = hashlib.sha256()
    for name, value in sorted(model.clip.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.contiguous().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
