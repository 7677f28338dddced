"""Weights for cores that make two 16-bit sums with one multiplication (dlink_dot_packed.h)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

MORE = 7  # weights of a group after its first: DLINK_MORE
WORDS_MOST = 2560  # bytes of a layer's weights as words: four times the flash for less work
_LOW, _HIGH = -128, 127  # of an input


def groups(weights: NDArray[np.int8]) -> Iterator[NDArray[np.int8]]:
    """Runs of one channel's weights (K,) whose sum of products lies within int16 for any input.

    Greedy, which makes the fewest. A group of one always does: 128 * 128 = 2^14.
    """
    start = least = most = 0
    for i, weight in enumerate(weights.astype(int).tolist()):
        ends = weight * _LOW, weight * _HIGH
        least, most = least + min(ends), most + max(ends)
        if least < -(2**15) or most >= 2**15 or i - start > MORE:
            yield weights[start:i]
            start, least, most = i, min(ends), max(ends)
    yield weights[start:]


def packed_words(weights: NDArray[np.int8]) -> NDArray[np.int32]:
    """All channels' streams (channels, K) in words: quick, but four bytes a weight."""
    stream: list[int] = []
    for channel in weights:
        found = [group.tolist() for group in groups(channel)]
        stream.append(len(found))
        for first, *others in found[:-1]:
            stream += [first, -30 - 12 * len(others), *others]
        first, *others = found[-1]
        stream += [first, 12 * (MORE - len(others)), *others]
    return np.array(stream, np.int32)


def packed_bytes(weights: NDArray[np.int8]) -> NDArray[np.uint8]:
    """All channels' streams (channels, K) in bytes."""
    stream: list[int] = []
    for channel in weights:
        found = [group.tolist() for group in groups(channel)]
        stream += divmod(len(found), 256)[::-1]
        for i, (first, *others) in enumerate(found):
            last = 112 if i + 1 == len(found) else 0
            stream += [first & 255, 14 * (MORE + 1 - len(others)) + last]
            stream += [weight & 255 for weight in others]
    return np.array(stream, np.uint8)


def limbs(bound: int, shift: int) -> int:
    """Parts of a multiplier for sums of at most `bound` and shifts of at most `shift` to the right.

    3 of 12 bits or 4 of 8 bits (dlink_requant_packed.h); 0 if neither form is exact.
    """
    if shift > 15 or bound >= 2**23:
        return 0
    return 3 if bound < 2**19 else 4


def conv_scratch_bytes(window: int, channels: int, block: int) -> int:
    """Of a convolution: columns, sums, places, and a pixel of padding."""
    pixels = max(block // 4 * 4, 4)
    return 2 * pixels * window + 8 * pixels + -(-channels // 4) * 4


def depthwise_scratch_bytes(taps: int, channels: int) -> int:
    """Of a depthwise convolution: addresses for four pixels, and a pixel of padding."""
    return 16 * taps + -(-channels // 4) * 4


def by_two(flat: NDArray[np.int8]) -> NDArray[np.int8]:
    """Weights (channels, window) by two channels and four bytes of each in turn."""
    channels, window = flat.shape
    parted = flat.reshape(channels // 2, 2, window // 4, 4)
    return np.ascontiguousarray(parted.transpose(0, 2, 1, 3))


def by_four(weights: NDArray[np.int8], multiplier: int) -> NDArray[np.uint32]:
    """Words of two int16 for the DSP kernel: [channels / 4][multiplier][taps][0 2 | 1 3]."""
    taps = weights.shape[1] * weights.shape[2]
    parted = weights.reshape(taps, -1, 4, multiplier).transpose(1, 3, 0, 2)
    pairs = parted[..., [0, 2, 1, 3]].astype("<i2")
    return np.ascontiguousarray(pairs).reshape(-1).view("<u4")
