"""A recipe: everything a training run depends on besides its data, typed, strict and saved."""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from hcp_mer.data.tasks import Task, task
from hcp_mer.errors import UserError
from hcp_mer.model.configuration_hcp_mer import (
    HcpMerConfig,
    check_prompt_group,
    check_vision_lora,
)

# What a recipe may say under `model`: readings, sizes and switches, but not what is derived.
_DERIVED = {
    "clip_config",
    "backbone",
    "backbone_revision",
    "save_backbone",
    "prompt_groups",
    "prompt_token_ids",
    "vision_lora",  # a key of the recipe itself: it decides how folds are trained
    "score_temperature",  # the run's held-out answers say these two
    "unsure_below",
    "checkpoint_format",
}
FROM_ANNOTATIONS = "from_annotations"
GATE_FITTINGS = ("joint", "held_out_subjects")
MODEL_OPTIONS = tuple(name for name in HcpMerConfig.__annotations__ if name not in _DERIVED)


@dataclass(frozen=True)
class Recipe:
    """Settings of a run. Relative paths start at the repository that holds the recipe.

    Attributes:
        task: "3-class", "4-class" or "7-class".
        prompts: YAML file with each class's emotion word and action-unit sets, or the word
            "from_annotations": the class's name and, for each fold, the sets that its training
            clips show most often (`hcp_mer.training.fold_prompts`). In a file, too, a class may
            have `action_units: from_annotations`, and `otherwise` sets for clips without any.
        backbone: folder or Hub id of the frozen CLIP; backbone_revision pins the latter.
        scheme: label scheme for words that are no class of the task; None: named like the dataset.
        model: fields of HcpMerConfig (readings of equations, sizes, ablation switches).
        epochs, batch_size, learning_rate, weight_decay: AdamW over the trained part.
        min_steps: epochs are added until a fold takes as many steps: a handful of clips makes few.
        seeds: one run of all folds each.
        gate_fitting: "joint", as the paper: the gate learns with the branches, on the same clips;
            "held_out_subjects": on training subjects that the branches did not learn from.
        vision_lora: {r: 8, …} trains LoRA on the vision tower (not in the paper; fields of PEFT's
            LoraConfig, see HcpMerConfig). It costs the feature cache and the stack: images are
            encoded, with gradients, at every step of every fold. {} or r: 0: the tower is frozen.
        fold_group: folds trained side by side, each with its seeds and its shuffled control;
            "auto" measures how many fit into memory.
    """

    task: str
    prompts: str
    backbone: str
    backbone_revision: str | None = None
    scheme: str | None = None
    model: dict = field(default_factory=dict)
    epochs: int = 300
    batch_size: int = 16
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    min_steps: int = 0
    seeds: list = field(default_factory=lambda: [0])
    gate_fitting: str = "joint"
    vision_lora: dict = field(default_factory=dict)
    fold_group: int | str = "auto"
    repository: Path = field(default=Path(), compare=False)

    @property
    def label_task(self) -> Task:
        return task(self.task)

    @property
    def trains_tower(self) -> bool:
        """Whether folds have vision towers of their own, so that features cannot be shared."""
        return bool(self.vision_lora and self.vision_lora["r"])

    def to_dict(self) -> dict:
        """The recipe as YAML would hold it, without the place it came from."""
        fields = dataclasses.asdict(self)
        fields.pop("repository")
        return fields

    def local(self, path: str) -> Path:
        """A path of the recipe, from its repository unless it is absolute."""
        return self.repository / path

    def backbone_location(self) -> str:
        """A folder if the backbone is one, seen from the repository; otherwise a Hub id."""
        folder = self.local(self.backbone)
        return str(folder) if folder.is_dir() else self.backbone

    def prompt_groups(self) -> list[dict]:
        """The groups that `prompts` names, as written, in the order of the task's classes.

        Returns: {"label", "emotion", "action_units"} each; action_units are sets, or
            FROM_ANNOTATIONS, and then the group may have "otherwise", sets.
        Raises:
            UserError: file missing, not YAML, or classes other than the task's.
        """
        classes = self.label_task.classes
        if self.prompts == FROM_ANNOTATIONS:
            written = {"action_units": FROM_ANNOTATIONS}
            return [{"label": name, "emotion": name, **written} for name in classes]
        path = self.local(self.prompts)
        if not path.exists():
            words = f"a YAML file or the word {FROM_ANNOTATIONS}"
            raise UserError(f"prompts must be {words}; {_no_file(path)}")
        groups = _read_yaml(path)
        if set(groups) != set(classes):
            raise UserError(
                f"{path} must have one group for each class of {self.task} "
                f"({', '.join(classes)}); it has {', '.join(map(str, groups)) or 'none'}."
            )
        for name in classes:
            if not isinstance(groups[name], dict):
                raise UserError(f"{path}: {name} must have emotion and action_units.")
        ordered = [{**groups[name], "label": name} for name in classes]
        for group in ordered:
            _check_written(group)
        return ordered


def load_recipe(path: str | Path, overrides: list[str] = ()) -> Recipe:
    """Read a recipe and apply `key=value` overrides (`model.use_adapter=false` reaches inside).

    Raises:
        UserError: file missing, unknown or misspelt key, value of the wrong type or range.
    """
    path = Path(path)
    settings = _read_yaml(path)
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator:
            raise UserError(f"--set takes key=value, got {override!r}.")
        try:
            parsed = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise UserError(f"--set {override}: the value is not valid YAML.") from error
        _set(settings, key.strip(), parsed)
    return make_recipe(settings, repository_of(path))


