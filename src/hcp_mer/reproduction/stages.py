"""The stages of a reproduction, each of which goes on where it was stopped.

A stage leaves a stamp when it has ended, with a hash of all that its result depends on: whoever
changes a recipe or a corpus finds its stages to be done again. (A run folder that holds another
recipe's run is refused by itself.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hcp_mer.data.pairs import MANIFEST, read_manifest
from hcp_mer.errors import UserError
from hcp_mer.files import make_folder, read_json, write_json
from hcp_mer.reproduction.settings import ABLATED, CORPORA, RUNS, Reproduction

# What --only names → first part of a stage's name. Whatever these need is done, too.
GOALS = {
    "pairs": ("pairs",),
    "tables": ("run",),
    "ablations": ("ablations",),
    "figures": ("run", "ablations"),
}


@dataclass(frozen=True)
class Stage:
    """One step. Attributes: `name`, "<kind>/<what>"; `needs`, names of stages before it; `made`,
    a file that is there when it has ended; `inputs`, all that its result depends on, JSON; `do`.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    made: Path
    inputs: Callable[[], Any]
    do: Callable[[], None]

    @property
    def kind(self) -> str:
        return self.name.partition("/")[0]

    @property
    def what(self) -> str:
        return self.name.partition("/")[2]


def stages_of(plan: Reproduction) -> list[Stage]:
    """All stages that the given corpora allow, each after those that it needs."""
    runs = plan.run_names()
    stages = [_pairs(plan, corpus) for corpus in plan.corpora]
    stages += [_run(plan, name) for name in runs]
    return stages + [_ablations(plan, name) for name in runs if name in ABLATED]


def wanted(stages: Sequence[Stage], only: Sequence[str]) -> list[Stage]:
    """The stages that lead to some goals, see GOALS; all of them without a goal.

    Raises:
        UserError: the corpora allow no stage of that goal.
    """
    if not only:
        return list(stages)
    by_name = {stage.name: stage for stage in stages}
    kept: set[str] = set()
    for goal in only:
        own = [stage.name for stage in stages if stage.kind in GOALS[goal]]
        if not own:
            raise UserError(
                f"--only {goal}: none of the given corpora has it; Fig. 3 needs casme3."
            )
        while own:
            name = own.pop()
            kept.add(name)
            own += by_name[name].needs
    return [stage for stage in stages if stage.name in kept]


def is_done(plan: Reproduction, stage: Stage) -> bool:
    """Whether a stage has ended, with all that it needs as it is now."""
    stamp = _stamp(plan, stage)
    if not (stage.made.is_file() and stamp.is_file()):
        return False
    return read_json(stamp, ("inputs",))["inputs"] == _digest(stage)


def work(plan: Reproduction, stages: Sequence[Stage]) -> None:
    """Do what is not done, stage by stage."""
    for number, stage in enumerate(stages, start=1):
        if is_done(plan, stage):
            continue
        print(f"[{number}/{len(stages)}] {stage.title}", flush=True)
        stage.do()
        make_folder(_stamp(plan, stage).parent)
        content = {"stage": stage.name, "inputs": _digest(stage)}
        write_json(_stamp(plan, stage), content | _facts(plan, stage))


def _stamp(plan: Reproduction, stage: Stage) -> Path:
    return plan.private / "stages" / f"{stage.name.replace('/', '-')}.json"


def _digest(stage: Stage) -> str:
    return hashlib.sha256(json.dumps(stage.inputs(), sort_keys=True).encode()).hexdigest()[:16]


def _facts(plan: Reproduction, stage: Stage) -> dict[str, Any]:
    """What the index says of a corpus that may not be given the next time."""
    if stage.kind != "pairs":
        return {}
    reading = plan.reading(stage.what)
    facts = {"synthetic": plan.is_synthetic(stage.what), "annotated": reading.annotated}
    return facts | {"pairs": read_manifest(plan.pairs_of(stage.what))["num_pairs"]}


def facts_of_corpora(plan: Reproduction) -> dict[str, dict[str, Any]]:
    """Corpus → {"synthetic", "annotated", "pairs"} of every one that was ever prepared here."""
    found = {}
    for corpus in CORPORA:
        stamp = plan.private / "stages" / f"pairs-{corpus}.json"
        if stamp.is_file():
            found[corpus] = read_json(stamp, ("synthetic", "annotated", "pairs"))
    return found


def _pairs(plan: Reproduction, corpus: str) -> Stage:
    def inputs() -> Any:
        reading = plan.reading(corpus)
        clips = [repr((r.subject, r.clip_id, r.onset, r.apex, r.offset)) for r in reading.records]
        return [plan.pair_settings(corpus).to_dict(), plan.apex_plots, clips]

    def prepare() -> None:
        from hcp_mer.data.builders import prepare_pairs

        settings = plan.pair_settings(corpus)
        reading, folder = plan.reading(corpus), plan.pairs_of(corpus)
        prepare_pairs(reading, folder, settings, plan.num_proc, plan.apex_plots)

    title = f"pairs of {CORPORA[corpus]}"
    made = plan.pairs_of(corpus) / MANIFEST
    return Stage(f"pairs/{corpus}", title, (), made, inputs, prepare)


def _inputs_of_run(plan: Reproduction, name: str) -> Any:
    folders = [plan.pairs_of(corpus) for corpus in RUNS[name]]
    there = [folder for folder in folders if (folder / MANIFEST).is_file()]
    made = [read_manifest(folder)["fingerprint"] for folder in there]
    return [plan.recipe(name).to_dict(), made, plan.controls]


def _run(plan: Reproduction, name: str) -> Stage:
    def train() -> None:
        from hcp_mer.experiment import run_loso

        pairs = [plan.pairs_of(corpus) for corpus in RUNS[name]]
        options = {"controls": plan.controls, "measure_leak": True}
        run_loso(plan.recipe(name), pairs, plan.run_of(name), **options)

    return Stage(
        f"run/{name}",
        f"{name}: model, leak, peers{' and controls' if plan.controls else ''}",
        tuple(f"pairs/{corpus}" for corpus in RUNS[name]),
        plan.run_of(name) / "metrics.json",
        partial(_inputs_of_run, plan, name),
        train,
    )


def _ablations(plan: Reproduction, name: str) -> Stage:
    def train() -> None:
        from hcp_mer.ablations import train_ablations

        pairs = [plan.pairs_of(corpus) for corpus in RUNS[name]]
        train_ablations(plan.recipe(name), pairs, plan.run_of(name))

    made = plan.run_of(name) / "ablations" / "without_componential.parquet"
    needs = (f"run/{name}",)
    title = f"{name}: ablations"
    inputs = partial(_inputs_of_run, plan, name)
    return Stage(f"ablations/{name}", title, needs, made, inputs, train)
