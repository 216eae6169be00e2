"""A clip magnified by MagNet frame by frame: three modes, as its authors define them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hcp_mer.errors import UserError
from hcp_mer.motion.magnet import MULTIPLE_PX, MagNet

KINDS = ("fir", "butter", "difference_of_iir")


@dataclass(frozen=True)
class TemporalFilter:
    """Which changes in time are magnified: a band-pass over the shape's representation.

    Attributes:
        kind: fir, centred and cyclic, so the whole clip is held; butter (Butterworth) or
            difference_of_iir (Wadhwa et al. 2013), which run along with the clip.
        low, high: edges of the band in Hz; for difference_of_iir the two first-order filters'
            coefficients, 0…1.
        fps_hz: of the clip; difference_of_iir does not need it.
        taps: of a fir filter, odd; or the order of butter.
    """

    kind: str
    low: float
    high: float
    fps_hz: float = 30.0
    taps: int = 2

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"filter kind must be one of {', '.join(KINDS)}, got {self.kind!r}.")
        highest = 1.0 if self.kind == "difference_of_iir" else self.fps_hz / 2
        if not 0 < self.low < self.high < highest:
            raise UserError(
                f"a {self.kind} filter needs 0 < low < high < {highest:g}, got {self.low:g} and "
                f"{self.high:g}."
            )
        if self.taps < 1 or (self.kind == "fir" and self.taps % 2 == 0):
            raise UserError(f"a fir filter needs an odd number of taps, got {self.taps}.")

    def coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """b and a of Σ a[i]·y[t − i] = Σ b[i]·x[t − i], a[0] = 1."""
        from scipy import signal

        if self.kind == "fir":
            band = [self.low, self.high]
            return signal.firwin(self.taps, band, fs=self.fps_hz, pass_zero=False), np.ones(1)
        if self.kind == "butter":
            band = [self.low, self.high]
            return signal.butter(self.taps, band, btype="bandpass", fs=self.fps_hz)
        # The difference of two first-order low-passes, y = high − low, as one filter.
        keep_low, keep_high = 1 - self.low, 1 - self.high
        ahead = (self.high - self.low) * np.array([1.0, -1.0])
        return ahead, np.array([1.0, -(keep_low + keep_high), keep_low * keep_high])


@torch.inference_mode()
def magnify_video(
    magnet: MagNet,
    frames: Iterable[np.ndarray],
    amplification: float,
    mode: str | TemporalFilter = "static",
) -> Iterator[np.ndarray]:
    """Every frame of a clip, magnified, one by one.

    Args:
        frames: uint8 RGB (H, W, 3) of one size.
        amplification: as the variant's authors count it.
        mode: static: motion since the first frame. dynamic: since the frame before. A filter:
            what it lets pass. Memory does not grow with the clip, except under a fir filter.
    Yields: uint8 RGB (H, W, 3).

    The authors' fir filter adds to the last frame's shape and is off centre for most clip lengths;
    here it adds to each frame's own, and is centred.

    Raises UserError for an unknown mode, or frames that MagNet refuses.
    """
    if isinstance(mode, TemporalFilter):
        filtered = _whole_filtered if mode.kind == "fir" else _running_filtered
        yield from _temporally(magnet, frames, amplification, filtered, mode)
        return
    if mode not in ("static", "dynamic"):
        raise UserError(f"mode must be static, dynamic or a TemporalFilter, got {mode!r}.")
    before = None
    for frame in frames:
        present = to_network(frame, magnet)
        before = present if before is None else before
        yield from_network(magnet(before, present, amplification))
        if mode == "dynamic":
            before = present


def to_network(frame: np.ndarray, magnet: MagNet) -> Tensor:
    """uint8 (H, W, 3) or (N, H, W, 3) → floats in [−1, 1], (N, 3, H, W), where the network is."""
    frames = torch.from_numpy(np.ascontiguousarray(frame)).reshape(-1, *frame.shape[-3:])
    device = next(magnet.parameters()).device
    return frames.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


def from_network(frames: Tensor) -> np.ndarray:
    """The one frame of a batch of one as uint8 (H, W, 3): clipped and rounded."""
    levels = ((frames[0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.permute(1, 2, 0).cpu().numpy()


def _temporally(magnet, frames, amplification, filtered, temporal) -> Iterator[np.ndarray]:
    """The manipulator is given what the filter leaves, instead of a difference of two frames."""
    network, sizes = magnet.network, deque()

    def encoded() -> Iterator[tuple[Tensor, Tensor]]:
        for frame in frames:
            height, width = frame.shape[:2]
            sizes.append((height, width))
            below, beside = -height % MULTIPLE_PX, -width % MULTIPLE_PX
            padded = np.pad(frame, [(0, below), (0, beside), (0, 0)], mode="edge")
            yield network.encoder(to_network(padded, magnet))

    gain = torch.as_tensor(float(amplification))
    for texture, shape, passed in filtered(encoded(), temporal):
        magnified = network.decoder(texture, shape + network.magnified_change(passed, gain))
        height, width = sizes.popleft()
        yield from_network(magnified[..., :height, :width])


def _running_filtered(encoded, temporal) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Before the clip, its first frame stood still and the filter had answered nothing."""
    ahead, back = temporal.coefficients()
    shapes: deque[Tensor] = deque(maxlen=len(ahead))
    answers: deque[Tensor] = deque(maxlen=len(back) - 1)
    for texture, shape in encoded:
        shapes.appendleft(shape)
        while len(shapes) < len(ahead):
            shapes.appendleft(shape)
        answer = sum(float(b) * past for b, past in zip(ahead, shapes))
        answer = answer - sum(float(a) * past for a, past in zip(back[1:], answers))
        answers.appendleft(answer)
        yield texture, shape, answer


def _whole_filtered(encoded, temporal) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Centred, and cyclic as the authors': the clip's end is what comes before its beginning."""
    ahead, _ = temporal.coefficients()
    pairs = list(encoded)
    for place, (texture, shape) in enumerate(pairs):
        offsets = range(-(len(ahead) // 2), len(ahead) // 2 + 1)
        passed = sum(float(b) * pairs[(place - t) % len(pairs)][1] for b, t in zip(ahead, offsets))
        yield texture, shape, passed
