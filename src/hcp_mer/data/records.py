"""What every corpus reader returns: clips, and the report of what could not be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, field

from hcp_mer.errors import UserError
from hcp_mer.motion.alignment import Face
from hcp_mer.motion.frames import Frames

NO_WORD = "(none)"  # under which clips without an emotion are counted


@dataclass(frozen=True)
class ClipRecord:
    """One annotated micro-expression.

    Attributes:
        dataset: the corpus, e.g. "casme2".
        subject: the person, as text; unique within the dataset.
        clip_id: the clip, as text; unique within the subject.
        frames: image files or a video, addressed by the corpus's own frame numbers.
        onset, apex, offset: frame numbers as annotated; apex is None where it must be spotted.
        action_units: FACS codes with their side, e.g. ("4", "L12").
        emotion: the corpus's own word, see `emotion_word`.
        face: where the face is in the onset frame, if somebody has found it already.

    Raises:
        UserError: offset does not follow onset, or apex lies outside (onset, offset].
    """

    dataset: str
    subject: str
    clip_id: str
    frames: Frames
    onset: int
    apex: int | None
    offset: int
    action_units: tuple[str, ...]
    emotion: str
    face: Face | None = None

    def __post_init__(self) -> None:
        clip = f"{self.subject}/{self.clip_id}"
        if self.offset <= self.onset:
            raise UserError(
                f"offset must come after onset = {self.onset}, got {self.offset} for {clip}. "
                "Correct the annotation."
            )
        if self.apex is not None and not self.onset < self.apex <= self.offset:
            raise UserError(
                f"apex must lie in (onset, offset] = ({self.onset}, {self.offset}], "
                f"got {self.apex} for {clip}. Leave it empty (None) to have it spotted."
            )


@dataclass(frozen=True)
class Problem:
    """One thing that a reader could not use, or used with a remark, and why.

    Attributes:
        file: the file or folder at fault, relative to the corpus where it lies inside.
        row: the row as the spreadsheet program counts it (from 1), None where no row is meant.
        clip: "subject/clip" as far as it is known.
        reason: one readable sentence.
    """

    file: str
    row: int | None
    clip: str | None
    reason: str

    def to_dict(self) -> dict[str, str | int | None]:
        """The four fields, ready for JSON or a table."""
        return asdict(self)


@dataclass(frozen=True)
class CorpusReading:
    """A corpus as found on disk: the usable clips and the problems of all others.

    Attributes:
        emotions: word → annotated clips, whether they are usable or not.
        lost: "subject/clip" → word of annotated clips that are not usable.
        places: (dataset, subject, clip_id) of a record → file and row that annotate it.
        whole_frames: frames show more than the face: it has to be found and cut out first.
    """

    records: tuple[ClipRecord, ...]
    problems: tuple[Problem, ...]
    emotions: dict[str, int] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    whole_frames: bool = False
    places: dict[tuple[str, str, str], tuple[str, int | None]] = field(default_factory=dict)

    @property
    def annotated(self) -> int:
        """Clips that the annotation knows, each once."""
        return sum(self.emotions.values())

    def problem_of(self, clip: tuple[str, str, str], reason: str) -> Problem:
        """What is wrong with a record's frames, said where the clip is annotated.

        Args: clip: its dataset, subject and clip_id; reason: names the frame.
        """
        file, row = self.places.get(clip, (clip[0], None))
        return Problem(file, row, f"{clip[1]}/{clip[2]}", " ".join(reason.split()))


class Draft:
    """A reading in the making: every annotated clip is counted, then a record or a problem."""

    def __init__(self) -> None:
        self.records: list[ClipRecord] = []
        self.problems: list[Problem] = []
        self._annotated: dict[Hashable, tuple[str, str]] = {}
        self._taken: dict[Hashable, int | None] = {}
        self._places: dict[tuple[str, str, str], tuple[str, int | None]] = {}

    def remark(
        self, reason: str, file: str, row: int | None = None, clip: str | None = None
    ) -> None:
        """Add a problem."""
        self.problems.append(Problem(file, row, clip, " ".join(reason.split())))

    def add(
        self,
        key: Hashable,
        emotion: str,
        make: Callable[[], tuple[ClipRecord, list[str]]],
        file: str,
        row: int | None = None,
        clip: str | None = None,
    ) -> None:
        """Count an annotated clip, and take it if it can be used.

        Args:
            key: what no two clips share, e.g. subject and name; of two usable clips with one key
                the first is taken, the other becomes a problem.
            emotion: the annotated word, as it stands there.
            make: returns the record and remarks on it, or raises what is wrong with it.
            file, row, clip: where it stands, for the report.
        """
        self._annotated.setdefault(key, (str(clip), emotion_word(emotion) or NO_WORD))
        try:
            record, remarks = make()
            if key in self._taken:
                first = self._taken[key]
                where = f"row {first}" if first else "another clip"
                raise UserError(f"repeats {where}; only that one is used")
        except (ValueError, OSError) as error:  # frames that cannot be listed are an OSError
            self.remark(str(error), file, row, clip)
            return
        self._taken[key] = row
        # An earlier row of the same clip may have been unusable, and have said another word.
        self._annotated[key] = (f"{record.subject}/{record.clip_id}", record.emotion)
        self._places[record.dataset, record.subject, record.clip_id] = (file, row)
        self.records.append(record)
        for remark in remarks:
            self.remark(remark, file, row, f"{record.subject}/{record.clip_id}")

    def finish(self, whole_frames: bool = False) -> CorpusReading:
        """The reading."""
        words = Counter(word for _, word in self._annotated.values())
        lost = dict(clip for key, clip in self._annotated.items() if key not in self._taken)
        return CorpusReading(
            tuple(self.records),
            tuple(self.problems),
            dict(sorted(words.items())),
            lost,
            whole_frames,
            self._places,
        )


def emotion_word(text: str) -> str:
    """An annotated emotion, lower-case; `Other` and `Others` are one word, `others`."""
    word = " ".join(text.split()).lower()
    return "others" if word == "other" else word
