"""The metric's page as a Gradio Space: type true and predicted classes, read the scores.

Only the Space runs this. evaluate's own page maker asks for gradio 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

_OTHER_FILES = {"__init__", "app", "scores"}


def main() -> None:
    """Serve the page."""
    import gradio

    page = gradio.Interface(
        fn=load_scorer(Path(__file__).parent),
        inputs=[
            gradio.Textbox("0 0 1 2", label="references", info="true class index of each clip"),
            gradio.Textbox("0 1 1 2", label="predictions", info="in the same order"),
        ],
        outputs=gradio.JSON(label="scores"),
        title="Micro-expression recognition: accuracy, UF1, UAR",
        description="Give the predictions of all folds of leave-one-subject-out at once.",
        flagging_mode="never",
    )
    page.launch(show_error=True)  # the metric's own words, such as an unequal number of clips


def load_scorer(folder: Path) -> Callable[[str, str], dict[str, float]]:
    """The metric of a folder as a function of two lists of class indices, written as text.

    Its file is named like the repository: it is the one that is neither this nor `scores.py`.
    """
    import evaluate

    (module,) = (path for path in folder.glob("*.py") if path.stem not in _OTHER_FILES)
    metric = evaluate.load(str(module))

    def score(references: str, predictions: str) -> dict[str, float]:
        return metric.compute(references=_classes(references), predictions=_classes(predictions))

    return score


def _classes(text: str) -> list[int]:
    """Whole numbers, however they are set apart: "0 1 2", "0,1,2" or "[0, 1, 2]"."""
    words = re.split(r"[\s,;]+", text.strip(" \t\r\n[](),;"))
    if not all(re.fullmatch(r"\d+", word) for word in words):
        raise ValueError(f"give whole numbers such as 0 0 1 2, one for each clip; got {text!r}")
    return [int(word) for word in words]


if __name__ == "__main__":
    main()
