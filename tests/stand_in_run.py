"""What a peer reads of a run, without a model: pairs, labels, subjects and folds."""

from types import SimpleNamespace

import numpy as np
import torch

from hcp_mer.data.pairs import label_pairs, load_pairs
from hcp_mer.data.tasks import TASKS
from hcp_mer.training.folds import leave_one_subject_out


def stand_in_run(folder, task="3-class"):
    """A run on the pairs in a folder, on the CPU."""
    pairs = load_pairs(folder)
    labelled = label_pairs(pairs, TASKS[task])
    everybody = list(zip(pairs.column("dataset"), pairs.column("subject")))
    people = [everybody[row] for row in labelled.rows]
    return SimpleNamespace(
        pairs=pairs,
        labelled=labelled,
        labels=torch.tensor(labelled.labels),
        subjects=np.array(["/".join(person) for person in people]),
        folds=leave_one_subject_out(people),
        classes=TASKS[task].classes,
        model=SimpleNamespace(device=torch.device("cpu")),
    )


def with_images(run, image):
    """The same run with other images. Args: `image(row, view)` → uint8 (H, W, 3)."""
    pairs = SimpleNamespace(image=image, settings=run.pairs.settings, column=run.pairs.column)
    return SimpleNamespace(**{**vars(run), "pairs": pairs})


def with_labels(run, labels):
    return SimpleNamespace(**{**vars(run), "labels": labels})


def accuracy(peer, run, folds=None):
    """Share of held-out clips that a peer answers rightly, over the first `folds` folds."""
    right = []
    for fold in run.folds[:folds]:
        peer.fit(run, fold.train, fold.seed(0, peer.name))
        right.extend(peer.predict(run, fold.test) == run.labels.numpy()[fold.test])
    return np.mean(right)
