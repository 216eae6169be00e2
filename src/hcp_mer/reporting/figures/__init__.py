"""From plain data to matplotlib figures: no pyplot, no global state, a light and a dark theme.

Colours are Okabe and Ito's, which colour-blind readers tell apart; every value that a colour shows
is also written or marked by shape, so that the figures survive a grey printer.
"""

from hcp_mer.reporting.figures.ablation import ablation_figure, ablation_tasks_figure
from hcp_mer.reporting.figures.attention import attention_figure
from hcp_mer.reporting.figures.comparison import comparison_figure
from hcp_mer.reporting.figures.confusion import confusion_figure, confusion_grid_figure
from hcp_mer.reporting.figures.cross_mapping import bipartite_figure, cross_mapping_figure
from hcp_mer.reporting.figures.embeddings import silhouette, tsne_figure
from hcp_mer.reporting.figures.gates import gates_figure
from hcp_mer.reporting.figures.leak import leak_figure
from hcp_mer.reporting.figures.learning_curves import learning_curves_figure
from hcp_mer.reporting.figures.reliability import reliability_figure
from hcp_mer.reporting.figures.robustness import robustness_figure
from hcp_mer.reporting.figures.scores import scores_figure
from hcp_mer.reporting.figures.subjects import subjects_figure
from hcp_mer.reporting.figures.theme import (
    COLUMN_INCHES,
    DARK,
    LIGHT,
    PAGE_INCHES,
    Theme,
    add_note,
    render,
)

__all__ = [
    "COLUMN_INCHES",
    "DARK",
    "LIGHT",
    "PAGE_INCHES",
    "Theme",
    "ablation_figure",
    "ablation_tasks_figure",
    "add_note",
    "attention_figure",
    "bipartite_figure",
    "comparison_figure",
    "confusion_figure",
    "confusion_grid_figure",
    "cross_mapping_figure",
    "gates_figure",
    "leak_figure",
    "learning_curves_figure",
    "reliability_figure",
    "render",
    "robustness_figure",
    "scores_figure",
    "silhouette",
    "subjects_figure",
    "tsne_figure",
]
