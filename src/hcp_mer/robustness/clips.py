"""The clips of a run with their frames: found in the corpus again, and measured again."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from hcp_mer.data.corpora import read_corpus
from hcp_mer.data.pair_rows import MISTAKES
from hcp_mer.data.pairs import MANIFEST, Pairs
from hcp_mer.data.records import ClipRecord
from hcp_mer.errors import UserError
from hcp_mer.model.motion_hcp_mer import MotionSettings
from hcp_mer.motion.face import FaceSettings
from hcp_mer.motion.pair import PairSettings, make_pairs, read_key_frames
from hcp_mer.robustness.disturbances import (
    DISTURBANCES,
    Clip,
    Disturbance,
    DisturbedFrames,
    moved,
    with_shifted_crop,
)
from hcp_mer.training.loso import LosoRun

UNDISTURBED = "undisturbed"
_TASK_CLIPS = 8  # of one neighbour to the next, so that processes end together


class Views(NamedTuple):
    """A clip's pair measured anew, uint8 RGB; `problem` says why there is none."""

    magnified: np.ndarray | None = None
    flow: np.ndarray | None = None
    problem: str | None = None


@dataclass(frozen=True)
class FoundClips:
    """A run's clips in a corpus on disk.

    Attributes: `clips`, index of a labelled clip → the clip with its frames; `problems`, clip →
    why it cannot be measured again; `settings`, how the pairs of each corpus were made.
    """

    clips: dict[int, Clip] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    settings: dict[str, PairSettings] = field(default_factory=dict)


@dataclass(frozen=True)
class DisturbedPairs(Pairs):
    """Pairs of which some clips were measured anew. `views`: row → its Views."""

    views: Mapping[int, Views] = field(default_factory=dict)

    def image(self, row: int, view: str) -> np.ndarray:
        if row in self.views:
            return getattr(self.views[row], view)
        return super().image(row, view)


def find_clips(
    run: LosoRun, corpora: Sequence[tuple[str, Path, str | None]], weights: Mapping[str, str | None]
) -> FoundClips:
    """Find the clips of a run in corpora on disk.

    Args:
        corpora: reader's name, folder, and the value of the column `dataset` (None: the run's, if
            it has one corpus only, or else the reader's own).
        weights: "estimator", "magnifier", "face" → the file of a network, where pairs need it.
    Returns: clips of other corpora of the run are not mentioned.
    Raises:
        UserError: ready-made pairs, no such corpus there, none of the run's clips in it, or
            weights that are not those which the pairs were made with.
    """
    datasets = sorted(set(run.pairs.column("dataset")))
    found = FoundClips()
    for corpus, data_dir, name in corpora:
        if name is None and len(datasets) == len(corpora) == 1 and corpus != "folder":
            name = datasets[0]
        reading = read_corpus(corpus, data_dir, name)
        records = reading.records
        own = {(r.dataset, r.subject, r.clip_id): r for r in records}
        names = sorted({record.dataset for record in records} & set(datasets))
        if not names:
            theirs = ", ".join(sorted({r.dataset for r in records})) or "no usable clip"
            raise UserError(
                f"{data_dir} has clips of {theirs}, and the run is about {', '.join(datasets)}: "
                "give the corpus that its pairs were made of, or its --name."
            )
        for dataset in names:
            found.settings[dataset] = _settings_of(run, dataset, weights)
        before = len(found.clips)
        reasons = {problem.clip: problem.reason for problem in reading.problems}
        _match(run, own, set(names), reasons, found)
        if len(found.clips) == before:
            first = next(iter(found.problems.items()))
            raise UserError(
                f"none of the run's clips of {', '.join(names)} can be measured again from "
                f"{data_dir}; the first: {first[0]}: {first[1]}. Is it another corpus?"
            )
    return found


def _match(
    run: LosoRun,
    records: Mapping[tuple, ClipRecord],
    names: set[str],
    reasons: Mapping[str | None, str],
    found: FoundClips,
) -> None:
    columns = ("dataset", "subject", "clip_id", "onset", "apex")
    table = list(zip(*(run.pairs.column(name) for name in columns)))
    for index, row in enumerate(run.labelled.rows):
        *ids, onset, apex = table[row]
        if ids[0] not in names:
            continue
        name, record = "/".join(ids), records.get(tuple(ids))
        if record is None:
            unknown = "the corpus has no clip of that name"
            found.problems[name] = reasons.get("/".join(ids[1:]), unknown)
        elif record.onset != onset or record.apex not in (None, apex):
            found.problems[name] = (
                f"annotated otherwise than when its pair was made: onset {record.onset} and apex "
                f"{record.apex}, then {onset} and {apex}"
            )
        elif gone := [n for n in (onset, apex) if n not in record.frames]:
            found.problems[name] = f"frame {gone[0]} is gone"
        else:
            found.clips[index] = Clip(ids[0], name, record.frames, onset, apex, record.face)


def _settings_of(run: LosoRun, dataset: str, weights: Mapping[str, str | None]) -> PairSettings:
    """How the pairs of a corpus were made, from its own pairs.json."""
    from hcp_mer.data.pairs import load_pairs

    parts = [run.pairs]
    if run.pairs.parts:  # joined pairs keep what is common to all
        parts = [load_pairs(part) for part in run.pairs.parts]
    (own,) = [part.settings for part in parts if dataset in part.column("dataset")][:1]
    if not own:
        raise UserError(
            f"the pairs of {dataset} in {run.pairs.source} are ready-made ({MANIFEST} is not "
            "there): how their motion was measured is not known, so it cannot be measured again."
        )
    return pair_settings_from(own, weights)


