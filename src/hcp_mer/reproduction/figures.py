"""Fig. 3, 4, 5, 6 and 9 of the paper, from the files of the runs; nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.files import make_folder, write_whole
from hcp_mer.reporting import figures
from hcp_mer.reporting.ablations import ablation_rows
from hcp_mer.reporting.attention_rows import attention_rows
from hcp_mer.reporting.cross_mapping import matrix, read_cross_mapping
from hcp_mer.reproduction.settings import (
    ABLATED,
    ATTENTION_OF,
    CORPORA,
    FEATURES_OF,
    RUNS,
    Reproduction,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# (a), (b) and (c) of Fig. 4.
_FEATURE_SPACES = {
    "(a) without the adapters": "ablations/without_adapter.embeddings.parquet",
    "(b) without CC and LF": "ablations/without_consistency_and_focal.embeddings.parquet",
    "(c) HCP_MER": "embeddings.parquet",
}
_FEWEST_CLIPS = 4  # t-SNE of fewer shows nothing
# Stem of the file → what it shows, in the order of the paper.
TITLES = {
    "fig3_ablations": "Fig. 3: ablations on CAS(ME)³",
    "fig4_features": "Fig. 4: feature space, 7 classes of CAS(ME)³",
    "fig5_attention": "Fig. 5: where the branches look",
    "fig6_cross_mapping": "Fig. 6: emotions and action units",
    "fig9_confusion": "Fig. 9: confusion matrices",
}
WITH_FACES = ("fig5_attention",)


def write_figures(plan: Reproduction, runs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Draw what the finished runs allow; figures with faces go into the private part.

    Args: runs: name → metrics of each.
    Returns: stem of a figure → why it is not there, for those that are not; its old files go.
    """
    drawn: dict[str, Figure | str] = {
        "fig3_ablations": _ablations(plan, runs),
        "fig4_features": _features(plan, runs),
        "fig5_attention": _attention(plan, runs),
        "fig6_cross_mapping": _cross_mapping(plan, runs),
        "fig9_confusion": _confusion(runs),
    }
    missing = {}
    for stem, figure in drawn.items():
        for kind in ("png", "svg"):
            place = place_of(plan, stem, kind)
            if isinstance(figure, str):
                place.unlink(missing_ok=True)
                missing[stem] = figure
            else:
                make_folder(place.parent)
                write_whole(place, figures.render(figure, kind))
    return missing


def place_of(plan: Reproduction, stem: str, kind: str = "png") -> Path:
    folder = plan.private if stem in WITH_FACES else plan.root
    return folder / "figures" / f"{stem}.{kind}"


def _ablations(plan: Reproduction, runs: Mapping[str, Any]) -> Figure | str:
    groups = []
    for name in ABLATED:
        rows = ablation_rows(plan.run_of(name)) if name in runs else []
        if rows:
            bars = [(row["short"], row["scores"], row["interval_95"]) for row in rows]
            groups.append((runs[name]["task"], bars))
    return figures.ablation_tasks_figure(groups) if groups else "no ablations on CAS(ME)³"


def _features(plan: Reproduction, runs: Mapping[str, Any]) -> Figure | str:
    import numpy as np
    import pandas

    panels = []
    for title, place in _FEATURE_SPACES.items():
        path = plan.run_of(FEATURES_OF) / place
        if FEATURES_OF not in runs or not path.is_file():
            continue
        table = pandas.read_parquet(path)
        table = table[table["seed"] == table["seed"].min()]
        panels.append((title, np.stack(table["embedding"]), table["label"].tolist()))
    if not panels or len(panels[0][2]) < _FEWEST_CLIPS:
        return "no features of the 7-class task on CAS(ME)³"
    return figures.tsne_figure(panels, runs[FEATURES_OF]["classes"])


def _attention(plan: Reproduction, runs: Mapping[str, Any]) -> Figure | str:
    from hcp_mer.data.pairs import load_pairs

    for name in ATTENTION_OF:
        folder = plan.run_of(name)
        if name in runs and (folder / "attention.parquet").is_file():
            pairs = load_pairs(*(plan.pairs_of(corpus) for corpus in RUNS[name]))
            return figures.attention_figure(attention_rows(folder, pairs, runs[name]["classes"]))
    return "no attributions were computed"


def _cross_mapping(plan: Reproduction, runs: Mapping[str, Any]) -> Figure | str:
    mapping = read_cross_mapping(plan.run_of(FEATURES_OF)) if FEATURES_OF in runs else None
    if mapping is None:
        return "no annotated action units of 7 classes"
    units, counts = matrix(mapping)
    own = mapping["classes"]
    clips, labels = [row["num_clips"] for row in own], [row["label"] for row in own]
    return figures.bipartite_figure(counts, clips, labels, units)


def _confusion(runs: Mapping[str, Mapping[str, Any]]) -> Figure | str:
    panels = [
        (title_of(name), metrics["confusion_matrix"], metrics["classes"])
        for name, metrics in runs.items()
        if len(RUNS[name]) == 1  # the composite is not in the paper
    ]
    return figures.confusion_grid_figure(panels) if panels else "no run of a single corpus"


def title_of(name: str) -> str:
    """A run in words: "CAS(ME)³, 7-class"."""
    task = name.rpartition("-")[2].replace("class", "-class")
    if len(RUNS[name]) > 1:
        return f"composite of MEGC2019, {task}"
    return f"{CORPORA[RUNS[name][0]]}, {task}"
