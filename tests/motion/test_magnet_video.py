"""Static, dynamic and temporal magnification against loops by hand and scipy's filters."""

import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from hcp_mer.errors import UserError
from hcp_mer.motion.magnet import MagNet
from hcp_mer.motion.magnet_network import VARIANTS, MagNetNetwork
from hcp_mer.motion.magnet_video import TemporalFilter, magnify_video

FRAMES = np.random.default_rng(0).integers(0, 256, (9, 18, 22, 3), dtype=np.uint8)
BUTTER = TemporalFilter("butter", low=2.0, high=6.0, fps_hz=30.0, taps=2)
IIR = TemporalFilter("difference_of_iir", low=0.1, high=0.6)
FIR = TemporalFilter("fir", low=2.0, high=6.0, fps_hz=30.0, taps=5)


@pytest.fixture(scope="module")
def magnet():
    torch.manual_seed(0)
    return MagNet("official", MagNetNetwork(VARIANTS["official"])).eval().requires_grad_(False)


def tensor(frame):
    return torch.from_numpy(frame[None]).permute(0, 3, 1, 2).float() / 127.5 - 1


def levels(answer):
    return ((answer[0].clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def test_static_magnifies_what_moved_since_the_first_frame(magnet):
    for place, frame in enumerate(magnify_video(magnet, FRAMES, 4.0)):
        expected = levels(magnet(tensor(FRAMES[0]), tensor(FRAMES[place]), 4.0))
        np.testing.assert_array_equal(frame, expected)


def test_dynamic_magnifies_what_moved_since_the_frame_before(magnet):
    for place, frame in enumerate(magnify_video(magnet, FRAMES, 4.0, "dynamic")):
        before = FRAMES[max(0, place - 1)]
        expected = levels(magnet(tensor(before), tensor(FRAMES[place]), 4.0))
        np.testing.assert_array_equal(frame, expected)


def shapes_and_answers(magnet, monkeypatch, temporal):
    """What the encoder saw and what the manipulator was given, over time."""
    given = []
    network = magnet.network
    inner = network.magnified_change
    monkeypatch.setattr(
        network,
        "magnified_change",
        lambda change, gain: given.append(change) or inner(change, gain),
    )
    frames = list(magnify_video(magnet, FRAMES[:, :16, :20], 4.0, temporal))
    assert [frame.shape for frame in frames] == [(16, 20, 3)] * len(FRAMES)
    shapes = [network.encoder(tensor(frame))[1] for frame in FRAMES[:, :16, :20]]
    return torch.stack(shapes).numpy().astype(float), torch.stack(given).numpy()


@pytest.mark.parametrize("temporal", [BUTTER, IIR])
def test_a_running_filter_is_scipys_on_the_shapes(magnet, monkeypatch, temporal):
    """Begun as if the first frame had always been there, and no answer yet."""
    shapes, answers = shapes_and_answers(magnet, monkeypatch, temporal)
    ahead, back = temporal.coefficients()
    stood_still = np.concatenate([shapes[:1]] * (len(ahead) - 1) + [shapes])
    seen = signal.lfilter(ahead, [1.0], stood_still, axis=0)[len(ahead) - 1 :]
    expected = signal.lfilter([1.0], back, seen, axis=0)
    np.testing.assert_allclose(answers, expected, atol=1e-5)


def test_a_fir_filter_is_scipys_centred_and_cyclic(magnet, monkeypatch):
    shapes, answers = shapes_and_answers(magnet, monkeypatch, FIR)
    taps = signal.firwin(5, [2.0, 6.0], fs=30.0, pass_zero=False)
    np.testing.assert_allclose(
        answers, ndimage.convolve1d(shapes, taps, axis=0, mode="wrap"), atol=1e-5
    )


def test_the_difference_of_two_low_passes_is_one_filter():
    """y = fast − slow, each a running mean that keeps 1 − r of itself."""
    signal_in = np.random.default_rng(1).normal(size=40)
    fast = signal.lfilter([0.6], [1.0, -0.4], signal_in)
    slow = signal.lfilter([0.1], [1.0, -0.9], signal_in)
    np.testing.assert_allclose(signal.lfilter(*IIR.coefficients(), signal_in), fast - slow)


def test_a_running_filter_holds_no_more_frames_than_its_order(magnet):
    """Frame by frame: an answer comes before the next frame is asked for."""
    asked = []

    def clip():
        for place, frame in enumerate(FRAMES):
            asked.append(place)
            yield frame

    for place, _ in enumerate(magnify_video(magnet, clip(), 4.0, BUTTER)):
        assert asked[-1] == place


@pytest.mark.parametrize("temporal", [BUTTER, FIR])
def test_sizes_that_are_no_multiples_of_4_come_back(magnet, temporal):
    frames = list(magnify_video(magnet, FRAMES, 4.0, temporal))
    assert [frame.shape for frame in frames] == [(18, 22, 3)] * 9
    assert frames[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "boxcar", "low": 1, "high": 2}, "must be one of fir, butter"),
        ({"kind": "fir", "low": 1, "high": 2, "taps": 4}, "odd number of taps, got 4"),
        ({"kind": "butter", "low": 2, "high": 20, "fps_hz": 30}, "high < 15, got 2 and 20"),
        ({"kind": "difference_of_iir", "low": 0.5, "high": 0.4}, "high < 1, got 0.5 and 0.4"),
    ],
)
def test_a_filter_that_cannot_be_is_refused(settings, message):
    with pytest.raises(UserError, match=message):
        TemporalFilter(**settings)


def test_an_unknown_mode_is_refused(magnet):
    with pytest.raises(UserError, match="static, dynamic or a TemporalFilter, got 'eulerian'"):
        list(magnify_video(magnet, FRAMES, 4.0, "eulerian"))
