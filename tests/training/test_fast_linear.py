"""The fast linear: equal to F.linear where it is used, and gone without a trace afterwards."""

import copy
import io

import pytest
import torch
from torch import nn

from hcp_mer.training import fast_linear as home
from hcp_mer.training.fast_linear import layers_that_gain, measured_gain, swapped

needs_operator = pytest.mark.skipif(
    home._operator() is None, reason="this PyTorch is built without oneDNN"
)


@pytest.fixture
def frozen():
    torch.manual_seed(0)
    tower = nn.Sequential(nn.Linear(24, 40), nn.GELU(), nn.Linear(40, 24, bias=False))
    return tower.requires_grad_(False)


@pytest.fixture
def always_wins(monkeypatch):
    monkeypatch.setattr(home, "measured_gain", lambda layer, num_rows: 2.0)


def is_swapped(layer):
    return "forward" in vars(layer)


@needs_operator
@pytest.mark.parametrize("shape", [(7, 24), (3, 5, 24), (1, 24), (2, 3, 4, 24)])
def test_values_and_gradients_equal_f_linear(frozen, shape):
    inputs, weights = torch.randn(shape), torch.randn(shape)
    results = []
    for layers in ([], [frozen[0], frozen[2]]):
        leaf = inputs.clone().requires_grad_()
        with swapped(layers):
            output = frozen(leaf)
            (output * weights).sum().backward()
        results.append((output.detach(), leaf.grad))
    for expected, found in zip(*results):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@needs_operator
def test_the_operator_is_what_runs(frozen):
    inputs = torch.randn(7, 24, requires_grad=True)
    with swapped([frozen[0]]):
        assert "OneDnnLinear" in type(frozen[0](inputs).grad_fn).__name__
    assert "OneDnnLinear" not in type(frozen[0](inputs).grad_fn).__name__


@needs_operator
def test_gradients_pass_finite_differences_of_a_layer_in_double(frozen):
    inputs = torch.randn(4, 24)
    with swapped([frozen[0]]):
        leaf = inputs.clone().requires_grad_()
        frozen[0](leaf).sin().sum().backward()
    exact = copy.deepcopy(frozen[0]).double()
    step = torch.zeros_like(inputs, dtype=torch.float64)
    step[1, 2] = 1e-6
    ends = [exact(inputs.double() + sign * step).sin().sum() for sign in (1, -1)]
    assert leaf.grad[1, 2].item() == pytest.approx(((ends[0] - ends[1]) / 2e-6).item(), rel=1e-3)


@needs_operator
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_where_no_gradient_is_recorded(frozen, mode):
    inputs = torch.randn(7, 24)
    with mode():
        expected = frozen(inputs)
        with swapped([frozen[0], frozen[2]]):
            torch.testing.assert_close(frozen(inputs), expected, rtol=1e-5, atol=1e-6)


@needs_operator
def test_a_gradient_that_is_not_contiguous_is_taken(frozen):
    leaf = torch.randn(7, 24, requires_grad=True)
    with swapped([frozen[2]]):
        frozen(leaf).sum().backward()  # sum's gradient is one expanded number
    other = leaf.detach().clone().requires_grad_()
    frozen(other).sum().backward()
    torch.testing.assert_close(leaf.grad, other.grad, rtol=1e-5, atol=1e-6)


def test_layers_are_put_back_also_after_an_exception(frozen, always_wins):
    def fail():
        with swapped(layers_that_gain(frozen, 7)) as count:
            assert count == 2
            assert is_swapped(frozen[0])
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert not is_swapped(frozen[0])
    assert not is_swapped(frozen[2])


def test_the_module_copies_and_pickles_as_before(frozen, always_wins):
    before = {name: set(vars(module)) for name, module in frozen.named_modules()}
    with swapped(layers_that_gain(frozen, 7)):
        pass
    assert {name: set(vars(module)) for name, module in frozen.named_modules()} == before
    file = io.BytesIO()
    torch.save(frozen, file)
    file.seek(0)
    inputs = torch.randn(3, 24)
    for twin in (copy.deepcopy(frozen), torch.load(file, weights_only=False)):
        assert torch.equal(twin(inputs), frozen(inputs))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_precisions_are_left_alone(frozen, monkeypatch, dtype):
    frozen.to(dtype)
    assert measured_gain(frozen[0], 7) == 0.0
    monkeypatch.setattr(home, "measured_gain", lambda layer, num_rows: 2.0)
    assert layers_that_gain(frozen, 7) == []


