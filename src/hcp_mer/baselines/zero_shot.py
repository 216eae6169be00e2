"""Zero-shot recognition with the fold's prompt groups: no weight is trained.

No label is seen either, unless the groups themselves are counted on the training clips.
"""

from __future__ import annotations

import numpy as np

from hcp_mer.model.evidence_hcp_mer import answer_zero_shot
from hcp_mer.training.loso import LosoRun


class ZeroShot:
    """The model before any training, by `HcpMerModel.zero_shot`.

    Zero-shot CLIP (Radford et al. 2021) with prompt groups (Eq. 1); of a calibrated backbone, the
    evidence of action units.
    """

    name = "zero_shot"
    heavy = False
    deterministic = True
    num_parameters = 0

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None:
        """Nothing is fitted but the words: contexts are "a photo of", adapters untrained."""
        self._model = run.model_of(rows)

    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        features = {b: values[rows].to(self._model.device) for b, values in run.features.items()}
        return answer_zero_shot(self._model, features).logits.argmax(-1).cpu().numpy()
