"""What every peer looks like, so that it runs on the same folds as the model."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tqdm import tqdm

from hcp_mer.errors import UserError
from hcp_mer.files import make_folder, read_json, write_json
from hcp_mer.training.folds import Fold
from hcp_mer.training.loso import LosoRun

if TYPE_CHECKING:
    import pandas

_AT_ONCE = 8  # folds that a stacked peer is asked for: what a killed run loses at most


class Peer(Protocol):
    """A method that learns from the training clips of a fold and answers for the others.

    `rows` index the run's labelled clips, as `Fold.train` and `Fold.test` do; a peer reads
    labels of training clips only. Beside what is below a peer may have

    - `heavy` (bool): it takes more than a minute on the demo, and runs only when it is named;
    - `deterministic` (bool): its seed changes nothing, so that one seed is enough;
    - `num_parameters` (int): numbers that the last fit has set from the labels;
    - `why_not(run) -> str | None`: why it cannot answer on a run, in one line;
    - `fit_predict_folds(run, folds, seed) -> {fold.name: class indices}`: several folds side by
      side, with the answers that each would get alone. `seed` is the recipe's; seeds of folds
      come from `fold.seed(seed, name)`. It is asked for `folds_at_once(run)` folds at a time.
    """

    name: str

    def fit(self, run: LosoRun, rows: np.ndarray, seed: int) -> None: ...

    def predict(self, run: LosoRun, rows: np.ndarray) -> np.ndarray:
        """Class indices (len(rows),)."""
        ...


@dataclass(frozen=True)
class Cost:
    """What a peer took. `seconds`: of fitting and answering, over `num_folds` folds of all seeds;
    reading images is in it, encoding them with the frozen tower is not.
    """

    seconds: float
    num_folds: int
    num_parameters: int | None
    deterministic: bool


def run_peer(peer: Peer, run: LosoRun, folds: list[Fold] | None = None) -> pandas.DataFrame:
    """Every fold of a run with a peer, for each of the recipe's seeds.

    Writes baselines/<name>.parquet, and what it took beside it, unless they are there. Folds that
    were answered before a run was stopped are kept.

    Args: folds: a few folds, to try the peer: their answers are kept for the whole run, but no
        table is written.
    Returns: the table: dataset, subject, clip_id, label, prediction, seed.
    Raises:
        UserError: the peer cannot answer on this run, or the table that is there is of others.
    """
    import pandas

    seeds = seeds_of(peer, run)
    table = finished_table(peer.name, run) if folds is None else None
    if table is not None and set(seeds) <= set(table["seed"]):
        return table
    reason = peer.why_not(run) if hasattr(peer, "why_not") else None
    if reason:
        raise UserError(reason)
    answers = _answers_of(peer, run)
    wanted = run.folds if folds is None else folds
    with tqdm(total=len(seeds) * len(wanted), desc=_words(peer.name), unit="fold") as bar:
        for seed in seeds:
            _answer(peer, run, wanted, seed, answers, bar)
    table = pandas.concat(
        [_table(run, fold, answers, seed) for seed in seeds for fold in wanted], ignore_index=True
    )
    if folds is None:
        write_json(cost_file(run.folder.root, peer.name), vars(cost_of(peer, run, wanted)))
        run.folder.save_table(table, _destination(peer.name))
        answers.forget()
    return table


def finished_table(name: str, run: LosoRun) -> pandas.DataFrame | None:
    """The table that a peer has left in the run's folder, or None.

    Raises:
        UserError: it cannot be read, or its clips or labels are not those of the run.
    """
    import pandas

    path = run.folder.root / _destination(name)
    if not path.is_file():
        return None
    mend = f"Delete {path} and run the same command again."
    columns = ["dataset", "subject", "clip_id", "label"]
    try:
        table = pandas.read_parquet(path)
        theirs = set(table[columns].itertuples(index=False, name=None))
        table[["prediction", "seed"]]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"the answers of {name} cannot be read ({error}). {mend}") from error
    identities = [run.identities(fold) for fold in run.folds]
    ours = {clip for own in identities for clip in zip(*(own[column] for column in columns))}
    if ours != theirs:
        clip = "/".join(min(ours ^ theirs)[:3])
        raise UserError(
            f"the answers of {name} are not for this run's clips: {clip} is missing or has another "
            f"label. {mend}"
        )
    return table


def cost_of(peer: Peer, run: LosoRun, folds: list[Fold]) -> Cost:
    """What folds took that a peer has answered and whose answers are not in a table yet.

    Times are summed; of the parameters the most, for a fold that lacks a class has fewer.
    """
    answers, seeds = _answers_of(peer, run), seeds_of(peer, run)
    parts = [answers.load(fold, seed) for seed in seeds for fold in folds]
    counts = [part["num_parameters"] for part in parts if part["num_parameters"] is not None]
    seconds = sum(part["seconds"] for part in parts)
    return Cost(seconds, len(parts), max(counts, default=None), _is_deterministic(peer))


def cost_file(root: Path, name: str) -> Path:
    """Where `run_peer` writes a Cost, JSON."""
    return root / "baselines" / f"{name}.json"


def seeds_of(peer: Peer, run: LosoRun) -> list[int]:
    """The recipe's seeds; of a peer on which they have no effect, the first."""
    return run.recipe.seeds[:1] if _is_deterministic(peer) else run.recipe.seeds


