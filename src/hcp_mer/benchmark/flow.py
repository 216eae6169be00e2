"""How exact flow is, by size of the movement, noise and disturbance; and how long a pair takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from hcp_mer.benchmark.reference_flow import refined_lucas_kanade
from hcp_mer.benchmark.scenes import (
    TO_APEX,
    Conditions,
    Face,
    Motion,
    Scene,
    action_units,
    bumps,
    faces,
)
from hcp_mer.benchmark.timing import alternate, machine
from hcp_mer.errors import UserError
from hcp_mer.model.face_regions_hcp_mer import face_mask
from hcp_mer.model.registration_hcp_mer import register, remove_head_motion
from hcp_mer.motion.clip_flow import estimate_clip_flow
from hcp_mer.motion.flow import DEFAULT_ESTIMATOR, ESTIMATORS, estimator

PEAKS_PX = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0)
NOISES = (0.0, 2.0, 4.0)
AT_PEAK_PX, AT_NOISE = 0.25, 2.0  # a micro-expression before a common camera
REFERENCE, SEVERAL_FRAMES, ZERO = "reference", "all frames", "no motion"
Frames = Sequence[np.ndarray]
Method = Callable[[Frames, int], np.ndarray]  # (frames, apex_index) → (H, W, 2) px


@dataclass(frozen=True)
class Trial:
    """What is filmed, and whether the head's movement is undone before flow is measured."""

    conditions: Conditions
    motion: Callable[[int, float], Motion] = bumps
    registered: bool = False


_CALM = Conditions(noise=AT_NOISE)
TRIALS = {
    "q95": Trial(replace(_CALM, jpeg_quality=95)),
    "q85": Trial(replace(_CALM, jpeg_quality=85)),
    "q75": Trial(replace(_CALM, jpeg_quality=75)),
    "light": Trial(replace(_CALM, light=True)),
    "head": Trial(replace(_CALM, head=True)),
    "head reg.": Trial(replace(_CALM, head=True), registered=True),
    "all reg.": Trial(Conditions(AT_NOISE, 85, light=True, head=True), registered=True),
    "AUs": Trial(_CALM, motion=action_units),
}


def run_flow(
    scenes_per_face: tuple[int, int] = (3, 2), weights: str | None = None, rounds: int = 7
) -> dict[str, Any]:
    """Mean end-point error of every estimator on the same scenes, and its time.

    Args:
        scenes_per_face: of each portrait and of each drawn face.
        weights: FlowNet 2.0's, to measure it as well.
        rounds: how often a pair is timed.

    Returns: "machine", "settings"; "errors", a list of {"method", "conditions", "peak_px",
        "mean_px", "standard_error_px"}, in which the error is |û − u| where |u| exceeds a quarter
        of its peak; "pair_s", the times; "ratio_to_reference" and "ratio_several_frames" at 0.25 px
        and noise of 2 levels, each with its 95 % interval over scenes.
    Raises UserError for weights that are no FlowNet's and where the portraits are not installed.
    """
    cv2.setNumThreads(1)
    methods = _methods(weights)
    cast = cast_of(faces(), scenes_per_face)
    cells = {}
    for peak_px in PEAKS_PX:
        scenes = [Scene(face, bumps(seed, peak_px)) for face, seed in cast]
        for noise in NOISES:
            trial = Trial(Conditions(noise))
            cells[f"noise {noise:g}", peak_px] = _errors(methods, scenes, trial)
    for name, trial in TRIALS.items():
        scenes = [Scene(face, trial.motion(seed, AT_PEAK_PX)) for face, seed in cast]
        cells[name, AT_PEAK_PX] = _errors(methods, scenes, trial)
    usual = cells[f"noise {AT_NOISE:g}", AT_PEAK_PX]
    return {
        "machine": machine(),
        "settings": {"scenes": len(cast), "frames": 2 * TO_APEX + 1, "rounds": rounds},
        "errors": [
            {"method": method, "conditions": conditions, "peak_px": peak_px, **mean_of(errors)}
            for (conditions, peak_px), of_methods in cells.items()
            for method, errors in of_methods.items()
        ],
        "pair_s": _times(methods, cast[0][0], rounds),
        "ratio_to_reference": ratio(usual[DEFAULT_ESTIMATOR], usual[REFERENCE]),
        "ratio_several_frames": ratio(usual[SEVERAL_FRAMES], usual[DEFAULT_ESTIMATOR]),
    }


