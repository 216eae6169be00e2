"""Which figures a run's files allow, each in the light and in the dark theme, with its caption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.reporting import figures
from hcp_mer.reporting.attention_rows import ATTENTION
from hcp_mer.reporting.leak import LEAKY_EPOCHS
from hcp_mer.reporting.run_figures import draw_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEWEST_EMBEDDINGS = 4  # t-SNE of fewer points shows nothing


@dataclass(frozen=True)
class Drawing:
    """A figure in both themes. `alt` says what it is, `caption` how to read it."""

    light: Figure
    dark: Figure
    alt: str
    caption: str

    @property
    def width_inches(self) -> float:
        return self.light.get_figwidth()

    @property
    def wide(self) -> bool:
        """Whether a column of the page is too narrow for its text."""
        return self.width_inches > figures.COLUMN_INCHES


@dataclass(frozen=True)
class _Kind:
    """`name` of `run_figures.FIGURES`, and what is said about it."""

    name: str
    alt: str
    caption: str


# Name of the file in figures/ → the figure.
_KINDS = {
    "scores": _Kind(
        "scores",
        "Dot and whisker chart of accuracy, UF1 and UAR; the tables have the numbers.",
        "Filled: HCP_MER. Hollow: peers and controls. Whiskers: 95 % interval over subjects.",
    ),
    "leak": _Kind(
        "leak",
        "UF1 against the number of epochs, honest and with the best epoch chosen on test subjects.",
        "The gap at the right end is the leak. Guessing gains the same way and has learnt nothing.",
    ),
    "ablations": _Kind(
        "ablation",
        "Bars of UF1 and UAR without each part; the table has the numbers.",
        "The model without one of its parts (Fig. 3 of the paper). Dashed: the full model. Trust "
        "the paired differences in the table, not whether intervals overlap.",
    ),
    "confusion_matrix": _Kind(
        "confusion",
        "Confusion matrix, rows true, columns predicted; precision and recall are in a table.",
        "Clips, and share of the true class; with several seeds their mean.",
    ),
    "reliability": _Kind(
        "reliability",
        "Reliability diagrams as trained and calibrated: share of right answers by score, with the "
        "number of answers in each bin.",
        "Bars: right answers among those with such a score. Marks: their mean score. Where the two "
        "meet, near the dashed line, a score is a probability. Numbers: held-out answers in the "
        "bin; read nothing into a bin of few. Left of the dotted line the answer is unsure.",
    ),
    "gates": _Kind(
        "gates",
        "Weights that the gate gives the two branches, by true class.",
        "Each dot is a held-out clip: the weights α_h and β_c of Eq. 4, by its true class. They "
        "need not add up to one.",
    ),
    "per_subject_accuracy": _Kind(
        "subjects",
        "Accuracy of every subject as a bar as wide as its number of clips; a table has the "
        "numbers.",
        "The coloured area is the share of clips recognised. Narrow bars rest on few clips: read "
        "nothing into one of them.",
    ),
    "embeddings": _Kind(
        "tsne",
        "t-SNE of the fused features, one marker per class, with the silhouette below.",
        "Fused features of the held-out clips (Fig. 4 of the paper). Each clip is embedded by the "
        "model of its own fold, which never saw its subject. t-SNE shows clusters in noise, too: "
        "trust the silhouette.",
    ),
    "attention": _Kind(
        "attention",
        "Attribution of each branch over the magnified apex and the flow, one row per class.",
        "Which patches of the frozen tower speak for the predicted class: mean over the held-out "
        "clips of a class, drawn over an example of it (Fig. 5 of the paper).",
    ),
    "learning_curves": _Kind(
        "learning_curves",
        "Training loss by epoch, one thin line per fold and the median.",
        "Training loss only: nothing of a held-out clip is in it, and no epoch was chosen by it.",
    ),
    "cross_mapping": _Kind(
        "cross_mapping",
        "Heat map of classes against action units: clips that show a unit, and their share of the "
        "class.",
        "Annotated clips of all subjects, sides dropped, and share of the class. Down a column: "
        "one action unit in several emotions. Along a row: what one emotion shows (Fig. 6 of the "
        "paper). This counts the data; it reached no fold.",
    ),
    "bipartite": _Kind(
        "bipartite",
        "Classes joined to action units by lines; the heat map above has the numbers.",
        "(a) Many to one: the action unit that stands in most classes. (b) One to many: the class "
        "that shows most action units. Lines are as wide as the share of the clips.",
    ),
}


def draw(run_folder: Path, content: Mapping[str, Any], pairs: Any | None) -> dict[str, Drawing]:
    """Every figure for which the run has the data, by the name of its file.

    Args:
        content: as `read_content` returns it; pairs: the run's prepared pairs, for attention over
            example frames, or None.
    Raises:
        UserError: a table is damaged, or the packages of the "report" extra are absent.
    """
    drawn = {}
    for name, kind in _KINDS.items():
        if _has_data(name, run_folder, content, pairs):
            light, dark = (
                draw_figure(kind.name, [run_folder], theme, lambda _: pairs)
                for theme in (figures.LIGHT, figures.DARK)
            )
            drawn[name] = Drawing(light, dark, kind.alt, kind.caption)
    return drawn


def _has_data(name: str, run_folder: Path, content: Mapping[str, Any], pairs: Any | None) -> bool:
    mapping = content["mapping"] or {"classes": []}
    metrics = content["metrics"]
    conditions = {
        "leak": bool(content["leak"]) and (run_folder / LEAKY_EPOCHS).is_file(),
        "ablations": bool(content["ablations"]),
        "reliability": bool(metrics.get("calibration")),
        "gates": len(metrics.get("mean_gates") or {}) == 2,  # one branch has no gate
        "embeddings": (run_folder / "embeddings.parquet").is_file()
        and metrics["num_clips"] >= _FEWEST_EMBEDDINGS,
        "attention": pairs is not None and (run_folder / ATTENTION).is_file(),
        "learning_curves": (run_folder / "learning_curves.parquet").is_file(),
        "cross_mapping": bool(mapping["classes"]),
        "bipartite": any(own["action_units"] for own in mapping["classes"]),
    }
    return conditions.get(name, True)
