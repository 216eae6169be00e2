"""CoOp: a learned context before the class's name, and nothing else that learns."""

from __future__ import annotations

import torch
from torch import Tensor

from hcp_mer.baselines.prompt_learning import PromptPeer, text_encoder
from hcp_mer.training.loso import LosoRun

_CONTEXTS = 16
_SPREAD = 0.02


class CoOp(PromptPeer):
    """Context Optimization (Zhou et al. 2022, IJCV 130:2337) on the magnified apex.

    "[V]1 … [V]16 surprise micro-expression.": 16 vectors, shared by all classes, drawn from
    N(0, 0.02²), the class's name at the end. Both towers stay frozen. As published but for the
    images' random crops and flips: features are those of the frozen tower, computed once.
    """

    name = "coop"

    def initial(self, run: LosoRun, generator: torch.Generator) -> dict[str, Tensor]:
        width = run.model.config.clip_config.text_config.hidden_size
        return {"context": _SPREAD * torch.randn(_CONTEXTS, width, generator=generator)}

    def embed_texts(self, run: LosoRun, weights: dict[str, Tensor]) -> Tensor:
        if not hasattr(self, "_encoder"):
            category = run.model.config.category_text
            self._encoder = text_encoder(run, _CONTEXTS, "", f"{category}.")
        return self._encoder.encode(run.model.clip, weights["context"])
