"""Run folders as training leaves them, made of a few clips whose scores are known by hand."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hcp_mer.metrics import intervals
from hcp_mer.reporting import figures, scores

CLASSES = ["negative", "positive", "surprise"]
SHORT = {name[0]: name for name in CLASSES}


def table(*clips: str, seed: int = 0, **columns) -> pd.DataFrame:
    """A row per "dataset/subject/clip label prediction", classes by their first letter.

    The predicted class has probability 0.8, the others 0.1 each.
    """
    rows = [clip.replace("/", " ").split() for clip in clips]
    frame = pd.DataFrame(rows, columns=["dataset", "subject", "clip_id", "label", "prediction"])
    frame = frame.replace({"label": SHORT, "prediction": SHORT})
    for name in CLASSES:
        frame[f"prob_{name}"] = np.where(frame["prediction"] == name, 0.8, 0.1)
    return frame.assign(seed=seed, **columns)


def clips_of(*subjects: str, dataset: str = "casme2", answers: str = "nps") -> list[str]:
    """Three clips of each subject, one of each class, answered by `answers`."""
    return [
        f"{dataset}/{subject}/{place} {label} {answer}"
        for subject in subjects
        for place, (label, answer) in enumerate(zip("nps", answers, strict=True))
    ]


def write_run(
    folder: Path,
    predictions: pd.DataFrame,
    *,
    recipe: str = "identity: 1\nrecipe:\n  task: 3-class\n  epochs: 80\n",
    task: dict | None = None,
    **baselines: pd.DataFrame,
) -> Path:
    (folder / "baselines").mkdir(parents=True, exist_ok=True)
    predictions.to_parquet(folder / "predictions.parquet", index=False)
    for name, frame in baselines.items():
        frame.to_parquet(folder / "baselines" / f"{name}.parquet", index=False)
    content = {"task": "3-class", "classes": CLASSES, **(task or {})}
    (folder / "task.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    return folder


def make_quick(patch: pytest.MonkeyPatch) -> None:
    """999 draws of subjects tell a tie from a gain as 9999 do; words need no pictures."""
    for name in ("bootstrap_over_subjects", "bootstrap_difference_over_subjects"):
        patch.setattr(scores, name, partial(getattr(intervals, name), num_resamples=999))
    patch.setattr(figures, "render", lambda figure, image_format: b"")
