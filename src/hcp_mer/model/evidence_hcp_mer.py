"""Recognition without any training: classes from calibrated evidence for their action units.

Captions of emotions follow the rendering that a tower was pretrained on; single action units are
read far more alike from one flow pipeline to the next. So each unit's similarity to the flow
becomes log-odds, with a scale and offsets that were fitted when the backbone was pretrained, and a
class is as likely as its sets of units: Bayes' rule with units that are independent given the set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .action_units_hcp_mer import MAIN_ACTION_UNITS, action_unit_name
from .losses_hcp_mer import group_similarity
from .outputs_hcp_mer import ZeroShotOutput


@torch.no_grad()
def answer_zero_shot(
    model: nn.Module,
    features: Mapping[str, Tensor],
    candidate_groups: Mapping[str, Mapping] | None = None,
) -> ZeroShotOutput:
    """`HcpMerModel.zero_shot` from features, branch → (batch, feature_size), as they are cached."""
    config = model.config
    size = config.clip_config.projection_dim
    embeds = {b: F.normalize(values[:, :size], dim=-1) for b, values in features.items()}
    words = model.prompts.words_of_context(model.clip.text_model)
    if config.action_unit_calibration and "componential" in embeds:
        units = F.normalize(model.prompts.encode_action_units(model.clip, words), dim=-1)
        cosines = embeds["componential"] @ units.T
        log_odds = action_unit_log_odds(cosines, config.action_unit_calibration)
        sets = [group["action_units"] for group in config.prompt_groups]
        if candidate_groups is not None:
            known = sorted(map(int, config.action_unit_calibration["offset"]))
            sets = list(candidate_sets(candidate_groups, known).values())
        evidence = class_evidence(log_odds, sets)
        # A sum over units overstates: they are not quite independent.
        temperature = config.action_unit_calibration.get("temperature", 1.0)
        return ZeroShotOutput(evidence / temperature, log_odds)
    if candidate_groups is not None:
        raise ValueError(
            "this backbone has no calibration of action units: its classes are fixed when a "
            "model is made, HcpMerModel.from_backbone(backbone, prompt_groups)."
        )
    texts = F.normalize(model.encode_prompts(words[None])[0], dim=-1)
    responses = [model.head.respond(branch, embed, texts) for branch, embed in embeds.items()]
    similarity = group_similarity(*responses) if len(responses) == 2 else responses[0]
    return ZeroShotOutput(config.similarity_scale * similarity)


def action_unit_log_odds(cosines: Tensor, calibration: Mapping) -> Tensor:
    """How much more likely a unit's similarity makes it that the unit acts, in nats.

    Args:
        cosines: (batch, len(MAIN_ACTION_UNITS)), of flows and the units' texts.
        calibration: {"scale": float, "offset": {number: float}}, of the units that the backbone
            knows; JSON's keys, which are text, will do.
    Returns: (batch, len(MAIN_ACTION_UNITS)); 0 for a unit that the backbone does not know.
    """
    offsets = {int(number): offset for number, offset in calibration["offset"].items()}
    known = [number in offsets for number in MAIN_ACTION_UNITS]
    offset = cosines.new_tensor([offsets.get(number, 0.0) for number in MAIN_ACTION_UNITS])
    return (calibration["scale"] * cosines + offset) * cosines.new_tensor(known)


def class_evidence(log_odds: Tensor, sets: Sequence[Sequence[Sequence[int]]]) -> Tensor:
    """Log-likelihood of each class, but for a term that all share.

    A set is as likely as the sum of its units' log-odds; a class, as its sets together. So every
    set is taken for equally frequent, and a class of many sets for more frequent than one of few.

    Args:
        log_odds: (batch, len(MAIN_ACTION_UNITS)); sets: per class its sets of FACS numbers.
    Returns: (batch, classes).
    """
    column = {number: index for index, number in enumerate(MAIN_ACTION_UNITS)}
    classes = []
    for of_class in sets:
        known = {frozenset(column[u] for u in units if u in column) for units in of_class}
        rows = [log_odds[:, sorted(units)].sum(-1) for units in sorted(known, key=sorted)]
        classes.append(torch.stack(rows, dim=-1).logsumexp(-1))
    return torch.stack(classes, dim=-1)


def candidate_sets(
    candidate_groups: Mapping[str, Mapping], known: Sequence[int]
) -> dict[str, list[list[int]]]:
    """Class → its sets, from groups as they are given at call time.

    Args:
        candidate_groups: class → {"emotion": its word (not read), "action_units": [12, 14], or
            several sets, [[12], [14]]}.
        known: FACS numbers that the backbone has evidence for.
    Raises:
        ValueError: fewer than two classes, malformed groups, an action unit unknown to FACS, or a
            set of which no unit is known to the backbone.
    """
    if not isinstance(candidate_groups, Mapping) or len(candidate_groups) < 2:
        raise ValueError(
            "candidate_groups must name two or more classes to choose from, such as {'contempt': "
            "{'emotion': 'contempt', 'action_units': [12, 14]}, 'surprise': {…}}; "
            f"got {candidate_groups!r}."
        )
    sets = {}
    for label, group in candidate_groups.items():
        units = group.get("action_units") if isinstance(group, Mapping) else None
        listed = list(units) if isinstance(units, (list, tuple)) else []
        several = bool(listed) and all(isinstance(part, (list, tuple)) for part in listed)
        sets[label] = [list(part) for part in listed] if several else [listed]
        numbers = [number for part in sets[label] for number in part]
        if not all(sets[label]) or not all(type(number) is int for number in numbers):
            raise ValueError(
                f"action_units of {label!r} must be FACS numbers such as [12, 14]; got {units!r}."
            )
        for number in numbers:
            action_unit_name(number)  # raises for one that FACS does not have
        for part in sets[label]:
            if not set(part) & set(known):
                raise ValueError(
                    f"the backbone has no evidence for any of the action units {part} of "
                    f"{label!r}; it knows {', '.join(map(str, known))}."
                )
    return sets
