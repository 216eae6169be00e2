"""Tasks (3, 4 or 7 classes) and label schemes: a corpus's emotion word → class.

Prepared pairs keep the corpus's own word; the class is chosen at training time, so one prepared
corpus serves every task. A scheme is one corpus's words ("casme2"), or a protocol: a scheme for
each of several corpora, and the clips that its list does not have ("megc2019").
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass, replace

from hcp_mer.errors import UserError


@dataclass(frozen=True)
class Task:
    """A classification task: its name and its classes, in the order of the labels 0, 1, 2, …"""

    name: str
    classes: tuple[str, ...]


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task("3-class", ("negative", "positive", "surprise")),
        Task("4-class", ("negative", "positive", "surprise", "others")),
        Task(
            "7-class",
            ("disgust", "fear", "anger", "sadness", "happiness", "surprise", "others"),
        ),
    )
}
"""The paper's three tasks (Table 4 and Table 5)."""

# Corpora spell one emotion in two ways: CAS(ME)³ writes sad and happy, SAMM Other and Others.
_SPELLINGS = {"sad": "sadness", "happy": "happiness", "other": "others"}


@dataclass(frozen=True)
class LabelScheme:
    """What a corpus's words mean in the 3-class task; the other tasks follow from it.

    Attributes:
        name, version: the version changes when any clip changes its class.
        coarse: emotion word → 3-class name, or None where the protocol drops the word.
        tasks: the tasks that the corpus can serve.
        left_out: (subject, clip_id) of clips that the protocol's list does not have.
    """

    name: str
    version: str
    coarse: dict[str, str | None]
    tasks: tuple[str, ...]
    left_out: frozenset[tuple[str, str]] = frozenset()


_BASIC_EMOTIONS: dict[str, str | None] = {
    "disgust": "negative",
    "fear": "negative",
    "anger": "negative",
    "sadness": "negative",
    "happiness": "positive",
    "surprise": "surprise",
    "others": None,
}

SCHEMES: dict[str, LabelScheme] = {
    scheme.name: scheme
    for scheme in (
        # Sadness and fear are a handful of clips; MEGC2019 and the paper leave them out.
        LabelScheme(
            "casme2",
            "1.0",
            {
                "disgust": "negative",
                "repression": "negative",
                "happiness": "positive",
                "surprise": "surprise",
                "sadness": None,
                "fear": None,
                "others": None,
            },
            ("3-class", "4-class"),
        ),
        LabelScheme(
            "samm", "1.0", {**_BASIC_EMOTIONS, "contempt": "negative"}, ("3-class", "4-class")
        ),
        LabelScheme(
            "smic",
            "1.0",
            {"negative": "negative", "positive": "positive", "surprise": "surprise"},
            ("3-class",),
        ),
        LabelScheme("casme3", "1.0", _BASIC_EMOTIONS, ("3-class", "4-class", "7-class")),
        LabelScheme("procedural", "1.0", _BASIC_EMOTIONS, ("3-class", "4-class", "7-class")),
    )
}
"""Label schemes by corpus: MEGC2019's words for CASME II and SAMM, SMIC's own, Table 5's."""


@dataclass(frozen=True)
class Protocol:
    """A published list of clips over one or more corpora.

    Attributes: `corpora`, dataset → its label scheme.
    """

    name: str
    version: str
    corpora: dict[str, LabelScheme]


_THREE_CLASSES_ONLY = ("3-class",)
PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        # 147, 133, 164 clips (Table 4) and 862 (Table 5).
        Protocol(
            "paper", "1.0", {name: SCHEMES[name] for name in ("smic", "casme2", "samm", "casme3")}
        ),
        # The composite of the second Facial Micro-Expressions Grand Challenge (See et al. 2019):
        # 164 + 145 + 133 = 442 clips of 16 + 24 + 28 = 68 subjects. Of CASME II its list does not
        # have two clips of disgust that the paper counts.
        Protocol(
            "megc2019",
            "1.0",
            {
                "smic": SCHEMES["smic"],
                "casme2": replace(
                    SCHEMES["casme2"],
                    tasks=_THREE_CLASSES_ONLY,
                    left_out=frozenset({("sub04", "EP12_01f"), ("sub05", "EP09_05f")}),
                ),
                "samm": replace(SCHEMES["samm"], tasks=_THREE_CLASSES_ONLY),
            },
        ),
    )
}
"""Protocols by name, for `--scheme` like any label scheme."""


