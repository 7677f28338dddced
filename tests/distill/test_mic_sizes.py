import pytest
import torch

from distill.footprint import estimate
from distill.mic import MiC, MiCConfig
from distill.mic_sizes import NAMES, SIZES

SHAPE = (19, 800, 2)


def test_the_names_are_the_sizes_in_order_of_cost():
    assert list(SIZES) == list(NAMES)
    costs = [estimate(SIZES[name], *SHAPE) for name in NAMES]
    for figure in ("params", "macs", "arena_bytes", "weight_bytes"):
        values = [getattr(cost, figure) for cost in costs]
        assert values == sorted(set(values)), figure


def test_xs_costs_no_more_than_the_default_but_for_a_residual_block():
    xs, default = estimate(SIZES["mic-xs"], *SHAPE), estimate(MiCConfig(), *SHAPE)
    assert xs.macs < 0.9e6
    assert xs.arena_bytes < default.arena_bytes
    # Without the window, which the caller may hold anywhere, its maps stay below 16 kB.
    assert xs.arena_bytes - xs.input_bytes < 16_000


def test_s_takes_a_few_million_and_m_tens_of_millions():
    assert 1e6 < estimate(SIZES["mic-s"], *SHAPE).macs < 6e6
    assert 10e6 < estimate(SIZES["mic-m"], *SHAPE).macs < 90e6


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n_chans", [1, 64])
def test_every_size_takes_the_window_of_every_teacher(name, n_chans):
    student = MiC(n_chans, 400, 3, d=40, config=SIZES[name]).eval()
    with torch.no_grad():
        out = student.with_tokens(torch.randn(2, n_chans, 400))
    assert out.logits.shape == (2, 3)
    assert out.tokens.shape == (2, 4, 2, 40)
