"""The face in a film: looked for in a few frames, and all frames aligned alike by the first of it.

One transform serves the whole film, since alignment must not add motion of its own. The other
frames that are looked at tell whether it holds for them: whether the face is there, is one alone,
and stays in its place.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hcp_mer.model.face_regions_hcp_mer import face_mask
from hcp_mer.model.frames_hcp_mer import SMALLEST_SIDE_PX, resize_frame
from hcp_mer.motion.alignment import Face, align, centre_transform, face_transform
from hcp_mer.motion.face import CENTRE_CROP, FaceError, FaceSettings, find_alignment
from hcp_mer.motion.face_detectors import DETECTORS, detector
from hcp_mer.motion.film_source import Film, FilmFrame, check_length, check_order
from hcp_mer.motion.frames import FrameError
from hcp_mer.motion.pair import LEAST_CONTRAST

LOOKS = 5  # frames that are looked at, the first and others spread over the film
LEAST_LEVEL = 20.0  # of 255, the mean over the face; below it noise is larger than movement
LEAST_SHARE = 0.5  # of the frames looked at must have the face in its place
SEVERAL_SHARE = 0.4  # of them with two faces make a film of several: one may be a chance hit
SIMILAR_SIZE = 0.6  # of the largest face: smaller ones are in the background
PLACE_EYES, PLACE_GROWTH = 1.0, 1.5  # eye distances that a face may be away, and how much larger
_LIGHT_PX = 64  # side of the square whose light is measured


@dataclass(frozen=True, eq=False)
class FilmFace:
    """Where the face is in a film.

    Attributes: `transform`, for `align`, (2, 3), or None where frames are only resized; `found_by`,
    "cropped already", "given", a detector's name or "centre crop"; `share`, of the frames looked
    at, those with the face in its place, 1.0 where it was not looked for.
    """

    transform: np.ndarray | None
    found_by: str
    share: float


@dataclass(frozen=True, eq=False)
class AlignedFilm:
    """A film as aligned squares.

    Attributes: `numbers`, of the frames as the film counts them; `times_s`, since the film's first
    frame, None where they are unknown; `frames`, RGB uint8 (S, S, 3), all aligned by one transform;
    `found_by` and `face_share`, see FilmFace.
    """

    numbers: list[int]
    times_s: list[float] | None
    frames: list[np.ndarray]
    found_by: str
    face_share: float

    def __len__(self) -> int:
        return len(self.frames)


def align_film(
    film: Film,
    settings: FaceSettings,
    image_size: int = 224,
    first: int | None = None,
    last: int | None = None,
    given: Face | None = None,
) -> AlignedFilm:
    """The frames numbered from `first` to `last`, or all of them, aligned on the film's face.

    All squares are in memory, 150 kB each at 224 px: a long film is `find_film_face` once and
    `aligned_frames` for each stretch of it.

    Args: `settings`, who says where the face is; `given`, read by the detector "given" alone.
    Raises FaceError where no face is found and `centre_crop` is off, for several faces, and for a
    face that is not in its place in half of the frames looked at; FrameError for fewer than three
    frames, a film too dark to see a face in, a frame of one flat colour, and as Film.frames does.
    """
    search, looked_at = _Search(film.name, settings, given), _looked_at(film, first, last)
    aligned, waiting, count = [], None, 0
    for frame in film.frames(first, last):
        count += 1
        if frame.number in looked_at:
            search.look_at(frame.image)
        if search.is_settled:
            aligned.append(_aligned(frame, search.transform, image_size))
        else:
            waiting = frame.number  # for the first face; a large film does not wait in memory
    check_length(film.name, count, "" if first is None and last is None else " in that part")
    face = search.verdict()
    if face.transform is not search.transform:  # the centre after all
        aligned = list(aligned_frames(film, face.transform, image_size, first, last))
    elif waiting is not None:
        aligned[:0] = aligned_frames(film, face.transform, image_size, first, waiting)
    _check_flat(film.name, aligned)
    times_s = [frame.time_s for frame in aligned]
    return AlignedFilm(
        numbers=[frame.number for frame in aligned],
        times_s=None if None in times_s else times_s,
        frames=[frame.image for frame in aligned],
        found_by=face.found_by,
        face_share=face.share,
    )


def find_film_face(
    film: Film,
    settings: FaceSettings,
    first: int | None = None,
    last: int | None = None,
    given: Face | None = None,
) -> FilmFace:
    """Where the face is in a film, or in a part of it, without aligning its frames.

    Raises FaceError and FrameError as `align_film` does, but for what only all frames show.
    """
    search = _Search(film.name, settings, given)
    for frame in film.picked(_looked_at(film, first, last)):
        search.look_at(frame.image)
    if not search.levels:
        raise FrameError(f"{film.name} has no frame {first}: give frames that it has.")
    return search.verdict()


def aligned_frames(
    film: Film,
    transform: np.ndarray | None,
    image_size: int = 224,
    first: int | None = None,
    last: int | None = None,
) -> Iterator[FilmFrame]:
    """Aligned squares one after the other; memory does not grow with the film.

    Args: `transform`, see FilmFace. Raises as Film.frames does.
    """
    for frame in film.frames(first, last):
        yield _aligned(frame, transform, image_size)


def _aligned(frame: FilmFrame, transform: np.ndarray | None, size: int) -> FilmFrame:
    """A frame's square: aligned, or resized where there is no transform."""
    image = frame.image
    square = resize_frame(image, size) if transform is None else align(image, transform, size)
    return FilmFrame(frame.number, frame.time_s, square)


