"""MagNet is the published one: what its authors' graph and a port answered on the same weights."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from hcp_mer.errors import UserError
from hcp_mer.motion import magnet as magnet_module
from hcp_mer.motion.magnet import MagNet, load_magnet
from hcp_mer.motion.magnet_checkpoints import convert_magnet, published_name
from hcp_mer.motion.magnet_network import VARIANTS, MagNetNetwork
from tests.parity import recipe

MANIFESTS = {"official": "tf", "zhengpeng7": "zhengpeng7", "postech": "postech"}
COUNTS = {"official": (918_928, 42), "zhengpeng7": (877_968, 42), "postech": (966_979, 88)}


def params_of(variant):
    return recipe.manifest(f"magnet_{MANIFESTS[variant]}_manifest")["params"]


def published_weights(variant):
    """By the names of its authors."""
    return recipe.weights(params_of(variant))


def magnet(variant):
    """With the recipe's weights."""
    network = MagNetNetwork(VARIANTS[variant])
    weights = published_weights(variant)
    state = {name: weights[published_name(variant, name)] for name in network.state_dict()}
    network.load_state_dict(state)
    return MagNet(variant, network).eval().requires_grad_(False)


def frames_of(size):
    arrays = recipe.fixture("magnet_input")
    return [
        torch.from_numpy(arrays[f"{size}_{side}"]).permute(0, 3, 1, 2).float() / 127.5 - 1
        for side in "ab"
    ]


