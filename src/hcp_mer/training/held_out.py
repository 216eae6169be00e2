"""What a trained fold leaves as tables: its answers for held-out clips, and how its loss fell."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hcp_mer.model.head_hcp_mer import HeadOutput
from hcp_mer.training.checkpoint import load_head

if TYPE_CHECKING:
    import pandas

    from hcp_mer.training.folds import Fold
    from hcp_mer.training.loso import LosoRun

_BRANCHES = ("holistic", "componential")


class HeldOut(NamedTuple):
    """A fold's held-out clips, a row each, with the columns of the run folder's tables.

    `embeddings` has dataset, subject, clip_id, label, embedding (a list of projection_dim numbers:
    the branches' features V^h and V^c, added with the weights of the gate) and seed.
    """

    predictions: pandas.DataFrame
    embeddings: pandas.DataFrame


def answer_held_out(run: LosoRun, fold: Fold, state: dict[str, Tensor], seed: int) -> HeldOut:
    """Ask a fold's model about the clips that it never saw.

    Args: state: the fold's trained part.
    """
    import pandas

    output = ask(run, fold, state)
    probabilities = output.logits.softmax(-1).cpu().double().numpy()
    name = np.array(run.classes)
    columns = {**run.identities(fold), "prediction": name[probabilities.argmax(-1)]}
    columns |= {f"prob_{label}": probabilities[:, i] for i, label in enumerate(run.classes)}
    branch_logits = dict(zip(run.model.config.branches, output.branch_logits))
    for index, branch in enumerate(_BRANCHES):
        logits = branch_logits.get(branch)
        columns[f"{branch}_prediction"] = (
            None if logits is None else name[logits.argmax(-1).cpu().numpy()]
        )
        gates = output.gate_weights
        columns[f"gate_{branch}"] = None if gates is None else gates[:, index].cpu().numpy()
    return HeldOut(
        predictions=pandas.DataFrame({**columns, "seed": seed}),
        embeddings=pandas.DataFrame(
            {
                **run.identities(fold),
                "embedding": list(_fused_embeds(output).cpu().float().numpy()),
                "seed": seed,
            }
        ),
    )


@torch.inference_mode()
def ask(run: LosoRun, fold: Fold, state: dict[str, Tensor]) -> HeadOutput:
    """What the head with a trained part says of a fold's held-out clips, in their order."""
    tower = run.tower_of(fold)
    head = load_head(tower.model, state)
    context = state["prompts.context"].to(tower.model.device)
    held_out = {branch: values[fold.test] for branch, values in run.inputs.items()}
    return head(tower.features(state, held_out), tower.model.encode_prompts(context))


def learning_curve(run: LosoRun, fold: Fold, losses: Tensor, seed: int) -> pandas.DataFrame:
    """The mean training loss of each epoch of a fold; nothing of held-out clips is in it.

    Args: losses: of each step, (steps,).
    Returns: dataset, subject, seed, epoch (from 1), loss.
    """
    import pandas

    epochs = losses.reshape(run.optimisation.num_epochs(len(fold.train)), -1).double().mean(-1)
    return pandas.DataFrame(
        {
            "dataset": fold.dataset,
            "subject": fold.subject,
            "seed": seed,
            "epoch": np.arange(1, len(epochs) + 1),
            "loss": epochs.numpy(),
        }
    )


def _fused_embeds(output: HeadOutput) -> Tensor:
    """(clips, projection_dim): α_h V^h + β_c V^c; of a single branch its own feature."""
    if output.gate_weights is None:
        return output.branch_embeds[0]
    return torch.einsum("nb,bnd->nd", output.gate_weights, torch.stack(output.branch_embeds))
