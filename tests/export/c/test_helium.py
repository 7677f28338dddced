"""The order of weights for Helium vectors, and the memory of a strip."""

from __future__ import annotations

import numpy as np
import pytest

from export.c import graph as g
from export.c import helium


def window(kernel: tuple[int, int], stride: int = 1, dilation: int = 1) -> g.Window:
    return g.Window(kernel, (1, stride), (1, dilation), (0, 0))


def test_conv_weights_come_by_four_channels_and_16_values():
    rng = np.random.default_rng(0)
    weights = rng.integers(-128, 128, (5, 3, 2, 4), dtype=np.int8)
    made = helium.conv_weights(weights).reshape(2, 2, 4, 16)
    window_of_4 = weights[4].transpose(1, 0, 2).reshape(-1)  # columns first
    np.testing.assert_array_equal(made[1, :, 0].reshape(-1)[:24], window_of_4)
    assert not made[1, :, 0].reshape(-1)[24:].any()
    assert not made[1, :, 1:].any()


def test_upright_depthwise_weights_fill_each_column_to_four_taps():
    weights = np.arange(1, 3 * 2 * 6 + 1, dtype=np.int8).reshape(1, 3, 2, 6)
    made = helium.depthwise_weights(weights, 2, window((3, 2))).reshape(2, 4, 16)
    channel, second = 1, 1  # output 3
    column = weights[0, :, 1, channel * 2 + second]
    assert made[second, channel].tolist()[4:8] == [*column, 0]
    assert not made[second, 3].any()  # three input channels only


def test_flat_depthwise_weights_are_taps_in_a_row():
    weights = np.arange(1, 10, dtype=np.int8).reshape(1, 1, 9, 1)
    made = helium.depthwise_weights(weights, 1, window((1, 9))).reshape(4, 16)
    assert made[0].tolist() == [*range(1, 10), *[0] * 7]


def test_parameters_by_output():
    assert helium.by_output(np.arange(6, dtype=np.int32), 2).tolist() == [0, 2, 4, 1, 3, 5]


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "outputs", "words"),
    [
        ((3, 3), 1, 1, 5, 7),  # one word a column
        ((3, 3), 1, 2, 5, 15),  # dilated: windows apart
        ((22, 1), 1, 1, 2, 6 + 6 + 2),  # two vectors read eight words
        ((1, 9), 2, 1, 3, 2 * 2 + 2 * 4 + 1),
    ],
)
def test_strip_bytes(kernel, stride, dilation, outputs, words):
    found = helium.strip_bytes(window(kernel, stride, dilation), outputs)
    assert found == 16 + 64 * words


def test_a_strip_takes_two_rows_where_they_fit():
    assert helium.strip(window((3, 3)), 25, 5) == {"strip": 5, "strip_rows": 2}
    assert helium.strip(window((3, 3)), 1, 5) == {"strip": 5, "strip_rows": 1}
    wide = helium.strip(window((22, 1)), 1, 160)
    assert helium.strip_bytes(window((22, 1)), wide["strip"]) <= 1600
    assert helium.strip(window((40, 40)), 1, 9)["strip"] == 1  # as large as it must be
