"""The card of the published metric: how to load it, what goes in, what comes out."""

from __future__ import annotations

from hcp_mer.reporting.markdown import render

GRADIO_VERSION = "6.31.0"  # the page was tried with it; a Space names one exactly
_PYTHON_VERSION = "3.11"


def render_metric_card(repo_id: str, revision: str | None) -> str:
    """Text of a metric Space's README.md.

    Args: repo_id, revision: where readers load it from; the revision may not be known yet.
    """
    from huggingface_hub import SpaceCardData

    data = SpaceCardData(
        title="Micro-expression recognition: accuracy, UF1, UAR",
        emoji="📏",
        colorFrom="indigo",
        colorTo="gray",
        sdk="gradio",
        sdk_version=GRADIO_VERSION,
        python_version=_PYTHON_VERSION,
        app_file="app.py",
        pinned=False,
        license="apache-2.0",
        tags=["evaluate", "metric"],
        description="Accuracy, unweighted F1 (UF1) and unweighted average recall (UAR) of "
        "micro-expression recognition, from the pooled predictions of leave-one-subject-out.",
    )
    return render(
        "metric_card.md.j2",
        front_matter=data.to_yaml(),
        repo_id=repo_id,
        revision=revision,
    )
