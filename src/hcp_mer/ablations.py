"""Fig. 3 and the readings of the equations: the same run, each time with one thing changed.

The full model is trained once; every variant has its folds, seeds and steps, and shares its frozen
features. What would train the very same model is said, not trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hcp_mer.data.tasks import task
from hcp_mer.errors import UserError
from hcp_mer.model.configuration_hcp_mer import READINGS
from hcp_mer.training.loso import LosoRun
from hcp_mer.training.recipe import FROM_ANNOTATIONS, GATE_FITTINGS, Recipe, load_recipe
from hcp_mer.training.variants import Variant, train_variant, with_options

# Name → model options that differ from the full model's: the bars of Fig. 3, and Fig. 4 b.
ABLATIONS: Mapping[str, dict[str, bool]] = {
    "without_componential": {"use_componential": False},
    "without_holistic": {"use_holistic": False},
    "without_adapter": {"use_adapter": False},
    "without_consistency": {"use_consistency": False},
    "without_focal": {"use_focal": False},
    "without_consistency_and_focal": {"use_consistency": False, "use_focal": False},
}
SCALES = (10.0, 30.0, 100.0)
NUM_CONTEXTS = (1, 2, 3, 4, 8, 16)  # k of Eq. 8 and 9; CoOp has 4 and 16
_WORDS = ("a", "photo", "of")  # in turn, until there are k


@dataclass(frozen=True)
class Change:
    """A variant beside the full model.

    Attributes:
        name: of its table; destination: path of the table in the run folder.
        options: HcpMerConfig's that differ; gate_fitting: the recipe's, where that differs.
        idle: why it is not trained; empty where it is.
    """

    name: str
    destination: str
    options: dict[str, Any]
    gate_fitting: str | None = None
    idle: str = ""

    def apply(self, run: LosoRun) -> LosoRun:
        """The run with this changed."""
        if self.gate_fitting:
            run = replace(run, recipe=replace(run.recipe, gate_fitting=self.gate_fitting))
        return with_options(run, **self.options) if self.options else run


def ablations_of(run: LosoRun) -> list[Change]:
    """The bars of Fig. 3 for a run."""
    return [
        Change(name, f"ablations/{name}.parquet", dict(options), idle=_idle(run, options))
        for name, options in ABLATIONS.items()
    ]


def readings_of(run: LosoRun) -> list[Change]:
    """Every other reading of the equations, number of contexts, scale and fitting of the gate."""
    config = run.model.config
    choices: dict[str, Sequence] = dict(READINGS)
    choices |= {"similarity_scale": SCALES, "consistency_scale": SCALES}
    changes = []
    for option, values in choices.items():
        for value in values:
            if not _same(getattr(config, option), value):
                changes.append(_reading(run, f"{option}={_text(value)}", {option: value}))
    present = len(config.prompt_token_ids["context"])
    for number in NUM_CONTEXTS:
        if number != present:
            words = " ".join(_WORDS[i % len(_WORDS)] for i in range(number))
            changes.append(_reading(run, f"num_contexts={number}", {"context_text": words}))
    for fitting in GATE_FITTINGS:
        if fitting != run.recipe.gate_fitting:
            changes.append(_reading(run, f"gate_fitting={fitting}", {}, fitting))
    return changes


def _reading(run: LosoRun, name: str, options: dict, gate_fitting: str | None = None) -> Change:
    idle = _idle(run, options, gate_fitting)
    return Change(name, f"readings/{name}.parquet", options, gate_fitting, idle)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _same(present: Any, value: Any) -> bool:
    """Scales are read from weights: 99.99999 is 100."""
    if isinstance(value, float):
        return abs(present - value) <= 1e-3 * value
    return present == value


def _idle(run: LosoRun, options: Mapping[str, Any], gate_fitting: str | None = None) -> str:
    """Why a change would train the very same model, or cannot be trained; empty otherwise."""
    now = vars(run.model.config) | {"gate_fitting": run.recipe.gate_fitting}
    then = {**now, **options}
    if not (then["use_holistic"] or then["use_componential"]):
        return "the recipe has this branch only: nothing would be left to answer"
    both = then["use_holistic"] and then["use_componential"]
    if not both and then["contrastive_reading"] in ("literal", "class+branch"):
        return f"contrastive_reading {then['contrastive_reading']} needs both branches"
    changed = [option for option, value in options.items() if now[option] != value]
    if gate_fitting:
        changed.append("gate_fitting")
    if not changed:
        return "the recipe has it so already"
    reasons = [_without_effect(run, option, then) for option in changed]
    return "; ".join(dict.fromkeys(reasons)) if all(reasons) else ""


def _without_effect(run: LosoRun, option: str, then: Mapping[str, Any]) -> str:
    """Why an option decides nothing beside the others, `then`; empty where it decides something."""
    both = then["use_holistic"] and then["use_componential"]
    if option in ("use_consistency", "consistency_reading", "consistency_scale"):
        if not both:
            return "one branch alone has no consistency constraint"
        if option != "use_consistency" and not then["use_consistency"]:
            return "the consistency constraint is off"
    if option in ("gate_reading", "response_reading", "gate_fitting") and not both:
        return "one branch alone has no gate"
    if option in ("gate_reading", "gate_fitting"):
        if not then["use_focal"] and then["without_focal"] == "nothing":
            return "nothing trains the gate: its weights stay one half"
        if option == "gate_fitting" and then["gate_reading"] == "fixed":
            return "a fixed gate is not fitted"
    if option == "without_focal" and then["use_focal"]:
        return "the focal loss is on: nothing stands in for it"
    if option in ("au_text", "au_set_reduction") and not then["use_componential"]:
        return "there is no componential branch"
    if option == "au_set_reduction" and _one_set_each(run):
        return "every class has one set of action units"
    return ""


def _one_set_each(run: LosoRun) -> bool:
    folds = [alike[0] for alike in run.prompts.variants(run.folds)]
    groups = [group for fold in folds for group in run.prompts.groups(fold.train)]
    return all(len(group["action_units"]) == 1 for group in groups)


def recipes_for_tasks(
    path: str | Path, tasks: Sequence[str | int] | None, overrides: Sequence[str] = ()
) -> list[Recipe]:
    """One recipe for several tasks: for another task than its own, with that task's prompts.

    Args: path: of the recipe; tasks: 3, 4 or 7, or None for the recipe's own; overrides: as for
        `load_recipe`. Prompts that are named there, or counted, stay.
    Raises:
        UserError: see `load_recipe`; a task twice.
    """
    base = load_recipe(path, list(overrides))
    recipes = []
    for name in tasks or [base.task]:
        wanted = task(name)
        own = wanted == base.label_task or base.prompts == FROM_ANNOTATIONS
        own = own or any(setting.split("=")[0].strip() == "prompts" for setting in overrides)
        prompts = (
            base.prompts if own else f"hub_configs/prompts/facs-{len(wanted.classes)}class.yaml"
        )
        recipes.append(replace(base, task=wanted.name, prompts=prompts))
        recipes[-1].prompt_groups()  # what does not fit shows before anything is read
    if len({recipe.task for recipe in recipes}) < len(recipes):
        raise UserError(f"every task once: got {', '.join(map(str, tasks))}.")
    return recipes


def run_ablations(
    recipes: Sequence[Recipe],
    dataset: str | Path | Sequence[str | Path],
    output_dir: str | Path,
    readings: bool = False,
) -> dict[str, Any] | None:
    """Train the full model and its ablations for several tasks, then compare them.

    Finished folds of the full model, finished variants and finished groups of folds of the one in
    work are kept, so that a run that was stopped goes on there. Under `accelerate launch` the
    folds of each are shared out.

    Args:
        recipes: one for each task; output_dir gets a run folder "<task>" for each, or is the
            finished run of the only one.
        dataset: as for `hcp_mer.run_loso`.
        readings: train every other reading of the equations as well.
    Returns: see `hcp_mer.reporting.ablations.write_ablations`; None in all processes but the main
        one.
    Raises:
        UserError: unusable recipe, pairs or folder; LoRA, whose tower is not frozen.
    """
    from hcp_mer.reporting.ablations import write_ablations

    root = Path(output_dir)
    folders = _folders(recipes, root)
    skipped = {}
    for recipe in recipes:
        idle = train_ablations(recipe, dataset, folders[recipe.task], readings)
        if idle is not None:
            skipped[recipe.task] = idle
    return write_ablations(list(folders.values()), root, skipped) if skipped else None


def train_ablations(
    recipe: Recipe,
    dataset: str | Path | Sequence[str | Path],
    output_dir: Path,
    readings: bool = False,
) -> dict[str, str] | None:
    """One task's full model, unless the folder has it, and its variants; see `run_ablations`.

    Returns: name of a variant that was not trained → why; None in all processes but the main one.
    """
    from hcp_mer.data.pairs import load_pairs
    from hcp_mer.reporting.publish import publish
    from hcp_mer.training.launch import open_accelerator
    from hcp_mer.training.loso import open_run, train_folds
    from hcp_mer.training.run_folder import RunFolder

    if recipe.trains_tower:
        raise UserError(
            "ablations share the features of a frozen tower: leave vision_lora out of the recipe."
        )
    sources = [dataset] if isinstance(dataset, (str, Path)) else list(dataset)
    pairs, folder = load_pairs(*sources), RunFolder(output_dir)
    accelerator = open_accelerator(None, folder.root)
    with folder.locked() if accelerator.is_main_process else nullcontext():
        run = open_run(recipe, pairs, folder, accelerator)
        train_folds(run, accelerator)
        changes = ablations_of(run) + (readings_of(run) if readings else [])
        wanted = [change for change in changes if not change.idle]
        for change in wanted:
            variant = Variant(change.name, change.apply)
            # Fig. 4 shows features of ablations; of readings nobody asks for them.
            kept = change.name in ABLATIONS
            train_variant(variant, run, change.destination, accelerator, embeddings=kept)
        if not accelerator.is_main_process:
            return None
        publish(folder.root, run.pairs)
    return {change.name: change.idle for change in changes if change.idle}


@dataclass(frozen=True)
class PlannedTraining:
    """A line of the plan. `state`: "there", "to train" or why it is left out; `seconds`, 0 if it
    needs none."""

    task: str
    name: str
    state: str
    seconds: float


def plan_ablations(
    recipes: Sequence[Recipe],
    dataset: str | Path | Sequence[str | Path],
    output_dir: str | Path,
    readings: bool = False,
) -> list[PlannedTraining]:
    """What `run_ablations` would train, and how long here; nothing is trained or written."""
    from hcp_mer.data.pairs import load_pairs
    from hcp_mer.training.timing import clips_of, imagined_run

    sources = [dataset] if isinstance(dataset, (str, Path)) else list(dataset)
    pairs = load_pairs(*sources)
    lines = []
    for recipe in recipes:
        run = imagined_run(recipe, clips_of(pairs, recipe))
        lines += planned_trainings(run, _folders(recipes, Path(output_dir))[recipe.task], readings)
    return lines


def _folders(recipes: Sequence[Recipe], root: Path) -> dict[str, Path]:
    """Task → its run folder. A run that is there already gets its ablations beside it."""
    if (root / "recipe.yaml").is_file() and len(recipes) == 1:
        return {recipes[0].task: root}
    return {recipe.task: root / recipe.task for recipe in recipes}


def planned_trainings(
    run: LosoRun, folder: Path, readings: bool, full: bool = True
) -> list[PlannedTraining]:
    """The lines of one task. Args: full: whether the full model is among them."""
    from hcp_mer.training.timing import encoding_seconds, training_seconds

    name, lines = run.recipe.task, []
    if full:
        there = (folder / "predictions.parquet").is_file()
        seconds = 0.0
        if not there:  # with the control called chance
            seconds = encoding_seconds(run) + training_seconds(run, len(run.recipe.seeds) + 1)
        lines.append(PlannedTraining(name, "full", "there" if there else "to train", seconds))
    timed: dict[tuple, float] = {}
    for change in ablations_of(run) + (readings_of(run) if readings else []):
        state = change.idle or "to train"
        if (folder / change.destination).is_file():
            state = "there"
        seconds = 0.0
        if state == "to train":
            key = _what_it_costs(change)
            if key not in timed:
                timed[key] = training_seconds(change.apply(run))
            seconds = timed[key]
        lines.append(PlannedTraining(name, change.name, state, seconds))
    return lines


def _what_it_costs(change: Change) -> tuple:
    """What of a change makes a step longer or shorter: branches and texts; the rest does not."""
    costly = ("use_holistic", "use_componential", "au_text", "context_text", "context_scope")
    options = tuple((name, change.options[name]) for name in costly if name in change.options)
    return (*options, change.gate_fitting)


def print_plan(lines: Sequence[PlannedTraining]) -> None:
    """The plan as a table, with the time in all."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from hcp_mer.training.timing import in_hours

    table = Table(title="to train, one process, estimated from timed steps", box=None)
    for heading in ("task", "variant", "state", "time"):
        right = "right" if heading == "time" else "left"
        table.add_column(heading, justify=right, no_wrap=heading != "state")
    for line in lines:
        cells = (line.task, line.name, line.state, in_hours(line.seconds) if line.seconds else "–")
        table.add_row(*map(Text, cells))
    console = Console(markup=False, highlight=False)
    console.print(table)
    left = sum(line.state == "to train" for line in lines)
    total = in_hours(sum(line.seconds for line in lines)) if left else "nothing"
    console.print(f"{left} of {len(lines)} to train: {total}. Nothing was trained.")
