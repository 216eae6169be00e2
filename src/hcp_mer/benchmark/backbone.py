"""What a frozen backbone is worth on corpora that it was not made for.

On each unseen domain: no label at all (zero-shot), the paper's pooled adapter, an adapter on
patches, the same on a tower of random weights, and two peers that read the flow image's pixels.
One subject after the other is left out; all rows of a domain have the same clips, folds and seeds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hcp_mer.baselines.controls import random_backbone
from hcp_mer.baselines.protocol import run_peer
from hcp_mer.baselines.registry import make_peer
from hcp_mer.benchmark.timing import machine
from hcp_mer.domains.domains import DOMAINS
from hcp_mer.domains.folder import write_domain
from hcp_mer.errors import UserError
from hcp_mer.training.loso import LosoRun, open_run
from hcp_mer.training.recipe import Recipe
from hcp_mer.training.variants import Variant, train_variant, with_options

if TYPE_CHECKING:
    import pandas
    from numpy.typing import NDArray

ZERO_SHOT, PATCHES, RANDOM = "zero-shot", "patches", "patches, random tower"
SVM = "SVM on flow"
PEERS = {SVM: "flow_svm", "logistic regression on flow": "flow_logistic_regression"}
TRAINED: Mapping[str, Callable[[LosoRun], LosoRun]] = {
    "pooled": lambda run: with_options(run, adapter_input="pooled"),
    PATCHES: lambda run: run,
    RANDOM: random_backbone,
}


def run_backbone(
    recipe: Recipe,
    backbones: Mapping[str, str],
    closed: bool = False,
    num_subjects: int = 20,
    clips_per_subject: int = 10,
    domains_dir: Path | None = None,
    on_domain: Callable[[str], None] = lambda name: None,
) -> dict[str, Any]:
    """Measure backbones on the open domains, or on the closed ones as well.

    Args:
        recipe: how heads are trained, with its first seed; its backbone gives way to `backbones`,
            name → folder.
        closed: whether the domains that are kept for a last measurement are opened.
        domains_dir: where rendered domains are kept; None: nowhere.
        on_domain: told each domain's name before it is rendered.

    Returns: "machine"; "settings"; "rows", a list of {"backbone" (None for peers), "name",
        "domains": {domain: {"uf1", "interval" (95 %, over subjects), "minus_svm" (difference and
        its interval over the same subjects, of the SVM None)}}, "mean", "worst"}: over domains.
    Raises:
        UserError: an unusable recipe or backbone, too few subjects.
    """
    if recipe.trains_tower:
        raise UserError("the rows share frozen features: leave vision_lora out of the recipe.")
    names = [name for name, domain in DOMAINS.items() if closed or not domain.closed]
    tables: dict[tuple[str | None, str], dict[str, pandas.DataFrame]] = {}
    for name in names:
        on_domain(name)
        with tempfile.TemporaryDirectory() as place:
            pairs = write_domain(
                name, (domains_dir or Path(place)) / name, num_subjects, clips_per_subject
            )
            for row, table in _tables(recipe, backbones, pairs, Path(place)).items():
                tables.setdefault(row, {})[name] = table
    classes = recipe.label_task.classes
    rows = [
        {"backbone": backbone, "name": name, **_scored(own, tables[None, SVM], classes)}
        for (backbone, name), own in tables.items()
    ]
    settings = {"subjects": num_subjects, "clips_per_subject": clips_per_subject}
    settings |= {"closed": closed, "recipe": recipe.to_dict(), "backbones": dict(backbones)}
    return {"machine": machine(), "settings": settings, "rows": rows}


def _tables(
    recipe: Recipe, backbones: Mapping[str, str], pairs: Path, place: Path
) -> dict[tuple[str | None, str], pandas.DataFrame]:
    """(backbone, row) → its answers for one domain's held-out clips."""
    tables = {}
    for index, (backbone, folder) in enumerate(backbones.items()):
        model = {**recipe.model, "adapter_input": "patches"}
        own = replace(recipe, backbone=str(folder), model=model, seeds=recipe.seeds[:1])
        run = _opened(own, pairs, place / f"run-{index}")
        tables[backbone, ZERO_SHOT] = run_peer(make_peer("zero_shot"), run)
        for name, change in TRAINED.items():
            tables[backbone, name] = _trained(run, name, change)
        if index == 0:  # they do not read it
            tables |= {(None, n): run_peer(make_peer(peer), run) for n, peer in PEERS.items()}
    return tables


def _opened(recipe: Recipe, pairs: Path, folder: Path) -> LosoRun:
    from hcp_mer.data.pairs import load_pairs
    from hcp_mer.training.launch import open_accelerator
    from hcp_mer.training.run_folder import RunFolder

    return open_run(recipe, load_pairs(pairs), RunFolder(folder), open_accelerator(None, folder))


def _trained(run: LosoRun, name: str, change: Callable[[LosoRun], LosoRun]) -> pandas.DataFrame:
    import pandas

    # random_backbone keeps its features beside the table of this name.
    stem = "random_backbone" if change is random_backbone else name
    destination = f"baselines/{stem}.parquet"
    train_variant(Variant(name, change), run, destination)
    return pandas.read_parquet(run.folder.root / destination)


def _scored(
    tables: Mapping[str, pandas.DataFrame],
    of_svm: Mapping[str, pandas.DataFrame],
    classes: Iterable[str],
) -> dict[str, Any]:
    """One row, domain by domain, from the answers for held-out clips."""
    from hcp_mer.metrics.intervals import (
        bootstrap_difference_over_subjects,
        bootstrap_mean_difference,
        bootstrap_over_subjects,
    )
    from hcp_mer.metrics.mer.scores import uf1
    from hcp_mer.reporting.scores import subject_confusions

    def pooled(confusions: NDArray) -> float:
        return float(uf1(confusions.sum(axis=1)).mean())

    domains, differences, both = {}, [], []
    for name, table in tables.items():
        own = subject_confusions(table, list(classes))
        svm = subject_confusions(of_svm[name], list(classes))
        svm = np.broadcast_to(svm, own.shape)  # its seed changes nothing
        both.append((own, svm))
        differences.append(pooled(own) - pooled(svm))
        interval = bootstrap_difference_over_subjects(own, svm, uf1)
        domains[name] = {
            "uf1": pooled(own),
            "interval": list(bootstrap_over_subjects(own, uf1)),
            "minus_svm": None
            if table is of_svm[name]
            else {"uf1": differences[-1], "interval": list(interval)},
        }
    scores = [domain["uf1"] for domain in domains.values()]
    is_svm = all(domain["minus_svm"] is None for domain in domains.values())
    interval = bootstrap_mean_difference(both, uf1)
    return {
        "domains": domains,
        "mean": float(np.mean(scores)),
        "worst": min(scores),
        "minus_svm": None
        if is_svm
        else {"uf1": float(np.mean(differences)), "interval": list(interval)},
    }
