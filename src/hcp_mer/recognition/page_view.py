"""What a page shows of an answer, as pieces of HTML that need no file and no other host."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcp_mer.recognition import panels
from hcp_mer.recognition.answer import NO_EXPRESSION, UNSURE, Course, Recognition

if TYPE_CHECKING:
    from gradio.themes import Base as Theme
    from jinja2 import Environment
    from matplotlib.figure import Figure

NOT_A_CLASS = (NO_EXPRESSION, UNSURE)
LEAST_LOG_ODDS = 0.0  # of an action unit that is named: more likely there than not
MOST_UNITS = 3
# Width and height in inches, size of text: for a desk, and for a phone that would shrink the first.
_WIDE, _NARROW = (6.9, 2.4), (3.6, 2.5)
_DPI = 160
_WEBP_QUALITY = 90
MOST_PLAYED = 60  # frames of a clip
PLAYED_MS = 80  # a frame is shown at least: an eye follows it


def render(name: str, **content: Any) -> str:
    """A template with what it is to show; text of other people is escaped."""
    return _environment().get_template(name).render(**content)


def _environment() -> Environment:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    return Environment(
        loader=FunctionLoader(_template),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _template(name: str) -> str:
    return (files("hcp_mer.recognition") / "templates" / name).read_text(encoding="utf-8")


def css(pictures: Sequence[np.ndarray] = ()) -> str:
    """The page's own style sheet, with the examples' pictures, so that none is a file."""
    rules = [
        f'#example-{number}::before {{ background-image: url("{image_uri(picture)}"); }}'
        for number, picture in enumerate(pictures)
    ]
    return "\n".join([_template("page.css"), *rules])


def said(words: str, kind: str = "busy", more: str = "") -> str:
    """A line for the status region.

    Args: `kind`, "idle", "busy", "done" or "error", which interrupts a screen reader; `more`, for
    those who listen alone, since others see it.
    """
    role = ' role="alert"' if kind == "error" else ""
    heard = f'<span class="heard"> {_escaped(more)}</span>' if more else ""
    return f'<p class="said {kind}"{role}>{_escaped(words)}{heard}</p>'


def _escaped(words: str) -> str:
    from markupsafe import escape

    return str(escape(words))


def answer(found: Recognition) -> str:
    """The answer, why, and the action units that are nearest."""
    return render(
        "page_answer.html.j2",
        recognition=found,
        scored=found.answer not in NOT_A_CLASS,
        sentence=sentence(found.reason),
        units=_units(found),
    )


def sentence(words: str, name: str = "") -> str:
    """With a full stop, and a capital unless it begins with `name`, which stays as it is."""
    words = words.strip().rstrip(".")
    if name and words.startswith(name):
        return f"{words}."
    return f"{words[:1].upper()}{words[1:]}."


def _units(found: Recognition) -> list[dict[str, Any]]:
    """The nearest action units; where there are log-odds, those that are likelier than not."""
    units = (found.explanation or {}).get("action_units") or []
    return [u for u in units if u.get("log_odds", 1.0) > LEAST_LOG_ODDS][:MOST_UNITS]


def scores(found: Recognition) -> str:
    """The classes' scores as bars; empty where there are none."""
    if not found.scores:
        return ""
    rows = [(row["label"], row["score"], _percent(row["score"])) for row in found.scores]
    return render("page_scores.html.j2", rows=rows, answer=found.answer)


def _percent(score: float) -> str:
    """In whole percent; never certain unless it is."""
    if 0 < score < 0.005:
        return "< 1 %"
    return "> 99 %" if 0.995 <= score < 1 else f"{100 * score:.0f} %"


def onset_face(found: Recognition) -> str:
    """The onset as it was filmed."""
    return _face(found.views.onset, "Onset", when(found.course, "onset"), "as filmed")


def magnified_face(found: Recognition, image: np.ndarray, alpha: float) -> str:
    """The apex, of which `image` has the movement since the onset `alpha` times as large."""
    times = "as filmed" if alpha == 1 else f"movement ×{alpha:.3g}"
    return _face(image, "Apex", when(found.course, "apex"), times)


def _face(image: np.ndarray, title: str, at: str, how: str) -> str:
    details = ", ".join(part for part in (at, how) if part)
    alt = f"The face at the {title.lower()} of the movement, {how}"
    uri = image_uri(image)
    return render("page_face.html.j2", uri=uri, alt=alt, title=title, details=details)


def limits(alpha: float, most: float) -> str:
    """What the slider's two ends and its first place are."""
    return f"The model saw ×{alpha:.3g}. Beyond ×{most:.3g} the skin would fold."


