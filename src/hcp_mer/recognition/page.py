"""A page on which people try the pipeline: a clip in, the answer and the magnified movement out.

Nothing of a visitor stays: an upload is deleted as soon as it is answered, pictures are part of the
page and never files, and what the slider needs is forgotten with the visit. Nothing is asked of
another host.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.errors import UserError
from hcp_mer.motion.film import Film, open_film
from hcp_mer.motion.video import VIDEO_SUFFIXES
from hcp_mer.recognition import page_view as view
from hcp_mer.recognition.answer import Recognition
from hcp_mer.recognition.film_pipeline import MOST_FRAMES, MicroExpressionPipeline
from hcp_mer.recognition.page_examples import WrittenExample
from hcp_mer.recognition.page_uploads import FORGOTTEN_S, Uploads
from hcp_mer.recognition.page_visit import ALPHA_STEP, LEAST_ALPHA, MOST_ALPHA, Visit

if TYPE_CHECKING:
    from gradio import Blocks

MOST_MB = 100  # of an upload
MOST_WAITING = 16  # clips; further visitors are told to come back
VISIT_S = 1800
TITLE = "Micro-expressions, magnified"
INVITATION = "Choose a video or one of the examples: the answer comes here."
FORGOTTEN = "That answer is no longer kept here. Choose the clip again."
FULL = "Too many clips are waiting here. Try again in a minute."
SORRY = "This clip could not be answered, and it is not clear why. It was noted; try another one."
# This wrapper of the status stays while its content changes, as screen readers need it, and is not
# the one in which Gradio counts seconds.
_ON_LOAD = """() => {
    document.querySelector("#status .html-container").setAttribute("aria-live", "polite");
}"""
# On a phone the answer lies below what was touched.
_ON_NEWS = """() => {
    const place = document.getElementById("answer").getBoundingClientRect();
    if (place.top < 0 || place.top > innerHeight - 120)
        document.getElementById("answer").scrollIntoView();
}"""

_log = logging.getLogger(__name__)


def open_clip(path: Path) -> Film:
    """A video, if it is short enough to be a clip, before all of it is decoded.

    Raises UserError.
    """
    film = open_film(path)
    count = len(film.promised)
    if count > MOST_FRAMES:
        raise UserError(
            f"{film.name} has {count} frames; a clip has {MOST_FRAMES} at most. Cut it down to the "
            "moment that you want looked at."
        )
    return film


@dataclass(eq=False)
class Choice:
    """A clip that a visitor has chosen; `is_over`: it is answered, or they chose something else."""

    path: Path
    is_upload: bool = False
    is_over: bool = False


@dataclass(eq=False)
class Parts:
    """The parts of a page that change, Gradio's components."""

    upload: Any = None
    choice: Any = None
    status: Any = None
    result: Any = None  # all that follows, hidden until there is an answer
    answer: Any = None
    scores: Any = None
    movement: Any = None
    onset: Any = None
    magnified: Any = None
    alpha: Any = None
    course: Any = None
    film: Any = None
    download: Any = None
    visit: Any = None

    def shown(self) -> list[Any]:
        """Those that an answer changes."""
        return [part for name, part in vars(self).items() if name not in ("upload", "choice")]


