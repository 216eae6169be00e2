"""FlowNet 2.0 is the published one: what NVIDIA's modules answered on the same weights."""

import numpy as np
import pytest
import torch

from hcp_mer.errors import UserError
from hcp_mer.motion import flownet2_networks
from hcp_mer.motion.flownet2 import FlowNet, _normalised, load_flownet2
from hcp_mer.motion.flownet2_networks import ARRANGEMENTS
from hcp_mer.motion.weights import fill
from tests.parity import recipe

NETS = recipe.manifest("flownet2_manifest")
NAMES = {name.replace("-", ""): name for name in ARRANGEMENTS}
SINGLE = ["FlowNet2S", "FlowNet2C", "FlowNet2SD"]
COUNTS = {
    "FlowNet2-S": (38_676_506, 42),
    "FlowNet2-C": (39_175_298, 48),
    "FlowNet2-SD": (45_371_666, 60),
    "FlowNet2-CS": (77_870_620, 90),
    "FlowNet2-CSS": (116_565_942, 132),
    "FlowNet2": (162_518_834, 220),
}


def published(name):
    """The network with the recipe's weights."""
    with torch.device("meta"):
        network = ARRANGEMENTS[NAMES[name]]()
    return FlowNet(NAMES[name], fill(network, recipe.weights(NETS[name]["params"]), name))


@pytest.fixture(scope="module")
def frames():
    return torch.from_numpy(recipe.fixture("flownet2_input")["frames"]).float()


@pytest.fixture(scope="module")
def small():
    """FlowNet2-SD, the one for small displacements, with the recipe's weights."""
    return published("FlowNet2SD")


@pytest.mark.parametrize(("variant", "counts"), COUNTS.items())
def test_every_arrangement_has_the_published_parameters(variant, counts):
    with torch.device("meta"):
        expected = ARRANGEMENTS[variant]().state_dict()
    params = NETS[variant.replace("-", "")]["params"]
    assert {name: list(tensor.shape) for name, tensor in expected.items()} == {
        name: param["shape"] for name, param in params.items()
    }
    assert (sum(tensor.numel() for tensor in expected.values()), len(expected)) == counts


def test_the_recipe_makes_the_weights_that_the_fixtures_were_made_with():
    params = NETS["FlowNet2SD"]["params"]
    for name in ("conv0.0.weight", "predict_flow2.bias", "upsampled_flow6_to_5.weight"):
        made = recipe.checksum(recipe.tensor(name, params[name]["shape"], params[name]["scale"]))
        np.testing.assert_allclose(made, params[name]["checksum"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SINGLE)
def test_a_single_network_answers_as_the_published_one(name, frames):
    network = published(name)
    expected = recipe.fixture(name.lower())
    with torch.inference_mode():
        flow_px = network(frames).numpy()
        levels = network.network(_normalised(frames))
    np.testing.assert_allclose(flow_px[:, :, ::4, ::4], expected["eval_out"], rtol=0, atol=1e-5)
    for level, flow in enumerate(levels, start=2):
        np.testing.assert_allclose(flow, expected[f"train_flow{level}"], rtol=0, atol=1e-5)
    assert recipe.checksum(flow_px) == pytest.approx(NETS[name]["full_eval_checksum"], abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["FlowNet2CS", "FlowNet2CSS"])
def test_a_stack_answers_as_the_published_one_in_sum(name, frames):
    """Σ, Σ |w| and Σ w·cos of 98,304 values of 1e-6 each: what was stored of these two."""
    with torch.inference_mode():
        sums = recipe.checksum(published(name)(frames))
    assert sums == pytest.approx(NETS[name]["full_eval_checksum"], abs=1e-2)


@pytest.mark.slow
def test_the_full_network_answers_as_the_published_one_part_by_part(frames, monkeypatch):
    """And the check sees mistakes: another border, blue for red."""
    network, expected = published("FlowNet2"), recipe.fixture("flownet2")
    answers = {}
    for part in ("flownetc", "flownets_1", "flownets_2", "flownets_d"):
        network.network.get_submodule(part).register_forward_hook(
            lambda module, args, flows, part=part: answers.update({part: flows[0]})
        )
    with torch.inference_mode():
        flow_px = network(frames).numpy()
        np.testing.assert_allclose(flow_px, expected["eval_out"], rtol=0, atol=1e-5)
        for part, flow in answers.items():
            np.testing.assert_allclose(flow, expected[f"{part}_flow2"], rtol=0, atol=1e-5)
        blue_for_red = network(frames.flip(1)).numpy()
        assert np.abs(blue_for_red - expected["eval_out"]).max() > 1e-2
        monkeypatch.setattr(flownet2_networks, "resample", _with_a_black_border)
        assert np.abs(network(frames).numpy() - expected["eval_out"]).max() > 1e-3


def _with_a_black_border(image, flow_px):
    """As `resample`, but zero outside: a usual mistake."""
    height, width = image.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x, y = columns + flow_px[:, 0], rows + flow_px[:, 1]
    grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)
    return torch.nn.functional.grid_sample(image, grid, align_corners=True)


