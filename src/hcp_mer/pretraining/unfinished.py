"""What a stopped pretraining goes on from: rendered faces, and weights in mid-course."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from hcp_mer.files import make_folder, read_json, save_tensors, write_json
from hcp_mer.pretraining.samples import FaceMotionSamples, PretrainingSettings


class Unfinished:
    """A folder in the output folder; that of other settings is forgotten."""

    def __init__(self, output_dir: Path, settings: PretrainingSettings):
        self.folder = output_dir / "unfinished"
        self.snapshot = self.folder / "snapshot.safetensors"
        self._samples = self.folder / "faces.safetensors"
        record, asked = self.folder / "settings.json", dataclasses.asdict(settings)
        if record.is_file() and read_json(record) != asked:
            self.forget()
        make_folder(self.folder)
        write_json(record, asked)

    def samples(self, render: Callable[[], FaceMotionSamples]) -> FaceMotionSamples:
        """The rendered faces, from disk if they are there."""
        if not self._samples.is_file():
            rendered = vars(render())
            save_tensors(self._samples, {k: torch.from_numpy(v) for k, v in rendered.items()})
        stored = load_file(self._samples)
        return FaceMotionSamples(**{name: value.numpy() for name, value in stored.items()})

    def forget(self) -> None:
        """Delete it all: the backbone is there."""
        shutil.rmtree(self.folder, ignore_errors=True)
