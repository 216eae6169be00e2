"""One bar for a whole run: folds × steps, the loss, and the time that is left."""

from __future__ import annotations

from collections.abc import Callable

from tqdm import tqdm

OnStep = Callable[[int, int, float], None]


class Progress:
    """A bar over fold-steps, filled stack by stack.

    Args:
        total: fold-steps in all.
        show: False for all processes but one of a machine.
        log: called with ({"loss": …}, fold-steps done) at every step, for a tracker.
    """

    def __init__(
        self,
        total: int,
        what: str,
        show: bool = True,
        log: Callable[[dict[str, float], int], None] | None = None,
    ):
        # Where nothing is said here, tqdm's own switch counts (TQDM_DISABLE, set by --quiet).
        hidden = {} if show else {"disable": True}
        self._bar = tqdm(total=total, desc=what, unit="fold-step", smoothing=0.05, **hidden)
        self._log = log
        self._started, self._done = 0, 0

    def stack(self, fold_steps: int) -> OnStep:
        """The callback of the next stack, which counts for so many fold-steps."""
        before = self._started
        self._started += fold_steps

        def on_step(step: int, num_steps: int, loss: float) -> None:
            now = before + round(fold_steps * (step + 1) / num_steps)
            self._bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            self._bar.update(now - self._done)
            self._done = now
            if self._log:
                self._log({"loss": loss}, now)

        return on_step

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error) -> None:
        self._bar.close()
