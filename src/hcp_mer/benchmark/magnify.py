"""How like the truth a magnified apex is: its levels (PSNR), and where things are (end points)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from hcp_mer.benchmark.flow import AT_NOISE, cast_of, mean_of
from hcp_mer.benchmark.scenes import TO_APEX, Conditions, Scene, bumps, faces
from hcp_mer.benchmark.timing import alternate, machine
from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.motion.clip_flow import estimate_clip_flow
from hcp_mer.motion.flow import estimator
from hcp_mer.motion.magnify import MAGNIFIERS, magnifier

ALPHA = 10.0
PEAKS_PX = (0.05, 0.1, 0.3, 0.6, 1.0)
NOISES = (0.0, AT_NOISE)
UNCHANGED = "apex unchanged"
Method = Callable[[Scene, list[np.ndarray]], np.ndarray]  # (scene, frames) → (H, W, 3) uint8


def run_magnify(
    scenes_per_face: tuple[int, int] = (3, 2), weights: str | None = None, rounds: int = 7
) -> dict[str, Any]:
    """Magnified apexes beside the true one: the same face after ten times its movement.

    Args: as `run_flow` has them; `weights` are MagNet's.

    Returns: "machine", "settings"; "quality", a list of {"method", "noise", "peak_px", "psnr_db",
        "psnr_whole_db", "mean_px", "standard_error_px"}: the PSNR where |u| exceeds a quarter of
        its peak and of the whole frame, and how far the movements shown there are from where they
        should be, as `estimate_flow` finds it between the true frame and the magnified one (it
        reads known errors of 0.1 to 3 px within 1 %, and 0.01 px where there is only noise of 2
        levels); "apex_s", seconds for one apex, flow included, and for DIS flow alone.
    Raises UserError for weights that are no MagNet's and where the portraits are not installed.
    """
    cv2.setNumThreads(1)
    methods = _methods(weights)
    cast = cast_of(faces(), scenes_per_face)
    quality = []
    for peak_px in PEAKS_PX:
        scenes = [Scene(face, bumps(seed, peak_px)) for face, seed in cast]
        truths = [scene.moved(ALPHA) for scene in scenes]
        for noise in NOISES:
            found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in methods}
            for seed, (scene, truth) in enumerate(zip(scenes, truths, strict=True)):
                frames = scene.film(Conditions(noise), seed)
                for name, method in methods.items():
                    found[name].append(_compare(method(scene, frames), truth, scene.moving))
            quality += [
                {"method": name, "noise": noise, "peak_px": peak_px, **_summary(each)}
                for name, each in found.items()
            ]
    return {
        "machine": machine(),
        "settings": {"scenes": len(cast), "alpha": ALPHA, "rounds": rounds},
        "quality": quality,
        "apex_s": _times(methods, Scene(cast[0][0], bumps(0, 0.3)), rounds),
    }


def _methods(weights: str | None) -> dict[str, Method]:
    """Every magnifier that can run here, the default with flows of several origins."""
    lagrangian = magnifier("lagrangian")
    flows: dict[str, Method] = {
        "true flow": lambda scene, frames: scene.true_px.astype(np.float32),
        "DIS": _two_frames(estimator("dis")),
        "default": _two_frames(estimate_flow),
        "all frames": lambda scene, frames: estimate_clip_flow(frames, TO_APEX),
    }
    methods: dict[str, Method] = {UNCHANGED: lambda scene, frames: frames[TO_APEX]}
    for name, flow in flows.items():
        methods[f"lagrangian, {name}"] = lambda scene, frames, flow=flow: lagrangian(
            frames[0], frames[TO_APEX], flow(scene, frames), ALPHA
        )
    still = np.zeros((1, 1, 2), np.float32)  # what needs no flow is given none
    for name, method in MAGNIFIERS.items():
        if name == "lagrangian" or (method.needs_weights and not weights):
            continue
        made = magnifier(name, weights if method.needs_weights else None)
        methods[name] = lambda scene, frames, made=made: made(
            frames[0], frames[TO_APEX], still, ALPHA
        )
    return methods


def _two_frames(estimate: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Method:
    return lambda scene, frames: estimate(frames[0], frames[TO_APEX])


def _compare(
    magnified: np.ndarray, truth: np.ndarray, moving: np.ndarray
) -> tuple[float, float, float]:
    """PSNR where it moves and of the whole in dB, mean displacement from the truth in px."""
    from skimage.metrics import peak_signal_noise_ratio

    seen = np.clip(np.rint(truth), 0, 255).astype(np.uint8)
    where, whole = (
        float(peak_signal_noise_ratio(seen[part], magnified[part])) for part in (moving, ...)
    )
    displaced_px = estimate_flow(seen, magnified)
    return where, whole, float(np.linalg.norm(displaced_px, axis=-1)[moving].mean())


def _summary(found: list[tuple[float, float, float]]) -> dict[str, float]:
    where, whole, displaced_px = zip(*found)
    return {
        "psnr_db": float(np.mean(where)),
        "psnr_whole_db": float(np.mean(whole)),
        **mean_of(displaced_px),
    }


def _times(methods: dict[str, Method], scene: Scene, rounds: int) -> dict[str, Any]:
    frames = scene.film(Conditions(AT_NOISE), 0)
    dis = estimator("dis")
    sides: dict[str, Callable[[], Any]] = {"dis": lambda: dis(frames[0], frames[TO_APEX])}
    sides |= {
        name: lambda method=method: method(scene, frames)
        for name, method in methods.items()
        if name != UNCHANGED and "true" not in name
    }
    return {name: samples.seconds() for name, samples in alternate(sides, rounds).items()}