@pytest.fixture(scope="module")
def official():
    return magnet("official")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_has_the_published_parameters(variant):
    expected = MagNetNetwork(VARIANTS[variant]).state_dict()
    shapes = {published_name(variant, name): list(w.shape) for name, w in expected.items()}
    params = params_of(variant)
    assert shapes == {name: param["shape"] for name, param in params.items()}
    assert (sum(w.numel() for w in expected.values()), len(expected)) == COUNTS[variant]
    for name, weight in published_weights(variant).items():
        sums = recipe.checksum(weight)
        np.testing.assert_allclose(sums, params[name]["checksum"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", ["even", "mod4"])
@pytest.mark.parametrize("amplification", [1, 10])
def test_it_answers_as_the_authors_graph(official, size, amplification):
    answer = official(*frames_of(size), amplification).clamp(-1, 1).permute(0, 2, 3, 1)
    expected = recipe.fixture("magnet_tf")[f"{size}_amp{amplification}_out"]
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", ["even", "mod4"])
def test_it_answers_as_a_port(size):
    network = magnet("zhengpeng7")
    for amplification in (1, 10):
        expected = recipe.fixture("magnet_zhengpeng7")[f"{size}_amp{amplification}_out"]
        answer = network(*frames_of(size), amplification)
        np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", ["even", "mod4"])
def test_texture_shape_and_what_is_added_to_it_are_the_authors(official, size):
    frame_a, frame_b = frames_of(size)
    encoder, expected = official.network.encoder, recipe.fixture("magnet_tf")
    texture_a, shape_a = encoder(frame_a)
    _, shape_b = encoder(frame_b)
    magnified = shape_b + official.network.magnified_change(shape_b - shape_a, torch.tensor(10.0))
    parts = {"texture_a": texture_a, "shape_b": shape_b, "manip": magnified}
    for name, part in parts.items():
        stored = expected[f"{size}_{name}"]  # of the first pair: 8 channels, of shapes every 2 px
        step = 1 if name == "texture_a" else 2
        found = part[:1, :8, ::step, ::step].permute(0, 2, 3, 1)
        np.testing.assert_allclose(found, stored, rtol=0, atol=1e-5)


def test_a_zero_padded_stride_or_a_gain_of_another_variant_would_be_noticed(official, monkeypatch):
    frames, expected = frames_of("even"), recipe.fixture("magnet_tf")["even_amp10_out"]
    monkeypatch.setattr(official.network, "unchanged_at", 0.0)
    answer = official(*frames, 10).clamp(-1, 1).permute(0, 2, 3, 1).numpy()
    assert np.abs(answer - expected).max() > 1e-3
    monkeypatch.undo()
    monkeypatch.setattr(official.network.encoder, "pads_as_tensorflow", False)
    answer = official(*frames, 10).clamp(-1, 1).permute(0, 2, 3, 1).numpy()
    assert np.abs(answer - expected).max() > 1e-3


def test_postech_is_wired_as_its_code_says():
    """By hand, from its modules in a row: its answers are stored nowhere."""
    network = magnet("postech")
    weights = published_weights("postech")
    frame_a, frame_b = frames_of("even")

    def conv(x, name, stride=1):
        weight = weights[f"{name}.weight"]
        reach = weight.shape[-1] // 2
        padded = torch.nn.functional.pad(x, (reach,) * 4, mode="reflect")
        return torch.nn.functional.conv2d(padded, weight, weights[f"{name}.bias"], stride)

    def residual(x, name, count):
        for block in range(count):
            inner = conv(x, f"{name}.{block}.conv1").relu()
            x = x + conv(inner, f"{name}.{block}.conv2")
        return x

    def encoded(x):
        x = conv(x, "encoder.res_encoder.conv1").relu()
        x = conv(x, "encoder.res_encoder.conv2", 2).relu()
        x = residual(x, "encoder.res_encoder.residual", 3)
        texture = residual(conv(x, "encoder.conv_tex", 2).relu(), "encoder.texture_resblk", 2)
        return texture, residual(conv(x, "encoder.conv_sha").relu(), "encoder.shape_resblk", 2)

    _, shape_a = encoded(frame_a)
    texture, shape = encoded(frame_b)
    change = 10 * conv(shape - shape_a, "res_manipulator.conv1").relu()
    change = residual(conv(change, "res_manipulator.conv2"), "res_manipulator.residual", 1)
    texture = texture.repeat_interleave(2, -1).repeat_interleave(2, -2)
    texture = conv(texture, "decoder.conv_tex_aft_upsample").relu()
    x = residual(torch.cat([texture, shape + change], 1), "decoder.res_decoder.residual", 9)
    x = x.repeat_interleave(2, -1).repeat_interleave(2, -2)
    for name in ("conv_up_sample", "conv1"):
        x = conv(x, f"decoder.res_decoder.{name}").relu()
    expected = conv(x, "decoder.res_decoder.conv2")
    torch.testing.assert_close(network(frame_a, frame_b, 10), expected, rtol=0, atol=1e-5)


def test_each_frame_may_have_its_own_amplification(official):
    frames = frames_of("mod4")
    both = official(*frames, torch.tensor([1.0, 10.0]))
    for place, amplification in enumerate((1.0, 10)):
        alone = official(*(frame[place : place + 1] for frame in frames), amplification)
        torch.testing.assert_close(both[place : place + 1], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (61, 67)])
def test_any_size_is_padded_to_multiples_of_4_and_cut_again(official, size):
    """The padding repeats the border: the same as giving the frame with it repeated."""
    frames = [frame[:1, :, : size[0], : size[1]] for frame in frames_of("even")]
    answer = official(*frames, 5.0)
    assert answer.shape == (1, 3, *size)
    below, beside = -size[0] % 4, -size[1] % 4
    larger = [torch.nn.functional.pad(f, (0, beside, 0, below), mode="replicate") for f in frames]
    expected = official(*larger, 5.0)[..., : size[0], : size[1]]
    torch.testing.assert_close(answer, expected, rtol=0, atol=0)


@pytest.mark.slow
def test_tiles_change_no_pixel(official, monkeypatch):
    """As one piece and as 3 × 3 tiles; with too little overlap it would be seen."""
    generator = torch.Generator().manual_seed(0)
    frame = torch.rand(1, 3, 270, 310, generator=generator) * 2 - 1
    frames = frame, (frame + 0.1 * torch.rand(frame.shape, generator=generator)).clamp(-1, 1)
    whole = official(*frames, 10)
    monkeypatch.setattr(magnet_module, "TILE_PX", 128)
    monkeypatch.setattr(magnet_module, "OVERLAP_PX", 84)
    monkeypatch.setattr(magnet_module, "WHOLE_PX", 128)
    torch.testing.assert_close(official(*frames, 10), whole, rtol=0, atol=1e-5)
    monkeypatch.setattr(magnet_module, "OVERLAP_PX", 16)
    assert (official(*frames, 10) - whole).abs().max() > 1e-4


def test_4k_is_never_seen_as_one_piece():
    seen = []

    class Remembering(torch.nn.Module):
        unchanged_at = 1.0

        def forward(self, frame_a, frame_b, amplification):
            seen.append(tuple(frame_b.shape[-2:]))
            return frame_b

    frame = torch.rand(1, 3, 2160, 3840)
    answer = MagNet("a stub", Remembering())(frame, frame, 10)
    torch.testing.assert_close(answer, frame, rtol=0, atol=0)
    assert max(map(max, seen)) <= 704


GOOD = torch.zeros(1, 3, 16, 16)


@pytest.mark.parametrize(
    ("frame_a", "frame_b", "message"),
    [
        (GOOD, GOOD[..., :12], "must have one size"),
        (GOOD[:, :1], GOOD[:, :1], r"frame_a must have shape \(N, 3, H, W\), got \(1, 1, 16, 16\)"),
        (GOOD, torch.full_like(GOOD, torch.nan), "frame_b must be finite"),
        (GOOD.to(torch.uint8), GOOD, r"floats in \[−1, 1\], got torch.uint8"),
        (GOOD[..., :4], GOOD[..., :4], r"at least 8 px a side, got \(16, 4\)"),
    ],
)
def test_wrong_frames_are_refused_in_one_line(official, frame_a, frame_b, message):
    with pytest.raises(UserError, match=message) as caught:
        official(frame_a, frame_b, 10)
    assert "\n" not in str(caught.value)


def saved(path, weights, wrapper=None):
    torch.save({wrapper: weights, "epoch": 7} if wrapper else weights, path)
    return path


@pytest.mark.parametrize(
    ("variant", "prefix", "wrapper"),
    [("zhengpeng7", "", None), ("postech", "module.", "model_state_dict")],
)
def test_a_ports_checkpoint_is_recognised_read_and_converted(tmp_path, variant, prefix, wrapper):
    theirs = {f"{prefix}{name}": w for name, w in published_weights(variant).items()}
    path = saved(tmp_path / "magnet.pth", theirs, wrapper)
    convert_magnet(path, tmp_path / "ours.safetensors")
    frames = frames_of("even")
    expected = magnet(variant)(*frames, 10)
    for file in (path, tmp_path / "ours.safetensors"):
        loaded = load_magnet(file)
        assert (loaded.variant, loaded.training) == (variant, False)
        torch.testing.assert_close(loaded(*frames, 10), expected, rtol=0, atol=0)


@pytest.fixture
def tensorflow(monkeypatch):
    """What we need of TensorFlow, holding the recipe's weights as its variables, HWIO."""
    params = params_of("official")
    variables = {"Variable": np.zeros(()), "beta1_power": np.zeros(())}
    for name, param in params.items():
        weight = recipe.tensor(name, param["shape"], param["scale"]).transpose(2, 3, 1, 0)
        variables |= {name: weight, f"{name}/Adam": weight * 0, f"{name}/Adam_1": weight * 0}
    asked = []

    def load_checkpoint(prefix):
        asked.append(prefix)
        return SimpleNamespace(
            get_variable_to_shape_map=lambda: {name: w.shape for name, w in variables.items()},
            get_tensor=variables.__getitem__,
        )

    module = ModuleType("tensorflow")
    module.train = SimpleNamespace(load_checkpoint=load_checkpoint)
    module.errors = SimpleNamespace(OpError=RuntimeError)
    monkeypatch.setitem(sys.modules, "tensorflow", module)
    return SimpleNamespace(asked=asked, variables=variables)


@pytest.mark.parametrize("given", ["", "magnet-19000", "magnet-19000.index"])
def test_the_authors_checkpoint_is_read_by_folder_prefix_or_file(tmp_path, tensorflow, given):
    (tmp_path / "magnet-19000.index").touch()
    loaded = load_magnet(tmp_path / given)
    assert loaded.variant == "official"
    assert tensorflow.asked == [str(tmp_path / given.removesuffix(".index"))]
    answer = loaded(*frames_of("even"), 10).clamp(-1, 1).permute(0, 2, 3, 1)
    expected = recipe.fixture("magnet_tf")["even_amp10_out"]
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5)


def test_half_an_authors_checkpoint_is_refused(tmp_path, tensorflow):
    del tensorflow.variables["ynet_3frames/decoder/pred_conv/Conv/weights"]
    with pytest.raises(UserError, match=r"1 of 42 tensors are missing, decoder\.conv2"):
        load_magnet(tmp_path)


def test_without_tensorflow_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(UserError, match="pip install tensorflow"):
        load_magnet(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {"conv1.0.weight": torch.zeros(1)}, "holds no MagNet.*but conv1.0.weight"),
        (lambda w: dict(list(w.items())[3:]), "3 of 42 tensors are missing"),
        (lambda w: {**w, "more.weight": torch.zeros(1)}, "1 tensors that it has not, more.weight"),
        (lambda w: {**w, "manipulator.g.conv2d.weight": torch.zeros(2, 2)}, "not \\(32, 32, 3, 3"),
    ],
)
def test_a_file_that_is_no_magnet_is_refused_in_one_line(tmp_path, change, message):
    path = saved(tmp_path / "weights.pth", change(published_weights("zhengpeng7")))
    with pytest.raises(UserError, match=message) as caught:
        load_magnet(path)
    assert "\n" not in str(caught.value)
