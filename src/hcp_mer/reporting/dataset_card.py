"""The card of a dataset of pairs: whose faces, how many clips, how their motion was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hcp_mer.reporting.markdown import render

if TYPE_CHECKING:
    from datasets import DatasetInfo
    from huggingface_hub import DatasetCardData

_COLUMNS = {
    "magnified": "image: the apex frame, its motion since the onset magnified",
    "flow": "image: the optical flow from onset to apex",
    "onset_frame": "image: the onset frame",
    "emotion": "text: the corpus's own word, or a task's class",
    "subject": "text: the person, unique within `dataset`",
    "dataset": "text: the corpus",
    "clip_id": "text: the clip, unique within `subject`",
    "action_units": "list of text: FACS action units with their side, such as `4` or `L12`",
    "onset": "integer: frame number as annotated",
    "apex": "integer: frame number as annotated, or spotted",
    "offset": "integer: frame number as annotated",
    "apex_source": "text: `annotated` or `spotted`",
    "flow_scale_px": "number: the flow, in px, at level 255 of u and v",
}
_LICENCES = {
    "synthetic": {"license": "apache-2.0"},
    "licensed": {"license": "other", "license_name": "the-corpus-owners-agreement"},
    "unknown": {"license": "unknown"},
}
_TAGS = ("micro-expression-recognition", "micro-expression", "facial-action-units", "optical-flow")


@dataclass(frozen=True)
class PairsFacts:
    """What the card says.

    Attributes:
        origin: "synthetic", "licensed" or "unknown".
        info: features, number of clips and bytes, as `datasets` writes them.
        clips: (dataset, subject, emotion) of each clip.
        num_spotted: clips whose apex was spotted, not annotated.
        settings: of PairSettings, empty where the pairs were made elsewhere.
    """

    origin: str
    info: DatasetInfo
    clips: list[tuple[str, str, str]]
    num_spotted: int
    settings: Mapping[str, Any]


def render_dataset_card(facts: PairsFacts, repo_id: str, revision: str | None) -> str:
    """Text of README.md.

    Args: repo_id, revision: where readers load it from; the revision may not be known yet.
    """
    emotions = Counter((dataset, emotion) for dataset, _, emotion in facts.clips)
    people = Counter((dataset, subject) for dataset, subject, _ in facts.clips)
    names = sorted({dataset for dataset, _, _ in facts.clips})
    return render(
        "dataset_card.md.j2",
        front_matter=_front_matter(facts, names).to_yaml(),
        facts=facts,
        names=names,
        columns={name: _COLUMNS.get(name, "as given") for name in facts.info.features},
        words=sorted({emotion for _, _, emotion in facts.clips}),
        emotions=emotions,
        people=sorted(people.items()),
        num_people={name: sum(name == dataset for dataset, _ in people) for name in names},
        num_clips=Counter(dataset for dataset, _, _ in facts.clips),
        repo_id=repo_id,
        revision=revision,
    )


def _front_matter(facts: PairsFacts, names: list[str]) -> DatasetCardData:
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    synthetic = facts.origin == "synthetic"
    data = DatasetCardData(
        **_LICENCES[facts.origin],
        pretty_name=f"Micro-expression pairs from {', '.join(names)}"
        + (" (synthetic)" if synthetic else ""),
        task_categories=["image-classification"],
        tags=[*_TAGS, *(["synthetic"] if synthetic else []), "hcp_mer"],
        annotations_creators=["machine-generated"] if synthetic else None,
        size_categories=[_size_category(len(facts.clips))],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": "data/train-*"}],
            }
        ],
    )
    DatasetInfosDict({"default": facts.info}).to_dataset_card_data(data)
    return data


def _size_category(num_clips: int) -> str:
    """The Hub's own name for a size."""
    if num_clips < 1000:
        return "n<1K"
    return "1K<n<10K" if num_clips < 10_000 else "10K<n<100K"
