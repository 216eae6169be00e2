"""What a reproduction would do, what it would take in hours and disk, and what is done already."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hcp_mer.ablations import planned_trainings
from hcp_mer.data.check import count_reading
from hcp_mer.data.pair_rows import make_rows
from hcp_mer.reproduction.settings import CORPORA, RUNS, Reproduction
from hcp_mer.reproduction.stages import Stage, is_done
from hcp_mer.training.loso import LosoRun
from hcp_mer.training.timing import encoding_seconds, imagined_run, in_hours, training_seconds

_TIMED_CLIPS = 3
_NUM_CONTROLS = 4  # of `baselines/controls.py`, beside chance
_BACKWARD = 3  # forward and backward against forward alone, for each of the two branches
_VIEWS = ("magnified", "flow", "onset_frame")


@dataclass(frozen=True)
class Estimate:
    """A stage: `state` "done" or "to do"; wall `seconds` and `disk_bytes`, 0 where it is done."""

    stage: Stage
    state: str
    seconds: float = 0.0
    disk_bytes: float = 0.0


def estimate(plan: Reproduction, stages: Sequence[Stage]) -> list[Estimate]:
    """Each stage's time and disk on this machine, from a few clips and steps that are really made.

    Peers other than the controls are not in it. Nothing is written.
    """
    runs: dict[str, LosoRun] = {}
    estimates = []
    for stage in stages:
        if is_done(plan, stage):
            estimates.append(Estimate(stage, "done"))
        elif stage.kind == "pairs":
            estimates.append(Estimate(stage, "to do", *_pairs(plan, stage.what)))
        else:
            if stage.what not in runs:
                runs = {
                    stage.what: imagined_run(plan.recipe(stage.what), plan.clips_of(stage.what))
                }
            cost = _cost(plan, stage, runs[stage.what])
            estimates.append(Estimate(stage, "to do", *cost))
    return estimates


def _pairs(plan: Reproduction, corpus: str) -> tuple[float, float]:
    records, settings = plan.reading(corpus).records, plan.pair_settings(corpus)
    chosen = records[:: max(1, len(records) // _TIMED_CLIPS)][:_TIMED_CLIPS]
    settings.methods()  # loading a network is no part of a clip's time
    start = time.perf_counter()
    rows = make_rows(chosen, settings)
    seconds = (time.perf_counter() - start) / len(chosen)
    sizes = [len(row[view]["bytes"]) for row in rows for view in _VIEWS if row[view]]
    by_network = any(method.needs_weights for method in settings.methods())
    processes = 1 if by_network else plan.num_proc
    per_clip = sum(sizes) / len(chosen)
    return seconds * len(records) / processes, 2 * per_clip * len(records)  # twice while building


def _cost(plan: Reproduction, stage: Stage, run: LosoRun) -> tuple[float, float]:
    """(seconds, bytes) of a stage that is about a run."""
    if stage.kind == "ablations":
        lines = planned_trainings(run, plan.run_of(stage.what), readings=False, full=False)
        return sum(line.seconds for line in lines), _table_bytes(run) * len(lines)
    seeds = len(run.recipe.seeds)
    once = training_seconds(run, seeds)
    controls = _NUM_CONTROLS if plan.controls else 0
    # The model with chance; the same folds for the leak and for each control; the final model.
    trained = once * (1 + 1 / seeds) + once * (1 + controls) + once / len(run.folds)
    # Once for training, once for a control with other weights, and to see where branches look.
    encoded = encoding_seconds(run) * (1 + bool(plan.controls) + _BACKWARD)
    return trained + encoded, _run_bytes(run)


def _run_bytes(run: LosoRun) -> float:
    head = sum(p.numel() for p in run.model.head.parameters()) + run.model.prompts.context.numel()
    whole = sum(p.numel() for p in run.model.parameters())
    model = (whole if run.model.config.save_backbone else head) * 4
    epochs = run.optimisation.num_epochs(len(run.labels))
    leak = epochs * len(run.labels) * len(run.recipe.seeds)  # about a byte a row, compressed
    features = sum(value.numel() * 4 for value in run.features.values())
    folds = len(run.folds) * len(run.recipe.seeds) * head * 4
    return folds + model + features + leak + 10 * _table_bytes(run)


def _table_bytes(run: LosoRun) -> float:
    """A table with an embedding for each clip and seed."""
    size = run.model.config.clip_config.projection_dim * 4 + 200
    return len(run.labels) * len(run.recipe.seeds) * size


def counts_in_words(plan: Reproduction) -> list[str]:
    """Clips per class of every run, beside the published counts."""
    lines = []
    for name in plan.run_names():
        recipe = plan.recipe(name)
        for corpus in RUNS[name]:
            reading = plan.reading(corpus)
            check, _ = count_reading(reading, corpus, recipe.label_task, recipe.scheme)
            lines.append(str(check))
    return lines


def print_plan(plan: Reproduction, estimates: Sequence[Estimate]) -> None:
    """The plan as a table, the clips, what is in the way, and the time in all."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(markup=False, highlight=False)
    table = Table(box=None, title=Text(f"what {plan.root} needs"))
    for heading in ("stage", "", "time", "disk"):
        right = "right" if heading in ("time", "disk") else "left"
        table.add_column(heading, justify=right, no_wrap=True)
    for own in estimates:
        done = own.state == "done"
        disk = "–" if done else f"{own.disk_bytes / 1e6:.0f} MB"
        cells = (own.stage.name, own.state, "–" if done else in_hours(own.seconds), disk)
        table.add_row(*map(Text, cells))
    console.print(table)
    for line in counts_in_words(plan):
        console.print(line)
    for name, needed in RUNS.items():
        lacking = [corpus for corpus in needed if corpus not in plan.corpora]
        if lacking:
            console.print(f"not asked for: {name}, for want of {_listed(lacking)}")
    left = [own for own in estimates if own.state != "done"]
    seconds, disk = (sum(getattr(own, key) for own in left) for key in ("seconds", "disk_bytes"))
    free = shutil.disk_usage(_existing(plan.root)).free
    total = f"about {in_hours(seconds)} and {disk / 1e9:.1f} GB" if left else "nothing"
    console.print(
        f"{len(estimates) - len(left)} of {len(estimates)} stages are done; what remains takes "
        f"{total}, in one process here, by a few timed clips and steps; {free / 1e9:.0f} GB are "
        "free. Nothing was trained or written."
    )
    if disk > free:
        console.print("The disk is too small for that: make room, or give another --output_dir.")


def _listed(corpora: Sequence[str]) -> str:
    return " and ".join(CORPORA[corpus] for corpus in corpora)


def _existing(folder: Path) -> Path:
    return next(
        place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir()
    )
