"""LBP-TOP: local binary patterns in the picture and along time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from tqdm import tqdm

from hcp_mer.baselines.svm import fit_svm, num_fitted
from hcp_mer.baselines.views import refuse
from hcp_mer.data.clip_volume import Clip, face_settings, grey_volume
from hcp_mer.data.records import ClipRecord
from hcp_mer.training.loso import LosoRun

_SIDE_PX = 160
_NUM_FRAMES = 10
_BLOCKS = 5  # per side
_RADII = {"t": 2, "y": 1, "x": 1}  # of the neighbours, along each axis
_PLANES = (("y", "x"), ("t", "x"), ("t", "y"))  # XY, XT, YT
_CODES = 16  # of four neighbours
_LEAST_WIDTH = 1e-6  # of the kernel: where all clips are equal


class LbpTop:
    """LBP-TOP (Zhao & Pietikäinen, 2007) on micro-expressions (Pfister et al., ICCV 2011).

    Whole clips, brought to 10 frames as Pfister et al. do (they on a graph, we linearly), 5×5
    blocks; in each block one histogram per plane XY, XT and YT of binary patterns of four
    neighbours (as in the baseline of CASME II: Yan et al., PLoS ONE 2014), at radius 1, in time 2;
    a support vector machine with the χ² kernel, as wide as training clips are far apart, C chosen
    among the training subjects. 160 px a side is ours.

    Args: `corpus`, the records of all clips by dataset, subject and clip_id, see
    `clips_in_corpora`: pairs do not hold the frames. `face_weights`, of the face detector that the
    pairs were prepared with, where it reads any.
    """

    name = "lbp_top"
    heavy = False
    deterministic = True

    def __init__(
        self,
        corpus: Mapping[Clip, ClipRecord] | None = None,
        face_weights: str | None = None,
    ) -> None:
        self.corpus, self.face_weights = corpus, face_weights
        self.num_parameters: int | None = None
        self._seen: tuple[LosoRun, np.ndarray] | None = None

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None:
        distances, num_clips = self._distances(run), len(run.labels)
        self._seen_rows = np.concatenate([rows, rows + num_clips])  # clips, then mirror images
        self._width = max(distances[np.ix_(rows, rows)].mean(), _LEAST_WIDTH)
        labels, subjects = np.tile(run.labels.numpy()[rows], 2), np.tile(run.subjects[rows], 2)
        similar = self._kernel(distances, self._seen_rows)
        self._machine = fit_svm(similar, labels, subjects, "precomputed")
        self.num_parameters = num_fitted(self._machine)

    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        return self._machine.predict(self._kernel(self._distances(run), rows))

    def _kernel(self, distances: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """How similar clips are to those that trained: (rows, training clips both ways)."""
        return np.exp(-distances[np.ix_(rows, self._seen_rows)] / self._width)

    def why_not(self, run: LosoRun) -> str | None:
        """Why it cannot answer on this run, in one line, or None."""
        say = "give --corpus_dir CORPUS=FOLDER for every corpus (CORPUS:NAME=FOLDER if renamed)"
        if self.corpus is None:
            return f"it reads whole clips, and pairs hold two frames: {say}."
        missing = [clip for clip in _clips(run) if clip not in self.corpus]
        if not missing:
            return None
        return (
            f"it needs the frames of all clips, but {len(missing)} of "
            f"{len(run.labelled.rows)} are in no corpus that was given, first "
            f"{'/'.join(missing[0])}: {say}."
        )

    def _distances(self, run: LosoRun) -> np.ndarray:
        """χ² distances between all clips and their mirror images; once for each run.

        (2 · clips, 2 · clips), mirror images last. No label is in them.
        """
        from sklearn.metrics.pairwise import additive_chi2_kernel

        if self._seen is None or self._seen[0] is not run:
            refuse(self.name, self.why_not(run))
            face = face_settings(run.pairs.settings, self.face_weights)
            clips, mirrored = [], []
            for clip in tqdm(_clips(run), "frames of clips", leave=False, unit="clip", delay=5):
                volume = grey_volume(self.corpus[clip], face, _SIDE_PX, _NUM_FRAMES)
                clips.append(lbp_top(volume))
                mirrored.append(lbp_top(volume[..., ::-1]))
            self._seen = (run, -additive_chi2_kernel(np.array([*clips, *mirrored])))
        return self._seen[1]


def _clips(run: LosoRun) -> list[Clip]:
    """dataset, subject and clip_id of each labelled clip."""
    columns = [run.pairs.column(name) for name in ("dataset", "subject", "clip_id")]
    clips = list(zip(*columns, strict=True))
    return [clips[row] for row in run.labelled.rows]


def lbp_top(volume: np.ndarray) -> np.ndarray:
    """Histograms of one clip, (blocks · 3 planes · 16,), block by block, each of sum 1.

    Args: grey levels (frames, H, W), more than 4 frames. Only pixels with all neighbours count.
    """
    codes = [plane_codes(volume, *plane) for plane in _PLANES]
    height, width = codes[0].shape[1:]
    edges = [np.linspace(0, size, _BLOCKS + 1).astype(int) for size in (height, width)]
    histograms = []
    for top, bottom in zip(edges[0], edges[0][1:]):
        for left, right in zip(edges[1], edges[1][1:]):
            for plane in codes:
                block = plane[:, top:bottom, left:right].ravel()
                histograms.append(np.bincount(block, minlength=_CODES) / block.size)
    return np.concatenate(histograms)


def plane_codes(volume: np.ndarray, down: str, across: str) -> np.ndarray:
    """The binary pattern of every inner pixel in one plane, uint8 (T − 4, H − 2, W − 2).

    Bits 0 to 3: is the neighbour to the right, above, to the left, below at least as bright? Axes
    are named t, y, x.
    """
    steps = [(across, 1), (down, -1), (across, -1), (down, 1)]
    centre = _shifted(volume, None, 0)
    code = np.zeros(centre.shape, np.uint8)
    for bit, (axis, sign) in enumerate(steps):
        code |= (_shifted(volume, axis, sign) >= centre).astype(np.uint8) << bit
    return code


def _shifted(volume: np.ndarray, axis: str | None, sign: int) -> np.ndarray:
    """The inner pixels' neighbours, a radius away along an axis; themselves without one."""
    inner = []
    for (name, radius), size in zip(_RADII.items(), volume.shape, strict=True):
        start = radius + (sign * radius if name == axis else 0)
        inner.append(slice(start, start + size - 2 * radius))
    return volume[tuple(inner)]
