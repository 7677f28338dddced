"""Some rows of a large array, without copying them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 1 << 24  # what is copied at once where all rows pass by


class Rows:
    """Rows `index` of `base` (n, ...): what is asked for is copied, the rest stays where it is.

    With a memory map below it, a training set is a list of numbers however large the recordings
    are. It has what code that walks through arrays needs (``len``, ``shape``, ``dtype``,
    ``rows[k]``, ``rows[a:b]``, ``np.asarray``); arithmetic on all of it wants ``np.asarray`` first,
    which copies all of it.
    """

    def __init__(self, base: NDArray[Any], index: NDArray[np.int64]) -> None:
        self._base, self._index = base, index

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, then the shape of one."""
        return (len(self._index), *self._base.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the array below."""
        return self._base.dtype

    @property
    def ndim(self) -> int:
        """That of the array below."""
        return self._base.ndim

    @property
    def nbytes(self) -> int:
        """Bytes that a copy of all rows would take."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, tuple):
            return self._base[self._index[key]]
        rows = self._base[self._index[key[0]]]
        return rows[key[1:]] if isinstance(key[0], (int, np.integer)) else rows[:, *key[1:]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("rows of another array cannot become an array without a copy")
        return np.asarray(self._base[self._index], dtype=dtype)

    def take(self, index: NDArray[np.int64]) -> Rows:
        """Rows of these rows, still without a copy."""
        return Rows(self._base, self._index[index])


def take(x: NDArray[Any] | Rows, index: NDArray[np.int64]) -> NDArray[Any]:
    """Rows `index` (ascending) of `x` without copying them: a slice where they are neighbours.

    A :class:`Rows` is typed as the array that it stands for.
    """
    neighbours = len(index) > 0 and index[-1] - index[0] + 1 == len(index)
    if neighbours and not isinstance(x, Rows):
        return x[index[0] : index[-1] + 1]
    return cast("NDArray[Any]", x.take(index) if isinstance(x, Rows) else Rows(x, index))


def blocks(x: NDArray[Any] | Rows) -> Iterator[NDArray[Any]]:
    """Consecutive rows of `x`, contiguous, at most about 16 MiB at a time."""
    one = max(1, int(np.prod(x.shape[1:])) * x.dtype.itemsize)
    step = max(1, BLOCK_BYTES // one)
    for start in range(0, len(x), step):
        yield np.ascontiguousarray(x[start : start + step])
