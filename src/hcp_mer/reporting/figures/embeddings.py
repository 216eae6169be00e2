"""Feature space (Fig. 4): t-SNE of the clips' fused features, with a number beside the picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcp_mer.errors import UserError
from hcp_mer.reporting.figures.theme import (
    COLUMN_INCHES,
    LIGHT,
    PAGE_INCHES,
    SMALL_MARKERS,
    Theme,
    empty_figure,
    kind_styles,
    title,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FEWEST_CLIPS = 4
_MOST_COLUMNS = 3


def tsne_figure(
    panels: Sequence[tuple[str, ArrayLike, Sequence[str]]],
    classes: Sequence[str],
    theme: Theme = LIGHT,
) -> Figure:
    """t-SNE of each panel's features, all with the same settings; a marker for each class.

    Below a panel stands the silhouette of the classes in the features themselves: +1 where each
    class is a cluster of its own, 0 where classes overlap. A picture alone proves nothing: t-SNE
    makes clusters of noise, too. Distances are cosine, as the model itself compares.

    Args:
        panels: title, embeddings (num_clips, size) and the class of each clip; in a LOSO run each
            clip was embedded by the model of its own fold, so that folds differ a little.
        classes: all classes, in the order of the legend.
    Raises:
        UserError: fewer than four clips, features that are not finite, not a label for each.
    """
    checked = [(name, _checked(name, embeds, labels), labels) for name, embeds, labels in panels]
    # One perplexity for all panels: else a difference between them could be the setting's.
    perplexity = min(30.0, min((len(embeds) - 1) / 3 for _, embeds, _ in checked))
    columns = min(_MOST_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    width_inches = COLUMN_INCHES if columns == 1 else PAGE_INCHES * columns / _MOST_COLUMNS
    height_inches = rows * (width_inches / columns * 0.95) + 0.5
    figure, places = empty_figure(
        height_inches, theme, width_inches=width_inches, rows=rows, columns=columns
    )
    for axes, (name, embeds, labels) in zip(places, checked, strict=False):
        points = _tsne(embeds.tobytes(), embeds.shape, perplexity)
        _scatter(axes, points, np.asarray(labels), classes, theme)
        title(axes, name, theme)
        axes.set_xlabel(_in_words(embeds, labels), size=9)
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    figure.legend(
        *places[0].get_legend_handles_labels(),
        loc="outside upper center",
        ncols=min(len(classes), 7 if columns > 1 else 4),
        frameon=False,
        fontsize=9,
        labelcolor=theme.ink,
    )
    return figure


def silhouette(embeds: ArrayLike, labels: Sequence[str]) -> float | None:
    """Mean silhouette of the classes in [−1, 1] with cosine distances.

    Returns: None where it does not exist: one class only, or every clip its own.
    """
    from sklearn.metrics import silhouette_score

    number = len(set(labels))
    if not 2 <= number < len(labels):
        return None
    return float(silhouette_score(np.asarray(embeds, float), list(labels), metric="cosine"))


def _in_words(embeds: NDArray, labels: Sequence[str]) -> str:
    value = silhouette(embeds, labels)
    shown = "none" if value is None else f"{value:+.2f}".replace("-", "−")
    return f"silhouette {shown}, {len(embeds)} clips"


@lru_cache(maxsize=12)  # a report draws each panel in two themes
def _tsne(content: bytes, shape: tuple[int, int], perplexity: float) -> NDArray:
    """(num_clips, 2); the same features always give the same points."""
    from sklearn.manifold import TSNE

    embeds = np.frombuffer(content, np.float32).reshape(shape)
    return TSNE(perplexity=perplexity, init="pca", metric="cosine", random_state=0).fit_transform(
        embeds
    )


def _scatter(
    axes: Axes, points: NDArray, labels: NDArray, classes: Sequence[str], theme: Theme
) -> None:
    styles = kind_styles(len(classes), theme)
    size = 34 if len(points) < 300 else 18
    for label, (colour, marker) in zip(classes, styles, strict=True):
        own = points[labels == label]
        axes.scatter(
            *own.T,
            s=size * (1.6 if marker in SMALL_MARKERS else 1),
            c=colour,
            marker=marker,
            edgecolors=theme.page,
            linewidths=0.5,
            label=label,
            # The fewer clips a class has, the less it may be covered.
            zorder=3 - len(own) / len(points),
        )
    axes.set(xticks=[], yticks=[])
    axes.set_box_aspect(0.85)
    axes.spines[:].set_visible(True)


def _checked(name: str, embeds: ArrayLike, labels: Sequence[str]) -> NDArray[np.float32]:
    embeds = np.ascontiguousarray(embeds, np.float32)
    if embeds.ndim != 2 or len(embeds) != len(labels):
        raise UserError(
            f"{name}: t-SNE needs embeddings (num_clips, size) and a label for each clip, got "
            f"{embeds.shape} and {len(labels)} labels"
        )
    if len(embeds) < FEWEST_CLIPS:
        raise UserError(
            f"{name}: t-SNE of {len(embeds)} clips shows nothing; give at least {FEWEST_CLIPS}"
        )
    if not np.isfinite(embeds).all():
        raise UserError(f"{name}: some embeddings are not finite: train the run again")
    return embeds
