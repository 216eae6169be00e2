"""From any film to an answer: the pipeline of a checkpoint, with what it takes to prepare a clip.

A checkpoint carries nothing that finds a face or spots an apex; this package does. Film → face →
onset, apex and offset → the pair of views → scores; or no answer, where nothing moved.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hcp_mer.errors import UserError
from hcp_mer.model import pipeline_hcp_mer as of_checkpoints
from hcp_mer.model.attention_hcp_mer import attribute_patches
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pair
from hcp_mer.motion.face import FaceSettings
from hcp_mer.motion.film import Film, FilmFrame, open_film
from hcp_mer.motion.film_face import (
    AlignedFilm,
    FilmFace,
    align_film,
    aligned_frames,
    find_film_face,
)
from hcp_mer.motion.intervals import spot_intervals
from hcp_mer.motion.spotting import Movement, Spotted, spot
from hcp_mer.recognition.answer import NO_EXPRESSION, UNSURE, Course, Recognition, Views

MOST_FRAMES = 600  # aligned frames of a clip are held in memory, 0.15 MB each
CASCADE = FaceSettings("cascade")


class MicroExpressionPipeline(of_checkpoints.MicroExpressionPipeline):
    """The pipeline that travels with checkpoints, and films: `pipe(video="clip.mp4")`.

    Args:
        model, image_processor, and all else: as there.
        face: who finds the face; FaceSettings("none") for films that are face crops already.
        unsure_below: least calibrated score of an answer, from 0 to 1; None: the checkpoint's own.
    """

    def __init__(
        self,
        model,
        image_processor=None,
        *,
        face: FaceSettings = CASCADE,
        unsure_below: float | None = None,
        **kwargs,
    ):
        super().__init__(model, image_processor, **kwargs)
        self.face = face
        self.unsure_below = model.config.unsure_below if unsure_below is None else unsure_below
        if not 0 <= self.unsure_below <= 1:
            raise UserError(f"unsure_below must lie from 0 to 1; got {unsure_below}.")

    def __call__(self, inputs=None, *, video=None, frames=None, **options) -> Any:
        """As a checkpoint's own pipeline, and films.

        Args:
            video: a file, or a list of files; frames: a folder of images, or a list of images
                (paths, PIL images, RGB arrays), of one clip.
            options: for a film `fps_hz`, and `onset`, `apex` and `offset`, numbers of frames, where
                these are known; for anything else as before.
        Returns: of a film `Recognition.to_dict()`, of several a list of these.
        Raises:
            UserError: a film that cannot be used. ValueError: as before.
        """
        films = [given for given in (video, frames) if given is not None]
        if not films:
            return super().__call__(inputs, **options)
        unknown = sorted(set(options) - {"fps_hz", "onset", "apex", "offset", "attention"})
        if unknown:
            raise UserError(
                f"a film does not take {', '.join(unknown)}: it takes fps_hz, onset, apex, offset "
                "and attention, and is always explained."
            )
        if len(films) == 2 or inputs is not None:
            raise UserError("give one of video=, frames= and clips.")
        if video is not None and isinstance(video, (list, tuple)):
            return [self.recognise(one, **options).to_dict() for one in video]
        return self.recognise(films[0], **options).to_dict()

    def save_pretrained(self, save_directory, **kwargs):
        """As the checkpoint's own pipeline: what finds faces and films stays here."""
        own = of_checkpoints.MicroExpressionPipeline(self.model, self.image_processor)
        own.save_pretrained(save_directory, **kwargs)

    def recognise(
        self,
        source,
        *,
        onset: int | None = None,
        apex: int | None = None,
        offset: int | None = None,
        fps_hz: float | None = None,
        attention: bool = False,
    ) -> Recognition:
        """The answer to one film of one clip, and all that led there.

        Args:
            source: a Film, or what `open_film` takes.
            onset, apex, offset: numbers of frames, as the film numbers them; spotted if None.
            attention: whether to say where the branches looked; an untrained model does not.
        Raises:
            UserError: a film that cannot be read, without one face, too short, or too long for a
                clip; a key frame that it does not have.
        """
        seconds: dict[str, float] = {}
        with _timed(seconds, "read and align"):
            film = source if isinstance(source, Film) else open_film(source, fps_hz)
            if len(film) > MOST_FRAMES:
                raise UserError(
                    f"{film.name} has {len(film)} frames; a clip has {MOST_FRAMES} at most. Cut "
                    "it, or look for intervals in it (recognise_intervals, --intervals)."
                )
            aligned = align_film(film, self.face, self.image_processor.motion_size)
        given = (onset, apex, offset)
        found = self._of_aligned(film.name, aligned, given, seconds, attention)
        if not film.notes:
            return found
        return replace(found, reason=" ".join([found.reason.rstrip(".") + ".", *film.notes]))

    def recognise_intervals(
        self,
        source,
        window_ms: float = 500.0,
        *,
        fps_hz: float | None = None,
        attention: bool = False,
    ) -> Iterator[Recognition]:
        """Each movement in a long film that may be a micro-expression, answered as it is found.

        Memory does not grow with the film: of its frames three windows are held, and those of the
        last answer.

        Args:
            source: a Film, or what `open_film` takes; window_ms: the longest expression.
        Yields: a Recognition for each interval of `spot_intervals`.
        Raises:
            UserError: as `recognise`, and a film that does not say when its frames were taken.
        """
        film = source if isinstance(source, Film) else open_film(source, fps_hz)
        face = find_film_face(film, self.face)
        window_s, recent = window_ms / 1000, deque()
        frames = aligned_frames(film, face.transform, self.image_processor.motion_size)
        for interval in spot_intervals(_watched(film.name, frames, recent, window_s), window_s):
            key_s = (interval.first_s, interval.apex_s, interval.last_s)
            at = {f.time_s: f.number for f in recent}
            given = tuple(at[t] for t in key_s)
            for margin_s in (window_s / 2, 0.0):  # with a cut beside it: the interval alone
                aligned = _stretch(recent, key_s[0] - margin_s, key_s[-1] + margin_s, face)
                try:
                    found = self._of_aligned(film.name, aligned, given, {}, attention)
                    break
                except UserError as error:  # one interval: the film goes on
                    why = f"Frames {given[0]} to {given[-1]} cannot be answered: {error}"
                    found = Recognition(film.name, UNSURE, why, [])
            stood_out = f"{interval.score:.1f} times what this film shows all the time"
            yield replace(found, reason=f"{_sentence(stood_out)}. {found.reason}")

    def _of_aligned(
        self,
        name: str,
        aligned: AlignedFilm,
        given: tuple[int | None, int | None, int | None],
        seconds: dict[str, float],
        attention: bool,
    ) -> Recognition:
        """From aligned frames on."""
        with _timed(seconds, "spot"):
            spotted = spot(aligned.frames, *_indices(name, aligned, given))
        moved = Recognition(
            *(name, NO_EXPRESSION, _sentence(spotted.reason), []),
            course=_course(aligned, spotted),
            frames=aligned.frames,
            seconds=seconds,
        )
        # Whoever gives the apex says that there is an expression.
        if spotted.movement != Movement.EXPRESSION and given[1] is None:
            return moved
        onset, apex = aligned.frames[spotted.onset], aligned.frames[spotted.apex]
        return self._asked(moved, onset, apex, attention)

    def recognise_pair(
        self, onset: np.ndarray, apex: np.ndarray, name: str = "pair", attention: bool = False
    ) -> Recognition:
        """The answer to two frames, face crops cut and aligned alike, RGB uint8 (S, S, 3)."""
        if np.array_equal(onset, apex):
            return Recognition(name, NO_EXPRESSION, "Onset and apex are the same picture.", [])
        pair = Recognition(name, NO_EXPRESSION, "Onset and apex were given", [])
        return self._asked(pair, onset, apex, attention)

    def _asked(
        self, moved: Recognition, onset: np.ndarray, apex: np.ndarray, attention: bool
    ) -> Recognition:
        """What the model says of onset and apex, beside what is known of how they moved."""
        seconds = moved.seconds
        with _timed(seconds, "magnify and flow"):
            settings = MotionSettings(**self.image_processor.motion)
            pair = motion_pair(onset, apex, settings)
        with _timed(seconds, "model"):
            asked = super().__call__(magnified=pair.magnified, flow=pair.flow_image, explain=True)
        scores = asked.pop("scores")
        seen = {branch: self.model.config.view_of(branch) for branch in self.model.config.branches}
        views = Views(pair.magnified, pair.flow_image, onset, apex, seen=seen)
        if attention and not self._is_zero_shot:
            with _timed(seconds, "attention"):
                views.attention.update(self._attention(pair, scores[0]["label"]))
        answer, reason = self._answer(scores, moved.reason)
        return replace(
            moved, answer=answer, reason=reason, scores=scores, explanation=asked, views=views
        )

    @property
    def _is_zero_shot(self) -> bool:
        return bool(self._forward_params.get("zero_shot"))

    def _answer(self, scores: list[dict[str, Any]], reason: str) -> tuple[str, str]:
        """The answer and its reason, from scores with the likeliest first."""
        best = scores[0]
        sure = f"{best['label']} has the highest score, {best['score']:.2f}"
        reason = reason.rstrip(".")
        if best["score"] < self.unsure_below:
            return UNSURE, f"{reason}; {sure}, below the {self.unsure_below:.2f} it takes."
        return best["label"], f"{reason}; {sure}."

    def _attention(self, pair, label: str) -> dict[str, np.ndarray]:
        """Branch → how much each place speaks for the class, (S, S) from 0 to 1."""
        import cv2

        model, side = self.model, len(pair.magnified)
        pixels = self.image_processor(
            magnified=pair.magnified, flow=pair.flow_image, return_tensors="pt"
        )
        chosen = torch.tensor([model.config.label2id[label]])
        maps = {}
        for branch in model.config.branches:
            view = pixels[of_checkpoints.PIXELS_OF[model.config.view_of(branch)]]
            patches = attribute_patches(model, view, branch, chosen)[0].cpu().numpy()
            grown = cv2.resize(patches, (side, side), interpolation=cv2.INTER_CUBIC).clip(0)
            maps[branch] = grown / grown.max() if grown.max() > 0 else grown
        return maps


