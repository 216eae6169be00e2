"""Clips per class as published, to hold a corpus on disk, or prepared pairs, against."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hcp_mer.data.tasks import PROTOCOLS, LabelScheme, Task, label_of_clip, label_scheme
from hcp_mer.errors import UserError

if TYPE_CHECKING:
    from hcp_mer.data.pairs import LabelledPairs, Pairs

# Table 4 (SMIC, CASME II, SAMM) and Table 5 (CAS(ME)³) of the paper.
PAPER_COUNTS: dict[tuple[str, str], dict[str, int]] = {
    ("smic", "3-class"): {"negative": 70, "positive": 51, "surprise": 43},
    ("casme2", "3-class"): {"negative": 90, "positive": 32, "surprise": 25},
    ("samm", "3-class"): {"negative": 92, "positive": 26, "surprise": 15},
    ("casme3", "3-class"): {"negative": 457, "positive": 57, "surprise": 187},
    ("casme3", "4-class"): {"negative": 457, "positive": 57, "surprise": 187, "others": 161},
    ("casme3", "7-class"): {
        **{"disgust": 250, "fear": 86, "anger": 64, "sadness": 57},
        **{"happiness": 57, "surprise": 187, "others": 161},
    },
}
# See et al. (2019), the composite database; of SMIC and SAMM as in Table 4.
MEGC2019_COUNTS = {
    ("smic", "3-class"): PAPER_COUNTS["smic", "3-class"],
    ("casme2", "3-class"): {"negative": 88, "positive": 32, "surprise": 25},
    ("samm", "3-class"): PAPER_COUNTS["samm", "3-class"],
}
_OFFICIAL_CASME3 = (
    "the authors' annotation (v2) has 55 happy clips, the paper's Table 5 says 57; which two it "
    "has besides is not published"
)
_NOT_IN_MEGC2019 = PROTOCOLS["megc2019"].corpora["casme2"].left_out
# Counts other than the paper's that have a reason: the class and its count, the reason, and the
# clips that must be missing for it to be this one.
KNOWN_VARIANTS: dict[tuple[str, str], tuple[dict[str, int], str, frozenset]] = {
    ("casme2", "3-class"): (
        {"negative": 88},
        "MEGC2019's list of 145 clips, without sub04/EP12_01f and sub05/EP09_05f",
        _NOT_IN_MEGC2019,
    ),
    ("casme3", "3-class"): ({"positive": 55}, _OFFICIAL_CASME3, frozenset()),
    ("casme3", "4-class"): ({"positive": 55}, _OFFICIAL_CASME3, frozenset()),
    ("casme3", "7-class"): ({"happiness": 55}, _OFFICIAL_CASME3, frozenset()),
}


@dataclass(frozen=True)
class CountCheck:
    """A corpus's clips per class under one task, beside the published ones.

    Attributes:
        corpus, task, scheme: names; version: of the scheme.
        counts: class → clips.
        state: "equal"; "known", which differs for a known reason; "differs"; "unpublished".
        comparison: one clause that says so, and by which clips as far as that can be known.
    """

    corpus: str
    task: str
    scheme: str
    version: str
    counts: dict[str, int]
    state: str
    comparison: str

    def __str__(self) -> str:
        """For example "casme2, 3-class (scheme paper 1.0): 90 negative, …, 147 in all: …"."""
        told = ", ".join(f"{count} {name}" for name, count in self.counts.items())
        return (
            f"{self.corpus}, {self.task} (scheme {self.scheme} {self.version}): {told}, "
            f"{sum(self.counts.values())} in all; {self.comparison}"
        )


def check_counts(
    counts: Mapping[str, int],
    corpus: str,
    task: Task,
    scheme: LabelScheme,
    present: Collection[tuple[str, str]] = (),
    name: str | None = None,
    lost: Mapping[str, str] | None = None,
) -> CountCheck:
    """Hold counts against the table that the scheme stands for.

    Args:
        counts: class → clips of one corpus; present: (subject, clip_id) of these clips.
        name: of the scheme as the user gave it, the corpus's own where None.
        lost: "subject/clip" → class of annotated clips that could not be used.
    """
    by_class = {label: counts.get(label, 0) for label in task.classes}
    is_megc = name == "megc2019"
    source = "MEGC2019's list" if is_megc else "the paper's table"
    published = (MEGC2019_COUNTS if is_megc else PAPER_COUNTS).get((corpus, task.name))
    version = PROTOCOLS[name].version if name in PROTOCOLS else scheme.version

    def result(state: str, comparison: str) -> CountCheck:
        used = name or scheme.name
        return CountCheck(corpus, task.name, used, version, by_class, state, comparison)

    if published is None:
        return result("unpublished", "no published count to compare with")
    differing = {c: n for c, n in by_class.items() if n != published.get(c)}
    if not differing:
        return result("equal", f"as in {source}")
    unused = [clip for clip, label in (lost or {}).items() if label in differing]
    variant, reason, missing = KNOWN_VARIANTS.get((corpus, task.name), ({}, "", frozenset()))
    explained = differing == variant and not missing & set(present) and not unused
    if explained and not is_megc:
        return result("known", reason)
    parts = [f"{label} {published[label]} expected, {n} found" for label, n in differing.items()]
    if unused:
        shown = ", ".join(unused[:10]) + (", …" if len(unused) > 10 else "")
        parts.append(f"annotated but not usable: {shown}")
    return result("differs", f"not {source}: {'; '.join(parts)}")


def count_labels(
    pairs: Pairs, labelled: LabelledPairs, task: Task, scheme: str | None
) -> list[CountCheck]:
    """Of each corpus among prepared pairs that a label scheme is about, clips per class."""
    names, subjects, clips = (pairs.column(key) for key in ("dataset", "subject", "clip_id"))
    checks = []
    for corpus in sorted({names[row] for row in labelled.rows}):
        try:
            words = label_scheme(scheme, corpus)
        except UserError:
            continue  # somebody's own pairs, labelled with the task's classes
        of_corpus = [r for r in zip(labelled.rows, labelled.labels) if names[r[0]] == corpus]
        counts = Counter(task.classes[label] for _, label in of_corpus)
        present = {(subjects[row], clips[row]) for row, _ in of_corpus}
        checks.append(check_counts(counts, corpus, task, words, present, scheme))
    return checks


def count_clips(
    clips: Iterable[tuple[str, str, str, str]], task: Task, scheme: str | None
) -> Counter[str]:
    """Class → clips under a task.

    Args: clips: (emotion, dataset, subject, clip_id) of each.
    Raises:
        UserError: see `label_of_clip`.
    """
    labels = (label_of_clip(word, task, scheme, *clip) for word, *clip in clips)
    return Counter(label for label in labels if label is not None)
