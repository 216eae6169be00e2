"""A clip beside itself with its motion magnified, slowed down: a short mp4 and a looping gif."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.files import make_folder
from hcp_mer.model.frames_hcp_mer import check_frame_pair
from hcp_mer.model.magnification_hcp_mer import magnify
from hcp_mer.model.motion_hcp_mer import MotionSettings, motion_pairs
from hcp_mer.recognition.answer import Course
from hcp_mer.recognition.panels import LONG_S

LEAST_S = 1.5  # that a movie lasts
LEAST_SHOWN_MS = 40  # of a frame: an eye follows it, and browsers play gifs no faster
MOST_FRAMES = 120  # of a movie; of longer clips frames are left out evenly
# H.264 plays everywhere, but OpenCV's wheels have no encoder for it; VP9 plays in browsers and VLC,
# not in QuickTime Player; MPEG-4 part 2 plays in VLC and QuickTime Player, in no browser.
CODECS = ("avc1", "vp09", "mp4v")
_MOST_PX, _LEAST_PX = 448, 224  # side of one half
_GAP, _HEAD, _FOOT = 8, 30, 40
_PAPER, _INK, _WEAK, _FAINT, _APEX = (
    255,
    (27, 31, 36),
    (93, 102, 112),
    (211, 216, 221),
    (213, 94, 0),
)


@dataclass(frozen=True, eq=False)
class _Scene:
    """One moment of a movie: the frame as filmed, magnified, by how much, and its index."""

    index: int
    filmed: np.ndarray
    magnified: np.ndarray
    alpha: float


def save_movie(
    frames: Sequence[np.ndarray],
    course: Course,
    path_without_suffix: Path | str,
    alpha: float = 8.0,
    fps_hz: float | None = None,
) -> list[Path]:
    """Write "….mp4" and "….gif" of a clip from onset to offset, whole or not at all.

    Left the clip as it was filmed, right with the motion of its skin since the onset magnified, as
    the model's magnified apex is: head motion stays as it is, and the factor is at most what adds
    10 px (of 224) to the apex. It is one factor for the whole clip, so that a movement that grows
    is seen to grow. Slowed down, so that the movie lasts 1.5 s and a frame 40 ms at least.

    The mp4 holds H.264 where OpenCV can write it, else VP9, which browsers and VLC play; where
    OpenCV has neither, MPEG-4 part 2, which plays in VLC but in no browser. In memory is about as
    much again as the clip.

    Args:
        frames: aligned, uint8 RGB (H, W, 3) of one size, one for each number of the course.
        course: says where onset, apex and offset are, and when, if that is known.
        path_without_suffix: folder and name; a dot in the name is no suffix.
        fps_hz: of the clip, for how much it is slowed down; not needed if the course has times.
    Returns: the files, mp4 and gif.
    Raises:
        UserError: fewer frames than the course says, no frame after the onset, or a file that
            cannot be written, as on a full disk; then neither of the two is left.
        ValueError: frames that motion cannot be measured on, or alpha < 1.
    """
    _check(frames, course, fps_hz)
    base = Path(path_without_suffix)
    paths = [base.with_name(base.name + suffix) for suffix in (".mp4", ".gif")]
    shown = _shown_indices(course)
    scenes = _scenes(frames, shown, course, alpha)
    shown_ms, slower = _pace(course, shown, fps_hz)
    with _whole_files(paths) as (mp4, gif):
        _write_mp4(mp4, scenes, course, shown_ms, slower)
        _write_gif(gif, scenes, course, shown_ms, slower)
    return paths


def _check(frames: Sequence[np.ndarray], course: Course, fps_hz: float | None) -> None:
    if len(frames) != len(course.numbers):
        raise UserError(
            f"a movie needs the {len(course.numbers)} frames of its course, got {len(frames)}."
        )
    if not 0 <= course.onset < course.apex <= course.offset < len(frames):
        order = f"{course.onset}, {course.apex} and {course.offset}"
        raise UserError(
            "a movie needs onset < apex <= offset among its "
            f"{len(frames)} frames, got {order}. Nothing to magnify happened there."
        )
    if fps_hz is not None and not 0 < fps_hz < float("inf"):
        raise UserError(f"fps_hz must be positive, got {fps_hz}. Leave it out if it is not known.")
    for frame in frames[course.onset + 1 : course.offset + 1]:
        check_frame_pair(frames[course.onset], frame)


def _shown_indices(course: Course) -> list[int]:
    """From onset to offset, with the apex."""
    count = course.offset - course.onset + 1
    if count <= MOST_FRAMES:
        return list(range(course.onset, course.offset + 1))
    evenly = np.linspace(course.onset, course.offset, MOST_FRAMES).round().astype(int)
    evenly[np.abs(evenly - course.apex).argmin()] = course.apex
    return evenly.tolist()


def _pace(course: Course, shown: Sequence[int], fps_hz: float | None) -> tuple[int, float | None]:
    """How long each frame is shown, in whole 10 ms as a gif counts, and how much slower that is."""
    lasts_s = None
    if course.times_s is not None:
        lasts_s = course.times_s[course.offset] - course.times_s[course.onset]
    elif fps_hz is not None:
        lasts_s = (course.numbers[course.offset] - course.numbers[course.onset]) / fps_hz
    least_s = max(LEAST_S, lasts_s or 0.0)
    shown_ms = max(LEAST_SHOWN_MS, 10 * int(np.ceil(100 * least_s / len(shown))))
    steps = len(shown) - 1
    return shown_ms, shown_ms * steps / 1000 / lasts_s if lasts_s else None


def _scenes(
    frames: Sequence[np.ndarray], shown: Sequence[int], course: Course, alpha: float
) -> list[_Scene]:
    """The moments of the movie, each magnified by the factor that the apex allows, or less."""
    onset = frames[course.onset]
    _, allowed = _magnified(onset, frames[course.apex], alpha)
    scenes = []
    for index in shown:
        magnified, used = (
            _magnified(onset, frames[index], allowed) if index != course.onset else (onset, allowed)
        )
        scenes.append(_Scene(index, frames[index], magnified, used))
    return scenes


def _magnified(onset: np.ndarray, frame: np.ndarray, alpha: float) -> tuple[np.ndarray, float]:
    """A frame magnified by the model's own composition, and the factor that it used."""
    used: list[float] = []

    def magnifier(_, apexes, flows_px, alphas):
        used.extend(alphas)
        return [magnify(*clip) for clip in zip(apexes, flows_px, alphas, strict=True)]

    (pair,) = motion_pairs([onset], [frame], MotionSettings(alpha=alpha), magnifier=magnifier)
    return pair.magnified, used[0]


