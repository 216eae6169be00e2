"""An example of one's own corpus to start from: small, explained, and prepared as it stands."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from hcp_mer.data.synthetic.clips import ClipStyle, ProceduralClip, render_clip
from hcp_mer.data.synthetic.identity import make_identity
from hcp_mer.errors import UserError
from hcp_mer.files import write_whole

_SIDE_PX = 128
_FIRST_NUMBER = 46  # of the frames in the folder: numbers may start anywhere
_FRAMES_PER_SECOND = 100
_STYLE = ClipStyle(peak_range_px=(2.0, 2.0))  # strong for a micro-expression, to be seen in JPEG
_COLUMNS = "subject,clip,frames,onset,apex,offset,emotion,action_units,face_box,eyes,dataset"

_README = """\
Your own corpus for prepare_dataset.py --corpus folder

    python scripts/prepare_dataset.py --corpus folder --data_dir THIS_FOLDER --output_dir PAIRS

works as it stands: the two clips are faces drawn by a program, one as frames, one as a video.
Put your clips beside them, one row each into metadata.csv, and delete the two examples.

metadata.csv has one row per clip; separators , or ; or tabs. Its columns, in any order:

subject       who is seen. Text: 006 stays 006. Write one person's id the same way in every row:
              subjects are what training and testing are split by.
clip          the clip's id, unique within its subject.
frames        where the clip is, relative to this folder: a folder of images (JPEG, PNG, BMP,
              TIFF, WebP), or a video that OpenCV reads (.avi, .mp4, .mov, .mkv, ...).
              An image's frame number is the last number in its name: frame_0046.jpg is 46.
              A video's frames count from 0. Several clips may share one folder or video.
onset         number of the last frame before the expression begins.
apex          number of the frame where it is strongest. Empty: it is spotted.
offset        number of the frame where it has ended. Empty: the last frame there is.
emotion       any word. train_loso.py takes its task's classes (negative, positive, surprise) as
              they are, and other words as a known corpus uses them: --scheme casme2.
action_units  optional: FACS numbers joined by +, with L or R in front for one side: 4+L12.
face_box      optional, for --face given: x y width height of the box round the face, from temple
              to temple and from the brows to the chin, in px of the clip's frames, separated by
              spaces; 0 0 is the image's top left corner.
eyes          optional, for --face given, better than a box: x y of the centre of the eye at the
              left of the image, then x y of the other: 210 188 290 186.
dataset       optional: name of the corpus, where one folder holds several.

Frames that show more than the face need --face cascade (finds it), or --face given.
A row that cannot be used is reported with its number and the reason; all others are used.
metadata.xlsx and metadata.jsonl (one JSON object per line, the same names) are read as well.
"""


def write_template(folder: str | Path) -> None:
    """Write metadata.csv with two rows, README.txt that explains it, and the two clips.

    Args: folder: a new or empty folder.
    Raises:
        UserError: the folder is a file or holds something.
        OSError: the video cannot be written.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file. Name a new or empty folder for the template.")
    entries = sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
    if entries:
        raise UserError(
            f"{folder} is not empty ({', '.join(entries[:3])}). Name a new or empty folder: "
            "nothing is written over."
        )
    folder.mkdir(parents=True, exist_ok=True)
    smile = _film("happiness", ("6", "12"), 1)
    startle = _film("surprise", ("1", "2", "5"), 2)
    _write_frames(folder / "frames/s01_smile", smile)
    _write_video(folder / "videos/s02_startle.avi", startle)
    onset, apex, offset = (_FIRST_NUMBER + n for n in (smile.onset, smile.apex, smile.offset))
    rows = (
        _COLUMNS,
        f"s01,smile,frames/s01_smile,{onset},{apex},{offset},happiness,6+12,,,",
        f"s02,startle,videos/s02_startle.avi,{startle.onset},,,surprise,,,,",
    )
    write_whole(folder / "README.txt", _README)
    write_whole(folder / "metadata.csv", "\n".join(rows) + "\n")


def _film(emotion: str, action_units: tuple[str, ...], person: int) -> ProceduralClip:
    return render_clip(
        *(make_identity(person), emotion, person),
        size=_SIDE_PX,
        num_frames=12,
        style=_STYLE,
        action_units=action_units,
    )


def _write_frames(folder: Path, clip: ProceduralClip) -> None:
    folder.mkdir(parents=True)
    for number, frame in enumerate(clip.frames, start=_FIRST_NUMBER):
        _, encoded = cv2.imencode(".jpg", _bgr(frame))
        (folder / f"frame_{number:04d}.jpg").write_bytes(encoded.tobytes())


def _write_video(path: Path, clip: ProceduralClip) -> None:
    """Motion JPEG in AVI: every OpenCV can write it, and it keeps small motions."""
    path.parent.mkdir(parents=True)
    codec = cv2.VideoWriter_fourcc(*"MJPG")
    writer = cv2.VideoWriter(str(path), codec, _FRAMES_PER_SECOND, (_SIDE_PX, _SIDE_PX))
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write the video {path}.")
    for frame in clip.frames:
        writer.write(_bgr(frame))
    writer.release()


def _bgr(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
