"""Ranges of every activation over the calibration set.

Ranges leave out the rarest values of the calibration set, one in ten thousand at each end: in EEG
they are blinks and jumps, ten times the signal, and keeping them costs every other sample a coarser
step. The output keeps its extremes.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from export import ir
from export.ranges import RunningRange
from export.runtimes import TfliteModel, to_nhwc
from export.tflite import write_fp32
from targets.errors import InputError

Range = tuple[float, float]
Floats = npt.NDArray[np.float32]

PERCENTILE = 99.99


def calibrate(
    graph: ir.Graph, batches: Iterable[Floats] | Floats, *, percentile: float = PERCENTILE
) -> dict[str, Range]:
    """Range of every activation over the calibration set.

    Parameters
    ----------
    batches : array or iterable of arrays
        The calibration set, float32 (N, n_chans, n_times), whole or in batches; it is streamed,
        one window at a time, and nothing of it is kept.
    percentile : float
        Share of the values, in per cent, that each end of a range keeps; 100 is min-max. The
        output's range is always min-max.

    Raises
    ------
    InputError
        No window, a window of the wrong shape, or values that are not finite.
    """
    batches = [batches] if isinstance(batches, np.ndarray) else batches
    model = TfliteModel(write_fp32(graph), keep_all=True)
    names = list(graph.lifetimes())
    seen_values = {name: RunningRange() for name in names}
    seen = 0
    for batch in batches:
        if batch.ndim != 3:
            raise InputError("calibration set is not (N, n_chans, n_times)", value=batch.shape)
        for row in to_nhwc(np.asarray(batch, np.float32), model.input_shape):
            _check_finite(row, f"calibration window {seen}")
            found = model.tensors(row)
            for name in names:
                _check_finite(found[name], f"tensor {name}, calibration window {seen}")
                seen_values[name].add(found[name])
            seen += 1
    if not seen:
        raise InputError(
            "the calibration set is empty", todo="Give at least a few dozen training windows."
        )
    return {
        name: values.within(100.0 if name == graph.output else percentile)
        for name, values in seen_values.items()
    }


def _check_finite(values: npt.NDArray[np.floating], where: str) -> None:
    if not np.isfinite(values).all():
        raise InputError(
            "values are not finite",
            where=where,
            value=f"{int((~np.isfinite(values)).sum())} of {values.size}",
            todo="Remove windows with NaN or infinities from the calibration set.",
        )
