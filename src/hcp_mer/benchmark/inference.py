"""What a call of the pipeline costs beside the two image forwards that nobody can do without."""

from __future__ import annotations

from typing import Any

import cv2
import torch
from transformers import CLIPConfig

from hcp_mer.benchmark.ladder import clip_prompts, random_model
from hcp_mer.benchmark.prepare import render_pairs
from hcp_mer.benchmark.timing import alternate, machine
from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
from hcp_mer.model.motion_hcp_mer import motion_pair
from hcp_mer.model.pipeline_hcp_mer import MicroExpressionPipeline

BARE = "two bare image forwards"
WAYS = ("pipe(magnified, flow)", "pipe(onset, apex)", "motion alone")


def run_inference(
    classes: int = 3, rounds: int = 25, clip_config: CLIPConfig | None = None
) -> dict[str, Any]:
    """Time warm calls on one procedural clip of 224 px, random weights.

    Returns: "machine", "settings" and "ways": per way "cpu_s", "wall_s" and "ratio", its median
        processor time over that of two forwards of the bare CLIP, one image each.
    """
    cv2.setNumThreads(1)
    model = random_model(clip_config or CLIPConfig(), clip_prompts(classes))
    size = model.config.clip_config.vision_config.image_size
    pipe = MicroExpressionPipeline(model, image_processor=HcpMerImageProcessor(image_size=size))
    ((onset, apex),) = render_pairs(1, 224)
    views = motion_pair(onset, apex)
    pixels = torch.randn(2, 1, 3, size, size)

    @torch.inference_mode()
    def bare() -> None:
        for image in pixels:
            model.clip.get_image_features(pixel_values=image)

    sides = {
        BARE: bare,
        WAYS[0]: lambda: pipe(magnified=views.magnified, flow=views.flow_image),
        WAYS[1]: lambda: pipe(onset=onset, apex=apex),
        WAYS[2]: lambda: motion_pair(onset, apex),
    }
    ways = {name: own.seconds() for name, own in alternate(sides, rounds).items()}
    for way in ways.values():
        way["ratio"] = way["cpu_s"]["median"] / ways[BARE]["cpu_s"]["median"]
    return {
        "machine": machine(),
        "settings": {"classes": classes, "rounds": rounds},
        "ways": ways,
    }
