"""One figure of one answer, for a person to look at."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.files import make_folder, write_whole
from hcp_mer.recognition import panels
from hcp_mer.recognition.answer import NO_EXPRESSION, UNSURE, Recognition, Views
from hcp_mer.recognition.panels import BAR_ROW_INCHES, INK, USUAL_PT, WEAK, Bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTICE = "Research software: not for judging what a person feels, means or hides."
WIDTH_PX = 1200
MOST_SCORES = 8

_WIDTH, _MARGIN, _GAP, _COLUMNS = 12.0, 0.4, 0.3, 4  # inches, but for the last
_COLUMN = (_WIDTH - 2 * _MARGIN - (_COLUMNS - 1) * _GAP) / _COLUMNS
_TITLE, _KEY, _BETWEEN = 0.3, 0.42, 0.22  # above a panel, below it, between rows; inches
_COURSE = 2.3
_AXIS_LEFT = 0.55  # for the numbers along a course
_VALUE = 0.6  # for the number behind a bar's name
_NAME_PT, _ANSWER_PT, _REASON_PT = 9.5, 24.0, 11.5
# Fonts that have Chinese, Japanese and Korean letters, on Linux, macOS and Windows.
_MORE_FONTS = (
    *("Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "SimHei", "Arial Unicode MS"),
)


@dataclass(frozen=True)
class _Block:
    """A panel: its title, who paints it, inches that its axes keep clear to the left, its bars."""

    title: str
    paint: Callable[[Axes, _Page], None]
    left: float = 0.0
    bars: int = 0


@dataclass(frozen=True)
class _Row:
    """Panels side by side, (panel, how many columns it takes); height of their axes in inches."""

    blocks: list[tuple[_Block, int]]
    height: float
    below: float


def save_picture(recognition: Recognition, path: Path | str, width_px: int = WIDTH_PX) -> None:
    """Write `draw`'s figure as a PNG, whole or not at all.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
    """
    path = Path(path)
    figure = draw(recognition, width_px)
    png = io.BytesIO()
    figure.canvas.print_png(png, metadata={"Software": None})
    try:
        make_folder(path.parent)
        write_whole(path, png.getvalue())
    except OSError as error:
        path.with_name(f".{path.name}.partial").unlink(missing_ok=True)
        raise UserError(
            f"{path.name} cannot be written ({error.strerror or error}). Make room on the disk, "
            "or choose another place."
        ) from error


def draw(recognition: Recognition, width_px: int = WIDTH_PX) -> Figure:
    """The answer and all that led there on one page; what is absent leaves no gap.

    The faces that the model saw, how the skin moved, where its branches looked, how the clip moved
    over time, the scores, the gate's two weights and the nearest action units. Safe in threads:
    nothing of pyplot.

    Args: width_px, of the figure; text grows along, and the height follows from what there is.
    Raises:
        UserError: matplotlib is not installed.
    """
    page = _Page(width_px)
    name = page.shortened(recognition.name, _WIDTH - 2 * _MARGIN, _NAME_PT)
    reason = page.wrapped(recognition.reason, _WIDTH - 2 * _MARGIN, _REASON_PT)
    rows = _rows(recognition)
    header = 1.15 + 0.215 * (reason.count("\n") + 1)
    height = header + sum(_TITLE + row.height + row.below + _BETWEEN for row in rows) + 0.55
    page.set_height(height)
    page.write(_MARGIN, 0.32, name, size=_NAME_PT, color=WEAK)
    colour = WEAK if recognition.answer in (UNSURE, NO_EXPRESSION) else panels.BLUE
    answer = page.shortened(recognition.answer, 0.8 * (_WIDTH - 2 * _MARGIN), _ANSWER_PT)  # bold
    page.write(_MARGIN, 0.8, answer, size=_ANSWER_PT, color=colour, weight="bold")
    page.write(_MARGIN, 1.0, reason, size=_REASON_PT, va="top", linespacing=1.35)
    top = header
    for row in rows:
        page.place(row, top)
        top += _TITLE + row.height + row.below + _BETWEEN
    page.rule(height - 0.5)
    page.write(_MARGIN, height - 0.22, NOTICE, size=USUAL_PT, color=WEAK)
    return page.figure


class _Page:
    """A figure whose places are inches from its top left corner, and the measure of its words."""

    def __init__(self, width_px: int) -> None:
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ModuleNotFoundError as error:
            raise UserError(
                'pictures are drawn with matplotlib, which is absent: pip install "hcp_mer[report]"'
            ) from error
        self.figure = Figure((_WIDTH, _WIDTH), dpi=width_px / _WIDTH, facecolor="white")
        self._renderer = FigureCanvasAgg(self.figure).get_renderer()
        self._families = _font_families()
        self._letters = _letters(tuple(self._families))
        self._height = _WIDTH

    def set_height(self, height: float) -> None:
        self._height = round(height * self.figure.dpi) / self.figure.dpi  # whole px
        self.figure.set_size_inches(_WIDTH, self._height)

    def write(self, x: float, y: float, words: str, **looks: Any) -> None:
        """Words whose baseline begins at a place; never read as a formula."""
        looks = {"color": INK, "family": self._families, "parse_math": False, **looks}
        self.figure.text(x / _WIDTH, 1 - y / self._height, self.drawable(words), **looks)

    def rule(self, y: float) -> None:
        """A thin line from margin to margin."""
        from matplotlib.lines import Line2D

        ends, level = (_MARGIN / _WIDTH, 1 - _MARGIN / _WIDTH), 1 - y / self._height
        self.figure.add_artist(Line2D(ends, (level, level), color=panels.FAINT, linewidth=1))

    def place(self, row: _Row, top: float) -> None:
        """Axes for each panel of a row, its title left above them."""
        column = 0
        for block, span in row.blocks:
            left = _MARGIN + column * (_COLUMN + _GAP)
            column += span
            width = span * (_COLUMN + _GAP) - _GAP
            title = self.shortened(block.title, width, panels.TITLE_PT)
            self.write(left, top + 0.17, title, size=panels.TITLE_PT)
            x, bottom = left + block.left, top + _TITLE + row.height
            shares = (width - block.left) / _WIDTH, row.height / self._height
            axes = self.figure.add_axes((x / _WIDTH, 1 - bottom / self._height, *shares))
            block.paint(axes, self)
            for text in axes.texts:
                text.set_family(self._families)

    def inches(self, axes: Axes) -> tuple[float, float]:
        """Width and height of some axes."""
        box = axes.get_position()
        return box.width * _WIDTH, box.height * self._height

    def drawable(self, words: str) -> str:
        """Words with a box for each letter that no font has: matplotlib would warn of it."""
        return "".join(c if c == "\n" or ord(c) in self._letters else "□" for c in words)

    def width(self, words: str, size: float) -> float:
        """Of words in one line, in inches."""
        from matplotlib.font_manager import FontProperties

        font = FontProperties(family=self._families, size=size)
        width_px, _, _ = self._renderer.get_text_width_height_descent(
            self.drawable(words), font, ismath=False
        )
        return width_px / self.figure.dpi

    def shortened(self, words: str, width: float, size: float) -> str:
        """Words in one line that fits; what does not gives way to an ellipsis in the middle."""
        words = self.drawable(" ".join(words.split()))
        if self.width(words, size) <= width:
            return words
        kept = len(words)
        while kept > 2 and self.width(_without_middle(words, kept), size) > width:
            kept -= max(1, kept // 20)
        return _without_middle(words, kept)

    def wrapped(self, words: str, width: float, size: float) -> str:
        """Words on lines that fit."""
        lines = [""]
        for word in self.drawable(words).split():
            longer = f"{lines[-1]} {word}".strip()
            if self.width(longer, size) <= width:
                lines[-1] = longer
            else:
                lines.append(self.shortened(word, width, size))
        return "\n".join(line for line in lines if line)


def _without_middle(words: str, kept: int) -> str:
    return f"{words[: (kept + 1) // 2]}…{words[len(words) - kept // 2 :]}"


def _font_families() -> list[str]:
    from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in _MORE_FONTS if name in installed)]


@lru_cache(maxsize=1)
def _letters(families: tuple[str, ...]) -> set[int]:
    """Code points that some of the fonts can draw."""
    from matplotlib.font_manager import findfont, get_font

    return set().union(*(get_font(findfont(name)).get_charmap() for name in families))


def _rows(recognition: Recognition) -> list[_Row]:
    """Faces four by four, the course beside the last of them or below, then the bars.

    Where faces leave columns free, the course fills them if there are two, else the first bars do.
    """
    faces = [] if recognition.views is None else _faces(recognition.views)
    course = [] if recognition.course is None else [_course(recognition)]
    charts = _charts(recognition)
    rows = [
        _Row([(face, 1) for face in faces[start : start + _COLUMNS]], _COLUMN, _KEY)
        for start in range(0, len(faces), _COLUMNS)
    ]
    free = -len(faces) % _COLUMNS
    beside = course if free >= 2 and course else charts if free else []
    if beside:
        rows[-1].blocks.append((beside.pop(0), free))
    if course:
        rows.append(_Row([(course[0], _COLUMNS)], _COURSE, _KEY))
    if charts:
        spans = {1: (4,), 2: (2, 2), 3: (2, 1, 1)}[len(charts)]
        height = BAR_ROW_INCHES * max(chart.bars for chart in charts)
        rows.append(_Row(list(zip(charts, spans)), height, 0.0))
    return rows


def _faces(views: Views) -> list[_Block]:
    """Onset, apex, magnified apex, movement, and where the branches looked."""
    shown = [("onset", views.onset), ("apex", views.apex), ("apex, magnified", views.magnified)]
    blocks = [
        _Block(title, lambda axes, page, image=image: panels.paint_face(axes, image))
        for title, image in shown
        if image is not None
    ]
    # Flow lies on the onset's grid; of a pair that was given ready-made there is no onset.
    under_flow = views.magnified if views.onset is None else views.onset
    if views.flow is not None:
        blocks.append(
            _Block(
                "movement from onset to apex",
                lambda axes, page: panels.paint_movement(axes, views.flow, under_flow),
            )
        )
    for branch, attention in views.attention.items():
        face = _looked_at(views, branch)
        if face is not None:
            blocks.append(
                _Block(
                    f"attention, {branch} branch",
                    lambda axes, page, a=attention, f=face: panels.paint_look(axes, a, f),
                )
            )
    return blocks


def _looked_at(views: Views, branch: str) -> np.ndarray | None:
    """The picture to lay a branch's attention over: a face wherever there is one."""
    default = "magnified" if branch == "holistic" else "flow"
    if views.seen.get(branch, default) == "magnified":
        order = (views.magnified, views.apex, views.onset, views.flow)
    else:
        order = (views.onset, views.magnified, views.apex, views.flow)
    return next((image for image in order if image is not None), None)


