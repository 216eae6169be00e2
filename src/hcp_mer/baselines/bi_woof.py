"""Bi-WOOF: where and which way the face moved, as one histogram."""

from __future__ import annotations

import numpy as np

from hcp_mer.baselines.svm import fit_svm, num_fitted
from hcp_mer.baselines.views import flow_levels, mirrored_flow, refuse, why_no_flow
from hcp_mer.training.loso import LosoRun

_SIDE_PX = 140
_BLOCKS = 5  # per side
_BINS = 8  # of direction, from −180°


class BiWoof:
    """Bi-WOOF (Liong et al., Signal Processing: Image Communication 2018, arXiv 1606.01721).

    In each of 5×5 blocks the directions of the flow, weighted by its length; each block's share
    weighted by its strain; the whole brought to length 1, then a linear support vector machine. All
    as in the authors' biwoof.m (github.com/christy1206/biwoof), but that their blocks overlap by
    a pixel, and that C is chosen among the training subjects. Flow images are scaled clip by
    clip: the scale goes out with the length. Their 8 bits stay: motion below 1/127 of the clip's
    fastest is none.
    """

    name = "bi_woof"
    heavy = False
    deterministic = True

    def __init__(self) -> None:
        self.num_parameters: int | None = None
        self._seen: tuple[LosoRun, np.ndarray] | None = None

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None:
        clips_and_mirrored = np.concatenate(self._features(run)[:, rows])
        labels, subjects = np.tile(run.labels.numpy()[rows], 2), np.tile(run.subjects[rows], 2)
        self._machine = fit_svm(clips_and_mirrored, labels, subjects)
        self.num_parameters = num_fitted(self._machine)

    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        return self._machine.predict(self._features(run)[0, rows])

    def why_not(self, run: LosoRun) -> str | None:
        """Why it cannot answer on this run, in one line, or None."""
        return why_no_flow(run)

    def _features(self, run: LosoRun) -> np.ndarray:
        """(2, clips, 200), of the clips and of their mirror images; once for each run."""
        if self._seen is None or self._seen[0] is not run:
            refuse(self.name, self.why_not(run))
            levels = flow_levels(run, _SIDE_PX)
            both = (levels, mirrored_flow(levels))
            self._seen = (run, np.stack([[bi_woof(clip) for clip in way] for way in both]))
        return self._seen[1]


def bi_woof(levels: np.ndarray) -> np.ndarray:
    """The histogram of one clip, (200,) of length 1; zeros where nothing moves.

    Bin k of a block holds directions from 45°·k − 180° to 45° more; 0° is to the right of the
    image, 90° down. Blocks come row by row.

    Args: u, v and strain, (3, H, W), on any scale.
    """
    u, v, strain = levels
    length = np.hypot(u, v)
    turns = np.arctan2(v, u) / (2 * np.pi) + 0.5  # 0…1 from −180°
    bins = (np.floor(turns * _BINS).astype(int)) % _BINS  # +180° is −180°
    histogram = np.concatenate(
        [_block(bins[place], length[place], strain[place]) for place in _places(*length.shape)]
    )
    norm = np.linalg.norm(histogram)
    return histogram / norm if norm > 0 else histogram


def _block(bins: np.ndarray, length: np.ndarray, strain: np.ndarray) -> np.ndarray:
    """Shares of the directions, times the block's strain."""
    counts = np.bincount(bins.ravel(), weights=length.ravel(), minlength=_BINS)
    total = counts.sum()
    return counts / total * strain.sum() if total > 0 else np.zeros(_BINS)


def _places(height: int, width: int) -> list[tuple[slice, slice]]:
    """The 5×5 blocks, row by row; the last of each takes what is left."""
    rows, columns = (_BLOCKS * [size // _BLOCKS] for size in (height, width))
    rows, columns = (np.cumsum([0, *sizes[:-1]]) for sizes in (rows, columns))
    return [
        (slice(top, bottom), slice(left, right))
        for top, bottom in zip(rows, [*rows[1:], height], strict=True)
        for left, right in zip(columns, [*columns[1:], width], strict=True)
    ]
