"""From corpora to the folder that can be published, stage by stage."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from hcp_mer.errors import UserError
from hcp_mer.reproduction.publication import INDEX, write_publication
from hcp_mer.reproduction.settings import PRIVATE, Reproduction
from hcp_mer.reproduction.stages import stages_of, wanted, work


def reproduce(plan: Reproduction, only: Sequence[str] = ()) -> dict[str, Any]:
    """Do what is not done yet, then write tables, figures and the index.

    Args: only: goals, see `stages.GOALS`; everything where empty.
    Returns: what the index says.
    Raises:
        UserError: an unusable corpus, recipe or folder; several processes; a stage's own.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            "reproduce_paper.py is one process: start it with python. To share folds out, stop it "
            f"and train a run with accelerate launch scripts/train_loso.py into {plan.private}"
            "/runs/NAME; then go on here."
        )
    plan.check()
    stages = wanted(stages_of(plan), only)
    with plan.locked():
        work(plan, stages)
        return write_publication(plan)


def print_summary(plan: Reproduction, content: Mapping[str, Any]) -> None:
    """What there is now, and honestly what it is not."""
    for row in content["beside"]:
        low_high = row["uf1_interval_95"]
        bounds = f" [{low_high[0]:.2f}, {low_high[1]:.2f}]" if low_high else ""
        paper = f", the paper {row['paper_uf1']:.4f}" if row["paper_uf1"] is not None else ""
        leaky = row["leaky_best_epoch_uf1"]
        leaked = f", leaky_best_epoch {leaky:.3f}" if leaky is not None else ""
        print(f"{content['titles'][row['run']]}: UF1 {row['uf1']:.3f}{bounds}{leaked}{paper}")
    for title, sentences in content["verdicts"].items():
        for sentence in sentences[:1]:  # against chance, or that nothing else can be read
            print(f"{title}: {sentence}")
    for own in content["complete"]:
        print(f"{own['table']}: {'; '.join(own['lacks']) or 'complete'}")
    for figure in content["figures"]:
        print(f"{figure['title']}: {figure['missing'] or plan.root / figure['place']}")
    if content["synthetic"]:
        print(f"SYNTHETIC: {', '.join(content['synthetic'])}; no score here is about people.")
    for sentence in content["caveats"]:
        print(sentence)
    print(f"index: {plan.root / INDEX}. Do not publish {plan.root / PRIVATE}: it shows faces.")
