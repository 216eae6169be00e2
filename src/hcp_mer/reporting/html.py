"""report.html: one page that holds everything, opens without a network and needs no script."""

from __future__ import annotations

import base64
import io
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.files import write_whole
from hcp_mer.reporting import figures, table
from hcp_mer.reporting.cross_mapping import (
    in_words,
    matrix,
    read_cross_mapping,
    rows_of_sets,
)
from hcp_mer.reporting.scores import read_metrics

if TYPE_CHECKING:
    from jinja2 import Environment

# Below hub_configs/, because a recipe's relative paths start at the repository that holds it.
RECIPE_PATH = "hub_configs/recipes/again.yaml"
EXAMPLE_IMAGES = {"onset": "onset", "magnified": "magnified", "flow": "optical flow"}


def write_report(run_folder: str | Path, examples: Sequence[Mapping[str, Any]] = ()) -> Path:
    """Write <run>/report.html and <run>/figures/*.png from <run>/metrics.json and recipe.yaml.

    Args:
        run_folder: a run that `hcp_mer.reporting.scores.write_metrics` has scored.
        examples: clips to show, each {"clip", "label", "prediction": text, "onset": image or
            None, "magnified": image, "flow": image}; an image is uint8, (height, width) or
            (height, width, 3) in RGB.
    Returns:
        the page's path.
    Raises:
        UserError: no metrics.json, an example that is no uint8 image, or the packages of the
            "report" extra are absent.
    """
    run_folder = Path(run_folder)
    metrics = read_metrics(run_folder)
    template = _environment().get_template("report.html.j2")
    embedded = [_embed(example) for example in examples]
    recipe = _read_recipe(run_folder)
    settings, command = how_to_reproduce(recipe)
    mapping = read_cross_mapping(run_folder)
    drawn = _draw(metrics, mapping)
    (run_folder / "figures").mkdir(exist_ok=True)
    for name, (light, _) in drawn.items():
        write_whole(run_folder / "figures" / f"{name}.png", figures.render(light, "png"))
    page = template.render(
        metrics=metrics,
        summary=summary(metrics),
        verdicts=table.baseline_verdicts(metrics),
        labels=table.labels_in_words(metrics),
        cross_corpus=table.is_cross_corpus(metrics),
        trained_on=table.listed(table.trained_on(metrics)),
        pooling=table.pooling(metrics),
        corpora=table.corpora(metrics),
        systems=list(table.systems(metrics)),
        synthetic=table.is_synthetic(metrics),
        figures={name: [_svg_uri(figure) for figure in pair] for name, pair in drawn.items()},
        examples=embedded,
        cross_mapping=in_words(mapping) if mapping else [],
        prompt_sets=rows_of_sets(mapping) if mapping else [],
        recipe=recipe,
        recipe_path=RECIPE_PATH,
        settings=settings,
        command=command,
    )
    path = run_folder / "report.html"
    write_whole(path, page)
    return path


def summary(metrics: Mapping[str, Any]) -> str:
    """The run in one sentence, with the interval of its UF1."""
    datasets = table.listed(metrics["per_dataset"])
    if len(metrics["per_dataset"]) > 1:
        datasets += " pooled"
    size = f"{table.counted(metrics['num_clips'], 'clip')} of " + table.counted(
        metrics["num_subjects"], "subject"
    )
    interval = metrics["interval_95"]["uf1"]
    spread = f" (95 % interval {interval[0]:.3f} to {interval[1]:.3f})" if interval else ""
    tested = f"On {size} ({datasets}), each subject held out in turn,"
    if table.is_cross_corpus(metrics):
        trained = table.listed(table.trained_on(metrics))
        tested = f"Trained on {trained} and tested on {size} ({datasets}),"
    return (
        f"{tested} {table.MODEL_NAME} reaches UF1 {metrics['metrics']['uf1']:.3f}{spread} and "
        f"UAR {metrics['metrics']['uar']:.3f} in the {metrics['task']} task."
    )


