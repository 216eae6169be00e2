"""Many clips: a list in, a table out; resumable, and shared out over processes.

Each process answers its share and writes every answer down at once, so that a killed run loses the
clip it was at. A clip that cannot be used gets its reason in the table and stops nothing.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.errors import UserError
from hcp_mer.files import make_folder, write_json
from hcp_mer.recognition.answer import Recognition

if TYPE_CHECKING:
    import pandas

KEY_FRAMES = ("onset", "apex", "offset")
FAILED = "failed"  # the answer of a clip that could not be used
Answer = Callable[["ListedClip"], Recognition]


@dataclass(frozen=True)
class ListedClip:
    """A line of a list: the clip as it is written there, its file, and the key frames it names."""

    number: int
    video: str
    path: Path
    onset: int | None = None
    apex: int | None = None
    offset: int | None = None


def read_list(path: Path) -> list[ListedClip]:
    """The clips of a CSV file with a column `video` and, if known, `onset`, `apex` and `offset`.

    Args: path: of which the folder is where relative paths begin. A folder instead of a file is the
        list of all that lies in it, sub-folders included, and is named like a video.
    Raises:
        UserError: no such file, no column `video`, no clip, one twice, a frame that is no number.
    """
    if path.is_dir():
        return _of_folder(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            headings = [name.strip().lower() for name in table.fieldnames or []]
            table.fieldnames = headings
            rows = list(table)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as CSV in UTF-8 ({error}).") from None
    if "video" not in headings:
        raise UserError(
            f"{path.name} needs a column video, one clip per line; it has "
            f"{', '.join(headings) or 'none'}."
        )
    clips = [_listed(path, line, row) for line, row in enumerate(rows, start=2)]
    return _checked(path, clips)


def _of_folder(folder: Path) -> list[ListedClip]:
    from hcp_mer.motion.video import VIDEO_SUFFIXES

    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
    names = [p.relative_to(folder).as_posix() for p in found if p.is_file()]
    return _checked(folder, [ListedClip(n, v, folder / v) for n, v in enumerate(names)])


def _listed(path: Path, line: int, row: Mapping[str, str | None]) -> ListedClip:
    video = (row["video"] or "").strip()
    if not video:
        raise UserError(f"line {line} of {path.name} names no video.")
    frames = {}
    for name in KEY_FRAMES:
        written = (row.get(name) or "").strip()
        try:
            # A column with blanks comes out of pandas as 12.0.
            frames[name] = int(written.removesuffix(".0")) if written else None
        except ValueError:
            raise UserError(
                f"{name} on line {line} of {path.name} must be the number of a frame, or empty to "
                f"have it spotted; got {written!r}."
            ) from None
    return ListedClip(line, video, path.parent / video, **frames)


def _checked(path: Path, clips: list[ListedClip]) -> list[ListedClip]:
    if not clips:
        raise UserError(f"{path.name} lists no video.")
    counts = Counter((clip.video, clip.onset, clip.apex, clip.offset) for clip in clips)
    twice = [video for (video, *_), count in counts.items() if count > 1]
    if twice:
        raise UserError(f"{twice[0]} stands twice in {path.name}. Remove one.")
    return clips


def check_output(output: Path) -> None:
    """Raise UserError unless a table can be written there that is none yet."""
    if output.exists():
        raise UserError(f"{output} is there already: delete it, or choose another --output.")
    if not output.absolute().parent.is_dir():
        raise UserError(f"{output.parent} is no folder: make it, or choose another --output.")


class Unfinished:
    """Answers beside a table that is not whole yet; those of other settings are refused."""

    def __init__(self, output: Path, settings: dict[str, Any]):
        """Args: settings: what the answers depend on. Raises UserError for a folder of others."""
        self.folder = output.with_name(f".{output.name}.unfinished")
        self.settings = settings

    def claim(self) -> None:
        """Make the folder, or find it made for the same settings."""
        record = self.folder / "settings.json"
        if record.is_file():
            if json.loads(record.read_text(encoding="utf-8")) != json.loads(
                json.dumps(self.settings)
            ):
                raise UserError(
                    f"{self.folder} holds answers of other clips or settings that were stopped. "
                    "Choose another --output, or delete that folder."
                )
            return
        make_folder(self.folder)
        write_json(record, self.settings)

    def answers(self) -> dict[int, dict[str, Any]]:
        """Index in the list → answer, of all processes; a line that was cut off does not count."""
        found = {}
        for place in sorted(self.folder.glob("answers-*.jsonl")):
            for line in place.read_bytes().split(b"\n"):
                try:
                    answer = json.loads(line)
                except ValueError:
                    continue
                found[answer.pop("index")] = answer
        return found

    def forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def answer_share(
    clips: list[ListedClip], answer: Answer, unfinished: Unfinished, process: int, processes: int
) -> Iterator[ListedClip]:
    """Answer every `processes`-th clip that has no answer yet; yields each when it is written down.

    Damage of one clip is its answer. Raises UserError where the disk is full.
    """
    done = unfinished.answers()
    place = unfinished.folder / f"answers-{process}.jsonl"
    # By the place in the list alone: what others have finished meanwhile must not move a share.
    share = range(process, len(clips), processes)
    for index in (index for index in share if index not in done):
        row = {"index": index, **_row(clips[index], answer)}
        try:
            with place.open("a", encoding="ascii") as file:
                # A line of its own even where a killed run left half of one.
                file.write("\n" + json.dumps(row))
        except OSError as error:
            raise UserError(
                f"{place.name} cannot be written ({error.strerror}). Finished answers are kept: "
                "make room and give the same command again."
            ) from None
        yield clips[index]


def _row(clip: ListedClip, answer: Answer) -> dict[str, Any]:
    """A line of the table."""
    # A name that is no UTF-8 cannot stand in a table as it is.
    row: dict[str, Any] = {"video": clip.video.encode(errors="backslashreplace").decode()}
    try:
        said = answer(clip).to_dict()
    except ValueError as error:  # UserError is one: what is wrong with this clip
        return {**row, "answer": FAILED, "reason": " ".join(str(error).split())}
    except Exception as error:  # of thousands of clips one that nobody thought of stops none
        said = " ".join(str(error).split())
        return {**row, "answer": FAILED, "reason": f"unexpected {type(error).__name__}: {said}"}
    row |= {"answer": said["answer"], "reason": said["reason"]}
    for name in KEY_FRAMES:
        if name in said:
            row |= {name: said[name]["frame"], f"{name}_s": said[name]["time_s"]}
    row |= {name: said[name] for name in ("movement_px", "noise_px") if name in said}
    return row | {f"score_{s['label']}": s["score"] for s in said["scores"]}


def write_table(clips: list[ListedClip], unfinished: Unfinished, output: Path) -> pandas.DataFrame:
    """All answers in the list's order, as Parquet or CSV by the name's end; the table.

    Raises:
        UserError: a clip has no answer: a process has ended before its share.
    """
    import io

    import pandas

    from hcp_mer.files import write_whole

    answers = unfinished.answers()
    missing = len(clips) - len(answers)
    if missing:
        raise UserError(
            f"{missing} of {len(clips)} clips have no answer yet: give the same command again."
        )
    table = pandas.DataFrame([answers[index] for index in range(len(clips))])
    for name in KEY_FRAMES:
        if name in table:
            table[name] = table[name].astype("Int64")
    content = io.BytesIO()
    if output.suffix == ".csv":
        content.write(table.to_csv(index=False).encode())
    else:
        table.to_parquet(content, index=False)
    write_whole(output, content.getvalue())
    unfinished.forget()
    return table


def list_mark(clips: list[ListedClip]) -> str:
    """A hash of a list's lines: the same list goes on where it was stopped."""
    lines = [f"{c.video}\t{c.onset}\t{c.apex}\t{c.offset}" for c in clips]
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()
