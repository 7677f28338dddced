"""What every activation does over the calibration set: seen once, then ranges by any method.

Ranges leave out the rarest values of the calibration set, one in ten thousand at each end: in EEG
they are blinks and jumps, ten times the signal, and keeping them costs every other sample a coarser
step. The output keeps its extremes. Other methods read the same histograms (docs/quantisation.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from export import ir
from export.quantisation.clip import Range, least_divergence, least_squares
from export.ranges import RunningRange
from export.runtimes import to_nhwc
from targets.errors import InputError
from targets.files import atomic_path

if TYPE_CHECKING:
    import torch

__all__ = ["METHODS", "PERCENTILE", "Observed", "Range", "calibrate", "observe"]

Floats = npt.NDArray[np.float32]

PERCENTILE = 99.99
METHODS = ("percentile", "minmax", "entropy", "mse")
CHUNK = 64  # windows that run at once, where their activations are small
CHUNK_ELEMENTS = 1 << 24  # and at most this many activations at once: 64 MB


@dataclass(frozen=True, eq=False)
class Observed:
    """Activations of a float graph over the calibration set, as histograms.

    Attributes
    ----------
    values : histogram and extremes of each activation, by name.
    peaks : largest magnitude of each channel (C,) of each activation, by name.
    output : name of the logits.
    n_windows : number of windows seen.
    """

    values: Mapping[str, RunningRange]
    peaks: Mapping[str, npt.NDArray[np.float32]]
    output: str
    n_windows: int

    def ranges(
        self, method: str = "percentile", percentile: float = PERCENTILE
    ) -> dict[str, Range]:
        """Range of every activation by one of METHODS; the output's is always min-max.

        Parameters
        ----------
        percentile : float
            Of the method "percentile": share of the values, in per cent, that each end keeps.

        Raises
        ------
        InputError
            No such method.
        """
        choose: dict[str, Callable[[RunningRange], Range]] = {
            "percentile": lambda values: values.within(percentile),
            "minmax": lambda values: values.within(100.0),
            "entropy": least_divergence,
            "mse": least_squares,
        }
        if method not in choose:
            raise InputError("no such calibration method", value=method, limit=", ".join(METHODS))
        return {
            name: choose["minmax" if name == self.output else method](values)
            for name, values in self.values.items()
        }

    def save(self, path: Path) -> None:
        """Write as .npz, atomically; :meth:`load` reads it back."""
        values = list(self.values.values())
        names = list(self.values)
        arrays = {
            "names": np.array(names, dtype=str),
            "output": np.array(self.output),
            "n_windows": np.array(self.n_windows),
            "counts": np.stack([v.counts for v in values]),
            "spans": np.array([[v.limit, v.low, v.high] for v in values]),
            "zeros": np.array([v.zeros for v in values], np.int64),
            "channels": np.array([len(self.peaks[name]) for name in names]),
            "peaks": np.concatenate([self.peaks[name] for name in names]),
        }
        with atomic_path(path) as part, part.open("wb") as handle:
            np.savez_compressed(handle, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: Path) -> Observed:
        """Read what :meth:`save` wrote.

        Raises
        ------
        InputError
            File missing, damaged, or of something else.
        """
        try:
            with np.load(path, allow_pickle=False) as found:
                names = [str(name) for name in found["names"]]
                rows = zip(found["counts"], found["spans"], found["zeros"], strict=True)
                values = [
                    RunningRange.restored(
                        counts, float(span[0]), float(span[1]), float(span[2]), int(z)
                    )
                    for counts, span, z in rows
                ]
                peaks = np.split(found["peaks"], np.cumsum(found["channels"])[:-1])
                return cls(
                    dict(zip(names, values, strict=True)), dict(zip(names, peaks, strict=True)),
                    str(found["output"]), int(found["n_windows"]),
                )  # fmt: skip
        except Exception as err:  # zip, zlib and numpy fail with many types on a damaged file
            raise InputError(
                f"calibration cannot be read: {err}", where=path, todo="Delete it and export again."
            ) from None


def observe(graph: ir.Graph, batches: Iterable[Floats] | Floats) -> Observed:
    """See every activation over the calibration set, in one pass and constant memory.

    Parameters
    ----------
    batches : array or iterable of arrays
        The calibration set, float32 (N, n_chans, n_times), whole or in batches; it is streamed and
        nothing of it is kept. How it is cut changes nothing.

    Raises
    ------
    InputError
        No window, a window of the wrong shape, or values that are not finite.
    """
    import torch

    from export.quantisation.torch_graph import TorchGraph

    batches = [batches] if isinstance(batches, np.ndarray) else batches
    model, names = TorchGraph(graph).eval(), list(graph.lifetimes())
    values = {name: RunningRange() for name in names}
    peaks = {name: np.zeros(graph.tensors[name].shape[-1], np.float32) for name in names}
    seen = 0
    elements = sum(graph.tensors[name].size for name in names)
    size = max(1, min(CHUNK, CHUNK_ELEMENTS // elements))
    with torch.no_grad():
        for chunk in _chunks(batches, graph.tensors[graph.input].shape, size):
            _check_finite(chunk, "", seen)
            found = model.activations(torch.from_numpy(chunk))
            for name in names:
                activation = _array(found[name])
                _check_finite(activation, f"tensor {name}, ", seen)
                values[name].add(activation)
                np.maximum(peaks[name], np.abs(activation).max(axis=(0, 1, 2)), out=peaks[name])
            seen += len(chunk)
    if not seen:
        raise InputError(
            "the calibration set is empty", todo="Give at least a few dozen training windows."
        )
    return Observed(values, peaks, graph.output, seen)


def calibrate(
    graph: ir.Graph, batches: Iterable[Floats] | Floats, *, percentile: float = PERCENTILE
) -> dict[str, Range]:
    """Range of every activation over the calibration set: :func:`observe`, then percentiles."""
    return observe(graph, batches).ranges("percentile", percentile)


def _array(tensor: torch.Tensor) -> Floats:
    return tensor.numpy()


def _chunks(batches: Iterable[Floats], input_shape: tuple[int, ...], size: int) -> Iterator[Floats]:
    """The same windows, `size` at a time: torch may round by how many share a batch."""
    held: list[Floats] = []
    n = 0
    for batch in batches:
        if batch.ndim != 3:
            raise InputError("calibration set is not (N, n_chans, n_times)", value=batch.shape)
        to_nhwc(batch[:1], input_shape)  # refuses what does not fit
        for start in range(0, len(batch), size):
            held.append(np.array(batch[start : start + size], np.float32))
            n += len(held[-1])
            if n >= size:
                whole = np.concatenate(held)
                yield whole[:size]
                held, n = [whole[size:]], n - size
    if n:
        yield np.concatenate(held)


def _check_finite(values: npt.NDArray[np.floating], tensor: str, first: int) -> None:
    """Raise with the first window that is not finite; `first` is the number of the batch's own."""
    if np.isfinite(values).all():
        return
    for k, window in enumerate(values):
        bad = int((~np.isfinite(window)).sum())
        if bad:
            raise InputError(
                "values are not finite",
                where=f"{tensor}calibration window {first + k}",
                value=f"{bad} of {window.size}",
                todo="Remove windows with NaN or infinities from the calibration set.",
            )
