"""In the manner of MER-CLIP: the flow against one sentence of action units for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from hcp_mer.baselines.prompt_learning import view_is_off
from hcp_mer.data.cross_mapping import frequent_sets
from hcp_mer.training.checkpoint import load_head
from hcp_mer.training.fold_prompts import FoldPrompts
from hcp_mer.training.folds import Fold
from hcp_mer.training.loso import LosoRun
from hcp_mer.training.stacked import TrainingSet
from hcp_mer.training.tower import FrozenTower
from hcp_mer.training.variants import with_options, with_prompts

OPTIONS = {
    "use_holistic": False,
    "contrastive_reading": "class",  # with one branch: cross-entropy over the classes' texts
    "use_consistency": False,
    "use_focal": False,
    "without_focal": "nothing",
}


class OneCombination(FoldPrompts):
    """Every class has one set of action units.

    The one that its training clips show most often; where none is annotated, the recipe's first.
    """

    def groups(self, rows: np.ndarray) -> list[dict]:
        mapping = self._count(rows)
        return [
            {
                **group,
                "action_units": frequent_sets(mapping, group["label"], most=1)
                or group["action_units"][:1],
            }
            for group in super().groups(rows)
        ]


class MerClip:
    """In the manner of MER-CLIP (Liu et al. 2025, arXiv 2505.05937), not that method itself.

    What is here: texts of action units in CLIP's space, one for each class, and an adapter on the
    flow, cross-entropy, the recipe's optimiser: HcpMerConfig with `OPTIONS`, on the prompts of
    `OneCombination`. What is not: the published method trains a video encoder on the frames of the
    clip, aligns each clip with a sentence on its own action units, infers emotions in a module of
    its own and mixes still faces into clips (LocalStaticFaceMix). Its scores say nothing of those.
    """

    name = "mer_clip"
    heavy = False
    num_parameters: int | None = None

    def __init__(self) -> None:
        self._seen: LosoRun | None = None

    def why_not(self, run: LosoRun) -> str | None:
        """Why it cannot answer on a run, in one line, or None."""
        return view_is_off(run, self.name, "componential")

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None:
        changed = self._change(run)
        fold = Fold("", "", rows, rows[:0])
        ((self._state, self._model),) = self._train(changed, [(fold, seed)])

    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        return _answers(run, self._model, self._state, rows)

    def fit_predict_folds(
        self, run: LosoRun, folds: Sequence[Fold], seed: int
    ) -> dict[str, np.ndarray]:
        """Class indices for the held-out clips of each fold, by its name."""
        changed = self._change(run)
        answers = {}
        for alike in changed.prompts.variants(list(folds)):
            trained = self._train(changed, [(fold, fold.seed(seed, self.name)) for fold in alike])
            for fold, (state, model) in zip(alike, trained, strict=True):
                answers[fold.name] = _answers(run, model, state, fold.test)
        return answers

    def _train(self, run: LosoRun, folds: list[tuple[Fold, int]]) -> list[tuple]:
        """Trained part and untrained model of each fold; all of them have the same prompts."""
        model = run.model_of(folds[0][0].train)
        sets = [
            TrainingSet(
                fold.name,
                seed,
                {branch: values[fold.train] for branch, values in run.inputs.items()},
                run.labels[fold.train],
                run.subjects[fold.train],
            )
            for fold, seed in folds
        ]
        states = self._tower.with_model(model).train(sets, run.optimisation, lambda *_: None)
        head = sum(parameter.numel() for parameter in model.head.parameters())
        self.num_parameters = head + model.prompts.context.numel()
        return [(state, model) for state in states]

    def _change(self, run: LosoRun) -> LosoRun:
        """The run with one branch and one set, on features of the frozen tower."""
        if self._seen is not run:
            self._seen = run
            frozen = replace(run, inputs=run.features, recipe=replace(run.recipe, vision_lora={}))
            known = run.prompts
            one = OneCombination(known.written, known.action_units, known.labels)
            one_set = with_prompts(frozen, one)
            self._changed = with_options(one_set, **OPTIONS)
            self._tower = FrozenTower(self._changed.model)
        return self._changed


@torch.inference_mode()
def _answers(run: LosoRun, model, state: dict, rows: np.ndarray) -> np.ndarray:
    features = {"componential": run.features["componential"][rows].to(model.device)}
    texts = model.encode_prompts(state["prompts.context"].to(model.device))
    return load_head(model, state)(features, texts).logits.argmax(-1).cpu().numpy()
