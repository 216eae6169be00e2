"""The registry of flow estimators."""

import numpy as np
import pytest

from hcp_mer.errors import UserError
from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.motion.flow import ESTIMATORS, estimator


def test_the_default_is_what_travels_with_a_checkpoint():
    assert estimator() is estimator("refined_lk") is estimate_flow


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_gives_dx_dy_from_onset_to_apex(portrait, known, name):
    onset = known.sensed(portrait.still, np.random.default_rng(0))
    flow_px = estimator(name)(onset, np.roll(onset, (-1, 2), axis=(0, 1)))
    assert flow_px.shape == (224, 224, 2)
    assert flow_px.dtype == np.float32
    inner = flow_px[24:-24, 24:-24]
    np.testing.assert_allclose(np.median(inner, axis=(0, 1)), (2, -1), atol=0.05)


def test_an_unknown_estimator_is_answered_with_the_closest():
    with pytest.raises(UserError, match=r"dis_medium, refined_lk, got 'refind_lk'.*'refined_lk'\?"):
        estimator("refind_lk")
