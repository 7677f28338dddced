"""Weights in the order in which the Helium kernels (runtime/dlink_*_mve.h) read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LANES = 16
CHANNELS = 4  # output channels at once


def conv_weights(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """For a convolution: ``[out / 4][window / 16][4][16]``, filled up with zeros.

    Parameters
    ----------
    weights : ndarray of int8, shape (out, kernel height, kernel width, in)
        The window is put in the order (kernel width, kernel height, in).
    """
    out = weights.shape[0]
    rows = weights.transpose(0, 2, 1, 3).reshape(out, -1)
    rows = np.pad(rows, ((0, -out % CHANNELS), (0, -rows.shape[1] % LANES)))
    parted = rows.reshape(-1, CHANNELS, rows.shape[1] // LANES, LANES)
    return np.ascontiguousarray(parted.transpose(0, 2, 1, 3)).reshape(-1)
