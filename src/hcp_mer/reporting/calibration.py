"""How far a run's scores can be believed: held-out answers before and after a temperature.

A score is calibrated with the temperature that the other subjects' held-out answers lead to, so
that no subject has a say in how its own are judged. The checkpoint, which is for people who are in
no fold, gets the temperature of all held-out answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hcp_mer.errors import UserError
from hcp_mer.metrics.calibration import (
    NUM_BINS,
    TEMPERATURE_BOUNDS,
    UNSURE_BELOW,
    brier_score,
    calibrated,
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    temperatures_of_others,
)

if TYPE_CHECKING:
    import pandas as pd


def calibrate(predictions: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any] | None:
    """How well scores tell how often answers are right, as trained ("raw") and "calibrated".

    The answers of several seeds to one clip count as several answers.

    Args: predictions: held-out answers, with dataset, subject, label and `prob_<class>`.
    Returns:
        {"temperature" of all answers, "at_bound": it would go on beyond `TEMPERATURE_BOUNDS`,
        "temperatures_of_others": [lowest, highest], "num_answers", "ece", "nll" (nats), "brier" and
        "bins" (see `reliability`): each {"raw", "calibrated"}, "unsure_below", "answered_share" of
        the answers that reach it, "accuracy_when_answered", None where none does}; None where there
        are no probabilities, or one subject alone.
    Raises:
        UserError: probabilities of some classes only, or what is none.
    """
    read = _read(predictions, classes)
    if read is None:
        return None
    raw, labels, people = read
    others = temperatures_of_others(raw, labels, people)
    both = {"raw": raw, "calibrated": calibrated(raw, others)}
    bins = {name: reliability(own, labels) for name, own in both.items()}
    answered = both["calibrated"].max(axis=1) >= UNSURE_BELOW
    right = (raw.argmax(axis=1) == labels)[answered]
    temperature = fit_temperature(raw, labels)
    return {
        "temperature": temperature,
        "at_bound": temperature in TEMPERATURE_BOUNDS,
        "temperatures_of_others": [float(others.min()), float(others.max())],
        "num_answers": len(labels),
        "ece": {name: expected_calibration_error(own) for name, own in bins.items()},
        "nll": {name: negative_log_likelihood(own, labels) for name, own in both.items()},
        "brier": {name: brier_score(own, labels) for name, own in both.items()},
        "unsure_below": UNSURE_BELOW,
        "answered_share": float(answered.mean()),
        "accuracy_when_answered": float(right.mean()) if len(right) else None,
        "bins": bins,
    }


def config_fields(predictions: pd.DataFrame, classes: Sequence[str]) -> dict[str, float]:
    """What a checkpoint's config.json gets; nothing where `calibrate` has nothing to say."""
    read = _read(predictions, classes)
    if read is None:
        return {}
    raw, labels, _ = read
    return {"score_temperature": fit_temperature(raw, labels), "unsure_below": UNSURE_BELOW}


def in_words(metrics: Mapping[str, Any]) -> list[str]:
    """What a run's calibration comes to, in sentences; none where it has none."""
    own = metrics.get("calibration")
    if not own:
        return []
    ece, low, high = own["ece"], *own["temperatures_of_others"]
    lines = [
        f"Over {own['num_answers']} held-out answers the expected calibration error is "
        f"{ece['calibrated']:.3f} with a temperature, {ece['raw']:.3f} without ({NUM_BINS} bins of "
        "equal width; with few answers chance alone keeps it above zero). Each subject's "
        f"temperature was fitted on the other subjects' answers: {low:.2f} to {high:.2f}. That of "
        f"all answers, for new people, is {own['temperature']:.2f}. No answer changes by it."
    ]
    if own["at_bound"]:
        end = "lowest" if own["temperature"] == TEMPERATURE_BOUNDS[0] else "highest"
        lines.append(
            f"This is the {end} temperature there may be: these answers are too few, or too much "
            "alike, to say how sure the model may be."
        )
    return [*lines, _unsure_in_words(own, metrics["metrics"]["accuracy"])]


def of_checkpoint(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> str | None:
    """A checkpoint's calibration in a line for its card; None where it has none."""
    own = metrics.get("calibration")
    if not own or not config.get("unsure_below"):
        return None
    temperature = config.get("score_temperature", 1.0)  # a default need not be in the file
    return (
        f"The pipeline's scores are calibrated with temperature {temperature:.3g}: "
        f"expected calibration error {own['ece']['calibrated']:.3f} on held-out subjects, "
        f"{own['ece']['raw']:.3f} without; below {config['unsure_below']:g} the answer is to be "
        "taken as *unsure*."
    )


def _unsure_in_words(own: Mapping[str, Any], accuracy: float) -> str:
    rule = (
        f"Below a calibrated score of {own['unsure_below']:g} an answer is likelier wrong than "
        "right and is called unsure:"
    )
    share, right = own["answered_share"], own["accuracy_when_answered"]
    if right is None:
        return f"{rule} here all are."
    return (
        f"{rule} {share:.1%} of the answers remain, {right:.1%} of them right; of all answers "
        f"{accuracy:.1%} are."
    )


def _read(
    predictions: pd.DataFrame, classes: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray] | None:
    """Probabilities (answers, classes), labels as indices, who each answer is about."""
    columns = [f"prob_{name}" for name in classes]
    missing = [column for column in columns if column not in predictions]
    if len(missing) == len(columns):
        return None
    if missing:
        raise UserError(
            f"the predictions have no column {missing[0]}, though other classes have theirs: write "
            "the probabilities of all classes, or of none"
        )
    people = predictions.groupby(["dataset", "subject"]).ngroup().to_numpy()
    if len(np.unique(people)) < 2:
        return None
    index = {name: position for position, name in enumerate(classes)}
    labels = predictions["label"].map(index).to_numpy()
    probabilities = predictions[columns].to_numpy(np.float64)
    try:
        calibrated(probabilities, 1.0)
    except ValueError as error:
        raise UserError(f"the predictions' {error}: run the training again") from error
    return probabilities, labels, people
