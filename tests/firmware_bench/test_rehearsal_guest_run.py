"""The program that runs on the emulated board lays windows out as the board's own runner does."""

import numpy as np
import pytest

from firmware_bench.device.runtimes import laid_out as of_the_runner
from firmware_bench.rehearsal.guest_run import laid_out


@pytest.mark.parametrize("shape", [(1, 3, 5, 1), (1, 1, 5, 3), (1, 5, 1, 3), (1, 5, 3, 1)])
def test_every_layout_of_an_input(shape):
    windows = np.arange(30, dtype=np.float32).reshape(2, 3, 5)
    found = laid_out(windows, list(shape))
    for window, one in zip(windows, found, strict=True):
        np.testing.assert_array_equal(one, of_the_runner(window, shape))


def test_an_onnx_input_is_taken_as_it_is():
    windows = np.arange(50, dtype=np.float32).reshape(2, 5, 5)
    np.testing.assert_array_equal(laid_out(windows, [1, 5, 5])[:, 0], windows)