class Page:
    """The page of one pipeline, and what happens on it. Handlers return {part: its new state}.

    Args: `uploads`, where visitors' videos go; `about`, lines on the model, see the templates.
    """

    def __init__(
        self,
        pipe: MicroExpressionPipeline,
        examples: Sequence[WrittenExample],
        uploads: Uploads,
        about: dict[str, str],
    ) -> None:
        self._pipe, self._examples, self._uploads, self._about = pipe, examples, uploads, about
        self.parts = Parts()

    # What happens.

    def take(self, arrived: str | None, before: Choice | None) -> dict[Any, Any]:
        """An upload has arrived: it is taken out of the server's folder.

        Args: `before`, what this visitor had chosen before.
        """
        parts = self.parts
        self.forget(before)
        if arrived is None:
            return {parts.choice: None}
        try:
            taken = self._uploads.take(arrived)
        except UserError as error:
            return {parts.choice: None, parts.upload: None, **self._complaint(str(error))}
        return {parts.upload: None, **self._begun(Choice(taken, is_upload=True), taken.name)}

    def start(self, example: WrittenExample, before: Choice | None) -> dict[Any, Any]:
        """An example has been chosen."""
        self.forget(before)
        return self._begun(Choice(example.path), example.title)

    def forget(self, choice: Choice | None) -> None:
        """Drop what a visitor had chosen: they chose something else, or have left."""
        if choice is not None:
            choice.is_over = True
            if choice.is_upload:
                self._uploads.discard(choice.path)

    def _begun(self, choice: Choice, name: str) -> dict[Any, Any]:
        words = view.said(f"Looking at {name} …")
        return {self.parts.choice: choice, **self._without_answer(words)}

    def _without_answer(self, words: str) -> dict[Any, Any]:
        """An earlier answer must not be read as this clip's."""
        parts = self.parts
        return {parts.status: words, parts.result: _shown(False), parts.visit: None}

    def _complaint(self, words: str, name: str = "") -> dict[Any, Any]:
        return self._without_answer(view.said(view.sentence(words, name), "error"))

    def answer_choice(self, choice: Choice | None) -> dict[Any, Any]:
        """The answer to what a visitor has chosen last; an upload is then deleted.

        Turns may come in another order than choices were made: the first one answers the last
        choice, the others find nothing to do.
        """
        nothing = {self.parts.status: _as_it_is()}
        if choice is None or choice.is_over:
            return nothing
        try:
            answered = self.answer(choice.path)
            return nothing if choice.is_over else answered  # something else was chosen meanwhile
        finally:
            self.forget(choice)

    def turn_away(self, choice: Choice | None) -> dict[Any, Any]:
        """There is no turn: the line of those who wait is full."""
        self.forget(choice)
        return {self.parts.choice: None, **self._complaint(FULL)}

    def answer(self, path: Path) -> dict[Any, Any]:
        """The answer to a clip, or in a sentence why there is none: nothing stops the next clip."""
        start = time.perf_counter()
        try:
            found = self._pipe.recognise(open_clip(path), attention=True)
            answered = self._answered(found)
        except UserError as error:
            # The folder is nobody's business, should a message have it.
            return self._complaint(str(error).replace(f"{path.parent}{os.sep}", ""), path.name)
        except Exception:
            _log.exception("a clip could not be answered")
            return self._complaint(SORRY)
        took_s = time.perf_counter() - start
        words, more = f"Answered in {took_s:.1f} s.", f"{found.name}: {found.answer}."
        return {self.parts.status: view.said(words, "done", more), **answered}

    def _answered(self, found: Recognition) -> dict[Any, Any]:
        parts = self.parts
        visit = Visit.of(found, self._pipe.image_processor.motion)
        content = {
            parts.visit: visit,
            parts.result: _shown(True),
            parts.answer: view.answer(found),
            parts.scores: view.scores(found),
            parts.film: view.film(found),
            parts.course: view.course(found),
            parts.download: "",
            parts.movement: _shown(visit.movement is not None),
        }
        if visit.movement is None:
            return content
        alpha, most = visit.movement.alpha, visit.movement.most
        return {
            **content,
            parts.onset: view.onset_face(found),
            parts.alpha: _shown(True, value=alpha, maximum=most, info=view.limits(alpha, most)),
            **self.magnify(visit, alpha),
        }

    def magnify(self, visit: Visit | None, alpha: float) -> dict[Any, Any]:
        """The slider has moved; no model is asked."""
        if visit is None or visit.movement is None:
            return {self.parts.status: view.said(FORGOTTEN, "error")}
        image, used = visit.movement.magnified(alpha), visit.movement.clipped(alpha)
        return {self.parts.magnified: view.magnified_face(visit.found, image, used)}

    def draw(self, visit: Visit | None) -> dict[Any, Any]:
        """The link to the picture, after the answer is there."""
        return {self.parts.download: "" if visit is None else view.download(visit.found)}

    # What it looks like.

    def blocks(self) -> Blocks:
        """The page, ready to be launched."""
        import gradio

        # Uploads of which nobody asked the answer are deleted by Gradio, all others by us.
        options = {"analytics_enabled": False, "delete_cache": (60, int(FORGOTTEN_S))}
        with gradio.Blocks(title=TITLE, **options) as blocks:
            gradio.HTML(view.render("page_intro.html.j2", **self._about))
            with gradio.Row(elem_id="desk"):
                with gradio.Column(scale=2, min_width=300):
                    buttons = self._build_choice()
                with gradio.Column(scale=3, min_width=300):
                    self._build_answer()
            gradio.HTML(view.render("page_end.html.j2", **self._about, minutes=VISIT_S // 60))
            self._connect(blocks, buttons)
        return blocks.queue(max_size=MOST_WAITING, default_concurrency_limit=1)

    def _build_choice(self) -> list[Any]:
        """Where a clip is chosen; the examples' buttons."""
        import gradio

        gradio.HTML(view.render("page_choice.html.j2", most_frames=MOST_FRAMES, most_mb=MOST_MB))
        kinds = list(VIDEO_SUFFIXES)
        self.parts.upload = gradio.File(
            label="A video of one face", file_types=kinds, height=150, elem_id="upload"
        )
        self.parts.choice = gradio.State(
            None, time_to_live=FORGOTTEN_S, delete_callback=self.forget
        )
        gradio.HTML(view.render("page_examples.html.j2"))
        looks = {"elem_classes": "example", "min_width": 90}
        with gradio.Row(elem_id="examples"):
            return [
                gradio.Button(one.title, elem_id=f"example-{number}", **looks)
                for number, one in enumerate(self._examples)
            ]

    def _build_answer(self) -> None:
        import gradio

        parts = self.parts
        gradio.HTML('<h2 id="answer">The answer</h2>')
        parts.status = gradio.HTML(view.said(INVITATION, "idle"), elem_id="status")
        parts.visit = gradio.State(None, time_to_live=VISIT_S)
        with gradio.Column(visible=False, elem_id="result") as parts.result:
            parts.answer = gradio.HTML()
            parts.scores = gradio.HTML()
            parts.film = gradio.HTML()
            with gradio.Column(elem_id="movement") as parts.movement:
                gradio.HTML("<h3>The movement, magnified</h3>")
                with gradio.Row(elem_id="faces"):
                    parts.onset = gradio.HTML()
                    parts.magnified = gradio.HTML(elem_id="magnified")
                parts.alpha = gradio.Slider(
                    LEAST_ALPHA,
                    MOST_ALPHA,
                    step=ALPHA_STEP,
                    label="Magnification: how many times as large",
                    buttons=[],
                    elem_id="alpha",
                )
            parts.course = gradio.HTML()
            parts.download = gradio.HTML()

    def _connect(self, blocks: Blocks, buttons: Sequence[Any]) -> None:
        """What leads to what. Clips are answered one by one; the slider waits for nobody."""
        parts = self.parts
        begun = [parts.choice, parts.status, parts.result, parts.visit]
        private = {"api_visibility": "private", "trigger_mode": "multiple"}
        at_once = {**private, "queue": False, "show_progress": "hidden"}
        in_turn = {**private, "concurrency_id": "clip", "concurrency_limit": 1}
        answering = {**in_turn, "show_progress": "minimal", "show_progress_on": parts.status}
        drawing = {**in_turn, "show_progress": "hidden"}
        arrived = [parts.upload, parts.choice]
        chosen = [parts.upload.upload(self.take, arrived, [parts.upload, *begun], **at_once)]
        for button, one in zip(buttons, self._examples, strict=True):
            chosen.append(button.click(partial(self.start, one), parts.choice, begun, **at_once))
        for choice in chosen:
            turn = choice.then(self.answer_choice, parts.choice, parts.shown(), **answering)
            turn.success(self.draw, parts.visit, parts.download, **drawing)
            turn.failure(self.turn_away, parts.choice, begun, **at_once)
        parts.alpha.input(
            self.magnify,
            [parts.visit, parts.alpha],
            [parts.magnified, parts.status],
            **{**at_once, "trigger_mode": "always_last"},
        )
        parts.status.change(js=_ON_NEWS, **at_once)
        blocks.load(js=_ON_LOAD)


def _as_it_is() -> dict[str, Any]:
    import gradio

    return gradio.skip()


def _shown(visible: bool, **changes: Any) -> dict[str, Any]:
    import gradio

    return gradio.update(visible=visible, **changes)