def _indices(name: str, aligned: AlignedFilm, given: tuple[int | None, ...]) -> list[int | None]:
    """Numbers of frames as indices. Raises UserError for one that is not there, or disorder."""
    for number in given:
        if number is not None and number not in aligned.numbers:
            raise UserError(
                f"{name} has no frame {number}: its frames are {aligned.numbers[0]} to "
                f"{aligned.numbers[-1]}."
            )
    known = [number for number in given if number is not None]
    if sorted(set(known)) != known:
        raise UserError(f"onset, apex and offset must ascend; got {', '.join(map(str, known))}.")
    return [None if number is None else aligned.numbers.index(number) for number in given]


def _watched(
    name: str, frames: Iterable[FilmFrame], recent: deque[FilmFrame], window_s: float
) -> Iterator[tuple[float, np.ndarray]]:
    """Frames with their times, of which `recent` keeps the last: an interval is given out one and a
    half windows after its apex, and may have begun one before it.
    """
    for frame in frames:
        if frame.time_s is None:
            raise UserError(f"{name} does not say when its frames were taken: give fps_hz (--fps).")
        recent.append(frame)
        yield frame.time_s, frame.image
        # Only now: behind a gap in time, what was before it is given out with this frame.
        while recent[0].time_s < frame.time_s - 3 * window_s:
            recent.popleft()


