"""Does the backbone know anything? Zero-shot on drawn images whose answers are known, and on pairs.

Random weights have the right names and shapes too: only answers tell them from trained ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hcp_mer.data.tasks import Task, label_of
from hcp_mer.doctor.findings import Verdict, look, ok, wrong
from hcp_mer.doctor.published import CLIP_VOCABULARY

if TYPE_CHECKING:
    from torch import Tensor

    from hcp_mer.data.pairs import LabelledPairs, Pairs
    from hcp_mer.doctor.backbone import Backbone
    from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
    from hcp_mer.model.modeling_hcp_mer import HcpMerModel

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}
TEMPLATES = ("a photo of the color {}", "a photo of a {} square", "a photo of a plain {} wall")
LEAST_COLOURS = 2 / 3  # share of the colours; chance is 1/6
CLIPS_PER_CLASS = 6
LEAST_OF_CHANCE = 2.0  # UF1 on procedural clips, as a multiple of chance
SHUFFLES = 400
_BATCH = 16


def check_knowledge(backbone: Backbone) -> Verdict:
    """Plain colours for a CLIP of the usual vocabulary; procedural faces for any other."""
    if len(backbone.tokenizer) == CLIP_VOCABULARY:
        return check_colours(backbone)
    return check_procedural(backbone)


def check_colours(backbone: Backbone) -> Verdict:
    """Six plain squares: any CLIP that was trained names most of them."""
    from hcp_mer.training.assembly import build_processor

    processor = build_processor(backbone.recipe, backbone.model, {})
    taken_for = name_colours(backbone.model.clip, backbone.tokenizer, processor)
    right = sum(colour == taken for colour, taken in taken_for.items())
    found = f"{right} of {len(COLOURS)} plain colours named right, chance 1 of {len(COLOURS)}"
    if right >= LEAST_COLOURS * len(COLOURS):
        return ok(found)
    return wrong(found, f"random or broken weights? {_look_above()}")


def name_colours(clip, tokenizer, processor: HcpMerImageProcessor) -> dict[str, str]:
    """Colour that is shown → colour whose texts are nearest, over all TEMPLATES together."""
    import torch

    texts = [template.format(name) for name in COLOURS for template in TEMPLATES]
    squares = [np.full((224, 224, 3), colour, np.uint8) for colour in COLOURS.values()]
    pixels = torch.from_numpy(np.stack([processor.to_pixels(square) for square in squares]))
    with torch.inference_mode():
        output = clip(**tokenizer(texts, padding=True, return_tensors="pt"), pixel_values=pixels)
    by_name = output.text_embeds.view(len(COLOURS), len(TEMPLATES), -1).mean(1)
    nearest = (output.image_embeds @ by_name.T).argmax(-1)
    names = list(COLOURS)
    return {name: names[index] for name, index in zip(names, nearest.tolist())}


def check_procedural(backbone: Backbone) -> Verdict:
    """A few rendered clips: what the embedded backbone was made for, and has not seen."""
    from hcp_mer.metrics.mer.scores import confusion_matrix, uf1
    from hcp_mer.motion.pair import PairSettings
    from hcp_mer.training.assembly import build_processor

    task = backbone.recipe.label_task
    onsets, apexes, labels = render_clips(task)
    processor = build_processor(backbone.recipe, backbone.model, PairSettings().to_dict())
    inputs = processor(onset=onsets, apex=apexes, return_tensors="pt")
    predictions = _answers(backbone.model, **inputs)
    num_classes = len(task.classes)
    score = float(uf1(confusion_matrix(labels, predictions, num_classes)))
    found = f"UF1 {score:.2f} on {len(labels)} rendered clips, chance {1 / num_classes:.2f}"
    if score >= LEAST_OF_CHANCE / num_classes:
        return ok(found)
    if backbone.published is None:  # it may never have seen a drawn face
        return look(found, "it knows no drawn faces, which is no fault of a CLIP made for others")
    return wrong(found, f"random or broken weights? {_look_above()}")


def render_clips(task: Task) -> tuple[list[np.ndarray], list[np.ndarray], list[int]]:
    """Onset and apex frames of CLIPS_PER_CLASS procedural clips per class, and their labels."""
    from hcp_mer.data.synthetic import COMBINATIONS, make_identity, render_clip

    onsets, apexes, labels = [], [], []
    for label, name in enumerate(task.classes):
        emotions = [e for e in COMBINATIONS if label_of(e, task, "procedural") == name]
        for number in range(CLIPS_PER_CLASS):
            clip = render_clip(
                make_identity(label * CLIPS_PER_CLASS + number),
                emotions[number % len(emotions)],
                seed=(label, number),
                key_frames_only=True,
            )
            onsets.append(clip.frames[0])
            apexes.append(clip.frames[1])
            labels.append(label)
    return onsets, apexes, labels


def check_pairs(backbone: Backbone, pairs: Pairs, labelled: LabelledPairs) -> Verdict:
    """Zero-shot on the user's own pairs: a number to know before training, not a verdict."""
    from hcp_mer.training.assembly import build_processor

    processor = build_processor(backbone.recipe, backbone.model, pairs.settings)
    predictions = np.concatenate(
        [
            _answers(backbone.model, **_pixels(processor, pairs, labelled.rows[i : i + _BATCH]))
            for i in range(0, len(labelled.rows), _BATCH)
        ]
    )
    labels = np.array(labelled.labels)
    score, chance, high = uf1_and_chance(
        labels, predictions, len(backbone.recipe.label_task.classes)
    )
    found = (
        f"UF1 {score:.2f} on {len(labels)} clips; shuffled labels {chance:.2f}, up to {high:.2f}"
    )
    if score > high:
        return ok(f"{found}: above chance")
    return ok(f"{found}: at chance, as expected of a CLIP that no micro-expression was shown to")


def uf1_and_chance(
    labels: np.ndarray, predictions: np.ndarray, num_classes: int
) -> tuple[float, float, float]:
    """UF1; its mean and its 97.5 % point when the same labels are dealt out at random."""
    from hcp_mer.metrics.mer.scores import confusion_matrix, uf1

    rng = np.random.default_rng(0)
    dealt = [rng.permutation(labels) for _ in range(SHUFFLES)]
    matrices = np.stack([confusion_matrix(y, predictions, num_classes) for y in (labels, *dealt)])
    scores = uf1(matrices)
    return float(scores[0]), float(scores[1:].mean()), float(np.quantile(scores[1:], 0.975))


def _pixels(processor: HcpMerImageProcessor, pairs: Pairs, rows: list[int]) -> dict[str, Tensor]:
    import torch

    views = {"pixel_values": "magnified", "flow_pixel_values": "flow"}
    return {
        name: torch.from_numpy(
            np.stack([processor.to_pixels(pairs.image(r, view), view) for r in rows])
        )
        for name, view in views.items()
    }


def _answers(model: HcpMerModel, **pixels: Tensor) -> np.ndarray:
    """Class indices (clips,), with nothing that was trained."""
    return model.zero_shot(**pixels).logits.argmax(-1).numpy()


def _look_above() -> str:
    return "see the lines `weights` and `tokenizer`; if both are ok, update transformers and torch"
