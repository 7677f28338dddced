"""Windows as tensors, a batch at a time, in order: for inference over a whole split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def batches(x: NDArray[np.float32], size: int) -> Iterator[Tensor]:
    """Tensors (at most `size`, n_chans, n_times) of windows (n, n_chans, n_times).

    The windows may be memory-mapped; only the present batch is copied.
    """
    for start in range(0, len(x), size):
        yield torch.from_numpy(np.ascontiguousarray(x[start : start + size]))
