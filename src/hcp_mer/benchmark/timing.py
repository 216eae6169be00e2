"""Measuring side by side: A B A B, processor time and wall time, the spread beside the middle."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass
class Samples:
    """What one side took, and what it returned, call by call; the first call is not timed."""

    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)

    def seconds(self, per: int = 1) -> dict[str, dict[str, float]]:
        """{"cpu_s": …, "wall_s": …}, each {"min", "median", "max"} of a call divided by `per`."""
        return {name: spread(getattr(self, name), per) for name in ("cpu_s", "wall_s")}


def spread(seconds: list[float], per: int = 1) -> dict[str, float]:
    """Least, middle and largest of some times divided by `per`."""
    three = {"min": min, "median": statistics.median, "max": max}
    return {name: of(seconds) / per for name, of in three.items()}


def alternate(
    sides: dict[str, Callable[[], Any]],
    rounds: int,
    seconds: float = float("inf"),
    synchronise: Callable[[], None] = lambda: None,
) -> dict[str, Samples]:
    """Call all sides in turn, over and over: what slows the machine down meets all of them.

    Args:
        rounds: how often each is timed, after one round to warm up.
        seconds: no round begins that would probably end later than this, but for the first two.
        synchronise: waits for a device that works on by itself.
    """
    samples = {name: Samples() for name in sides}
    start = time.perf_counter()
    for done in range(rounds + 1):
        elapsed = time.perf_counter() - start
        if done > 1 and elapsed * (done + 1) / done > seconds:
            break
        for name, call in sides.items():
            synchronise()
            cpu, wall = time.process_time(), time.perf_counter()
            value = call()
            synchronise()
            samples[name].values.append(value)
            if done:
                samples[name].cpu_s.append(time.process_time() - cpu)
                samples[name].wall_s.append(time.perf_counter() - wall)
    return samples


def machine(device: str = "cpu") -> dict[str, str | int]:
    """What was measured on, in general terms."""
    found = {
        "cpu": _cpu_name(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": device,
    }
    if device.startswith("cuda"):
        found["device"] = torch.cuda.get_device_name(device)
    return found


def _cpu_name() -> str:
    """Model name and family: several generations of one maker share a name."""
    listing = Path("/proc/cpuinfo")
    if not listing.is_file():
        return platform.processor() or platform.machine()
    pairs = (line.partition(":") for line in listing.read_text().splitlines())
    facts = {key.strip(): value.strip() for key, _, value in pairs}
    name = facts.get("model name", platform.machine())
    numbers = [f"{key} {facts[key]}" for key in ("cpu family", "model") if key in facts]
    return f"{name} ({', '.join(numbers)})" if numbers else name
