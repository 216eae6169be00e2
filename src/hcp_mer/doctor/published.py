"""What is known from elsewhere, to hold things against: backbones, and the paper's counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePath

CLIP_VOCABULARY = 49408
CLIP_IDS = {  # as OpenAI's and open_clip's own tokenizers give them
    "a photo of a cat": (49406, 320, 1125, 539, 320, 2368, 49407),
    "a micro-expression brow lowerer photo of": (
        *(49406, 320, 11374, 268, 11357, 15895, 549, 598, 3407, 1125, 539, 49407),
    ),
}


@dataclass(frozen=True)
class PublishedBackbone:
    """A backbone as its authors published it.

    Attributes:
        sizes: "vision.hidden_size" and so on → value in config.json.
        num_parameters: of the whole CLIPModel.
        scale: e to the logit scale.
        image_mean, image_std: of its preprocessor_config.json.
        sha256: weight file's name → its hashes, one for each file that was published.
        fetch_bytes: size of the download, None for a folder of this repository.
    """

    sizes: dict[str, object]
    num_parameters: int
    scale: float
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]
    sha256: dict[str, str] = field(default_factory=dict)
    fetch_bytes: int | None = None


_COMMON = {"vision.hidden_act": "quick_gelu", "text.hidden_act": "quick_gelu"}
BACKBONES = {
    "clip-vit-base-patch32": PublishedBackbone(
        sizes={
            **_COMMON,
            **{"projection_dim": 512, "text.vocab_size": CLIP_VOCABULARY},
            **{"vision.num_hidden_layers": 12, "vision.hidden_size": 768},
            **{"vision.intermediate_size": 3072, "vision.num_attention_heads": 12},
            **{"vision.patch_size": 32, "vision.image_size": 224},
            **{"text.num_hidden_layers": 12, "text.hidden_size": 512},
            **{"text.intermediate_size": 2048, "text.num_attention_heads": 8},
            "text.max_position_embeddings": 77,
        },
        num_parameters=151_277_313,
        scale=100.0,
        image_mean=(0.48145466, 0.4578275, 0.40821073),
        image_std=(0.26862954, 0.26130258, 0.27577711),
        # Written down by others, nothing was computed here. The .bin of revision 3d74acf9 (main):
        # the git-lfs pointer (oid, size 605247071) in github.com/zdanw/Buffer, and pins in several
        # more repositories. The .safetensors (605157884 bytes), a conversion that lies in pull
        # requests of the repository (refs/pr/15 and others), not in main: pins of its revisions
        # b33cedfd and eaee4c87, and of sentence-transformers/clip-ViT-B-32 327ab672, which holds
        # the same file.
        sha256={
            "pytorch_model.bin": "a63082132ba4f97a80bea76823f544493bffa8082296d62d71581a4feff1576f",
            "model.safetensors": "99d28a652e6ec46629ab7047a0ac82c69b1fe11e0ce672c43af65d3a9a3fc05d",
        },
        fetch_bytes=605_247_071,
    ),
    "face-motion-clip": PublishedBackbone(
        sizes={
            **_COMMON,
            **{"projection_dim": 128, "text.vocab_size": 827},
            **{"vision.num_hidden_layers": 3, "vision.hidden_size": 128},
            **{"vision.intermediate_size": 384, "vision.num_attention_heads": 4},
            **{"vision.patch_size": 4, "vision.image_size": 28},
            **{"text.num_hidden_layers": 2, "text.hidden_size": 128},
            **{"text.intermediate_size": 384, "text.num_attention_heads": 4},
            "text.max_position_embeddings": 48,
        },
        num_parameters=985_089,
        scale=10.0,
        image_mean=(0.5, 0.5, 0.5),
        image_std=(0.25, 0.25, 0.25),
        # Of the file that pretrain_backbone.py --verify reproduced byte by byte. It is written
        # here, in the package, so that a copy that broke on its way is told from the original.
        sha256={
            "model.safetensors": "d1ef63a043a62c5be51e22b900c6f5930ed53db5f7a4d81a8e1574b19ac6cb81",
        },
    ),
}


def published_backbone(name: str) -> PublishedBackbone | None:
    """What is published of a Hub id, or of a folder of the same last name."""
    return BACKBONES.get(PurePath(name).name)
