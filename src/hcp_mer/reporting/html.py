"""report.html: one page that holds everything, opens without a network and works without script."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.files import make_folder, write_whole
from hcp_mer.reporting import figures, table
from hcp_mer.reporting.content import read_content
from hcp_mer.reporting.drawings import Drawing, draw
from hcp_mer.reporting.report_markdown import write_markdown

if TYPE_CHECKING:
    from jinja2 import Environment

# A figure's text is then as large as the page's small print.
_REM_PER_INCH = 6.3
EXAMPLE_IMAGES = {"onset": "onset", "magnified": "magnified", "flow": "optical flow"}


def write_report(
    run_folder: str | Path,
    examples: Sequence[Mapping[str, Any]] = (),
    pairs: Any | None = None,
) -> Path:
    """Write report.html, report.md and figures/*.png of a run from the files in its folder.

    Args:
        run_folder: a run that `hcp_mer.reporting.scores.write_metrics` has scored.
        examples: clips to show, each {"clip", "label", "prediction": text}, perhaps
            "probability", "true_probability", "branches" and "num_wrong" as `choose_examples` has
            them, and "onset", "magnified", "flow": image or None; an image is uint8,
            (height, width) or (height, width, 3) in RGB.
        pairs: the run's prepared pairs, for the figure of attention; None leaves it out.
    Returns:
        the page's path.
    Raises:
        UserError: no metrics.json, a damaged table, an example that is no uint8 image, or the
            packages of the "report" extra are absent.
    """
    run_folder = Path(run_folder)
    environment = _environment()
    content = read_content(run_folder)
    embedded = [_embed(example) for example in examples]
    drawn = draw(run_folder, content, pairs)
    make_folder(run_folder / "figures")
    for name, drawing in drawn.items():
        write_whole(run_folder / "figures" / f"{name}.png", figures.render(drawing.light, "png"))
    write_markdown(run_folder, content, drawn, embedded)
    script = _template("report.js")
    page = environment.get_template("report.html.j2").render(
        **content,
        figures={name: _uris(drawing) for name, drawing in drawn.items()},
        right=[own for own in embedded if own["label"] == own["prediction"] and own["images"]],
        wrong=[own for own in embedded if own["label"] != own["prediction"]],
        pictures_of_people=not content["synthetic"]
        and ("attention" in drawn or any(own["images"] for own in embedded)),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )
    path = run_folder / "report.html"
    write_whole(path, page)
    return path


def _environment() -> Environment:
    """Jinja with escaping on: class names, clip ids and the recipe are other people's text."""
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise UserError(
            'the report is written with jinja2, which is absent: pip install "hcp_mer[report]"'
        ) from error
    environment = Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "score": _score,
        "signed": _signed,
        "interval": _interval,
        "signed_interval": _signed_interval,
        "readable": table.readable,
        "minus": _with_minus,
    }
    return environment


def _template(name: str) -> str:
    return (files("hcp_mer.reporting") / "templates" / name).read_text(encoding="utf-8")


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def _with_minus(text: str) -> str:
    """A sentence whose numbers have the sign that tables have."""
    return re.sub(r"(?<![\w.])-(?=\d)", "−", text)


def _interval(bounds: Sequence[float] | None) -> str:
    return "no interval" if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def _signed_interval(bounds: Sequence[float] | None) -> str:
    return "no interval" if bounds is None else " to ".join(map(_signed, bounds))


def _embed(example: Mapping[str, Any]) -> dict[str, Any]:
    """An example with its images as data URIs, in the order in which they are shown."""
    images = [
        (title, _png_uri(example[key], f"{key} of {example['clip']}"))
        for key, title in EXAMPLE_IMAGES.items()
        if example.get(key) is not None
    ]
    texts = {key: str(example[key]) for key in ("clip", "label", "prediction")}
    said = {key: example.get(key) for key in ("probability", "true_probability", "num_wrong")}
    return {**texts, **said, "branches": example.get("branches", []), "images": images}


def _png_uri(image: np.ndarray, what: str) -> str:
    from PIL import Image

    image = np.asarray(image)
    if image.dtype != np.uint8 or not (image.ndim == 2 or image.shape[2:] == (3,)):
        raise UserError(
            f"the example image {what} must be uint8 of shape (height, width) or (height, width, "
            f"3), got {image.dtype} {image.shape}: scale it to 0–255 and convert it"
        )
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return _uri("image/png", buffer.getvalue())


def _uris(drawing: Drawing) -> dict[str, Any]:
    """A drawing as the page shows it."""
    light, dark = (
        _uri("image/svg+xml", figures.render(own, "svg")) for own in (drawing.light, drawing.dark)
    )
    said = {"alt": drawing.alt, "caption": drawing.caption, "wide": drawing.wide}
    return {"light": light, "dark": dark, **said, "width_rem": _REM_PER_INCH * drawing.width_inches}


def _uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
