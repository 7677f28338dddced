import dataclasses

import numpy as np
import planted
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from distill.methods.subspace import layer_moments, leading
from distill.methods.subspace_rank import (
    RankRow,
    accuracy,
    main,
    projected,
    rank_rows,
    rank_table,
)
from distill.signal import SignalSpec
from distill.teachers import ARCHITECTURES, TappedTeacher, build_teacher
from distill.teachers.tokens import TokenForm
from targets.errors import InputError


@pytest.fixture(scope="module")
def rows():
    train, test = planted.windows(200), planted.windows(150, seed=1)
    return rank_rows(planted.teacher(), train, test, ranks=(1, 2, 4, 16, 64))


def test_two_relevant_directions_keep_the_task_and_two_principal_ones_do_not(rows):
    assert [(r.layer, r.directions) for r in rows] == [
        (layer, kind) for layer in ("embed", "late") for kind in ("relevant", "principal")
    ]
    for row in rows:
        assert row.full > 0.99
        assert list(row.accuracy) == [1, 2, 4, 16]  # 64 is above the width
        assert row.accuracy[16] == pytest.approx(row.full)
        if row.directions == "relevant":
            assert row.accuracy[1] < 0.8
            assert row.smallest == 2
        else:
            assert row.accuracy[2] < 0.7
            assert row.smallest == 16


def test_table():
    row = RankRow("blocks.3", "relevant", {1: 0.5, 2: 0.795, 4: 0.8}, 0.8)
    assert rank_table([row]).splitlines()[-1] == (
        "| blocks.3 | relevant | 0.500 | **0.795** | 0.800 | 0.800 |"
    )
    assert dataclasses.replace(row, full=0.9).smallest is None


def test_a_subtask_counts_its_own_windows_and_classes():
    data, net = planted.windows(60), planted.teacher()
    assert accuracy(net, data, (2, 0)) == 1.0
    hurt = dataclasses.replace(data, x=np.where((data.y == 1)[:, None, None], 0, data.x))
    assert accuracy(net, hurt, (0, 2)) == 1.0
    two = rank_rows(net, data, data, layers=[0], ranks=(1,), classes=(0, 2))
    assert two[0].accuracy[1] > 0.9  # one direction parts two classes


class Sideways(nn.Module):
    """(batch, 4, 64) -> tokens with d in the middle, in a tuple; a head on their mean."""

    def __init__(self):
        super().__init__()
        self.layer, self.final_layer = nn.Identity(), nn.Linear(16, 3)

    def forward(self, x):
        out = self.layer((x.unflatten(2, (4, 16)).movedim(3, 1), "more"))
        assert out[1] == "more"
        return self.final_layer(out[0].mean(dim=(2, 3)))


def test_projection_follows_the_form_and_ends_with_the_block():
    torch.manual_seed(0)
    x, mean = torch.randn(5, 4, 64), torch.randn(16)
    basis = torch.linalg.qr(torch.randn(16, 3)).Q
    net = TappedTeacher("sideways", Sideways(), ("layer",), planted.teacher().layout,
                        form=TokenForm("batch d chans steps"))  # fmt: skip
    before = net(x)
    with projected(net, 0, mean, basis), torch.no_grad():
        low = net.hidden(x)[1][:, 0]
    off = low - mean
    torch.testing.assert_close(off @ basis @ basis.T, off, atol=1e-5, rtol=1e-4)
    expected = mean + (x.unflatten(2, (4, 16)) - mean) @ basis @ basis.T
    torch.testing.assert_close(low, expected, atol=1e-5, rtol=1e-4)
    assert torch.equal(net(x), before)


@pytest.mark.parametrize(
    ("axes", "axis"),
    [
        ("batch (chans steps) d", 2),
        ("(batch steps) chans d", 2),
        ("batch steps chans d", 3),
        ("batch d steps", 1),
    ],
)
def test_the_axis_of_the_width_is_the_forms(axes, axis):
    assert TokenForm(axes).width_axis == axis


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_built_in_teachers_lose_nothing_at_full_rank_and_something_below(name):
    needs = ARCHITECTURES[name].needs
    signal = SignalSpec(ch_names=planted.CH_NAMES, sfreq=needs.sfreq, n_times=int(4 * needs.sfreq),
                        unit=needs.unit, scale=needs.scale)  # fmt: skip
    torch.manual_seed(0)
    net = build_teacher(name, signal, 3, n_layers=2).eval().requires_grad_(False)
    x = 0.2 * torch.randn(3, 4, signal.n_times)
    embed, late = layer_moments(net, x.numpy(), [0, 1], (0, 1, 2))
    assert embed.decides
    assert late.decides == (name != "eegpt")  # its head reads summary tokens alone
    basis, mean = leading(late.s_a).float(), late.mean.float()
    with torch.no_grad():
        before = net(x)
        with projected(net, 1, mean, basis):
            torch.testing.assert_close(net(x), before, atol=1e-4, rtol=1e-3)
        with projected(net, 1, mean, basis[:, :1]):
            assert not torch.allclose(net(x), before, atol=1e-3 * before.abs().max().item())


def test_a_layer_read_at_an_input_is_refused_and_left_out():
    net = TappedTeacher("x", planted.Planted(), ("late:input", "late"), planted.teacher().layout,
                        form=TokenForm("batch chans steps d"))  # fmt: skip
    with (
        pytest.raises(InputError, match=r"late:input: .*cannot be projected"),
        projected(net, 0, torch.zeros(16), torch.eye(16)),
    ):
        pass
    data = planted.windows(20)
    assert {r.layer for r in rank_rows(net.eval(), data, data, ranks=(1,))} == {"late"}


def test_command(finished):
    result = CliRunner().invoke(main, [str(finished.folder), "--layer", "0"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert lines[0] == "| layer | directions | 1 | 2 | 4 | 8 | 16 | 32 | 64 | all |"
    assert [line.split(" | ")[1] for line in lines[2:]] == ["relevant", "principal"]
    wrong = CliRunner().invoke(main, [str(finished.folder), "--class", "2"])
    assert wrong.exit_code == 2
    assert "--class: there is no such number (found 2, allowed 0 to 1)" in wrong.output
