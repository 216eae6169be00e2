"""The machine: Python, packages, OpenCV, torch and its threads, GPU, cache, access to the Hub."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import tempfile
from pathlib import Path

from hcp_mer.doctor.findings import Verdict, look, ok, wrong
from hcp_mer.requirements import (
    OPENCV,
    PACKAGE,
    how_to_install,
    installed_version,
    unfit_requirements,
)

LEAST_FREE_BYTES = 2_000_000_000  # the backbone is 0.6 GB, a corpus of pairs about as much
_SHOWN = ("torch", "transformers", "datasets", "huggingface_hub")
_LARGEST_ERROR = {"fp32": 1e-2, "bf16": 5e-2}  # relative; fp32 leaves room for TF32


def check_python() -> Verdict:
    """The interpreter against `requires-python`."""
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    try:
        needed = importlib.metadata.metadata(PACKAGE)["Requires-Python"] or ""
    except importlib.metadata.PackageNotFoundError:
        needed = ""  # the next check says so
    found = f"{version} on {platform.system()} {platform.machine()}"
    if not SpecifierSet(needed).contains(version, prereleases=True):
        return wrong(
            f"{found}; {PACKAGE} needs {needed}",
            "make an environment with a newer Python: make PYTHON=/path/to/python3.11",
        )
    return ok(found)


def check_packages() -> Verdict:
    """Every requirement that the installed package declares, the report's included."""
    try:
        unfit = unfit_requirements(extras=("report",))
    except importlib.metadata.PackageNotFoundError:
        return wrong(
            f"{PACKAGE} is not installed, so nobody knows what it needs",
            "pip install -e '.[report]' in its repository",
        )
    if unfit:
        return wrong("; ".join(map(str, unfit)), how_to_install(unfit))
    shown = ", ".join(f"{name} {installed_version(name)}" for name in _SHOWN)
    return ok(f"all there and new enough: {shown}")


def check_opencv() -> Verdict:
    """cv2 can be imported; which wheel it is from."""
    wheels = [f"{name} {version}" for name in OPENCV if (version := installed_version(name))]
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        advice = "pip install opencv-python"
        if "lib" in str(error) and ".so" in str(error):
            advice = (
                "a library of the desktop is missing here; the headless build does without:\n"
                "pip uninstall -y opencv-python\n"
                "pip install --force-reinstall --no-deps opencv-python-headless"
            )
        return wrong(f"cv2 cannot be imported: {' '.join(str(error).split())}", advice)
    if len(wheels) > 1:
        return look(
            f"cv2 {cv2.__version__}, but several wheels: {', '.join(wheels)}",
            "they overwrite each other: uninstall all of them, then install one again",
        )
    return ok(f"cv2 {cv2.__version__} of {wheels[0] if wheels else 'a build of your own'}")


def check_threads() -> Verdict:
    """Threads of torch against the cores that this process may use."""
    import torch

    threads, cores = torch.get_num_threads(), _cores()
    found = f"torch uses {threads} thread(s), this process may use {cores} core(s)"
    if threads > cores:
        return look(
            found, "more threads than cores wait for each other: set OMP_NUM_THREADS to the cores"
        )
    return ok(found)


def check_gpu() -> Verdict:
    """CUDA where there is any: name, memory, and whether it computes what the CPU computes."""
    import torch

    if not torch.cuda.is_available():
        if shutil.which("nvidia-smi"):
            build = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "a CPU build"
            return look(
                f"this machine has an NVIDIA driver that torch cannot use; torch is {build}",
                "install a torch that fits the driver (pytorch.org, Get started), or stay on the "
                "CPU, which works",
            )
        return ok("no GPU: the CPU works, see README for how long it takes")
    properties = torch.cuda.get_device_properties(0)
    found = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    kinds = {"fp32": torch.float32}
    if torch.cuda.is_bf16_supported():
        kinds["bf16"] = torch.bfloat16
    errors = {kind: matmul_error("cuda", dtype) for kind, dtype in kinds.items()}
    told = ", ".join(f"{kind} {error:.0e}" for kind, error in errors.items())
    if not all(error < _LARGEST_ERROR[kind] for kind, error in errors.items()):
        return wrong(
            f"{found}: its matrix product is not the CPU's (relative error {told})",
            "hide it with CUDA_VISIBLE_DEVICES= and have the driver and the GPU looked at",
        )
    without = "" if "bf16" in kinds else "; no bf16"
    return ok(f"{found}; matrix products as on the CPU (relative error {told}){without}")


def matmul_error(device: str, dtype) -> float:
    """Largest error of one matrix product on `device`, relative to the largest true value."""
    import torch

    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(256, 256, generator=generator) for _ in range(2))
    expected = left.double() @ right.double()
    computed = (left.to(device, dtype) @ right.to(device, dtype)).cpu().double()
    return float((computed - expected).abs().max() / expected.abs().max())


def check_cache() -> Verdict:
    """The cache of downloads: may it be written, is there room?"""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return wrong(
            f"the cache {cache} cannot be written ({error.strerror})",
            "set HF_HOME to a folder that you may write",
        )
    free = shutil.disk_usage(there).free
    found = f"{cache} can be written, {free / 1e9:.1f} GB free"
    if free < LEAST_FREE_BYTES:
        return look(found, "a backbone and pairs want 2 GB: make room, or set HF_HOME elsewhere")
    return ok(found)


def check_hub() -> Verdict:
    """Whether the Hub may be asked, and with whose rights. The token itself is never shown."""
    from huggingface_hub import constants, get_token

    signed_in = "there is a token" if get_token() else "no token (needed to push only)"
    if constants.HF_HUB_OFFLINE:
        return look(
            f"HF_HUB_OFFLINE is set, nothing is fetched or pushed; {signed_in}",
            "unset HF_HUB_OFFLINE unless you mean it",
        )
    return ok(f"not switched off ({constants.ENDPOINT}, not asked here); {signed_in}")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