def _stretch(
    frames: Iterable[FilmFrame], first_s: float, last_s: float, face: FilmFace
) -> AlignedFilm:
    """The frames between two times, both included."""
    near = [frame for frame in frames if first_s <= frame.time_s <= last_s]
    numbers, times_s = [f.number for f in near], [f.time_s for f in near]
    return AlignedFilm(numbers, times_s, [f.image for f in near], face.found_by, face.share)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _course(aligned: AlignedFilm, spotted: Spotted) -> Course:
    return Course(
        aligned.numbers,
        aligned.times_s,
        spotted.energies_px,
        spotted.noise_px,
        spotted.onset,
        spotted.apex,
        spotted.offset,
    )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - start


def load_pipeline(
    model: str | Path,
    *,
    face: FaceSettings = CASCADE,
    unsure_below: float | None = None,
    **hub: Mapping[str, Any],
) -> MicroExpressionPipeline:
    """A checkpoint's pipeline that reads films, or that of a recipe, zero-shot.

    Args:
        model: a folder or Hub id of a checkpoint; or a recipe (.yaml), of which backbone and
            prompts answer with nothing trained, see `zero_shot_pipeline`.
        hub: revision, token and the like, for `from_pretrained`.
    Raises:
        UserError: no such checkpoint, or one of another kind of model.
    """
    from hcp_mer.model.image_processing_hcp_mer import HcpMerImageProcessor
    from hcp_mer.model.modeling_hcp_mer import HcpMerModel

    options = {"face": face, "unsure_below": unsure_below}
    if Path(model).suffix in (".yaml", ".yml"):
        from hcp_mer.zero_shot import zero_shot_pipeline

        return zero_shot_pipeline(model, **options)
    _check_ours(model, hub)
    network = HcpMerModel.from_pretrained(model, **hub)
    processor = HcpMerImageProcessor.from_pretrained(model, **hub)
    return MicroExpressionPipeline(network, processor, **options)


def _check_ours(model: str | Path, hub: Mapping[str, Any]) -> None:
    """Raise UserError unless `model` is a checkpoint of ours, before anything large is loaded."""
    from transformers import PretrainedConfig

    from hcp_mer.hub.access import readable_hub_errors
    from hcp_mer.model.configuration_hcp_mer import HcpMerConfig

    folder = Path(model)
    if folder.exists() and not (folder / "config.json").is_file():
        raise UserError(
            f"{model} has no config.json, so it is no checkpoint: give the folder model/ of a run, "
            "a Hub id, or a recipe (.yaml) for zero-shot."
        )
    with readable_hub_errors(str(model)):
        settings, _ = PretrainedConfig.get_config_dict(str(model), **hub)
    kind = settings.get("model_type") if isinstance(settings, dict) else None
    if kind != HcpMerConfig.model_type:
        raise UserError(
            f"{model} is a model of type {kind!r}, not {HcpMerConfig.model_type!r}: it is not one "
            "that train_loso.py made."
        )