def cast_of(all_faces: list[Face], scenes_per_face: tuple[int, int]) -> list[tuple[Face, int]]:
    """Which face makes which movement: seeds differ, so that no movement is seen twice."""
    portrait, drawn = scenes_per_face
    counts = [portrait if not face.name.startswith("drawn") else drawn for face in all_faces]
    several = [face for face, count in zip(all_faces, counts, strict=True) for _ in range(count)]
    return list(zip(several, range(len(several))))


def mean_of(errors_px: Sequence[float]) -> dict[str, float]:
    """Mean over scenes, and its standard error."""
    spread = float(np.std(errors_px, ddof=1)) if len(errors_px) > 1 else float("nan")
    return {
        "mean_px": float(np.mean(errors_px)),
        "standard_error_px": spread / len(errors_px) ** 0.5,
    }


def ratio(errors_px: Sequence[float], others_px: Sequence[float]) -> dict[str, float]:
    """Of two means over the same scenes, with its 95 % bootstrap interval over these."""
    from scipy.stats import bootstrap

    def of_means(one, other, axis=-1):
        return np.mean(one, axis=axis) / np.mean(other, axis=axis)

    data = (np.asarray(errors_px), np.asarray(others_px))
    drawn = bootstrap(data, of_means, paired=True, vectorized=True, method="percentile", rng=0)
    low, high = drawn.confidence_interval
    return {"ratio": float(of_means(*data)), "low": float(low), "high": float(high)}


def _methods(weights: str | None) -> dict[str, Method]:
    """Every estimator that can run here, between no motion at all and all frames of a clip."""
    methods: dict[str, Method] = {
        ZERO: lambda frames, apex: np.zeros((*frames[0].shape[:2], 2), np.float32)
    }
    methods[REFERENCE] = _two_frames(refined_lucas_kanade)
    for name, method in ESTIMATORS.items():
        if method.needs_weights and not weights:
            continue
        try:
            made = estimator(name, weights if method.needs_weights else None)
        except UserError:
            if method.needs_weights:
                raise
            continue  # an OpenCV without its contributed modules
        methods[name] = _two_frames(made)
    methods[SEVERAL_FRAMES] = estimate_clip_flow
    return methods


def _two_frames(estimate: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Method:
    return lambda frames, apex_index: estimate(frames[0], frames[apex_index])


def _errors(
    methods: dict[str, Method], scenes: list[Scene], trial: Trial
) -> dict[str, list[float]]:
    """Method → mean end-point error in px, scene by scene."""
    errors: dict[str, list[float]] = {name: [] for name in methods}
    for seed, scene in enumerate(scenes):
        frames = scene.film(trial.conditions, seed)
        mask = face_mask(*frames[0].shape[:2])
        if trial.registered:
            frames[1:] = [register(frames[0], frame, mask).apex for frame in frames[1:]]
        true_px, moving = scene.true_px, scene.moving
        for name, method in methods.items():
            flow_px = method(frames, TO_APEX)
            if trial.conditions.head:
                flow_px = remove_head_motion(np.ascontiguousarray(flow_px), mask)
                true_px = remove_head_motion(scene.true_px.astype(np.float32), mask)
            errors[name].append(float(np.linalg.norm(flow_px - true_px, axis=-1)[moving].mean()))
    return errors


def _times(methods: dict[str, Method], face: Face, rounds: int) -> dict[str, Any]:
    frames = Scene(face, bumps(0, AT_PEAK_PX)).film(_CALM, 0)
    sides = {
        name: lambda method=method: method(frames, TO_APEX)
        for name, method in methods.items()
        if name != ZERO
    }
    return {name: samples.seconds() for name, samples in alternate(sides, rounds).items()}