def when(course: Course | None, name: str) -> str:
    """When a key frame is, in words; empty of a pair without a course."""
    if course is None:
        return ""
    index = getattr(course, name)
    if course.times_s is None:
        return f"frame {course.numbers[index]}"
    return f"{1000 * course.times_s[index]:.0f} ms"


def film(found: Recognition) -> str:
    """The clip as it was filmed, aligned on the face, to be played by those who open it."""
    frames = found.frames or []
    if len(frames) < 2:
        return ""
    shown = np.unique(np.linspace(0, len(frames) - 1, MOST_PLAYED).round().astype(int))
    slower, shown_ms = _pace(found.course, shown)
    pictures = [frames[index] for index in shown]
    return render(
        "page_film.html.j2", uri=_moving_uri(pictures, shown_ms), count=len(frames), slower=slower
    )


def _pace(own: Course, shown: np.ndarray) -> tuple[str, int]:
    """How much slower a clip is played than filmed, in words, and how long each frame is shown."""
    if own.times_s is None:
        return "", PLAYED_MS
    filmed_ms = 1000 * (own.times_s[shown[-1]] - own.times_s[shown[0]]) / (len(shown) - 1)
    shown_ms = max(PLAYED_MS, round(filmed_ms))
    slower = shown_ms / filmed_ms
    return (f"{slower:.0f}" if slower >= 1.5 else ""), shown_ms


def course(found: Recognition) -> str:
    """How the face moved over time: the curve, its key frames and the clip's noise."""
    own = found.course
    keys = ", ".join(f"{name} at {when(own, name)}" for name in ("onset", "apex", "offset"))
    peak_px = float(own.energies_px[own.apex])
    alt = (
        f"Curve of the movement since the onset over {len(own.numbers)} frames: {keys}; "
        f"{peak_px:.2f} px at the apex, noise {own.noise_px:.2f} px."
    )
    wide, narrow = (png_uri(_course_figure(own, inches)) for inches in (_WIDE, _NARROW))
    caption = (
        "Mean movement of the skin since the onset, head and eyes taken out. Grey: the clip's own "
        "noise, below which nothing can be said."
    )
    return render("page_course.html.j2", wide=wide, narrow=narrow, alt=alt, caption=caption)


def _course_figure(own: Course, inches: tuple[float, float]) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(inches, dpi=_DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    panels.paint_course(axes, own)
    if inches == _NARROW:  # "apex, 150 ms, frame 9" thrice is too wide
        for text in axes.get_legend().get_texts():
            text.set_text(text.get_text().split(",")[0])
    return figure


def download(found: Recognition) -> str:
    """A link to the picture of the whole answer, which is in the link itself: no file is left."""
    from hcp_mer.recognition.picture import draw

    name = f"{Path(found.name).stem or 'clip'}.png"
    return (
        f'<a class="download" download="{_escaped(name)}" href="{png_uri(draw(found))}">'
        "Download all of this as one picture (PNG)</a>"
    )


def image_uri(image: np.ndarray) -> str:
    """A picture, uint8 RGB (H, W, 3), inside its own address."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(image).save(content, "WEBP", quality=_WEBP_QUALITY)
    return _uri("image/webp", content.getvalue())


def _moving_uri(images: Sequence[np.ndarray], shown_ms: int) -> str:
    from PIL import Image

    first, *rest = (Image.fromarray(image) for image in images)
    content = io.BytesIO()
    first.save(
        content, "WEBP", save_all=True, append_images=rest, duration=shown_ms, loop=0,
        quality=_WEBP_QUALITY, method=0,
    )  # fmt: skip
    return _uri("image/webp", content.getvalue())


def png_uri(figure: Figure) -> str:
    """A figure inside its own address."""
    content = io.BytesIO()
    figure.canvas.print_png(content, metadata={"Software": None})
    return _uri("image/png", content.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def theme() -> Theme:
    """Gradio's own in blue, with letters that are on the reader's machine and stand out enough."""
    from gradio import themes

    own = themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=[themes.Font(name) for name in ("system-ui", "Segoe UI", "Roboto", "sans-serif")],
        font_mono=[themes.Font(name) for name in ("ui-monospace", "monospace")],
    )
    # Its weak greys are too weak to read: 4.5 : 1 at least.
    weak, weak_dark = "*neutral_600", "*neutral_300"
    names = ("body_text_color_subdued", "block_info_text_color", "block_label_text_color")
    changes = dict.fromkeys(names, weak) | {f"{name}_dark": weak_dark for name in names}
    return own.set(**changes)
