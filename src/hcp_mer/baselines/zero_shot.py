"""Zero-shot CLIP with the fold's prompt groups: no weight is trained.

No label is seen either, unless the groups themselves are counted on the training clips.
"""

from __future__ import annotations

import numpy as np
import torch

from hcp_mer.model.losses_hcp_mer import group_similarity
from hcp_mer.training.loso import LosoRun


class ZeroShot:
    """Zero-shot CLIP (Radford et al. 2021) with prompt groups (Eq. 1; gate ½ and ½).

    The answer is the class whose group is most similar to the clip.
    """

    name = "zero_shot"
    heavy = False
    deterministic = True
    num_parameters = 0

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None:
        """Nothing is fitted but the words: contexts are "a photo of", adapters untrained."""
        self._model = run.model_of(rows)

    @torch.inference_mode()
    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        model = self._model
        head = model.new_head(seed=0).eval()
        features = {b: values[rows].to(model.device) for b, values in run.features.items()}
        responses = head(features, model.encode_prompts()).branch_responses
        similarity = group_similarity(*responses) if len(responses) == 2 else responses[0]
        return similarity.argmax(-1).cpu().numpy()