class _Constant(torch.nn.Module):
    """Answers (3, −2) px whatever it is given, and remembers the sizes."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def flow_px(self, images):
        self.sizes.append(tuple(images.shape[-2:]))
        flow_px = images.new_tensor([3.0, -2.0])[:, None, None]
        return flow_px.expand(len(images), 2, *images.shape[-2:])


@pytest.mark.parametrize(
    ("size", "inner"),
    [
        ((128, 192), (128, 192)),
        ((224, 224), (256, 256)),
        ((100, 60), (128, 64)),
        ((16, 16), (64, 64)),
        ((2160, 3840), (576, 1024)),  # memory stays bounded: 4K is shrunk
    ],
)
def test_frames_of_any_size_are_resized_and_the_motion_with_them(size, inner):
    network = _Constant()
    flow_px = FlowNet("a constant", network)(torch.zeros(1, 3, 2, *size))
    assert network.sizes == [inner]
    assert flow_px.shape == (1, 2, *size)
    expected = [3.0 * size[1] / inner[1], -2.0 * size[0] / inner[0]]
    np.testing.assert_allclose(flow_px.mean(dim=(0, 2, 3)), expected, rtol=1e-6)


def test_an_added_motion_is_added_to_the_answer_at_any_size(small, frames):
    """5 px in the network's 256 columns are 4.375 px in 224."""
    cut = torch.nn.functional.interpolate(frames[:1].flatten(1, 2), (224, 224)).unflatten(1, (3, 2))
    with torch.inference_mode():
        before = small(cut)
        small.network.predict_flow2.bias += torch.tensor([5.0, 0.0]) / flownet2_networks.SCALE
        after = small(cut)
        small.network.predict_flow2.bias -= torch.tensor([5.0, 0.0]) / flownet2_networks.SCALE
    np.testing.assert_allclose((after - before)[:, 0], 4.375, atol=1e-3)
    np.testing.assert_allclose((after - before)[:, 1], 0.0, atol=1e-3)


def test_autocast_around_it_changes_nothing(small, frames):
    with torch.inference_mode():
        expected = small(frames[:1])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(small(frames[:1]), expected, rtol=0, atol=0)


