"""The model card: what a checkpoint is, how well it did, and what it is not for."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hcp_mer.files import read_json, write_whole
from hcp_mer.reporting import calibration
from hcp_mer.reporting.content import summary
from hcp_mer.reporting.markdown import render
from hcp_mer.reporting.scores import corpus_sizes
from hcp_mer.reporting.table import (
    MODEL_NAME,
    SCORE_TITLES,
    SYNTHETIC_DATASETS,
    baseline_verdicts,
    corpora,
    counted,
    is_cross_corpus,
    is_synthetic,
    labels_in_words,
    leaves_datasets_out,
    listed,
    pooling,
    systems,
    trained_on,
)

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

# Corpora that their owners hand out under signed agreements, for research alone: CASME, CASME II,
# CAS(ME)², CAS(ME)³, SMIC-HS, SAMM-LV, MEGC's composite of them, …
_LICENSED = re.compile(r"cas[^a-z0-9]*me|megc|(?<![a-z])(smic|samm(lv|long)?(?![a-z]))")
OWN_BACKBONE = "face-motion-clip"  # trained on rendered faces alone, Apache-2.0
LOCAL_FOLDER = "path/to/this/folder"
# What evaluate calls them; UF1 and UAR are the unweighted (macro) means over the classes.
_METRICS = {"accuracy": ("accuracy", None), "uf1": ("f1", "macro"), "uar": ("recall", "macro")}
_TAGS = (
    *("micro-expression-recognition", "micro-expression", "facial-action-units"),
    *("optical-flow", "motion-magnification", "prompt-learning", "clip", "hcp_mer"),
)


def usage_lines(model: str, magnified: str, flow: str, revision: str | None = None) -> list[str]:
    """Python that loads a checkpoint and asks it about one pair: an import and three lines.

    Args: model: a folder, or a repository on the Hub, whose `revision` (40 hex digits) is pinned.
    """
    place = _place(model, revision)
    return [
        "from transformers import AutoImageProcessor, AutoModel",
        f"model = AutoModel.from_pretrained({place}, trust_remote_code=True)",
        f"processor = AutoImageProcessor.from_pretrained({place}, trust_remote_code=True)",
        f'print(model.config.id2label[model(**processor(magnified="{magnified}", flow="{flow}", '
        'return_tensors="pt")).logits.argmax().item()])',
    ]


def pipeline_lines(model: str, onset: str, apex: str, revision: str | None = None) -> list[str]:
    """Python that asks a checkpoint about two face crops through transformers' pipeline."""
    return [
        "from transformers import pipeline",
        f"recognise = pipeline(model={_place(model, revision)}, trust_remote_code=True)",
        f'print(recognise(onset="{onset}", apex="{apex}"))',
    ]


def write_model_card(
    checkpoint: Path,
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    face: Mapping[str, Any] | None = None,
) -> None:
    """Write README.md beside a checkpoint on this machine, with the LOSO estimate as model-index.

    Args:
        metrics: content of metrics.json; config: content of the checkpoint's config.json; face:
            see `faces_in_words`.
    """
    processor = read_json(checkpoint / "preprocessor_config.json")
    write_whole(checkpoint / "README.md", render_model_card(metrics, config, processor, face=face))


