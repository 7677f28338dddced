import pytest
import torch
from torch import nn

from distill.taps import tap
from targets.errors import InputError


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(4, 2)))


def hooks(model):
    return [m for m in model.modules() if m._forward_hooks]


def test_records_outputs_by_path(model):
    x = torch.randn(5, 3)
    with tap(model, ["0", "1.0"]) as seen:
        y = model(x)
    assert list(seen) == ["0", "1.0"]
    assert torch.equal(seen["0"], model[0](x))
    assert torch.equal(seen["1.0"], model[0](x).relu())
    assert torch.equal(y, model(x))


def test_keeps_the_last_call_only(model):
    with tap(model, ["0"]) as seen:
        model(torch.zeros(1, 3))
        model(torch.ones(2, 3))
    assert len(seen["0"]) == 2


def test_hooks_go_with_the_block_even_by_an_exception(model):
    with tap(model, ["0"]):
        assert hooks(model)
    assert not hooks(model)
    with pytest.raises(ZeroDivisionError), tap(model, ["0", "1"]):
        _ = 1 / 0
    assert not hooks(model)


def test_a_wrong_path_names_what_is_there_and_leaves_no_hook(model):
    with (
        pytest.raises(InputError, match=r"1: layer '1\.weight' is not in the model \(allowed 0, 1"),
        tap(model, ["0", "1.weight"]),
    ):
        pass
    assert not hooks(model)


def test_what_enters_a_layer_can_be_recorded(model):
    x = torch.randn(5, 3)
    with tap(model, ["1.1:input", "1:input"]) as seen:
        model(x)
    assert torch.equal(seen["1:input"], model[0](x))
    assert torch.equal(seen["1.1:input"], model[0](x).relu())
    assert not [m for m in model.modules() if m._forward_pre_hooks]


def test_of_a_tuple_the_first_entry_is_recorded():
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    x = torch.randn(2, 3, 4)
    with tap(nn.ModuleDict({"a": attention}), ["a"]) as seen:
        out, _ = attention(x, x, x)
    assert torch.equal(seen["a"], out)


@pytest.mark.parametrize("grad", [True, False])
def test_a_layer_that_works_in_place_on_what_was_recorded_is_noticed(grad):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True))
    with (
        torch.set_grad_enabled(grad),
        pytest.raises(InputError, match="0: a later layer works in place on the output"),
        tap(model, ["0"]),
    ):
        model(torch.randn(2, 3))
    assert not hooks(model)
    with torch.set_grad_enabled(grad), tap(model, ["1"]) as seen:
        y = model(torch.randn(2, 3))
    assert torch.equal(seen["1"], y)


def test_gradients_reach_what_was_recorded(model):
    with tap(model, ["0"]) as seen:
        y = model(torch.randn(5, 3))
    (gradient,) = torch.autograd.grad(y.sum(), seen["0"])
    assert gradient.shape == (5, 4)
    assert gradient.abs().sum() > 0