def _composed(
    scenes: Sequence[_Scene], course: Course, slower: float | None
) -> Iterator[np.ndarray]:
    """The movie's pictures one by one, uint8 RGB with even sides, as video codecs want them."""
    font = cv2.FontFace("sans")
    pace = f" · {slower:.2g}× slower" if slower is not None and slower > 1.05 else ""
    for scene in scenes:
        halves = [_half(image) for image in (scene.filmed, scene.magnified)]
        height, width = halves[0].shape[:2]
        right = width + _GAP
        canvas = np.full((_HEAD + height + _FOOT, right + width, 3), _PAPER, np.uint8)
        for x, half, words in zip((0, right), halves, ("as filmed", f"motion ×{scene.alpha:.2g}")):
            canvas[_HEAD : _HEAD + height, x : x + width] = half
            cv2.putText(canvas, words, (x + 4, _HEAD - 10), _INK, font, 16, 500)
        words = f"{_moment(course, scene.index)}{pace}"
        cv2.putText(canvas, words, (4, len(canvas) - 8), _WEAK, font, 15, 400)
        _draw_timeline(canvas, course, scene.index, _HEAD + height + 10)
        yield canvas


def _half(image: np.ndarray) -> np.ndarray:
    """A frame in a size that can be looked at, both sides even."""
    height, width = image.shape[:2]
    scale = min(max(1.0, _LEAST_PX / max(height, width)), _MOST_PX / max(height, width))
    size = tuple(2 * round(scale * side / 2) for side in (width, height))
    if size == (width, height):
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _moment(course: Course, index: int) -> str:
    time = ""
    if course.times_s is not None:
        time_s = course.times_s[index]
        time = f" · {time_s:.2f} s" if time_s > LONG_S else f" · {1000 * time_s:.0f} ms"
    apex = " · apex" if index == course.apex else ""
    return f"frame {course.numbers[index]}{time}{apex}"