@pytest.mark.parametrize("level", [0.0, 255.0])
def test_identical_and_flat_frames_give_finite_flow(small, frames, level):
    with torch.inference_mode():
        assert torch.isfinite(small(frames[:1, :, :1].expand(-1, -1, 2, -1, -1))).all()
        assert torch.isfinite(small(torch.full((1, 3, 2, 64, 64), level))).all()


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (torch.zeros(1, 1, 2, 64, 64), r"shape \(N, 3, 2, H, W\), got \(1, 1, 2, 64, 64\)"),
        (torch.zeros(1, 3, 1, 64, 64), r"shape \(N, 3, 2, H, W\), got \(1, 3, 1, 64, 64\)"),
        (torch.zeros(3, 2, 64, 64), r"shape \(N, 3, 2, H, W\), got \(3, 2, 64, 64\)"),
        (torch.zeros(1, 3, 2, 8, 8), r"at least 16 px a side, got \(8, 8\)"),
        (torch.zeros(1, 3, 2, 64, 64, dtype=torch.uint8), "floats 0…255, got torch.uint8"),
        (torch.full((1, 3, 2, 64, 64), torch.nan), "must be finite"),
    ],
)
def test_wrong_frames_are_refused_in_one_line(frames, message):
    with pytest.raises(UserError, match=message) as caught:
        FlowNet("a constant", _Constant())(frames)
    assert "\n" not in str(caught.value)


def _saved(path, weights, **around):
    torch.save({"epoch": 3, "state_dict": weights, "best_EPE": 1.5} if around else weights, path)
    return path


def test_a_checkpoint_is_recognised_and_read(small, frames, tmp_path):
    """As NVIDIA's training saved it, as bare weights, as DataParallel names them, safetensors."""
    from safetensors.torch import save_file

    weights = small.network.state_dict()
    save_file(weights, tmp_path / "sd.safetensors")
    parallel = {f"module.{name}": tensor for name, tensor in weights.items()}
    files = [
        _saved(tmp_path / "FlowNet2-SD_checkpoint.pth.tar", weights, wrapped=True),
        _saved(tmp_path / "parallel.pth", parallel),
        tmp_path / "sd.safetensors",
    ]
    with torch.inference_mode():
        expected = small(frames[:1, ..., :64, :64])
        for file in files:
            loaded = load_flownet2(file)
            assert loaded.variant == "FlowNet2-SD"
            assert not loaded.training
            torch.testing.assert_close(loaded(frames[:1, ..., :64, :64]), expected, rtol=0, atol=0)


class _Malice:
    def __reduce__(self):
        return (print, ("this code ran",))


def _shrunk(weights, name):
    return {**weights, name: weights[name][:1].clone()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: {}, "holds no FlowNet 2.0: none of its parameters"),
        (lambda w: {"encoder.conv.weight": torch.zeros(1)}, "encoder.conv.weight and 0 others"),
        (lambda w: [1, 2], "holds no state_dict"),
        (lambda w: {**w, "conv1.1.running_mean": torch.zeros(1)}, "batch normalisation"),
        (lambda w: dict(list(w.items())[2:]), "2 of 60 tensors are missing, conv0.0.weight first"),
        (
            lambda w: {**w, "extra.weight": torch.zeros(1)},
            "1 tensors that it has not, extra.weight",
        ),
        (lambda w: _shrunk(w, "conv0.0.weight"), r"conv0.0.weight is \(1, 6, 3, 3\), not \(64, 6"),
        (lambda w: {**w, "conv0.0.bias": torch.full((64,), torch.nan)}, "NaN or infinite"),
        (lambda w: {**w, "optimizer": _Malice()}, "could run code"),
    ],
)
def test_a_file_that_is_no_such_checkpoint_is_refused_in_one_line(
    small, tmp_path, change, message, capsys
):
    path = _saved(tmp_path / "weights.pth", change(small.network.state_dict()))
    with pytest.raises(UserError, match=message) as caught:
        load_flownet2(path)
    assert "\n" not in str(caught.value)
    assert "this code ran" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_checkpoint_at_all_is_refused_in_one_line(tmp_path, content):
    for name in ("weights.pth.tar", "weights.safetensors"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match="or a damaged one"):
            load_flownet2(path)
    with pytest.raises(UserError, match="no weights at"):
        load_flownet2(tmp_path / "nothing.pth")
