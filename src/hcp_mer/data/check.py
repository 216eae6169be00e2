"""A corpus looked through before anything is made of it: what there is, and what is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from hcp_mer.data.published_counts import CountCheck, check_counts, count_clips
from hcp_mer.data.records import ClipRecord, CorpusReading, Problem
from hcp_mer.data.tasks import PROTOCOLS, SCHEMES, TASKS, Task, label_of_clip, label_scheme
from hcp_mer.errors import UserError
from hcp_mer.files import make_folder, write_json
from hcp_mer.motion.pair import LEAST_CONTRAST

CHECK = "check.json"


@dataclass(frozen=True)
class CorpusCheck:
    """What was found. `reading` holds the usable clips and every problem, `counts` per scheme."""

    reading: CorpusReading
    counts: tuple[CountCheck, ...]

    def to_dict(self) -> dict[str, Any]:
        """The content of check.json."""
        records = self.reading.records
        return {
            "annotated": self.reading.annotated,
            "usable": len(records),
            "subjects": len({(record.dataset, record.subject) for record in records}),
            "emotions": self.reading.emotions,
            "problems": [problem.to_dict() for problem in self.reading.problems],
            "schemes": [str(count) for count in self.counts],
        }


def check_corpus(
    reading: CorpusReading,
    output_dir: str | Path | None = None,
    num_proc: int = 1,
    scheme: str | None = None,
) -> CorpusCheck:
    """Decode the frames that preparation would decode, and count; no motion, no face detection.

    Args:
        output_dir: where check.json is written, and nothing else.
        scheme: see `count_classes`.
    """
    count_classes(reading, scheme)  # a misspelt scheme shows before everything is decoded
    problems, usable = list(reading.problems), []
    lost = dict(reading.lost)
    for record, reason in zip(reading.records, _look_at_frames(reading.records, num_proc)):
        if reason is None:
            usable.append(record)
            continue
        clip = (record.dataset, record.subject, record.clip_id)
        problems.append(reading.problem_of(clip, reason))
        lost[problems[-1].clip] = record.emotion
    looked = replace(reading, records=tuple(usable), problems=tuple(problems), lost=lost)
    counts, unknown = count_classes(looked, scheme)
    check = CorpusCheck(replace(looked, problems=(*problems, *unknown)), tuple(counts))
    if output_dir is not None:
        folder = Path(output_dir)
        make_folder(folder)
        write_json(folder / CHECK, check.to_dict())
    return check


def _look_at_frames(records: tuple[ClipRecord, ...], num_proc: int) -> list[str | None]:
    """Per clip what is wrong with its frames, or None."""
    bar = partial(tqdm, total=len(records), desc="frames", unit="clip", disable=None)
    if num_proc == 1:
        return [_reason(record) for record in bar(records)]
    with ProcessPoolExecutor(num_proc, get_context("spawn")) as pool:
        return list(bar(pool.map(_reason, records, chunksize=4)))


def _reason(record: ClipRecord) -> str | None:
    """What preparation would stumble on: in onset and apex, or in all frames to spot it in."""
    numbers = [record.onset, record.apex]
    if record.apex is None:
        numbers = [n for n in record.frames.numbers if record.onset <= n <= record.offset]
    try:
        for number in numbers:
            if record.frames.read(number).mean(axis=-1).std() < LEAST_CONTRAST:
                return f"{record.frames.path(number)} is one flat colour"
    except (UserError, OSError, cv2.error) as error:
        return " ".join(str(error).split())
    return None


def count_reading(
    reading: CorpusReading, corpus: str, task: Task, scheme: str | None
) -> tuple[CountCheck, Counter[str]]:
    """Usable clips per class beside the published ones.

    Args: corpus: the dataset whose clips are counted.
    Returns: the check, and word → clips of words that the scheme does not know.
    Raises:
        UserError: no such scheme, or the scheme does not serve the corpus.
    """
    words = label_scheme(scheme, corpus)
    known, unknown = [], Counter()
    for record in reading.records:
        clip = (record.emotion, corpus, record.subject, record.clip_id)
        if _class_of(clip, task, scheme) is None:
            unknown[record.emotion] += 1
        else:
            known.append(clip)
    lost = {}
    for clip, word in reading.lost.items():
        label = _class_of((word, corpus, *clip.partition("/")[::2]), task, scheme)
        if label:
            lost[clip] = label
    counts = count_clips(known, task, scheme)
    present = {(subject, clip) for _, _, subject, clip in known}
    return check_counts(counts, corpus, task, words, present, scheme, lost), unknown


def _class_of(clip: tuple[str, str, str, str], task: Task, scheme: str | None) -> str | None:
    """The class, "" where the protocol leaves the clip out, None for an unknown word."""
    try:
        return label_of_clip(clip[0], task, scheme, *clip[1:]) or ""
    except UserError:
        return None


def count_classes(
    reading: CorpusReading, scheme: str | None = None
) -> tuple[list[CountCheck], list[Problem]]:
    """Clips per class of each corpus, for every task and protocol that serves it.

    Args: scheme: only this scheme or protocol.
    Returns: the counts beside the published ones, and the words that no scheme knows.
    Raises:
        UserError: no such scheme, or it does not have one of the corpora.
    """
    checks, unknown = [], {}
    for corpus in sorted({record.dataset for record in reading.records}):
        own = replace(reading, records=tuple(r for r in reading.records if r.dataset == corpus))
        for name in [scheme] if scheme else _schemes_of(corpus):
            for task in label_scheme(name, corpus).tasks:
                check, words = count_reading(own, corpus, TASKS[task], name)
                checks.append(check)
                unknown[corpus] = words
    return checks, [
        Problem(corpus, None, None, f"no label scheme of {corpus} knows the word {word!r} ({n}×)")
        for corpus, words in unknown.items()
        for word, n in words.items()
    ]


def _schemes_of(corpus: str) -> list[str | None]:
    """Protocols that have the corpus, else the scheme of its own name."""
    protocols = [name for name, protocol in PROTOCOLS.items() if corpus in protocol.corpora]
    return protocols or ([None] if corpus in SCHEMES else [])


def print_check(found: Mapping[str, Any]) -> None:
    """Print the content of check.json as tables."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True, highlight=False)
    counts = Table(show_header=False, box=None, pad_edge=False)
    for name in ("annotated", "usable", "subjects"):
        counts.add_row(f"clips {name}" if name != "subjects" else name, str(found[name]))
    console.print(counts)
    words = ", ".join(f"{word} {count}" for word, count in found["emotions"].items())
    console.print(f"emotions         {words or 'none'}", markup=False)
    for line in found["schemes"]:
        console.print(line, markup=False)
    if found["problems"]:
        console.print(f"{len(found['problems'])} problem(s):")
    print_problems([Problem(**problem) for problem in found["problems"]])


def print_problems(problems: Sequence[Problem]) -> None:
    """Print a line for each: file, row, clip, reason."""
    for problem in problems:
        row = f" row {problem.row}" if problem.row else ""
        clip = f" {problem.clip}" if problem.clip else ""
        print(f"  {problem.file}{row}{clip}: {problem.reason}")
