"""Who is held out, a subject or a corpus, and in which order the others are seen."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hcp_mer.errors import UserError

# BatchNorm over one row fails and over two is a sign function: such a remainder is left out.
SMALLEST_BATCH = 3
EVERYBODY = "all"  # in place of a subject: everybody of a corpus, or of the run


@dataclass(frozen=True)
class Fold:
    """One held-out subject, or a whole held-out corpus: then `subject` is "all".

    A subject is (dataset, subject): corpora never share people.

    Attributes:
        train, test: indices into the labelled pairs; disjoint. Of a held-out subject they are
            together all of them; of a held-out corpus `train` lacks all test corpora.
        drawn_as: (dataset, subject) that seeds come from, where it is not the fold's own.
    """

    dataset: str
    subject: str
    train: np.ndarray
    test: np.ndarray
    drawn_as: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        return f"{self.dataset}/{self.subject}"

    def seed(self, seed: int, purpose: str = "") -> int:
        """The fold's own seed under a run's seed, see `fold_seed`."""
        return fold_seed(seed, *(self.drawn_as or (self.dataset, self.subject)), purpose)


def leave_one_subject_out(people: list[tuple[str, str]]) -> list[Fold]:
    """One fold per subject, in order of name. `people`: (dataset, subject) of each clip.

    Raises:
        UserError: fewer than two subjects, or too few clips to train on.
    """
    if len(set(people)) < 2:
        raise UserError(
            f"leave-one-subject-out needs at least two subjects; got {len(set(people))}. "
            "Check the column subject."
        )
    folds = []
    for person in sorted(set(people)):
        held_out = np.array([other == person for other in people])
        folds.append(Fold(*person, np.flatnonzero(~held_out), np.flatnonzero(held_out)))
        if len(folds[-1].train) < SMALLEST_BATCH:
            raise UserError(
                f"without subject {person[1]} only {len(folds[-1].train)} clips are left to train "
                f"on; at least {SMALLEST_BATCH} are needed."
            )
    return folds


def leave_corpora_out(
    people: list[tuple[str, str]],
    corpora: tuple[str, ...],
    labels: Sequence[str],
    classes: Sequence[str],
) -> list[Fold]:
    """One fold for each test corpus, which all train on the clips of the other corpora.

    They train on the same clips with the same seeds, those of the deployable model: it is one and
    the same model that is asked about every test corpus, and that is saved in the end.

    Args: people: (dataset, subject) of each clip; corpora: names of the test corpora; labels: the
        class of each clip, one of `classes`.
    Raises:
        UserError: a test corpus without clips, too few clips to train on, or a class that only
            test corpora show.
    """
    names = np.array([dataset for dataset, _ in people])
    train = np.flatnonzero(~np.isin(names, corpora))
    _check_learnable(train, labels, classes, "the training corpora")
    folds = []
    for corpus in sorted(corpora):
        test = np.flatnonzero(names == corpus)
        if not len(test):
            raise UserError(f"no clip of the test corpus {corpus} has a class of the task.")
        folds.append(Fold(corpus, EVERYBODY, train, test, drawn_as=(EVERYBODY, EVERYBODY)))
    return folds


def leave_one_dataset_out(
    people: list[tuple[str, str]], labels: Sequence[str], classes: Sequence[str]
) -> list[Fold]:
    """One fold for each corpus, which trains on all the others.

    The split of the cross-dataset protocol on CD6ME: T. Varanka, Y. Li, W. Peng, G. Zhao, "Data
    Leakage and Evaluation Issues in Micro-Expression Analysis", IEEE Transactions on Affective
    Computing (2023), arXiv:2211.11425. Theirs predicts action units, on six corpora; ours the
    classes of the task, on the corpora that are given.

    Args: as `leave_corpora_out`.
    Raises:
        UserError: a single corpus, too few clips to train on, or a class that only one corpus
            shows.
    """
    names = np.array([dataset for dataset, _ in people])
    corpora = sorted(set(names.tolist()))
    if len(corpora) < 2:
        raise UserError(
            f"leaving one dataset out needs at least two corpora; got {', '.join(corpora)} alone. "
            "Give several folders after --dataset, or leave one subject out."
        )
    folds = []
    for corpus in corpora:
        train, test = np.flatnonzero(names != corpus), np.flatnonzero(names == corpus)
        _check_learnable(train, labels, classes, f"the corpora other than {corpus}")
        folds.append(Fold(corpus, EVERYBODY, train, test))
    return folds


def _check_learnable(
    train: np.ndarray, labels: Sequence[str], classes: Sequence[str], where: str
) -> None:
    """Raise UserError unless the clips `train` are enough, and show every class."""
    if len(train) < SMALLEST_BATCH:
        raise UserError(
            f"only {len(train)} clips of {where} have a class of the task; at least "
            f"{SMALLEST_BATCH} are needed."
        )
    learnt = {labels[index] for index in train}
    missing = [name for name in classes if name not in learnt]
    if missing:
        raise UserError(
            f"no clip of class {', '.join(missing)} in {where}: it cannot be learnt "
            "from them. Choose another task, or train on a corpus that has such clips."
        )


def final_fold(folds: list[Fold]) -> Fold:
    """What the deployable model learns from: whoever some fold trains on, held out is nobody."""
    train = np.unique(np.concatenate([fold.train for fold in folds]))
    return Fold(EVERYBODY, EVERYBODY, train, np.arange(0))


def fold_seed(seed: int, dataset: str, subject: str, purpose: str = "") -> int:
    """A seed from what the fold is, never from its place in a group or on a process."""
    text = "\x1f".join((str(seed), dataset, subject, purpose))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest())


def groups_of(folds: list[Fold], size: int, num_processes: int) -> list[list[Fold]]:
    """Cut folds into groups of at most `size`, as many for each process, all about as long.

    What has a result already does not matter: a run that goes on finds the groups of before.
    """
    longest_first = sorted(folds, key=lambda fold: (-len(fold.train), fold.name))
    wanted = -(-len(folds) // size)
    count = min(len(folds), -(-wanted // num_processes) * num_processes)
    return [longest_first[group::count] for group in range(count)]


def steps_per_epoch(num_clips: int, batch_size: int) -> int:
    """Batches of an epoch, without a remainder that is too small."""
    remainder = num_clips % batch_size
    return num_clips // batch_size + (remainder >= min(SMALLEST_BATCH, num_clips))


def batch_schedule(
    num_clips: int, epochs: int, batch_size: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which training clips each step sees: every epoch a fresh shuffle cut into batches.

    Returns:
        rows (steps, batch_size) int64 and valid (steps, batch_size) bool; a short last batch is
        filled up with rows that are not valid.
    """
    rng = np.random.default_rng(seed)
    rows, valid = [], []
    for _ in range(epochs):
        order = rng.permutation(num_clips)
        for start in range(0, num_clips, batch_size):
            batch = order[start : start + batch_size]
            if len(batch) < min(SMALLEST_BATCH, num_clips):
                continue
            filler = np.zeros(batch_size - len(batch), dtype=order.dtype)
            rows.append(np.concatenate([batch, filler]))
            valid.append(np.arange(batch_size) < len(batch))
    return np.stack(rows), np.stack(valid)