def task(name: str | int) -> Task:
    """The task named "3-class", "3" or 3.

    Raises:
        UserError: there is no such task.
    """
    key = str(name).strip().lower()
    key = key if key.endswith("-class") else f"{key}-class"
    if key not in TASKS:
        raise UserError(f"unknown task {name!r}. Choose one of {', '.join(TASKS)}.")
    return TASKS[key]


def label_scheme(name: str | None, corpus: str) -> LabelScheme:
    """The label scheme for a corpus's clips.

    Args: name: of a scheme or protocol; None takes the scheme named like the corpus.
    Raises:
        UserError: there is no such scheme, or the protocol does not have the corpus; the message
            gives the closest name.
    """
    if name in PROTOCOLS:
        corpora = PROTOCOLS[name].corpora
        if corpus not in corpora:
            raise UserError(
                f"label scheme {name!r} is about {', '.join(corpora)}, and these clips are of "
                f"dataset {corpus!r}. Name the dataset so when you prepare it (--name), or choose "
                f"the words' own scheme: {', '.join(SCHEMES)}."
            )
        return corpora[corpus]
    wanted = corpus if name is None else name
    if wanted not in SCHEMES:
        known = [*SCHEMES, *PROTOCOLS]
        close = difflib.get_close_matches(str(wanted).lower(), known, n=1, cutoff=0.4)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise UserError(f"unknown label scheme {wanted!r}. {hint}Known are {', '.join(known)}.")
    return SCHEMES[wanted]


def _as_task(given: Task | str | int) -> Task:
    return given if isinstance(given, Task) else task(given)


def label_of(emotion: str, task: Task | str | int, scheme: LabelScheme | str) -> str | None:
    """The class of an emotion word under a task and a corpus's label scheme.

    4-class is 3-class with the clips annotated `others`; 7-class is the emotion itself.

    Returns:
        the class name, or None where the protocol leaves such clips out.
    Raises:
        UserError: unknown word, task or scheme, or a task that the corpus cannot serve.
    """
    chosen = _as_task(task)
    words = label_scheme(scheme, scheme) if isinstance(scheme, str) else scheme
    if chosen.name not in words.tasks:
        able = ", ".join(s.name for s in SCHEMES.values() if chosen.name in s.tasks) or "none"
        raise UserError(
            f"label scheme {words.name!r} has no {chosen.name} task, only "
            f"{', '.join(words.tasks)}. Schemes with {chosen.name}: {able}."
        )
    word = emotion.strip().lower()
    word = _SPELLINGS.get(word, word)
    if word not in words.coarse:
        raise UserError(
            f"unknown emotion {emotion!r} in label scheme {words.name!r}. "
            f"Known words are {', '.join(words.coarse)}; correct the annotation."
        )
    if chosen.name == "7-class" or (chosen.name == "4-class" and word == "others"):
        return word
    return words.coarse[word]


def check_scheme(scheme: str | None, task: Task, dataset: str, words: Collection[str]) -> None:
    """Whether a scheme or protocol can be asked about a dataset's words at all.

    Raises:
        UserError: see `label_scheme`, and a task that the scheme does not have.
    """
    if _may_be_foreign(scheme, dataset):
        asked = [word for word in words if word not in task.classes]
        if not asked or (scheme is None and dataset not in SCHEMES):
            return
    chosen = label_scheme(scheme, dataset)
    if task.name not in chosen.tasks:
        label_of(next(iter(words)), task, chosen)


def _may_be_foreign(scheme: str | None, dataset: str) -> bool:
    """Whether a dataset's words may be the task's classes rather than the scheme's words."""
    protocol = PROTOCOLS.get(scheme or "")
    return scheme is None or (protocol is not None and dataset not in protocol.corpora)


def label_of_clip(
    emotion: str, task: Task, scheme: str | None, dataset: str, subject: str, clip_id: str
) -> str | None:
    """The class of a clip under a scheme or protocol.

    Somebody's own pairs may hold the task's classes instead of a corpus's words: they are taken
    as they are.

    Returns:
        the class name, or None where the protocol leaves the word or the clip out.
    Raises:
        UserError: see `label_scheme` and `label_of`.
    """
    word = emotion.strip().lower()
    if _may_be_foreign(scheme, dataset) and word in task.classes:
        return word
    if scheme is None and dataset not in SCHEMES:
        raise UserError(
            f"emotion {word!r} of dataset {dataset!r} is no class of {task.name} "
            f"({', '.join(task.classes)}), and no label scheme is named {dataset!r}."
        )
    words = label_scheme(scheme, dataset)
    if (subject, clip_id) in words.left_out:
        return None
    if word in task.classes and task.name in words.tasks:
        return word
    return label_of(word, task, words)
