"""What a run's models say of disturbed clips: a table for each level, kept on disk as it is made.

Each clip is asked of the models that never saw its subject. A clip that a level does not change
keeps its answer.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcp_mer.baselines.flow_logistic_regression import FlowLogisticRegression
from hcp_mer.baselines.protocol import Peer
from hcp_mer.errors import UserError
from hcp_mer.files import make_folder, read_json, write_json
from hcp_mer.robustness.clips import (
    UNDISTURBED,
    DisturbedPairs,
    FoundClips,
    Mapper,
    Views,
    is_moved,
    measure_all,
)
from hcp_mer.robustness.disturbances import DISTURBANCES
from hcp_mer.training.features import encode_pairs, read_pixels
from hcp_mer.training.held_out import answer_held_out
from hcp_mer.training.loso import LosoRun
from hcp_mer.training.reopen import read_settings, trained_states

if TYPE_CHECKING:
    import pandas

CLIP = ["dataset", "subject", "clip_id"]
PEER = FlowLogisticRegression.name
_SETTINGS = "settings.json"


@dataclass(frozen=True)
class Levels:
    """The tables of a run under disturbances, one file for each level.

    Attributes: `folder`, where they lie; `mapper`, see `processes`; `with_peer`, whether logistic
    regression on flow is asked beside the model.
    """

    run: LosoRun
    found: FoundClips
    folder: Path
    mapper: Mapper = map
    with_peer: bool = True

    def claim(self) -> None:
        """Make the folder ours, or check that it holds this run's tables.

        Raises:
            UserError: it holds something else.
        """
        clips = json.dumps(sorted(clip.name for clip in self.found.clips.values()))
        settings = {
            "identity": read_settings(self.run.folder.root)["identity"],
            "clips": hashlib.sha256(clips.encode()).hexdigest()[:16],
            "with_peer": self.with_peer,
        }
        path = self.folder / _SETTINGS
        if path.is_file():
            if read_json(path) != settings:
                raise UserError(
                    f"{self.folder.parent} holds the robustness of another run, or of other clips: "
                    "give another --output_dir, or delete that folder."
                )
            return
        if self.folder.parent.is_dir() and any(self.folder.parent.iterdir()):
            raise UserError(f"{self.folder.parent} is not empty: give a new --output_dir.")
        make_folder(self.folder)
        write_json(path, settings)

    def undisturbed(self) -> pandas.DataFrame:
        """The clips measured anew, as they are."""
        return self._kept(UNDISTURBED, 0, self._ask_undisturbed)

    def disturbed(self, name: str, level: float) -> pandas.DataFrame:
        """The clips under a disturbance at a level; those that cannot be measured are left out.

        Returns: the columns of predictions.parquet; `disturbed`, whether anything changed for the
            clip; and the peer's answers under its name.
        """
        return self._kept(name, level, lambda: self._ask_disturbed(name, level))

    def problems(self, name: str = UNDISTURBED, level: float = 0) -> dict[str, str]:
        """Clip → why it could not be measured at a level that was asked."""
        return read_json(self._place(name, level).with_suffix(".json"))["problems"]

    def num_other_pairs(self) -> int:
        """Clips whose pair came out otherwise than it was made, though nothing was disturbed."""
        return read_json(self._place(UNDISTURBED, 0).with_suffix(".json"))["num_other_pairs"]

    def is_there(self, name: str, level: float) -> bool:
        return self._place(name, level).is_file()

    def _place(self, name: str, level: float) -> Path:
        return self.folder / f"{name}{'' if name == UNDISTURBED else f' {level:g}'}.parquet"

    def _kept(self, name: str, level: float, ask) -> pandas.DataFrame:
        """A table from disk, or else what `ask` returns, written whole."""
        import pandas

        place = self._place(name, level)
        if not place.is_file():
            table, notes = ask()
            write_json(place.with_suffix(".json"), notes)
            partial = place.with_suffix(".partial")
            table.to_parquet(partial, index=False)
            partial.replace(place)
        return pandas.read_parquet(place)

    def _ask_undisturbed(self) -> tuple[pandas.DataFrame, dict[str, Any]]:
        views = measure_all(self.found, [*self.found.clips], UNDISTURBED, 0, self.mapper)
        table, problems = self._answers(views)
        rows = self.run.labelled.rows
        other = [
            index
            for index, own in views.items()
            if own.problem is None
            and not all(
                np.array_equal(getattr(own, view), self.run.pairs.image(rows[index], view))
                for view in ("magnified", "flow")
            )
        ]
        return table, {"problems": problems, "num_other_pairs": len(other)}

    def _ask_disturbed(self, name: str, level: float) -> tuple[pandas.DataFrame, dict[str, Any]]:
        import pandas

        disturbance, clips = DISTURBANCES[name], self.found.clips
        changed = [i for i, clip in clips.items() if level and is_moved(clip, disturbance, level)]
        table, problems = self._answers(
            measure_all(self.found, changed, name, level, self.mapper) if changed else {}
        )
        names = {clips[index].name for index in changed}
        before = self.undisturbed()
        kept = before[~names_of(before).isin(names)]
        parts = [part for part in (table, kept) if len(part)]
        return pandas.concat(parts, ignore_index=True).assign(
            disturbed=lambda rows: names_of(rows).isin(names)
        ), {"problems": problems}

    def _answers(self, views: dict[int, Views]) -> tuple[pandas.DataFrame, dict[str, str]]:
        """The models' answers for clips measured anew, and why there are none for some of them."""
        import pandas

        problems = {
            self.found.clips[index].name: own.problem
            for index, own in views.items()
            if own.problem is not None
        }
        measured = {index: own for index, own in views.items() if own.problem is None}
        if not measured:
            return pandas.DataFrame(columns=[*CLIP, "label", "prediction", "seed"]), problems
        run = self._with_views(measured)
        tables = []
        for fold, seed, state in trained_states(run):
            wanted = np.isin(fold.test, [*measured])
            if wanted.any():
                table = answer_held_out(run, fold, state, seed).predictions
                if self.with_peer:
                    table[PEER] = self._answers_of_peer(run, fold.name, fold.test)
                tables.append(table[wanted])
        table = pandas.concat(tables, ignore_index=True)
        return table.assign(disturbed=False), problems

    def _with_views(self, measured: dict[int, Views]) -> LosoRun:
        """The run with other images of some clips.

        The other clips are encoded beside them as they were, for the same batches: a row of a
        batch may differ by rounding where the batch is another.
        """
        rows = self.run.labelled.rows
        own = {rows[index]: views for index, views in measured.items()}
        base = {name: getattr(self.run.pairs, name) for name in ("source", "table", "settings")}
        pairs = DisturbedPairs(**base, parts=self.run.pairs.parts, views=own)
        features = encode_pairs(self.run.model, self.run.processor, pairs, rows, None)
        inputs = features
        if self.run.recipe.trains_tower:
            inputs = read_pixels(self.run.model, self.run.processor, pairs, rows)
        return replace(self.run, pairs=pairs, features=features, inputs=inputs)

    def _answers_of_peer(self, run: LosoRun, fold: str, rows: np.ndarray) -> list[str]:
        clips = replace(
            run.labelled,
            rows=[run.labelled.rows[index] for index in rows],
            labels=[run.labelled.labels[index] for index in rows],
        )
        asked = replace(run, labelled=clips, labels=run.labels[rows], subjects=run.subjects[rows])
        peer = copy.copy(self._peers[fold])  # what it computes of these pairs is not kept
        return [run.classes[index] for index in peer.predict(asked, np.arange(len(rows)))]

    @cached_property
    def _peers(self) -> dict[str, Peer]:
        """The peer of each fold, fitted on its training clips as they are."""
        peer, fitted = FlowLogisticRegression(), {}
        seed = self.run.recipe.seeds[0]
        for fold in self.run.folds:
            peer.fit(self.run, fold.train, fold.seed(seed, peer.name))
            fitted[fold.name] = copy.copy(peer)
        return fitted


def names_of(table: pandas.DataFrame) -> pandas.Series:
    """Of each row, "dataset/subject/clip_id"."""
    import pandas

    names = ["/".join(ids) for ids in table[CLIP].astype(str).itertuples(index=False)]
    return pandas.Series(names, table.index, dtype=object)
