"""What a backbone's similarities mean: log-odds of action units, fitted on unseen renderings.

And how far evidence for a class, a sum over units that are not quite independent, is to be trusted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hcp_mer.data.synthetic.actions import ACTION_UNITS, COMBINATIONS
from hcp_mer.model.action_units_hcp_mer import MAIN_ACTION_UNITS
from hcp_mer.model.evidence_hcp_mer import action_unit_log_odds, class_evidence
from hcp_mer.model.prompts_hcp_mer import componential_text
from hcp_mer.pretraining.contrastive import IMAGE_MEAN, IMAGE_STD, encode, encode_texts
from hcp_mer.pretraining.flow_renderer import draw_action_units, render_flow, standardise
from hcp_mer.pretraining.samples import EMOTIONS, FREE, FaceMotionSamples

_PROMPT = "a micro-expression {} photo of"  # how Eq. 8–9 order the words around "a photo of"
_FLOWS, _AT_ONCE = 4096, 256
_ITERATIONS = 200


@torch.no_grad()
def unit_cosines(model, tokenizer, flows: Tensor) -> Tensor:
    """Similarities of standardised flow images (n, 3, side, side) to each unit's text, (n, 16)."""
    texts = [_PROMPT.format(componential_text([unit], "names")) for unit in ACTION_UNITS]
    embeds = encode_texts(model, tokenizer, texts)
    return torch.cat([encode(model, part) @ embeds.T for part in flows.split(_AT_ONCE)])


def calibrate(model, tokenizer, seed: int) -> dict[str, Any]:
    """Scale and offsets that turn similarities into log-likelihood ratios, by Platt's method.

    One scale for all units and an offset of each (Platt 1999), by maximum likelihood on flows
    rendered from another seed. How often a unit acts there says nothing about anybody's clips:
    its log-odds beforehand are taken out of the offset again.

    Returns: {"scale": float, "offset": {FACS number: float}, "temperature": float}, as HcpMerConfig
        takes it; the temperature is that of the evidence for seven emotions.
    """
    rng = np.random.default_rng((seed, _FLOWS))
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    units, emotions = map(torch.from_numpy, draw_action_units(_FLOWS, rng))
    side = model.config.vision_config.image_size
    flows = [standardise(render_flow(part, generator, side)) for part in units.split(_AT_ONCE)]
    cosines = unit_cosines(model, tokenizer, torch.cat(flows)).double()
    scale = torch.tensor(10.0, dtype=torch.float64, requires_grad=True)
    offsets = torch.zeros(len(ACTION_UNITS), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [scale, offsets], max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        evidence = scale * cosines + offsets
        loss = F.binary_cross_entropy_with_logits(evidence, units.double())
        loss.backward()
        return loss

    optimiser.step(closure)
    ratios = (offsets - units.double().mean(0).logit()).tolist()
    found = {
        "scale": round(scale.item(), 4),
        "offset": {str(u): round(o, 4) for u, o in zip(ACTION_UNITS, ratios, strict=True)},
    }
    shows_emotion = emotions != FREE
    temperature = _temperature(cosines[shows_emotion], emotions[shows_emotion], found)
    return {**found, "temperature": temperature}


def _temperature(cosines: Tensor, emotions: Tensor, calibration: dict[str, Any]) -> float:
    """What evidence for the seven emotions is divided by, by maximum likelihood (Guo et al. 2017).

    Args: (n, 16) in the order of ACTION_UNITS; (n,) indices into EMOTIONS.
    """
    from scipy.optimize import minimize_scalar

    all_units = cosines.new_zeros(len(cosines), len(MAIN_ACTION_UNITS))
    all_units[:, [MAIN_ACTION_UNITS.index(unit) for unit in ACTION_UNITS]] = cosines
    sets = [list(COMBINATIONS[emotion]) for emotion in EMOTIONS]
    evidence = class_evidence(action_unit_log_odds(all_units, calibration), sets)

    def loss(log_temperature: float) -> float:
        return F.cross_entropy(evidence / np.exp(log_temperature), emotions).item()

    return round(float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)), 4)


@torch.inference_mode()
def validate(model, tokenizer, samples: FaceMotionSamples) -> dict[str, float]:
    """Zero-shot scores on people that pretraining did not see, filmed and measured by ourselves.

    Returns: emotion_accuracy over the seven emotions from the magnified apex alone;
        action_unit_auc, the mean area under the ROC curve of single units from the flow alone.
    """
    from sklearn.metrics import roc_auc_score

    side = [model.config.vision_config.image_size] * 2
    views = [
        F.interpolate(
            torch.from_numpy(view).permute(0, 3, 1, 2).float(), side, mode="bicubic", antialias=True
        ).clamp(0, 255)
        for view in (samples.faces, samples.flows)
    ]
    faces = (views[0] / 255 - IMAGE_MEAN) / IMAGE_STD
    words = encode_texts(model, tokenizer, [_PROMPT.format(emotion) for emotion in EMOTIONS])
    known = samples.emotions != FREE
    embeds = torch.cat([encode(model, part) for part in faces[torch.from_numpy(known)].split(256)])
    answers = (embeds @ words.T).argmax(1).numpy()
    evidence = unit_cosines(model, tokenizer, standardise(views[1])).numpy()
    areas = [
        roc_auc_score(samples.action_units[:, k], evidence[:, k])
        for k in range(len(ACTION_UNITS))
        if 0 < samples.action_units[:, k].sum() < len(samples)
    ]
    return {
        "emotion_accuracy": float((answers == samples.emotions[known]).mean()),
        "action_unit_auc": float(np.mean(areas)),
    }