def make_recipe(settings: dict, repository: Path = Path()) -> Recipe:
    """A Recipe from plain settings, checked.

    Raises:
        UserError: see `load_recipe`.
    """
    known = {f.name: f for f in dataclasses.fields(Recipe) if f.name != "repository"}
    for key in settings:
        _check_key(key, tuple(known), "recipe key")
    missing = [key for key in ("task", "prompts", "backbone") if key not in settings]
    if missing:
        raise UserError(f"the recipe lacks {', '.join(missing)}.")
    typed = {key: _typed(key, value, known[key].type) for key, value in settings.items()}
    for key, value in typed.get("model", {}).items():
        _check_key(key, MODEL_OPTIONS, "model option")
        kind = HcpMerConfig.__annotations__[key]
        typed["model"][key] = _typed(f"model.{key}", value, kind)
    recipe = Recipe(**typed, repository=repository)
    _check_ranges(recipe)
    return recipe


def repository_of(path: Path) -> Path:
    """The folder above `path` that holds hub_configs/, or the recipe's own folder."""
    resolved = path.resolve()
    for parent in resolved.parents:
        if (parent / "hub_configs").is_dir():
            return parent
    return resolved.parent


def seen_from(recipe: Path, path: str) -> str:
    """A file that is here as the recipe at `recipe` would name it; anything else as it is."""
    here = Path(path)
    if not here.is_file():
        return path
    here, repository = here.resolve(), repository_of(recipe)
    # The same file is the same run, from wherever it is named.
    return here.relative_to(repository).as_posix() if repository in here.parents else str(here)


def _read_yaml(path: Path) -> dict:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(_no_file(path)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold keys and values, such as `task: 3-class`.")
    return content


def _no_file(path: Path) -> str:
    beside = sorted(other.name for other in path.parent.glob("*.yaml"))
    hint = f" Beside it lie {', '.join(beside)}." if beside else ""
    return f"there is no file {path}.{hint}"


def _check_written(group: dict) -> None:
    """Raise unless a group is whole, or leaves its sets to be counted."""
    sets = group.get("action_units")
    if sets == FROM_ANNOTATIONS:
        group = dict(group)
        otherwise = group.pop("otherwise", None)
        group["action_units"] = [[1]] if otherwise is None else otherwise
    elif isinstance(sets, str):
        raise UserError(
            f"action_units of {group['label']!r} must be sets such as [[4], [14]], or the word "
            f"{FROM_ANNOTATIONS}; got {sets!r}."
        )
    check_prompt_group(group)


def _set(settings: dict, key: str, value: Any) -> None:
    head, dot, rest = key.partition(".")
    if not dot:
        settings[head] = value
    else:
        inner = settings.get(head) or {}
        if not isinstance(inner, dict):
            raise UserError(f"{head} has no parts: --set {head}=value, not {key}.")
        settings[head] = dict(inner)
        _set(settings[head], rest, value)


def _check_key(key: str, known: tuple[str, ...], what: str) -> None:
    if key not in known:
        close = difflib.get_close_matches(str(key), known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UserError(f"unknown {what} {key!r}.{hint} Known are {', '.join(known)}.")


def _typed(key: str, value: Any, kind: str) -> Any:
    """`value` as the field's type; YAML reads 1e-4 as text, which a float field takes."""
    if value is None and "None" in kind:
        return None
    if isinstance(value, dict) and "| dict" in kind:
        return value  # one for each branch: the model's config knows what is allowed
    kind = kind.split(" | ")[0]
    if key == "fold_group":
        kind = "str" if value == "auto" else "int"
    if kind.startswith("float") and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    elif kind == "list" and isinstance(value, int) and not isinstance(value, bool):
        return [value]
    elif kind == "dict" and value is None:
        return {}
    elif kind.startswith("str") and key == "task" and isinstance(value, int):
        return task(value).name
    else:
        expected = {"int": int, "list": list, "dict": dict, "bool": bool}.get(kind, str)
        if isinstance(value, expected) and isinstance(value, bool) == (expected is bool):
            return value
    words = _WORDS[kind.split(" ")[0]] + (" or auto" if key == "fold_group" else "")
    raise UserError(f"{key} must be {words}, got {value!r}.")


_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "list": "a list",
    "dict": "keys and values",
}


def _check_ranges(recipe: Recipe) -> None:
    smallest = {"epochs": 1, "batch_size": 3, "fold_group": 1, "weight_decay": 0, "min_steps": 0}
    for key, least in smallest.items():
        if getattr(recipe, key) != "auto" and not getattr(recipe, key) >= least:
            raise UserError(f"{key} must be at least {least}, got {getattr(recipe, key)}.")
    if not recipe.learning_rate > 0:
        raise UserError(f"learning_rate must be positive, got {recipe.learning_rate}.")
    if recipe.gate_fitting not in GATE_FITTINGS:
        raise UserError(
            f"gate_fitting must be one of {', '.join(GATE_FITTINGS)}, got {recipe.gate_fitting!r}."
        )
    seeds = recipe.seeds
    if not all(type(seed) is int for seed in seeds) or not 0 < len(set(seeds)) == len(seeds):
        raise UserError(f"seeds must be different whole numbers such as [0, 1, 2], got {seeds}.")
    if recipe.vision_lora:
        check_vision_lora(recipe.vision_lora)
    task(recipe.task)