def _is_deterministic(peer: Peer) -> bool:
    return getattr(peer, "deterministic", False)


class _Answers:
    """What a peer has answered so far, one file for each fold and seed."""

    def __init__(self, folder: Path):
        self.folder = folder

    def file(self, fold: Fold, seed: int) -> Path:
        # A subject's name may hold what no file name does.
        return (
            self.folder / f"seed{seed}-{hashlib.sha256(fold.name.encode()).hexdigest()[:16]}.json"
        )

    def save(self, fold: Fold, seed: int, **content: Any) -> None:
        make_folder(self.folder)
        write_json(self.file(fold, seed), content)

    def load(self, fold: Fold, seed: int) -> dict[str, Any]:
        return read_json(self.file(fold, seed), ("predictions", "seconds", "num_parameters"))

    def forget(self) -> None:
        """The table is written: the parts can go."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _destination(name: str) -> str:
    return f"baselines/{name}.parquet"


def _answers_of(peer: Peer, run: LosoRun) -> _Answers:
    return _Answers(run.folder.unfinished(_destination(peer.name)))


def _answer(
    peer: Peer, run: LosoRun, folds: list[Fold], seed: int, answers: _Answers, bar: tqdm
) -> None:
    """See that each of the folds has its answers."""
    missing = [fold for fold in folds if not answers.file(fold, seed).is_file()]
    bar.update(len(folds) - len(missing))
    together = hasattr(peer, "fit_predict_folds")
    size = 1
    if together:
        size = peer.folds_at_once(run) if hasattr(peer, "folds_at_once") else _AT_ONCE
    for start in range(0, len(missing), size):
        group = missing[start : start + size]
        begun = time.perf_counter()
        if together:
            predictions = peer.fit_predict_folds(run, group, seed)
        else:
            (fold,) = group
            peer.fit(run, fold.train, fold.seed(seed, peer.name))
            predictions = {fold.name: peer.predict(run, fold.test)}
        seconds = (time.perf_counter() - begun) / len(group)
        for fold in group:
            answers.save(
                fold,
                seed,
                predictions=[run.classes[index] for index in predictions[fold.name]],
                seconds=seconds,
                num_parameters=getattr(peer, "num_parameters", None),
            )
        bar.update(len(group))


def _table(run: LosoRun, fold: Fold, answers: _Answers, seed: int) -> pandas.DataFrame:
    import pandas

    predictions = answers.load(fold, seed)["predictions"]
    return pandas.DataFrame({**run.identities(fold), "prediction": predictions, "seed": seed})


def _words(name: str) -> str:
    return name.replace("_", " ")