def _looked_at(film: Film, first: int | None, last: int | None) -> set[int]:
    """Numbers of the frames that are looked at; of a film whose header errs, of fewer."""
    check_order(first, last)
    promised = film.promised  # maybe a range of billions, where a header is damaged
    low = promised[0] if first is None else first
    high = promised[-1] if last is None else last
    numbers = promised[bisect_left(promised, low) : bisect_right(promised, high)] or [low]
    places = np.linspace(0, len(numbers) - 1, LOOKS)
    return {numbers[int(place)] for place in places}


def _check_flat(name: str, aligned: list[FilmFrame]) -> None:
    for frame in aligned:
        if _contrast(frame.image) < LEAST_CONTRAST:
            flat = f"frame {frame.number} of {name} is one flat colour where the face should be"
            raise FrameError(f"{flat}: no motion can be seen in it. Leave it out.")


def _contrast(image: np.ndarray) -> float:
    """Standard deviation of the grey levels."""
    return float(image.mean(axis=-1).std())


@dataclass(eq=False)
class _Search:
    """What was seen in the frames looked at so far.

    Attributes: `transform` and `found_by`, from the first face, once `is_settled`; `faces`, how
    many of similar size each frame has; `in_place`, in how many the first face is where it was;
    `levels` and `contrasts`, of the square where there is one, else of the frame.
    """

    name: str
    settings: FaceSettings
    given: Face | None
    is_settled: bool = False
    transform: np.ndarray | None = None
    found_by: str = ""
    faces: list[int] = field(default_factory=list)
    in_place: int = 0
    levels: list[float] = field(default_factory=list)
    contrasts: list[float] = field(default_factory=list)
    _first: Face | None = None
    _centre: np.ndarray | None = None

    def look_at(self, image: np.ndarray) -> None:
        """Raises FaceError where a face must be given and is not, FrameError for a tiny frame."""
        if min(image.shape[:2]) < SMALLEST_SIDE_PX:
            height, width, _ = image.shape
            rule = f"{self.name}: frames of {width}×{height} px are too small to see a face in"
            raise FrameError(f"{rule}; give at least {SMALLEST_SIDE_PX} px a side.")
        if self.settings.detector in DETECTORS:
            self._look_for_faces(image)
        elif not self.is_settled:
            self.transform, self.found_by = find_alignment(
                image, Path(self.name), self.settings, self.given
            )
            self.is_settled = True
        self._measure_light(image)

    def _look_for_faces(self, image: np.ndarray) -> None:
        found = detector(self.settings.detector, self.settings.weights).find_all(image)
        sizes_px = [_eye_distance_px(face) for face in found]
        self.faces.append(sum(size >= SIMILAR_SIZE * max(sizes_px) for size in sizes_px))
        if self._centre is None:
            self._centre = centre_transform(image)
        if found and not self.is_settled:
            self._first, self.found_by, self.is_settled = found[0], self.settings.detector, True
            self.transform = face_transform(image, found[0])
        self.in_place += any(_is_in_place(face, self._first) for face in found)

    def _measure_light(self, image: np.ndarray) -> None:
        """Of the face, where it is known: the wall behind it may be bright."""
        weights = None
        if self.is_settled:
            image = _aligned(FilmFrame(0, None, image), self.transform, _LIGHT_PX).image
            weights = face_mask(_LIGHT_PX, _LIGHT_PX)
        self.levels.append(float(np.average(image.mean(axis=-1), weights=weights)))
        self.contrasts.append(_contrast(image))

    def verdict(self) -> FilmFace:
        """The face after all looks. Raises FaceError and FrameError, see `align_film`."""
        self._check_light()
        if self.settings.detector not in DETECTORS:
            return FilmFace(self.transform, self.found_by, 1.0)
        self._check_number()
        share = self.in_place / len(self.faces)
        if share >= LEAST_SHARE:
            return FilmFace(self.transform, self.found_by, share)
        if self.settings.centre_crop:
            return FilmFace(self._centre, CENTRE_CROP, share)
        raise FaceError(self._why_not())

    def _check_light(self) -> None:
        level = float(np.median(self.levels))
        if level < LEAST_LEVEL:
            raise FrameError(
                f"{self.name} is too dark: its mean level is {level:.0f} of 255, at least "
                f"{LEAST_LEVEL:.0f} is needed. Film it with more light."
            )
        if float(np.median(self.contrasts)) < LEAST_CONTRAST:
            raise FrameError(f"{self.name} is one flat colour, no face can be seen in it.")

    def _check_number(self) -> None:
        several = [number for number in self.faces if number > 1]
        if several and len(several) >= SEVERAL_SHARE * len(self.faces):
            number = round(float(np.median(several)))
            raise FaceError(f"{number} faces in {self.name}: crop it to one of them.")

    def _why_not(self) -> str:
        """Why the face cannot be used, and what to do."""
        looks, found = len(self.faces), sum(number > 0 for number in self.faces)
        mend = "Show one face from the front, upright, large and well lit, in every frame"
        crop = "or crop the frames to the face and say that they are cropped already"
        if found == 0:
            looked_at = "the frame" if looks == 1 else f"{looks} frames"
            return f"no face found in {self.name} ({looked_at} looked at). {mend}, {crop}."
        if found / looks < LEAST_SHARE:
            rule = f"a face is found in only {found} of {looks} frames looked at in {self.name}"
            return f"{rule}. {mend}, {crop}."
        rule = f"the face is in its place in only {self.in_place} of {looks} frames looked at"
        return f"{rule} in {self.name}. Hold the head and the camera still, and show one take."


def _eye_distance_px(face: Face) -> float:
    return float(np.linalg.norm(np.subtract(*face.eye_places)))


def _is_in_place(face: Face, first: Face) -> bool:
    """Whether a face is where the first one was, so that the first one's transform serves it."""
    size_px, first_px = _eye_distance_px(face), _eye_distance_px(first)
    away_px = np.linalg.norm(np.mean(face.eye_places, axis=0) - np.mean(first.eye_places, axis=0))
    alike = 1 / PLACE_GROWTH < size_px / first_px < PLACE_GROWTH
    return bool(alike and away_px < PLACE_EYES * first_px)
