"""The registry of flow estimators."""

import subprocess
import sys
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from hcp_mer.errors import UserError
from hcp_mer.model.flow_hcp_mer import estimate_flow
from hcp_mer.motion import flownet2
from hcp_mer.motion.flow import ESTIMATORS, estimator
from hcp_mer.motion.flownet2 import FlowNet
from tests.motion.shifting import ShiftingNetwork

WITHOUT_WEIGHTS = ["lucas_kanade", "dis", "farneback"]
NOISE = np.random.default_rng(0).integers(0, 256, (2, 48, 40, 3), dtype=np.uint8)


@pytest.fixture
def flownet(monkeypatch, tmp_path):
    """FlowNet's door and registry entry, with a small network behind them."""
    weights = tmp_path / "FlowNet2-SD_checkpoint.pth.tar"
    weights.write_bytes(b"stands for 173 MB")
    loaded = []

    def load(path):
        loaded.append(path)
        return FlowNet("FlowNet2-SD", ShiftingNetwork()).eval()

    monkeypatch.setattr(flownet2, "load_flownet2", load)
    return SimpleNamespace(weights=str(weights), loaded=loaded)


def test_the_default_is_what_travels_with_a_checkpoint():
    assert estimator() is estimator("lucas_kanade")
    np.testing.assert_array_equal(estimator()(*NOISE), estimate_flow(*NOISE))


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_every_estimator_gives_dx_dy_from_onset_to_apex(portrait, known, name):
    onset = known.sensed(portrait.still, np.random.default_rng(0))
    flow_px = estimator(name)(onset, np.roll(onset, (-1, 2), axis=(0, 1)))
    assert flow_px.shape == (224, 224, 2)
    assert flow_px.dtype == np.float32
    inner = flow_px[24:-24, 24:-24]
    np.testing.assert_allclose(np.median(inner, axis=(0, 1)), (2, -1), atol=0.05)


def test_tv_l1_is_read_from_opencvs_contributed_modules(monkeypatch):
    """Where they are installed; here they are stood for by one that knows what it was given."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in NOISE]

    def calc(onset, apex, start):
        np.testing.assert_array_equal((onset, apex), grey)
        return np.full((48, 40, 2), 0.5, np.float32)

    contributed = SimpleNamespace(DualTVL1OpticalFlow_create=lambda: SimpleNamespace(calc=calc))
    monkeypatch.setattr(cv2, "optflow", contributed, raising=False)
    assert (ESTIMATORS["tvl1"]()(*NOISE) == 0.5).all()
    monkeypatch.delattr(cv2, "optflow")
    with pytest.raises(UserError, match="pip install opencv-contrib-python"):
        ESTIMATORS["tvl1"]()


def test_flownet_is_loaded_once_and_gives_px_in_our_order(flownet):
    network = estimator("flownet2", flownet.weights)
    assert network is estimator("flownet2", flownet.weights)
    assert flownet.loaded == [flownet.weights]
    assert network.variant == "FlowNet2-SD"
    onset, apex = np.zeros((2, 64, 128, 3), np.uint8)
    apex[..., 0], apex[..., 2] = 40, 80  # the stand-in answers with red / 20 and blue / 20
    flow_px = network(onset, apex)
    assert (flow_px.shape, flow_px.dtype) == ((64, 128, 2), np.float32)
    np.testing.assert_allclose(flow_px[20, 30], (2.0, 4.0), atol=1e-4)


@pytest.mark.parametrize("name", [*WITHOUT_WEIGHTS, "flownet2"])
def test_many_are_each_one_alone(flownet, name):
    chosen = estimator(name, flownet.weights if name == "flownet2" else None)
    clips = np.random.default_rng(1).integers(0, 256, (3, 2, 48, 40, 3), dtype=np.uint8)
    together = chosen.many(list(clips[:, 0]), list(clips[:, 1]))
    for clip, flow_px in zip(clips, together, strict=True):
        np.testing.assert_allclose(flow_px, chosen(*clip), atol=1e-4)


@pytest.mark.parametrize("name", [*WITHOUT_WEIGHTS, "flownet2"])
@pytest.mark.parametrize(
    ("onset", "apex", "message"),
    [
        (NOISE[0], NOISE[1][:40], "onset and apex must have one size"),
        (NOISE[0][..., 0], NOISE[1][..., 0], r"onset must have shape \(H, W, 3\), got \(48, 40\)"),
        (NOISE[0] / 255, NOISE[1], "onset must be a uint8 array, got float64"),
        (NOISE[0][:8, :8], NOISE[1][:8, :8], r"at least 32 px a side, got \(8, 8\)"),
    ],
)
def test_wrong_frames_are_refused_by_all(flownet, name, onset, apex, message):
    chosen = estimator(name, flownet.weights if name == "flownet2" else None)
    with pytest.raises(ValueError, match=message) as caught:
        chosen(onset, apex)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", WITHOUT_WEIGHTS)
def test_a_still_face_a_black_and_a_large_one_give_finite_flow(name):
    chosen, black = estimator(name), np.zeros((64, 64, 3), np.uint8)
    assert np.abs(chosen(NOISE[0], NOISE[0])).mean() < 3e-3
    assert np.isfinite(chosen(black, black)).all()
    large = np.random.default_rng(2).integers(0, 256, (2160, 3840, 1), dtype=np.uint8)
    flow_px = chosen(*np.broadcast_to(large, (2, 2160, 3840, 3)))
    assert flow_px.shape == (2160, 3840, 2)
    assert np.isfinite(flow_px).all()


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("lukas_kanade", None, r"lucas_kanade, dis, .*got 'lukas_kanade'.*'lucas_kanade'\?"),
        ("dis", "some.pth", "flow estimator dis reads no weights, got some.pth"),
        ("flownet2", None, "flow estimator flownet2 needs weights"),
        ("flownet2", "nowhere/FlowNet2.pth", "no weights of flow estimator flownet2 at nowhere"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_in_one_line(name, weights, message):
    with pytest.raises(UserError, match=message) as caught:
        estimator(name, weights)
    assert "\n" not in str(caught.value)


def test_choosing_needs_no_torch():
    """Motion by default is numpy and OpenCV; a network's library is for those who have one."""
    code = (
        "import sys; from hcp_mer.motion.pair import PairSettings; PairSettings().methods(); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
