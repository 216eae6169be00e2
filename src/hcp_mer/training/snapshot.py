"""Where a stack of folds stood, so that a run that is stopped loses a minute of it at most."""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hcp_mer.files import save_tensors

if TYPE_CHECKING:
    from hcp_mer.training.stacked import Optimisation, TrainingSet

EVERY_S = 60.0


class Snapshots:
    """The snapshots of one group of folds, in a folder of their own.

    A stack is known by what it trains on: another group, recipe or half finds no snapshot and
    starts from the beginning. (Data and backbone are the run folder's affair.)
    """

    def __init__(self, folder: Path, every_s: float = EVERY_S):
        self.folder, self.every_s = folder, every_s
        self._last = time.monotonic()
        self._used: set[Path] = set()

    def file(self, sets: list[TrainingSet], optimisation: Optimisation) -> Path:
        digest = hashlib.sha256(repr(optimisation).encode())
        for fold in sets:
            labels = fold.labels.tolist()
            parts = [fold.name, fold.seed, labels, list(map(str, fold.subjects))]
            digest.update(json.dumps(parts).encode())
        return self.folder / f"{digest.hexdigest()[:16]}.safetensors"

    def load(self, file: Path) -> dict[str, Tensor] | None:
        """What was saved last, or None: a file that was cut short counts as none."""
        self._used.add(file)
        try:
            return {name: value.clone() for name, value in load_file(file).items()}
        except (FileNotFoundError, SafetensorError):
            return None

    def save(self, file: Path, state: dict[str, Tensor]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        save_tensors(file, state)
        self._last = time.monotonic()

    def is_due(self) -> bool:
        return time.monotonic() - self._last >= self.every_s

    def clear(self) -> None:
        """Forget the stacks that were asked for: their folds are saved now."""
        for file in self._used:
            file.unlink(missing_ok=True)
        self._used.clear()


@contextmanager
def interrupts_held() -> Iterator[Callable[[], bool]]:
    """Hold a Ctrl-C back, so that no step is broken off in its middle; a second one is not held.

    Yields a function that says whether one came; whoever asks raises KeyboardInterrupt then.
    """
    came = False

    def hold(number, frame):
        nonlocal came
        came = True
        signal.signal(signal.SIGINT, before)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread hears signals
        return
    before = signal.getsignal(signal.SIGINT)
    if before in (signal.SIG_IGN, None):  # under nohup nobody is to be interrupted
        yield lambda: False
        return
    signal.signal(signal.SIGINT, hold)
    try:
        yield lambda: came
    finally:
        signal.signal(signal.SIGINT, before)