def test_a_layer_outside_the_cpu_is_left_alone(frozen, always_wins):
    assert layers_that_gain(frozen.to("meta"), 7) == []


def test_trained_and_foreign_layers_are_left_alone(frozen, always_wins):
    class Quantised(nn.Linear):
        pass

    frozen[0].weight.requires_grad_(True)
    frozen[2].forward = lambda inputs: inputs  # as accelerate's hooks do
    tower = nn.ModuleDict(
        {
            "plain": frozen,
            "wrapped": nn.ModuleDict({"base_layer": nn.Linear(3, 3), "lora_A": nn.Linear(3, 2)}),
            "quantised": Quantised(3, 3),
        }
    )
    tower["wrapped"].requires_grad_(False)
    tower["quantised"].requires_grad_(False)
    assert layers_that_gain(tower, 7) == []
    with swapped(layers_that_gain(tower, 7)) as count:
        assert count == 0
    assert is_swapped(frozen[2])  # theirs is still there


def test_a_tower_moved_to_double_meanwhile_falls_back(frozen):
    inputs = torch.randn(3, 24)
    with swapped([frozen[0]]):
        frozen.double()
        output = frozen[0](inputs.double())
    assert torch.equal(output, frozen[0](inputs.double()))


@needs_operator
def test_autocast_keeps_its_own_way(frozen):
    with torch.autocast("cpu", dtype=torch.bfloat16), swapped([frozen[0]]):
        assert frozen[0](torch.randn(3, 24)).dtype == torch.bfloat16


def test_nothing_is_gained_without_the_operator(frozen, monkeypatch):
    monkeypatch.setattr(home, "_operator", lambda: None)
    assert measured_gain(frozen[0], 7) == 0.0
    with swapped(layers_that_gain(frozen, 7)) as count:
        assert count == 0


def test_nothing_is_gained_where_the_operator_fails_or_lies(frozen, monkeypatch):
    def failing(*arguments):
        raise RuntimeError("could not create a primitive")

    def lying(inputs, weight, bias, *rest):
        return 1.001 * torch.nn.functional.linear(inputs, weight, bias)

    for operator in (failing, lying):
        monkeypatch.setattr(home, "_operator", lambda operator=operator: operator)
        assert measured_gain(frozen[0], 7) == 0.0


@pytest.mark.parametrize(
    ("plain", "ours", "gain"),
    [
        ([2.0] * 9, [1.0] * 9, 2.0),
        ([1.0] * 9, [1.0] * 9, 1.0),
        ([1.0] + [2.0] * 8, [1.0] * 9, 1.0),  # the least says that nothing is gained
        ([1.0] * 5 + [9.0] * 4, [1.0] * 9, 1.0),  # and so does the middle, whatever disturbed
    ],
)
def test_the_gain_is_the_more_cautious_of_two(frozen, monkeypatch, plain, ours, gain):
    clock = Clock([seconds for pair in zip(plain, ours) for seconds in pair])
    monkeypatch.setattr(home, "_operator", lambda: _reference)
    monkeypatch.setattr(home.time, "process_time", clock)
    monkeypatch.setattr(home.time, "perf_counter", clock)
    assert measured_gain(frozen[0], 7) == pytest.approx(gain)
    assert (layers_that_gain(frozen[0], 7) == []) is (gain < home.MARGIN)


class Clock:
    """Goes on by the next duration at every second look; starts anew when all are used."""

    def __init__(self, durations):
        self.durations, self.looks, self.now = durations, 0, 0.0

    def __call__(self):
        if self.looks % 2:
            self.now += self.durations[self.looks // 2 % len(self.durations)]
        self.looks += 1
        return self.now


def _reference(inputs, weight, bias, *rest):
    return torch.nn.functional.linear(inputs, weight, bias)


@needs_operator
def test_measuring_draws_nothing_from_the_generator(frozen):
    state = torch.get_rng_state()
    measured_gain(frozen[0], 7)
    assert torch.equal(torch.get_rng_state(), state)
