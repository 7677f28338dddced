"""Windows as tensors, a batch at a time: in order for inference, shuffled for training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from distill.outputs import TeacherOutputs
from distill.windows import Windows


def batches(x: NDArray[np.float32], size: int) -> Iterator[Tensor]:
    """Tensors (at most `size`, n_chans, n_times) of windows (n, n_chans, n_times).

    The windows may be memory-mapped; only the present batch is copied.
    """
    for start in range(0, len(x), size):
        yield torch.from_numpy(np.array(x[start : start + size]))


class WindowSet(Dataset[tuple[Any, ...]]):
    """Windows in batches (x, y), or with a teacher's outputs (x, y, logits, tokens).

    x (batch, n_chans, n_times); y (batch,), -1 for a window without a label; logits
    (batch, n_outputs); tokens a view of the hidden states (:class:`distill.outputs.Tokens`).
    """

    def __init__(self, windows: Windows, outputs: TeacherOutputs | None = None) -> None:
        self._windows, self._outputs = windows, outputs

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return self.__getitems__([index])

    def __getitems__(self, indices: list[int]) -> tuple[Any, ...]:
        """The batch of these windows: one read an array, not one a window."""
        rows = np.asarray(indices)
        x, y = torch.from_numpy(self._windows.x[rows]), torch.from_numpy(self._windows.y[rows])
        return (x, y) if self._outputs is None else (x, y, *self._outputs.batch(rows))


class EpochShuffle(Sampler[int]):
    """A shuffle that depends on (seed, epoch) alone, so that a resumed run sees the same order.

    An epoch is `size` windows of an endless row of permutations of the training set: whatever the
    size, every window has come equally often, but for one, at any moment.

    Parameters
    ----------
    n : windows of the training set.
    size : windows of an epoch; None is n, so that each epoch is one permutation.
    """

    def __init__(self, n: int, seed: int, size: int | None = None) -> None:
        self._n, self._seed, self._size, self._epoch = n, seed, size or n, 0

    def __len__(self) -> int:
        return self._size

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        start = self._epoch * self._size
        first, last = start // self._n, (start + self._size - 1) // self._n
        row = [
            np.random.default_rng([self._seed, turn]).permutation(self._n)
            for turn in range(first, last + 1)
        ]
        offset = start - first * self._n
        return iter(np.concatenate(row)[offset : offset + self._size].tolist())


def training_batches(
    data: WindowSet, batch: int, seed: int, epoch_windows: int | None = None
) -> DataLoader[Any]:
    """Shuffled batches, each epoch in another order."""
    size = epoch_windows or len(data)
    batch = min(batch, size)
    return DataLoader(
        data,
        batch_size=batch,
        sampler=EpochShuffle(len(data), seed, size),
        collate_fn=_as_it_is,
        # A last batch of one window has no batch statistics.
        drop_last=size % batch == 1,
    )


def batches_in_order(data: WindowSet, batch: int = 256) -> DataLoader[Any]:
    """All windows, for validation."""
    return DataLoader(data, batch_size=batch, collate_fn=_as_it_is)


def _as_it_is(batch: Any) -> Any:
    """The set gives whole batches; a lambda would not pickle for data-parallel training."""
    return batch
