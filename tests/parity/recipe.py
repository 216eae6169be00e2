"""Weights made from their names: anyone can make them again, and no trained ones are needed.

The fixtures beside this file hold what the published networks answered with such weights: NVIDIA's
FlowNet 2.0 modules, the MagNet authors' TensorFlow graph and a public PyTorch port of it.
"""

import json
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def tensor(name, shape, scale):
    """Uniform in ±scale, float32, seeded by the name: a splitmix64 counter, 24 bits each."""
    count = np.arange(1, np.prod(shape, dtype=int) + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        bits = np.uint64(zlib.crc32(name.encode())) + count * np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        bits ^= bits >> np.uint64(31)
    uniform = (bits >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)
    return ((2 * uniform - 1) * np.float32(scale)).reshape(shape)


def checksum(array):
    """Σ w, Σ |w| and Σ w·cos(i mod 1009), in float64."""
    flat = np.asarray(array, np.float64).ravel()
    return [flat.sum(), np.abs(flat).sum(), (flat * np.cos(np.arange(flat.size) % 1009)).sum()]


def fixture(name):
    """The arrays of a fixture by name."""
    with np.load(HERE / f"{name}.npz") as arrays:
        return {key: arrays[key] for key in arrays.files}


def manifest(name):
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


def weights(params):
    """Of the parameters of a manifest, as torch tensors by name."""
    import torch

    return {
        name: torch.from_numpy(tensor(name, param["shape"], param["scale"]))
        for name, param in params.items()
    }
