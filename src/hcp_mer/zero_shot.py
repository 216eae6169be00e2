"""Recognition with nothing trained, from a backbone and a file of prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hcp_mer.training.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from hcp_mer.recognition.film_pipeline import MicroExpressionPipeline


def zero_shot_pipeline(recipe: Recipe | str | Path, **options) -> MicroExpressionPipeline:
    """A pipeline that answers by `HcpMerModel.zero_shot`; it learns from no clip.

    Args: recipe: of which the task, the prompts and the backbone count, a Recipe or its path. Sets
        that would be counted on training clips are those under `otherwise`. options: of the
        pipeline: face, unsure_below, top_k, explain.
    Raises:
        UserError: an unusable recipe or backbone. ValueError: an action unit unknown to FACS.
    """
    from hcp_mer.metrics.calibration import UNSURE_BELOW
    from hcp_mer.model.motion_hcp_mer import MotionSettings
    from hcp_mer.motion.pair import PairSettings
    from hcp_mer.recognition.film_pipeline import MicroExpressionPipeline
    from hcp_mer.training.assembly import build_model, build_processor
    from hcp_mer.training.fold_prompts import without_counts

    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    model = build_model(recipe, without_counts(recipe.prompt_groups()))
    as_prepared = PairSettings(motion=MotionSettings(register=True))  # prepare_dataset.py's default
    processor = build_processor(recipe, model, as_prepared.to_dict())
    if options.get("unsure_below") is None:  # its evidence is calibrated, too
        options["unsure_below"] = UNSURE_BELOW if model.config.action_unit_calibration else 0.0
    return MicroExpressionPipeline(model, processor, zero_shot=True, **options)
