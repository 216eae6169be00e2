"""Rendered flow images: which way skin goes, what stays within bounds, equality with numpy."""

import numpy as np
import pytest
import torch

from hcp_mer.data.synthetic.actions import ACTION_UNITS, COMBINATIONS
from hcp_mer.model.face_regions_hcp_mer import face_mask
from hcp_mer.model.flow_image_hcp_mer import ZERO_LEVEL, flow_to_image, standardise_flow
from hcp_mer.pretraining.batch_dice import BatchDice
from hcp_mer.pretraining.estimator_artefacts import blocky, face_masked, filled_in, over_smooth
from hcp_mer.pretraining.flow_renderer import (
    _compressed,
    _strain,
    _symmetric,
    draw_action_units,
    mirror,
    render_flow,
    standardise,
)

SIDE = 56
ONE_LEVEL_OF_NOISE = 2.0


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def multi_hot(*numbers, count=8):
    units = torch.zeros(count, len(ACTION_UNITS))
    units[:, [ACTION_UNITS.index(number) for number in numbers]] = 1
    return units


def clean(*numbers):
    """(SIDE, SIDE) u and v in levels from zero, the mean over 8 faces without artefacts."""
    levels = render_flow(multi_hot(*numbers), generator(), SIDE, artefacts=False)
    return (levels[:, :2] - ZERO_LEVEL).mean(0)


def around(field, x, y, reach=2):
    """The mean around a point in crop units."""
    column, row = round((x + 1) / 2 * SIDE), round((y + 1) / 2 * SIDE)
    return float(field[row - reach : row + reach, column - reach : column + reach].mean())


def test_smiling_moves_mouth_corners_up_and_outwards():
    u, v = clean(12)
    assert around(u, 0.22, 0.46) > 30  # the person's left goes to the right of the image
    assert around(u, -0.22, 0.46) < -30
    assert around(v, 0.22, 0.46) < -30
    assert around(v, -0.22, 0.46) < -30


def test_frowning_moves_brows_down_and_inwards():
    u, v = clean(4)
    assert around(u, 0.2, -0.32) < -20
    assert around(u, -0.2, -0.32) > 20
    assert around(v, 0.2, -0.32) > 40
    assert around(v, -0.2, -0.32) > 40


def test_dropping_the_jaw_moves_the_chin_down_and_nothing_sideways():
    u, v = clean(26)
    assert around(v, 0, 0.68) > 60
    assert abs(around(v, 0, -0.4)) < ONE_LEVEL_OF_NOISE
    assert float(u.abs().max()) == 0


@pytest.mark.parametrize("number", ACTION_UNITS)
def test_every_action_unit_moves_something_and_its_mirror_image_is_the_flip(number):
    levels = render_flow(multi_hot(number), generator(), SIDE, artefacts=False)
    assert ((levels[:, :2] - ZERO_LEVEL).abs().amax((1, 2, 3)) > 100).all()
    form = standardise(levels)
    torch.testing.assert_close(mirror(form), form, atol=0.25, rtol=0)


def test_mirror_is_its_own_inverse_and_negates_u_only():
    form = torch.randn(2, 3, 8, 8, generator=generator())
    torch.testing.assert_close(mirror(mirror(form)), form)
    torch.testing.assert_close(mirror(form)[:, 0], -form[:, 0].flip(-1))
    torch.testing.assert_close(mirror(form)[:, 1:], form[:, 1:].flip(-1))


@pytest.mark.parametrize("side", [5, 28])  # odd and even numbers of pixels have other medians
def test_standardise_equals_the_numpy_function(side):
    rendered = render_flow(multi_hot(1, 12), generator(), side)
    levels = torch.cat([rendered, torch.full((1, 3, side, side), 7.0)])  # and a constant image
    expected = standardise_flow(levels.permute(0, 2, 3, 1).numpy())
    actual = standardise(levels).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_a_wild_border_does_not_make_a_face_pale():
    """A tenth of the pixels at 20 times the rest: capped at twice the root mean square of all.

    √(0.9 + 0.1 · 400) = 6.4; capped at 12.8 they leave √(0.9 + 0.1 · 12.8²) = 4.2 as the scale.
    """
    levels = torch.full((1, 3, 10, 10), 128.0)
    rest = torch.tensor([1.0, -1.0]).repeat(45)
    wild = torch.tensor([20.0, -20.0]).repeat(5)
    levels[0, 0] += torch.cat([rest, wild]).reshape(10, 10)
    scale = (0.9 + 0.1 * 4 * (0.9 + 0.1 * 400)) ** 0.5
    assert standardise(levels)[0, 0, 0, 0].item() == pytest.approx(1 / scale)
    numpy = standardise_flow(levels[0].permute(1, 2, 0).numpy())
    assert numpy[0, 0, 0] == pytest.approx(1 / scale)
    assert numpy[-1, -1, 0] == pytest.approx(-4)  # cut off


