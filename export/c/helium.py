"""Weights in the order in which the Helium kernels (runtime/dlink_*_mve.h) read them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from export.c import graph as g

LANES = 16
CHANNELS = 4  # output channels at once
_TAPS = 4  # in a word
_WORDS_BYTES = 64  # a word of 16 channels
_STRIP_MOST = 16  # outputs
_STRIP_BYTES = 1600


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


def _upright(window: g.Window) -> bool:
    """Whether words are columns' taps, not a row's (runtime/dlink_depthwise_mve.h)."""
    return window.kernel[0] > 1 or window.dilation[1] > 1


def depthwise_weights(
    weights: NDArray[np.int8], multiplier: int, window: g.Window
) -> NDArray[np.int8]:
    """For a depthwise convolution: ``[multiplier][in / 4][vectors][4][16]``, filled up with zeros.

    Parameters
    ----------
    weights : ndarray of int8, shape (1, kernel height, kernel width, in * multiplier)
    multiplier : outputs per input channel.
    window : tells how taps make words.
    """
    height, width, outputs = weights.shape[1:]
    rows = weights.reshape(height, width, outputs // multiplier, multiplier).transpose(3, 2, 1, 0)
    if _upright(window):
        rows = np.pad(rows, ((0, 0), (0, 0), (0, 0), (0, -height % _TAPS)))
    flat = rows.reshape(*rows.shape[:2], -1)
    flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % CHANNELS), (0, -flat.shape[2] % LANES)))
    parted = flat.reshape(multiplier, -1, CHANNELS, flat.shape[2] // LANES, LANES)
    return np.ascontiguousarray(parted.transpose(0, 1, 3, 2, 4)).reshape(-1)


def by_output(values: NDArray[np.int32], multiplier: int) -> NDArray[np.int32]:
    """A depthwise convolution's parameters in the order ``[multiplier][in]``."""
    return np.ascontiguousarray(values.reshape(-1, multiplier).T).reshape(-1)


def strip_bytes(window: g.Window, outputs: int, rows: int = 1) -> int:
    """Scratch memory of a depthwise convolution: `outputs` of each of `rows` rows at once."""
    height, width = window.kernel
    if _upright(window):
        apart = window.dilation[1] > 1 or window.stride[1] > width
        column = -(-height // _TAPS)
        words, hop = width * column, 1
        step = (width if apart else window.stride[1]) * column
    else:
        words, hop, step = -(-width // _TAPS), _TAPS, window.stride[1]
    # What lies behind a window of several vectors is read as well.
    behind = -words % _TAPS if words > LANES // _TAPS else 0
    row = (outputs - 1) * step + (words - 1) * hop + 1
    return LANES + _WORDS_BYTES * (rows * row + behind * hop)


def strip(window: g.Window, height: int, width: int) -> dict[str, int]:
    """How many outputs of an image of this size to compute at once, of how many rows (1 or 2)."""
    fitting = [n for n in range(1, _STRIP_MOST) if strip_bytes(window, n + 1) <= _STRIP_BYTES]
    outputs = min(len(fitting) + 1, width)
    two = height > 1 and strip_bytes(window, outputs, 2) <= _STRIP_BYTES
    return {"strip": outputs, "strip_rows": 2 if two else 1}