def render_model_card(
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    processor: Mapping[str, Any],
    *,
    model: str = LOCAL_FOLDER,
    revision: str | None = None,
    datasets: Sequence[str] = (),
    licensed: bool = False,
    figures: Sequence[str] = (),
    face: Mapping[str, Any] | None = None,
) -> str:
    """Text of a deployable checkpoint's README.md.

    Args:
        metrics, config, processor: metrics.json, config.json and preprocessor_config.json.
        model, revision: where readers load it from, see `usage_lines`.
        datasets: the pairs as "owner/name@<commit>", where they are datasets on the Hub.
        licensed: it is known that a corpus is a licensed one, though its name here does not say so.
        figures: paths of PNG files beside the README that it shows.
        face: see `faces_in_words`.
    """
    pinned = [place.split("@") for place in datasets]  # id, commit
    data = _front_matter(metrics, config, licensed, [dataset_id for dataset_id, _ in pinned])
    data.eval_results = eval_results(metrics)
    data.model_name = MODEL_NAME
    return render(
        "model_card.md.j2",
        front_matter=data.to_yaml(),
        metrics=metrics,
        config=config,
        processor=processor,
        summary=summary(metrics),
        synthetic=is_synthetic(metrics),
        terms=terms_of_use(metrics, config, licensed),
        systems=list(systems(metrics)),
        verdicts=baseline_verdicts(metrics),
        labels=labels_in_words(metrics),
        corpora=[{**corpus, "name": _labelled(corpus["name"])} for corpus in corpora(metrics)],
        training_data=_training_data(metrics),
        pooling=pooling(metrics),
        cross_corpus=is_cross_corpus(metrics),
        leaves_datasets_out=leaves_datasets_out(metrics),
        trained_on=listed(map(_labelled, trained_on(metrics))),
        score_titles=SCORE_TITLES,
        figures=figures,
        revision=revision,
        datasets=pinned,
        backbone_id=_backbone_id(config),
        lora=config.get("vision_lora"),
        faces=faces_in_words(face),
        calibration=calibration.of_checkpoint(config, metrics),
        version=version("hcp_mer"),
        usage=usage_lines(model, "magnified.png", "flow.png", revision),
        has_pipeline=bool(config.get("custom_pipelines")),
        pipeline=pipeline_lines(model, "onset.png", "apex.png", revision),
    )


def faces_in_words(face: Mapping[str, Any] | None) -> str | None:
    """How faces were found and where the eyes lie, for whoever gives the checkpoint face crops.

    Args: face: `face` of the pairs' settings; None, or {}, where nothing is known of it.
    """
    from hcp_mer.model.face_regions_hcp_mer import EYE_SHARES

    if not face:
        return None
    if face["detector"] == "none":
        return "Faces were cropped by the corpus: frames were resized and not aligned."
    by = f"found by `{face['detector']}` in each clip's onset frame"
    if face["detector"] == "given":
        by = "given with each clip"
    (left, down), (right, _) = ((f"{100 * share:g} %" for share in eye) for eye in EYE_SHARES)
    text = (
        f"Faces were {by} and brought to one geometry: in the aligned square the eyes lie at "
        f"{left} and {right} of the width and {down} of the height."
    )
    if face.get("centre_crop"):
        text += " Where there was no face, the square in the middle of the frame was taken."
    return text


def render_fold_card(
    fold: Mapping[str, Any],
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    model: str,
    revision: str,
    licensed: bool = False,
) -> str:
    """Text of the README.md of one fold's weights, on a branch of their own.

    Args:
        fold: {"dataset", "subject", "num_clips", "accuracy"}, as in metrics["per_subject"], and
            "seed"; of a fold that held a whole corpus out the subject is "all".
        model, revision: the repository and the fold's branch.
    """
    return render(
        "fold_card.md.j2",
        front_matter=_front_matter(metrics, config, licensed, []).to_yaml(),
        fold=fold,
        metrics=metrics,
        held_out=counted(fold["num_clips"], "clip"),
        cross_corpus=is_cross_corpus(metrics) or leaves_datasets_out(metrics),
        trained_on=listed(
            name
            for name in trained_on(metrics)
            if name != fold["dataset"] or not leaves_datasets_out(metrics)
        ),
        synthetic=is_synthetic(metrics),
        usage=usage_lines(model, "magnified.png", "flow.png", revision),
    )


def eval_results(metrics: Mapping[str, Any]) -> list[EvalResult]:
    """The scores as the Hub reads them: pooled, then of each corpus where there are several.

    An interval goes into the metric's arguments.
    """
    names = list(metrics["per_dataset"])
    results = _results_of(metrics, names, metrics["metrics"], metrics["interval_95"])
    if len(names) > 1:
        for corpus in corpora(metrics):
            own = [corpus["name"]], corpus["scores"], corpus["intervals"]
            results += _results_of(metrics, *own)
    return results