def _course(recognition: Recognition) -> _Block:
    return _Block(
        "movement since the onset, head motion taken out",
        lambda axes, page: panels.paint_course(axes, recognition.course),
        left=_AXIS_LEFT,
    )


def _charts(recognition: Recognition) -> list[_Block]:
    """Scores, gate and action units, as far as there are any."""
    explanation = recognition.explanation or {}
    return [
        *([_scores(recognition)] if recognition.scores else []),
        *([_gate(explanation)] if explanation.get("gate") else []),
        *([_action_units(explanation)] if explanation.get("action_units") else []),
    ]


def _scores(recognition: Recognition) -> _Block:
    ranked = sorted(recognition.scores, key=lambda row: -row["score"])
    bars = [
        Bar(row["label"], _percent(row["score"]), row["score"], row["label"] == recognition.answer)
        for row in ranked[:MOST_SCORES]
    ]
    title = "scores"
    if recognition.answer in (UNSURE, NO_EXPRESSION):
        title += f": {recognition.answer}"
    if len(ranked) > MOST_SCORES:
        title += f", the first {MOST_SCORES} of {len(ranked)}"
    return _bars(title, bars, whole=1.0)


def _gate(explanation: dict[str, Any]) -> _Block:
    """The two weights, which need not add up to 1, and what each branch says for itself."""
    bars = []
    for branch, weight in explanation["gate"].items():
        own = explanation.get(branch)
        says = f": {own[0]['label']} {_percent(own[0]['score'])}" if own else ""
        bars.append(Bar(f"{branch}{says}", f"{weight:.2f}", weight))
    return _bars("gate: weight of each branch", bars, whole=1.0)


def _action_units(explanation: dict[str, Any]) -> _Block:
    """Units by their cosine with the flow, or of a zero-shot answer by their log-odds."""
    units = explanation["action_units"]
    what = "similarity" if "similarity" in units[0] else "log_odds"
    bars = [
        Bar(
            f"{unit['action_unit']} {unit['name']}",
            f"{unit[what]:.2f}".replace("-", "−"),
            unit[what],
        )
        for unit in units
    ]
    measure = "similarity" if what == "similarity" else "log-odds, nats"
    return _bars(f"nearest action units ({measure})", bars, whole=None)


def _bars(title: str, bars: list[Bar], whole: float | None) -> _Block:
    def paint(axes: Axes, page: _Page) -> None:
        width, height = page.inches(axes)
        fitting = [
            replace(bar, label=page.shortened(bar.label, width - _VALUE, USUAL_PT)) for bar in bars
        ]
        panels.paint_bars(axes, fitting, height / BAR_ROW_INCHES, whole)

    return _Block(title, paint, bars=len(bars))


def _percent(score: float) -> str:
    return "< 1 %" if 0 < score < 0.005 else f"{100 * score:.0f} %"