def pair_settings_from(made: Mapping[str, Any], weights: Mapping[str, str | None]) -> PairSettings:
    """The PairSettings that a pairs.json describes.

    Args: weights: files of networks, which pairs.json knows by hash only.
    Raises:
        UserError: a network's weights are missing, or other ones.
    """
    face = made.get("face") or {"detector": "none", "weights": None, "centre_crop": False}
    if face["weights"] and not weights.get("face"):
        raise UserError(
            f"faces were found with {face['weights']}: give that file after --face_weights."
        )
    options = {"estimator": "--flow_weights", "magnifier": "--magnifier_weights"}
    for method, option in options.items():
        if made.get(f"{method}_weights") and not weights.get(method):
            record = made[f"{method}_weights"]
            raise UserError(
                f"the {method} {made[method]} read {record['file']} when the pairs were made: "
                f"give that file after {option}."
            )
    settings = PairSettings(
        image_size=made["image_size"],
        motion=MotionSettings(**made["motion"]),
        estimator=made["estimator"],
        magnifier=made["magnifier"],
        **{f"{name}_weights": weights.get(name) for name in options},
        face=FaceSettings(
            face["detector"], weights.get("face") if face["weights"] else None, face["centre_crop"]
        ),
    )
    now = settings.to_dict()
    for method, option in options.items():
        then, found = (own.get(f"{method}_weights") or {} for own in (made, now))
        if then.get("sha256") != found.get("sha256"):
            raise UserError(
                f"{weights.get(method)} is not the file that the pairs were made with "
                f"({then.get('file')}): give that one after {option}."
            )
    return settings


def is_moved(clip: Clip, disturbance: Disturbance, level: float) -> bool:
    """Whether a level changes anything for a clip: a shift may end at the clip's first frame."""
    if not any(disturbance.frames_off):
        return True
    return _moved(clip, disturbance, level) != clip


def frames_moved(clip: Clip, disturbance: Disturbance, level: float) -> int:
    """By how many frames a level moves the clip's onset or apex, whichever is more."""
    other, numbers = _moved(clip, disturbance, level), list(clip.frames.numbers)
    pairs = ((clip.onset, other.onset), (clip.apex, other.apex))
    return max(abs(numbers.index(then) - numbers.index(now)) for then, now in pairs)


def _moved(clip: Clip, disturbance: Disturbance, level: float) -> Clip:
    by = [round(level) * off for off in disturbance.frames_off]
    return moved(clip, *by) if any(by) else clip


def measure(clips: Sequence[Clip], settings: PairSettings, name: str, level: float) -> list[Views]:
    """Measure some clips of one corpus under a disturbance, exactly as pairs are made.

    Args: name: of DISTURBANCES, or UNDISTURBED.
    """
    disturbance = DISTURBANCES.get(name, Disturbance("nothing", "", ()))
    read: dict[int, Any] = {}
    views = [Views()] * len(clips)
    for index, clip in enumerate(clips):
        clip = _moved(clip, disturbance, level)
        frames = DisturbedFrames(clip, disturbance, level)
        last = clip.frames.numbers[-1]
        try:
            key_frames = read_key_frames(frames, clip.onset, clip.apex, last, settings, clip.face)
        except MISTAKES as error:
            views[index] = Views(problem=" ".join(str(error).split()))
            continue
        read[index] = with_shifted_crop(key_frames, clip, disturbance, level)
    for index, own in _make(read, settings):
        views[index] = own
    return views


def _make(read: dict[int, Any], settings: PairSettings) -> Iterator[tuple[int, Views]]:
    """Networks are given all clips at once; one that is refused takes no other along."""
    if not read:
        return
    try:
        pairs = make_pairs(list(read.values()), settings)
    except MISTAKES as error:
        if len(read) == 1:
            yield next(iter(read)), Views(problem=" ".join(str(error).split()))
            return
        for index, key_frames in read.items():
            yield from _make({index: key_frames}, settings)
        return
    for index, pair in zip(read, pairs, strict=True):
        yield index, Views(pair.magnified, pair.flow_image)


Mapper = Callable[..., Iterable]


@contextmanager
def processes(num_proc: int) -> Iterator[Mapper]:
    """`map` over tasks, in this process or in several; results come in order either way."""
    if num_proc == 1:
        yield map
        return
    # spawn: a forked child could inherit a lock that one of OpenCV's or torch's threads holds
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_proc, context, _use_one_thread) as pool:
        yield pool.map


def measure_all(
    found: FoundClips, indices: Sequence[int], name: str, level: float, mapper: Mapper
) -> dict[int, Views]:
    """`measure` of many clips. Returns: index of a labelled clip → its Views."""
    tasks = []
    for dataset, settings in found.settings.items():
        own = [i for i in indices if found.clips[i].dataset == dataset]
        tasks += [(own[s : s + _TASK_CLIPS], settings) for s in range(0, len(own), _TASK_CLIPS)]
    batches = [[found.clips[index] for index in own] for own, _ in tasks]
    count = len(tasks)
    done = mapper(measure, batches, [s for _, s in tasks], [name] * count, [level] * count)
    return {
        index: views
        for (own, _), many in zip(tasks, done, strict=True)
        for index, views in zip(own, many, strict=True)
    }


def _use_one_thread() -> None:
    cv2.setNumThreads(1)
