"""Which figures a run's files allow, each in the light and in the dark theme."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.errors import UserError
from hcp_mer.reporting import figures, table
from hcp_mer.reporting.cross_mapping import matrix

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

EMBEDDINGS = "embeddings.parquet"
# Fig. 4 of the paper: (a), (b), (c), where the ablations are there.
_FEATURE_SPACES = {
    "without the adapters": "ablations/without_adapter.embeddings.parquet",
    "without constraint and focal loss": (
        "ablations/without_consistency_and_focal.embeddings.parquet"
    ),
    "the full model": EMBEDDINGS,
}


@dataclass(frozen=True)
class Drawing:
    """A figure in both themes. `alt` says what it is, `caption` how to read it; `wide`: layout."""

    light: Figure
    dark: Figure
    alt: str
    caption: str
    wide: bool = False


def draw(
    run_folder: Path,
    content: Mapping[str, Any],
    attention: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Drawing]:
    """Every figure for which the run has the data, by the name of its file.

    Args:
        content: as `read_content` returns it; attention: rows for `figures.attention_figure`.
    Raises:
        UserError: a table is damaged, or the packages of the "report" extra are absent.
    """
    metrics = content["metrics"]
    seeds = " Mean over seeds." if len(metrics["seeds"]) > 1 else ""
    drawn = {
        "scores": _both(
            lambda theme: figures.scores_figure(
                list(table.systems(metrics)), table.SCORE_TITLES, theme
            ),
            "Dot and whisker chart of accuracy, UF1 and UAR; the tables have the numbers.",
            "Filled: HCP_MER. Hollow: peers and controls. Whiskers: 95 % interval over subjects.",
        ),
        "confusion_matrix": _both(
            lambda theme: figures.confusion_figure(
                metrics["confusion_matrix"], metrics["classes"], theme
            ),
            "Confusion matrix, rows true, columns predicted; precision and recall are in a table.",
            f"Clips, and share of the true class.{seeds}",
        ),
        "per_subject_accuracy": _both(
            lambda theme: figures.subjects_figure(metrics["per_subject"], theme),
            "Accuracy of every subject as a bar as wide as its number of clips; the numbers are in "
            "the table below.",
            "The coloured area is the share of clips recognised. Narrow bars rest on few clips: "
            "read nothing into one of them.",
            wide=True,
        ),
    }
    optional = {
        "gates": _gates(run_folder, metrics),
        "learning_curves": _learning_curves(run_folder),
        "embeddings": _embeddings(run_folder, metrics),
        "attention": _attention(attention),
        "ablations": _ablations(content),
        **_mapping(content["mapping"]),
    }
    return drawn | {name: drawing for name, drawing in optional.items() if drawing}


def _both(
    draw_one: Callable[[figures.Theme], Figure], alt: str, caption: str, wide: bool = False
) -> Drawing:
    return Drawing(draw_one(figures.LIGHT), draw_one(figures.DARK), alt, caption, wide)


def _gates(run_folder: Path, metrics: Mapping[str, Any]) -> Drawing | None:
    if len(metrics.get("mean_gates") or {}) < 2:
        return None  # a model with one branch has no gate
    predictions = _read(run_folder / "predictions.parquet", ("label", "gate_holistic"))
    return _both(
        lambda theme: figures.gates_figure(predictions, metrics["classes"], theme),
        "Weights that the gate gives the two branches, by true class.",
        "Each dot is a held-out clip: the weights α_h and β_c of Eq. 4, by its true class. They "
        "need not add up to one.",
    )


def _learning_curves(run_folder: Path) -> Drawing | None:
    curves = _read(run_folder / "learning_curves.parquet", ("epoch", "loss"))
    if curves is None:
        return None
    return _both(
        lambda theme: figures.learning_curves_figure(curves, theme),
        "Training loss by epoch, one thin line per fold and the median.",
        "Training loss only: nothing of a held-out clip is in it, and no epoch was chosen by it.",
    )


def _embeddings(run_folder: Path, metrics: Mapping[str, Any]) -> Drawing | None:
    import numpy as np

    panels = []
    for title, place in _FEATURE_SPACES.items():
        features = _read(run_folder / place, ("label", "seed", "embedding"))
        if features is not None:
            features = features[features["seed"] == features["seed"].min()]
            panels.append((title, np.stack(features["embedding"]), features["label"].tolist()))
    if not panels or any(len(labels) < 4 for _, _, labels in panels):
        return None  # t-SNE of fewer points shows nothing
    return _both(
        lambda theme: figures.tsne_figure(panels, metrics["classes"], theme),
        "t-SNE of the fused features, one marker per class, with the silhouette below.",
        "Fused features of the held-out clips, t-SNE (Fig. 4 of the paper). Each clip is embedded "
        "by the model of its own fold, which never saw its subject; t-SNE shows clusters in noise, "
        "too, so trust the silhouette.",
        wide=len(panels) > 1,
    )


def _attention(rows: Sequence[Mapping[str, Any]]) -> Drawing | None:
    if not rows:
        return None
    return _both(
        lambda theme: figures.attention_figure(rows, theme),
        "Attribution of each branch over the magnified apex and the flow, one row per class.",
        "Where the frozen tower's patches speak for the predicted class: mean over the held-out "
        "clips of a class, drawn over an example of it (Fig. 5 of the paper).",
        wide=True,
    )


def _ablations(content: Mapping[str, Any]) -> Drawing | None:
    rows = [(row["short"], row["scores"], row["interval_95"]) for row in content["ablations"]]
    if not rows:
        return None
    return _both(
        lambda theme: figures.ablation_figure(rows, content["metrics"]["task"], theme),
        "Bars of UF1 and UAR without each part; the table has the numbers.",
        "The model without one of its parts (Fig. 3 of the paper). Dashed: the full model. Trust "
        "the paired differences in the table, not whether intervals overlap.",
        wide=True,
    )


def _mapping(mapping: Mapping[str, Any] | None) -> dict[str, Drawing]:
    if not mapping:
        return {}
    units, counts = matrix(mapping)
    own = mapping["classes"]
    data = counts, [row["num_clips"] for row in own], [row["label"] for row in own], units
    drawings = {
        "cross_mapping": _both(
            lambda theme: figures.cross_mapping_figure(*data, theme),
            "Heat map of classes against action units: clips that show a unit, and their share of "
            "the class.",
            "Annotated clips of all subjects, sides dropped, and share of the class. Down a "
            "column: one action unit in several emotions. Along a row: what one emotion shows "
            "(Fig. 6 of the paper). This counts the data; it reached no fold.",
            wide=True,
        )
    }
    if units:
        drawings["bipartite"] = _both(
            lambda theme: figures.bipartite_figure(*data, theme),
            "Classes joined to action units by lines; the heat map above has the numbers.",
            "(a) Many to one: the action unit that stands in most classes. (b) One to many: the "
            "class that shows most action units. Lines are as wide as the share of the clips.",
            wide=True,
        )
    return drawings


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame | None:
    """A table of the run, None where there is none or it is empty.

    Raises:
        UserError: it is not readable, or lacks a column.
    """
    import pandas as pd

    if not path.is_file():
        return None
    try:
        content = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path} is not readable as parquet ({error}): delete it, or train the run again"
        ) from error
    missing = [column for column in columns if column not in content]
    if missing:
        raise UserError(
            f"{path} lacks the column {', '.join(missing)}: delete it, or train the run again"
        )
    return content if len(content) else None