def _draw_timeline(canvas: np.ndarray, course: Course, index: int, y: int) -> None:
    """From onset to offset, how far the movie is; a tick where the apex lies."""
    left, right = 4, canvas.shape[1] - 5

    def place(index: int) -> int:
        share = (index - course.onset) / (course.offset - course.onset)
        return round(left + share * (right - left))

    cv2.line(canvas, (left, y), (right, y), _FAINT, 3)
    cv2.line(canvas, (left, y), (place(index), y), _WEAK, 3)
    cv2.line(canvas, (place(course.apex), y - 5), (place(course.apex), y + 5), _APEX, 2)
    cv2.circle(canvas, (place(index), y), 5, _INK, -1, cv2.LINE_AA)


def _write_mp4(
    path: Path, scenes: Sequence[_Scene], course: Course, shown_ms: int, slower: float | None
) -> None:
    """By the first codec that works; OpenCV does not say when it fails, so the file is read back.

    Raises OSError where none does.
    """
    for codec in CODECS:
        writer = None
        for picture in _composed(scenes, course, slower):
            if writer is None:
                writer = _writer(path, codec, 1000 / shown_ms, picture.shape)
                if not writer.isOpened():
                    break
            writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        writer.release()
        if _frames_in(path) == len(scenes):
            return
    raise OSError("OpenCV cannot write it")


@contextmanager
def _silent_opencv() -> Iterator[None]:
    """Without what OpenCV and FFmpeg print of codecs that are absent: the next one is tried."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def _writer(path: Path, codec: str, fps_hz: float, shape: tuple[int, ...]) -> cv2.VideoWriter:
    size = (shape[1], shape[0])
    with _silent_opencv():
        fourcc = cv2.VideoWriter.fourcc(*codec)
        return cv2.VideoWriter(str(path.absolute()), cv2.CAP_FFMPEG, fourcc, fps_hz, size)


def _frames_in(path: Path) -> int:
    """How many frames of a video can be decoded."""
    if not path.is_file():
        return 0
    with _silent_opencv():
        capture = cv2.VideoCapture(str(path.absolute()), cv2.CAP_FFMPEG)
    count = 0
    while capture.grab():
        count += 1
    capture.release()
    return count


def _write_gif(
    path: Path, scenes: Sequence[_Scene], course: Course, shown_ms: int, slower: float | None
) -> None:
    """With one palette for all pictures, from three of them: another in each would flicker."""
    from PIL import Image

    looks = [scenes[0], max(scenes, key=lambda scene: scene.index == course.apex), scenes[-1]]
    sheet = Image.fromarray(np.vstack(list(_composed(looks, course, slower))))
    colours = sheet.quantize(255, dither=Image.Dither.NONE).getpalette()[: 3 * 255]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*colours, *_APEX])  # the apex's tick is too small to get one of its own
    first, *rest = (
        Image.fromarray(picture).quantize(palette=palette, dither=Image.Dither.NONE)
        for picture in _composed(scenes, course, slower)
    )
    first.save(
        path, format="GIF", save_all=True, append_images=rest, duration=shown_ms, loop=0,
    )  # fmt: skip


@contextmanager
def _whole_files(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Temporary names beside paths, moved there in the end; after a failure nothing is left.

    Raises UserError where the disk is full or the folder cannot be written.
    """
    temporary = [path.with_name(f".{path.stem}.partial{path.suffix}") for path in paths]
    try:
        make_folder(paths[0].parent)
        yield temporary
        for own, path in zip(temporary, paths, strict=True):
            own.replace(path)
    except OSError as error:
        names = " and ".join(path.name for path in paths)
        raise UserError(
            f"{names} cannot be written ({error.strerror or error}). Make room on the disk, or "
            "choose another place."
        ) from error
    finally:
        for own in temporary:
            own.unlink(missing_ok=True)
