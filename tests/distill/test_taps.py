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
