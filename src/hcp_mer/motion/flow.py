"""Flow estimators by name: two frames in, raw flow in px out."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TypeVar

import cv2
import numpy as np

from hcp_mer.errors import UserError
from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.model.motion_hcp_mer import FlowEstimator

Choice = TypeVar("Choice")


def dis_medium(onset: np.ndarray, apex: np.ndarray) -> np.ndarray:
    """Dense inverse search (Kroeger et al. 2016), OpenCV's medium preset, on grey frames.

    Fast and good for large movements, but under sensor noise its error at 0.05 px exceeds that of
    predicting no motion: a baseline here. Same shapes and units as `estimate_flow`.
    """
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    onset_grey, apex_grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (onset, apex))
    return search.calc(onset_grey, apex_grey, None)


ESTIMATORS: Mapping[str, FlowEstimator] = {"refined_lk": estimate_flow, "dis_medium": dis_medium}
DEFAULT_ESTIMATOR = "refined_lk"


def estimator(name: str = DEFAULT_ESTIMATOR) -> FlowEstimator:
    """The estimator of that name. Raises UserError with the closest name if there is none."""
    return chosen("flow estimator", ESTIMATORS, name)


def chosen(kind: str, choices: Mapping[str, Choice], name: str) -> Choice:
    """What `choices` holds under `name`. Raises UserError with the closest name if nothing."""
    if name in choices:
        return choices[name]
    closest = difflib.get_close_matches(name, choices, n=1, cutoff=0.0)[0]
    known = ", ".join(sorted(choices))
    raise UserError(f"{kind} must be one of {known}, got {name!r}. Did you mean {closest!r}?")
