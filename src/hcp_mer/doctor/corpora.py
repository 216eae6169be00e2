"""The user's data: prepared pairs, and a corpus on disk against the paper's counts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hcp_mer.data.check import count_reading
from hcp_mer.data.corpora import read_corpus
from hcp_mer.data.published_counts import PAPER_COUNTS, CountCheck, count_labels
from hcp_mer.data.tasks import check_scheme, label_of_clip, label_scheme
from hcp_mer.doctor.findings import LOOK, OK, WRONG, Verdict, look, ok, wrong
from hcp_mer.errors import UserError
from hcp_mer.motion.pair import LEAST_CONTRAST

if TYPE_CHECKING:
    from hcp_mer.data.pairs import LabelledPairs, Pairs
    from hcp_mer.data.records import CorpusReading
    from hcp_mer.training.recipe import Recipe

FLAT_SHARE = 0.05  # of the flow images; more is no accident of single clips
LEAST_DIFFERENT = 0.5  # share of flow images that no other clip has


class PreparedPairs:
    """Pairs as training would read them, loaded once."""

    def __init__(self, sources: Sequence[str | Path], recipe: Recipe) -> None:
        self.sources = sources
        self.recipe = recipe

    @cached_property
    def pairs(self) -> Pairs:
        from hcp_mer.data.pairs import load_pairs

        return load_pairs(*self.sources)

    @cached_property
    def labelled(self) -> LabelledPairs:
        from hcp_mer.data.pairs import label_pairs

        return label_pairs(self.pairs, self.recipe.label_task, self.recipe.scheme)

    def check_readable(self) -> Verdict:
        """They load, every image can be decoded, and there is somebody to leave out."""
        subjects = set(zip(self.pairs.column("dataset"), self.pairs.column("subject")))
        for row in range(len(self.pairs)):
            self.pairs.image(row, "magnified")  # flow is decoded by its own check
        corpora = ", ".join(sorted(set(self.pairs.column("dataset"))))
        found = f"{len(self.pairs)} clips of {len(subjects)} subjects of {corpora}"
        if len(subjects) < 2:
            return wrong(
                found, "leave-one-subject-out needs two subjects at least: is the column right?"
            )
        return ok(found)

    def check_classes(self) -> Verdict:
        """Every class of the recipe's task occurs, and in more than one subject."""
        classes = self.recipe.label_task.classes
        subjects = list(zip(self.pairs.column("dataset"), self.pairs.column("subject")))
        shown_by = {name: set() for name in classes}
        for row, label in zip(self.labelled.rows, self.labelled.labels):
            shown_by[classes[label]].add(subjects[row])
        counts = Counter(classes[label] for label in self.labelled.labels)
        found = f"{self.recipe.label_task.name}: {_told(counts, classes)}"
        if self.labelled.dropped:
            found += f"; left out {_told(self.labelled.dropped, self.labelled.dropped)}"
        alone = [name for name, people in shown_by.items() if len(people) == 1]
        if alone:
            return look(
                f"{found}; only one subject shows {', '.join(alone)}",
                "with that subject left out, nothing of the class is left to learn from",
            )
        return ok(found)

    def check_flow(self) -> Verdict:
        """Flow images show something, and not the same for every clip."""
        flat, seen = [], Counter()
        for row in range(len(self.pairs)):
            image = self.pairs.image(row, "flow")
            if image.mean(axis=-1).std() < LEAST_CONTRAST:
                flat.append(row)
            seen[hashlib.sha256(image.tobytes()).digest()] += 1
        total = len(self.pairs)
        single = sum(count for count in seen.values() if count == 1) / total
        advice = "make them again with prepare_dataset.py; onset and apex may be the same frame"
        if flat:
            names = [self.pairs.column(key)[flat[0]] for key in ("subject", "clip_id")]
            found = f"{len(flat)} of {total} flow images are flat, first {'/'.join(names)}"
            return (wrong if len(flat) > FLAT_SHARE * total else look)(found, advice)
        if single < LEAST_DIFFERENT:
            return wrong(f"{1 - single:.0%} of {total} flow images are another clip's too", advice)
        return ok(f"{total} flow images, none flat, {single:.0%} unlike any other")

    def check_counts(self, corpus: str) -> Verdict:
        """The clips of one corpus among the pairs against the published table."""
        recipe = self.recipe
        checks = count_labels(self.pairs, self.labelled, recipe.label_task, recipe.scheme)
        (check,) = (check for check in checks if check.corpus == corpus)
        return verdict_on_counts(check)

    def known_corpora(self) -> list[str]:
        """Those among the pairs whose counts the paper gives for the recipe's task."""
        there = sorted(set(self.pairs.column("dataset")))
        return [name for name in there if (name, self.recipe.label_task.name) in PAPER_COUNTS]


def check_on_disk(corpus: str, data_dir: str | Path, recipe: Recipe) -> Verdict:
    """A corpus on disk: what its reader finds, counted by class, against the published table.

    One reader may find clips of several datasets, none of them named like itself.
    """
    reading = read_corpus(corpus, data_dir)
    datasets = sorted({record.dataset for record in reading.records})
    datasets = datasets or [corpus]  # its table is what is missing then
    verdicts = [_count_dataset(reading, name, recipe) for name in datasets]
    worst = max(verdicts, key=lambda verdict: (OK, LOOK, WRONG).index(verdict.state))
    verdict = Verdict(worst.state, "; ".join(v.found for v in verdicts), worst.advice)
    if not reading.problems:
        return verdict
    first = reading.problems[0]
    place = f"row {first.row}" if first.row else first.file
    found = f"{verdict.found}; {len(reading.problems)} problem(s), first {place}: {first.reason}"
    advice = verdict.advice or "prepare_dataset.py lists all of them in problems.json"
    return Verdict("look" if verdict.state == "ok" else verdict.state, found, advice)


def _count_dataset(reading: CorpusReading, name: str, recipe: Recipe) -> Verdict:
    """One dataset's clips by class, against the published table if there is one."""
    own = replace(reading, records=tuple(r for r in reading.records if r.dataset == name))
    task, scheme = recipe.label_task, recipe.scheme
    check_scheme(scheme, task, name, {record.emotion for record in own.records})
    try:
        label_scheme(scheme, name)
    except UserError:  # somebody's own clips, whose words are the task's classes
        check, unknown, counts = None, Counter(), Counter()
        for record in own.records:
            ids = (name, record.subject, record.clip_id)
            try:
                counts[label_of_clip(record.emotion, task, scheme, *ids)] += 1
            except UserError:
                unknown[record.emotion] += 1
    else:
        check, unknown = count_reading(own, name, task, scheme)
    if unknown:
        advice = "is it another corpus? Whose words they are can be said by --scheme"
        return wrong(f"emotions that {name} does not know: {_told(unknown, unknown)}", advice)
    if check is None:
        return ok(f"{name}, {task.name} (its own classes): {_told(counts, task.classes)}")
    return verdict_on_counts(check)


def verdict_on_counts(check: CountCheck) -> Verdict:
    """Clips per class against what is published of them."""
    if check.state == "equal":
        return ok(str(check))
    advice = {
        "unpublished": "nothing",
        "known": "say so beside results that you compare",
        "differs": "another release, clips without frames, or an edited annotation: see "
        "problems.json",
    }[check.state]
    return (wrong if check.state == "differs" else look)(str(check), advice)


def _told(counts: Counter | dict, names) -> str:
    return ", ".join(f"{counts[name] or 0} {name}" for name in names)
