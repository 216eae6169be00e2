"""CLIP-Adapter: a bottleneck beside the frozen image feature, prompts written by hand."""

from __future__ import annotations

import torch
from torch import Tensor

from hcp_mer.baselines.prompt_learning import PromptPeer, text_encoder
from hcp_mer.training.loso import LosoRun

_REDUCTION = 4
_RATIO = 0.2


class ClipAdapter(PromptPeer):
    """CLIP-Adapter (Gao et al. 2024, IJCV 132:581) on the magnified apex.

    α · ReLU(ReLU(f W₁) W₂) + (1 − α) · f against "a photo of a surprise micro-expression.", with a
    bottleneck of a quarter of the width and no bias. α is 0.2, as in the authors' code, which is
    trained in CoOp's framework: so is this. The paper's variant with an adapter beside the text
    tower is not here.
    """

    name = "clip_adapter"

    def __init__(self, ratio: float = _RATIO, **settings) -> None:
        super().__init__(**settings)
        self.ratio = ratio

    def initial(self, run: LosoRun, generator: torch.Generator) -> dict[str, Tensor]:
        width = run.model.config.clip_config.projection_dim
        narrow = max(1, width // _REDUCTION)
        # As torch draws the weights of a linear layer.
        return {
            "down": _uniform((width, narrow), width**-0.5, generator),
            "up": _uniform((narrow, width), narrow**-0.5, generator),
        }

    def embed_images(self, weights: dict[str, Tensor], features: Tensor) -> Tensor:
        adapted = ((features @ weights["down"]).relu() @ weights["up"]).relu()
        return self.ratio * adapted + (1 - self.ratio) * features

    @torch.no_grad()
    def embed_texts(self, run: LosoRun, weights: dict[str, Tensor]) -> Tensor:
        if not hasattr(self, "_texts"):
            encoder = text_encoder(run, 0, "a photo of a", f"{run.model.config.category_text}.")
            width = run.model.config.clip_config.text_config.hidden_size
            self._texts = encoder.encode(run.model.clip, torch.zeros(1, 0, width))
        return self._texts


def _uniform(size: tuple[int, int], reach: float, generator: torch.Generator) -> Tensor:
    return torch.empty(size).uniform_(-reach, reach, generator=generator)
