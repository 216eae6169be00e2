"""Correlation, resampling and channel norm against the published kernels and by hand."""

import numpy as np
import pytest
import torch

from hcp_mer.motion.flownet2_operations import channel_norm, correlation, resample
from tests.parity import recipe

EXPECTED = recipe.fixture("flownet2_ops")


def given(name, shape, scale=1.0):
    return torch.from_numpy(recipe.tensor(f"ops.{name}", shape, scale))


def test_the_operations_answer_as_the_published_kernels():
    first, second = (given(f"corr.{side}", (1, 8, 9, 13)) for side in "ab")
    image, flow_px = given("img", (2, 3, 12, 17)), given("flow", (2, 2, 12, 17), 6.0)
    answers = {
        "corr": correlation(first, second),
        "resample": resample(image, flow_px),
        "channelnorm": channel_norm(image),
    }
    for name, answer in answers.items():
        np.testing.assert_allclose(answer, EXPECTED[name], rtol=0, atol=1e-6)


def test_a_feature_that_moved_correlates_at_its_displacement():
    """One bright pixel, 4 right and 6 up: i = 2, j = −3, channel (−3 + 10) · 21 + (2 + 10)."""
    first, second = torch.zeros(2, 1, 5, 16, 16)
    first[0, :, 10, 5], second[0, :, 4, 9] = 2.0, 3.0
    volume = correlation(first, second)
    expected = torch.zeros(1, 441, 16, 16)
    expected[0, 7 * 21 + 12, 10, 5] = 6.0
    torch.testing.assert_close(volume, expected)


def test_the_operations_are_differentiable():
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=True)

    assert torch.autograd.gradcheck(
        correlation, (random(1, 2, 3, 4), random(1, 2, 3, 4)), fast_mode=True
    )
    assert torch.autograd.gradcheck(resample, (random(1, 2, 5, 6), random(1, 2, 5, 6)))
    assert torch.autograd.gradcheck(channel_norm, (random(1, 3, 4, 4),))


def test_the_norm_of_nothing_has_no_nan_in_its_gradient():
    image = torch.zeros(1, 3, 2, 2, requires_grad=True)
    channel_norm(image).sum().backward()
    torch.testing.assert_close(image.grad, torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (24, 40)])
def test_any_size_of_feature_map_works(size):
    image = torch.rand(2, 4, *size)
    assert correlation(image, image).shape == (2, 441, *size)
    torch.testing.assert_close(resample(image, torch.zeros(2, 2, *size)), image)


def test_correlation_needs_no_volume_of_all_channels():
    """64 × 64 places × 441 displacements × 256 channels would be 1.8 GB; 7.2 MB are the answer."""
    from torch.profiler import ProfilerActivity, profile

    features = torch.rand(1, 256, 64, 64)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        correlation(features, features)
    largest = max(event.cpu_memory_usage for event in profiler.events())
    assert largest < 64e6