def test_encoding_is_that_of_flow_images():
    flow = torch.randn(1, 2, 7, 7, generator=generator())
    flow = torch.nn.functional.interpolate(flow, size=(SIDE, SIDE), mode="bicubic")
    levels = _symmetric(flow, _strain(flow), torch.ones(1))[0].permute(1, 2, 0)
    expected, _ = flow_to_image(flow[0].permute(1, 2, 0).numpy(), floor_px=1e-3)
    np.testing.assert_allclose(levels.numpy(), expected, atol=2)


def test_rendering_is_the_generators_alone():
    units = multi_hot(2, 17, count=20)
    first, again, other = (render_flow(units, generator(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("side", [28, 56, 40])
def test_levels_are_whole_finite_and_within_a_byte(side):
    units, _ = draw_action_units(200, np.random.default_rng(0))
    units[:20] = 0  # faces that do not move at all
    levels = render_flow(torch.from_numpy(units), generator(), side)
    assert levels.shape == (200, 3, side, side)
    assert levels.dtype == torch.float32
    assert torch.equal(levels, levels.round())
    assert 0 <= float(levels.min()) < float(levels.max()) <= 255
    assert torch.isfinite(standardise(levels)).all()


def test_a_face_at_rest_is_level_zero_without_artefacts():
    levels = render_flow(multi_hot(), generator(), SIDE, artefacts=False)
    assert (levels[:, :2] == ZERO_LEVEL).all()
    assert (levels[:, 2] == 0).all()


def test_artefacts_keep_a_constant_field_and_masks_end_it():
    flow = torch.ones(6, 2, 28, 28)
    dice = BatchDice(generator(), 6)
    for artefact in (over_smooth, blocky):
        torch.testing.assert_close(artefact(flow, dice), flow)
    seen = dice.uniform(0, 1, 1, 28, 28)
    torch.testing.assert_close(filled_in(flow, seen, dice), flow)
    masked = face_masked(flow, dice)
    assert (masked[..., :3] == 0).all()
    assert float(masked[0, 0, 18, 14]) == pytest.approx(face_mask(28, 28)[18, 14], abs=1e-3)


def test_blocks_of_cosines_lose_little():
    levels = 128 + 60 * torch.randn(4, 3, 28, 28, generator=generator()).clamp(-2, 2)
    loss = (_compressed(levels, BatchDice(generator(), 4)) - levels).abs()
    assert 0 < float(loss.mean()) < 12 * 7 / 2  # half of the largest step


def test_drawn_units_follow_emotions_or_are_few():
    units, emotions = draw_action_units(400, np.random.default_rng(0), free_share=0.4)
    assert units.shape == (400, len(ACTION_UNITS))
    assert units.dtype == np.float32
    assert 0.3 < (emotions == -1).mean() < 0.5
    assert set(units[emotions == -1].sum(1)) == {1, 2, 3}
    extra = 0
    for row, emotion in zip(units, emotions):
        if emotion >= 0:
            shown = {ACTION_UNITS[k] for k in np.flatnonzero(row)}
            known = [set(c) for c in COMBINATIONS[tuple(COMBINATIONS)[emotion]]]
            assert any(c <= shown and len(shown - c) <= 1 for c in known)
            extra += shown not in known
    assert 0.05 < extra / (emotions >= 0).sum() < 0.2


def test_free_share_one_draws_no_emotion():
    _, emotions = draw_action_units(30, np.random.default_rng(0), free_share=1)
    assert (emotions == -1).all()
