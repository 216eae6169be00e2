"""How many clips a second the motion preparation makes, in one process and in two."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import cv2
import numpy as np

from hcp_mer.benchmark.timing import alternate, machine, spread
from hcp_mer.data.synthetic.clips import render_clip
from hcp_mer.data.synthetic.identity import make_identity
from hcp_mer.model.motion_hcp_mer import motion_pair

_EMOTIONS = ("happiness", "surprise", "disgust", "anger")


def render_pairs(count: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Onset and apex of procedural clips, each (size, size, 3) uint8."""
    pairs = []
    for index in range(count):
        identity, emotion = make_identity(index % 4), _EMOTIONS[index % len(_EMOTIONS)]
        clip = render_clip(identity, emotion, index, size=size, key_frames_only=True)
        pairs.append((clip.frames[clip.onset], clip.frames[clip.apex]))
    return pairs


def run_prepare(num_clips: int = 48, rounds: int = 5, size: int = 224) -> dict[str, Any]:
    """Flow, head motion and magnification of clips that are in memory already.

    Returns: "machine", "settings", and per way "one_process" and "two_processes" "cpu_s" and
        "wall_s" per clip and "clips_per_s" at the median of the latter; "ratio" of the two.
    """
    pairs = render_pairs(num_clips, size)
    _use_one_thread()
    # spawn: a forked child could inherit a lock that one of OpenCV's or torch's threads holds
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, _use_one_thread) as pool:
        share = max(1, num_clips // 8)
        sides = {
            "one_process": lambda: sum(map(_prepare, pairs)),
            "two_processes": lambda: sum(pool.map(_prepare, pairs, chunksize=share)),
        }
        samples = alternate(sides, rounds)
    ways = {
        name: {
            # What the clips took in whichever process; its first value is the warm-up's.
            "cpu_s": spread(own.values[1:], num_clips),
            "wall_s": spread(own.wall_s, num_clips),
        }
        for name, own in samples.items()
    }
    for way in ways.values():
        way["clips_per_s"] = 1 / way["wall_s"]["median"]
    return {
        "machine": machine() | {"cores": multiprocessing.cpu_count()},
        "settings": {"clips": num_clips, "rounds": rounds, "size_px": size},
        **ways,
        "ratio": ways["two_processes"]["clips_per_s"] / ways["one_process"]["clips_per_s"],
    }


def _prepare(pair: tuple[np.ndarray, np.ndarray]) -> float:
    """Prepare one clip, whose views stay in this process; returns its processor seconds."""
    start = time.process_time()
    motion_pair(*pair)
    return time.process_time() - start


def _use_one_thread() -> None:
    cv2.setNumThreads(1)
