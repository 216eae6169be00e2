"""The registry of magnifiers, MagNet among them."""

import numpy as np
import pytest
import torch

from hcp_mer.errors import UserError
from hcp_mer.motion.magnet import load_magnet
from hcp_mer.motion.magnet_checkpoints import published_name
from hcp_mer.motion.magnet_network import VARIANTS, MagNetNetwork
from hcp_mer.motion.magnify import magnifier
from tests.parity import recipe

CLIPS = np.random.default_rng(0).integers(0, 256, (3, 2, 48, 40, 3), dtype=np.uint8)
STILL = np.zeros((48, 40, 2), np.float32)
NAMES = ["lagrangian", "eulerian", "magnet"]


@pytest.fixture(scope="module", params=["zhengpeng7", "postech"])
def port(request, tmp_path_factory):
    """A published port's checkpoint, its weights by the recipe."""
    name = request.param
    params = recipe.manifest(f"magnet_{name}_manifest")["params"]
    path = tmp_path_factory.mktemp("weights") / f"{name}.pth"
    torch.save(recipe.weights(params), path)
    return path


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """What `convert_magnet` makes of the authors' checkpoint."""
    from safetensors.torch import save_file

    params = recipe.manifest("magnet_tf_manifest")["params"]
    weights = recipe.weights(params)
    ours = MagNetNetwork(VARIANTS["official"]).state_dict()
    path = tmp_path_factory.mktemp("weights") / "magnet.safetensors"
    save_file({name: weights[published_name("official", name)] for name in ours}, path)
    return path


def chosen(name, official):
    return magnifier(name, str(official) if name == "magnet" else None)


def test_alpha_one_changes_nothing_whatever_the_variant_means_by_it(port, official):
    onset, apex = CLIPS[0]
    for weights in (port, official):
        magnified = magnifier("magnet", str(weights))(onset, apex, STILL, 1.0)
        np.testing.assert_array_equal(magnified, apex)


def test_alpha_is_the_authors_amplification_and_one_more_than_the_ports(port, official):
    onset, apex = CLIPS[0]
    tensors = [
        torch.from_numpy(frame[None]).permute(0, 3, 1, 2).float() / 127.5 - 1 for frame in CLIPS[0]
    ]
    for weights, amplification in ((official, 6.0), (port, 5.0)):
        answer = load_magnet(weights)(*tensors, amplification)[0].clamp(-1, 1)
        expected = ((answer + 1) * 127.5).round().permute(1, 2, 0).numpy()
        magnified = magnifier("magnet", str(weights))(onset, apex, STILL, 6.0)
        assert magnified.dtype == np.uint8
        np.testing.assert_array_equal(magnified, expected)


@pytest.mark.parametrize("name", NAMES)
def test_many_are_each_one_alone(official, name):
    method = chosen(name, official)
    flows_px = list(np.random.default_rng(1).normal(0, 0.3, (3, 48, 40, 2)).astype(np.float32))
    alphas = [1.0, 3.0, 8.0]
    together = method.many(list(CLIPS[:, 0]), list(CLIPS[:, 1]), flows_px, alphas)
    for clip, flow_px, alpha, magnified in zip(CLIPS, flows_px, alphas, together, strict=True):
        difference = magnified.astype(int) - method(*clip, flow_px, alpha)
        assert np.abs(difference).max() <= 1  # a network's rounding
        assert (difference == 0).mean() > 0.99


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("onset", "apex", "alpha", "message"),
    [
        (CLIPS[0, 0][:40], CLIPS[0, 1], 4.0, "onset and apex must have one size"),
        (CLIPS[0, 0][..., 0], CLIPS[0, 1][..., 0], 4.0, r"onset must have shape \(H, W, 3\)"),
        (CLIPS[0, 0] / 255, CLIPS[0, 1], 4.0, "onset must be a uint8 array, got float64"),
        (CLIPS[0, 0], CLIPS[0, 1], 0.5, "alpha must be at least 1"),
        (CLIPS[0, 0], CLIPS[0, 1], float("nan"), "alpha must be at least 1"),
    ],
)
def test_what_cannot_be_magnified_is_refused_by_all(official, name, onset, apex, alpha, message):
    with pytest.raises(ValueError, match=message) as caught:
        chosen(name, official)(onset, apex, STILL, alpha)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "weights", "message"),
    [
        ("lagrange", None, r"lagrangian, eulerian, magnet, got 'lagrange'.*'lagrangian'\?"),
        ("eulerian", "some.pth", "magnifier eulerian reads no weights, got some.pth"),
        ("magnet", None, "magnifier magnet needs weights"),
        ("magnet", "nowhere/magnet.pth", "no weights of magnifier magnet at nowhere"),
    ],
)
def test_a_choice_that_cannot_be_is_refused_in_one_line(name, weights, message):
    with pytest.raises(UserError, match=message) as caught:
        magnifier(name, weights)
    assert "\n" not in str(caught.value)