def _results_of(
    metrics: Mapping[str, Any],
    names: list[str],
    scores: Mapping[str, float],
    intervals: Mapping[str, Any],
) -> list[EvalResult]:
    from huggingface_hub import EvalResult

    protocol = {"protocol": "leave-one-subject-out"}
    if leaves_datasets_out(metrics):
        protocol = {"protocol": "leave-one-dataset-out"}
    if is_cross_corpus(metrics):
        protocol = {"protocol": "cross-corpus", "trained_on": trained_on(metrics)}
    results = []
    for key, title in SCORE_TITLES.items():
        metric_type, average = _METRICS[key]
        arguments: dict[str, Any] = {"average": average} if average else {}
        arguments["seeds"] = list(metrics["seeds"])
        if intervals.get(key):
            arguments["interval_95"] = [round(float(bound), 4) for bound in intervals[key]]
        results.append(
            EvalResult(
                task_type="image-classification",
                task_name=f"micro-expression recognition, {metrics['task']}",
                dataset_type="+".join(names),
                dataset_name=" + ".join(map(_labelled, names)),
                dataset_config=metrics["task"],
                dataset_args={
                    **protocol,
                    "predictions": "pooled over subjects" + (" and corpora" * (len(names) > 1)),
                    "selection": metrics["selection"],
                },
                metric_type=metric_type,
                metric_name=title,
                metric_value=round(float(scores[key]), 4),
                metric_args=arguments,
            )
        )
    return results


def terms_of_use(
    metrics: Mapping[str, Any], config: Mapping[str, Any], licensed: bool = False
) -> str:
    """What may be done with the weights: "free", "research" or "unknown".

    Weights trained on a licensed corpus cannot be given away more freely than its owners allow, so
    they are not put under this software's licence; of data, or of an included backbone, that we
    do not know we claim nothing.
    """
    names = {*metrics["per_dataset"], *trained_on(metrics)}
    if licensed or any(map(is_licensed, names)):
        return "research"
    known_backbone = _backbone_id(config) or config.get("backbone") == OWN_BACKBONE
    return "free" if names <= SYNTHETIC_DATASETS and known_backbone else "unknown"


def is_licensed(corpus: str) -> bool:
    """Whether a corpus of that name, however it is spelt, may be used for research only."""
    return bool(_LICENSED.search(unicodedata.normalize("NFKD", corpus).lower()))  # ³ becomes 3


def _front_matter(
    metrics: Mapping[str, Any],
    config: Mapping[str, Any],
    licensed: bool,
    dataset_ids: list[str],
) -> ModelCardData:
    from huggingface_hub import ModelCardData

    licence = {
        "free": {"license": "apache-2.0"},
        "research": {"license": "other", "license_name": "research-only-training-data"},
        "unknown": {"license": "unknown"},
    }[terms_of_use(metrics, config, licensed)]
    backbone = _backbone_id(config)
    relation = {"base_model_relation": "adapter"} if backbone else {}
    return ModelCardData(
        **licence,
        library_name="transformers",
        # As an image-classification model the Hub would offer code that gives it one image.
        pipeline_tag="other",
        tags=[*_TAGS, *(["synthetic"] if is_synthetic(metrics) else [])],
        base_model=backbone,
        datasets=dataset_ids or None,
        metrics=["accuracy", "f1", "recall"],
        **relation,
    )


def _training_data(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Name, num_clips and num_subjects of each corpus that the saved model was trained on."""
    sizes = metrics.get("training_data") or corpus_sizes(metrics["per_subject"])
    return [{"name": _labelled(name), **size} for name, size in sizes.items()]


def _labelled(corpus: str) -> str:
    return f"{corpus} (synthetic)" if corpus in SYNTHETIC_DATASETS else corpus


def _backbone_id(config: Mapping[str, Any]) -> str | None:
    """The backbone's repository; None where it travels inside the checkpoint."""
    return None if config.get("save_backbone", True) else config.get("backbone")


def _place(model: str, revision: str | None) -> str:
    return f'"{model}"' + (f', revision="{revision}"' if revision else "")