def how_to_reproduce(recipe: str | None) -> tuple[str, str]:
    """What to save as a recipe, and the shell line that trains the same run again.

    Args:
        recipe: text of the run's recipe.yaml. Training keeps what it was given under "recipe",
            beside versions and fingerprints that it would not take as settings; a file without
            that part is taken for the recipe itself.
    Returns:
        (YAML text, "" if there is none; command).
    """
    import yaml

    try:
        content = yaml.safe_load(recipe or "")
    except yaml.YAMLError:
        content = None
    content = content if isinstance(content, dict) else {}
    settings = content.get("recipe")
    if isinstance(settings, dict):
        recipe = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    dataset = _quoted(content.get("dataset")) or "PAIRS"
    if content.get("test_dataset"):
        dataset += f" --test_dataset {_quoted(content['test_dataset']) or 'TEST_PAIRS'}"
    command = (
        f"accelerate launch scripts/train_loso.py --recipe {RECIPE_PATH} \\\n"
        f"    --dataset {dataset} --output_dir runs/again"
    )
    return recipe or "", command


def _quoted(sources: Any) -> str:
    """One source, or a list of them, for a shell; empty for anything else."""
    sources = [sources] if isinstance(sources, str) else sources
    if not isinstance(sources, list) or not all(isinstance(place, str) for place in sources):
        return ""
    return " ".join(map(shlex.quote, sources))


def _draw(
    metrics: Mapping[str, Any], mapping: Mapping[str, Any] | None
) -> dict[str, tuple[Any, Any]]:
    """Each figure in the light and in the dark theme; the heat map where there is a mapping."""
    systems = list(table.systems(metrics))

    def both(draw: Any, *data: Any) -> tuple[Any, Any]:
        return draw(*data, figures.LIGHT), draw(*data, figures.DARK)

    drawn = {
        "scores": both(figures.scores_figure, systems, table.SCORE_TITLES),
        "confusion_matrix": both(
            figures.confusion_figure, metrics["confusion_matrix"], metrics["classes"]
        ),
        "per_subject_accuracy": both(figures.subjects_figure, metrics["per_subject"]),
    }
    if mapping:
        units, counts = matrix(mapping)
        own = mapping["classes"]
        sizes, names = [row["num_clips"] for row in own], [row["label"] for row in own]
        drawn["cross_mapping"] = both(figures.cross_mapping_figure, counts, sizes, names, units)
    return drawn


def _environment() -> Environment:
    """Jinja with escaping on: class names, clip ids and the recipe are other people's text."""
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise UserError(
            'the report is written with jinja2, which is absent: pip install "hcp_mer[report]"'
        ) from error
    templates = files("hcp_mer.reporting") / "templates"

    def load(name: str) -> str:
        return (templates / name).read_text(encoding="utf-8")

    environment = Environment(
        loader=FunctionLoader(load),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": _score, "interval": _interval, "readable": table.readable}
    return environment


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "no interval" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def _read_recipe(run_folder: Path) -> str | None:
    path = run_folder / "recipe.yaml"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


def _embed(example: Mapping[str, Any]) -> dict[str, Any]:
    """An example with its images as data URIs, in the order in which they are shown."""
    images = [
        (title, _png_uri(example[key], f"{key} of {example['clip']}"))
        for key, title in EXAMPLE_IMAGES.items()
        if example.get(key) is not None
    ]
    texts = {key: str(example[key]) for key in ("clip", "label", "prediction")}
    return {**texts, "images": images}


def _png_uri(image: np.ndarray, what: str) -> str:
    from PIL import Image

    image = np.asarray(image)
    if image.dtype != np.uint8 or not (image.ndim == 2 or image.shape[2:] == (3,)):
        raise UserError(
            f"the example image {what} must be uint8 of shape (height, width) or (height, width, "
            f"3), got {image.dtype} {image.shape}: scale it to 0–255 and convert it"
        )
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return _uri("image/png", buffer.getvalue())


def _svg_uri(figure: Any) -> str:
    return _uri("image/svg+xml", figures.render(figure, "svg"))


def _uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
