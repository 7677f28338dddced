"""What a frozen teacher says of windows: logits, and hidden states read when they are asked for.

Hidden states are large (12 layers, 22 electrodes, 4 s: 0.84 MB a window), so that a batch carries a
view of them (:class:`Tokens`) and not a copy. Behind the view stands an array, the cache's files
(:mod:`distill.cache`) or the teacher itself (:mod:`distill.live`); each gives the same numbers,
window by window, whatever other windows share the batch.

They are kept layer-normalised, which is what the Router mixes and what half precision suits, with
mean and spread of each token beside them, from which the raw states come back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

LN_EPS = 1e-5  # torch's layer norm
ALIGNED = 64  # bytes: a matrix product may round by where its operands lie, so they all lie so
Rows = NDArray[np.int64]
Layers = Sequence[int]


class Parts(NamedTuple):
    """Hidden states H in the form in which they are kept; LN is layer norm without weights.

    H = LN(H) * spread + centre, to the rounding of LN(H).

    normed : LN(H) (n, layers, n_chans, n_patches, d), float32 or float16.
    pooled : its mean over the patches (n, layers, n_chans, d), of the same dtype.
    mean : its mean over all tokens, float32 (n, layers, d).
    centre, spread : float32 (n, layers, n_chans, n_patches).
    """

    normed: Tensor
    pooled: Tensor
    mean: Tensor
    centre: Tensor
    spread: Tensor


def normalise(hidden: Tensor, dtype: torch.dtype = torch.float32) -> Parts:
    """The parts of hidden states (n, layers, n_chans, n_patches, d), rounded to `dtype`."""
    found = []
    for window in hidden.float():  # one by one: how many share the batch must not round
        normed, centre, scale = torch.native_layer_norm(
            window, window.shape[-1:], None, None, LN_EPS
        )
        kept = normed.to(dtype)
        pooled = kept.float().mean(dim=2).to(dtype)
        mean = pooled.float().mean(dim=1)
        found.append((kept, pooled, mean, centre.squeeze(-1), 1.0 / scale.squeeze(-1)))
    return Parts(*(torch.stack(column) for column in zip(*found, strict=True)))


class _Windows:
    """Windows as float32 arrays (layers, numbers): where they lie, or a copy that is overwritten.

    A product may round by where its operands lie, so that all lie on 64 bytes.
    """

    def __init__(self, kept: Tensor, rows: list[int], layers: list[int] | None) -> None:
        self._kept, self._rows, self._layers = kept, rows, layers
        step = kept.stride(0) * kept.element_size()
        plain = kept.dtype == torch.float32 and layers is None
        self._in_place = plain and kept.data_ptr() % ALIGNED == 0 and step % ALIGNED == 0

    @property
    def width(self) -> int:
        """Numbers a layer."""
        return int(self._kept.shape[2])

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        if self._in_place:
            whole = self._kept.numpy()
            yield from (whole[row] for row in self._rows)
            return
        depth = self._kept.shape[1] if self._layers is None else len(self._layers)
        copy = torch.empty(depth, self._kept.shape[2])  # torch's memory lies on 64 bytes
        array = copy.numpy()
        for row in self._rows:
            window = self._kept[row]
            copy.copy_(window if self._layers is None else window[self._layers])
            yield array


class _Mix(torch.autograd.Function):
    """LN(H) of windows summed over layers and electrodes; see :meth:`Tokens.mixed`.

    numpy's product of a vector and a matrix, because torch's is slow on processors that are not
    Intel's (its MKL takes the path without vector instructions there).
    """

    @staticmethod
    def forward(
        ctx: Any, layers: Tensor, chans: Tensor, normed: _Windows, pooled: _Windows, d: int
    ) -> tuple[Tensor, Tensor]:
        """Target (batch, chans, patches, d) and its mean over the patches (batch, chans, d)."""
        alpha, mixture = _numbers(layers), _numbers(chans)
        out = np.empty((len(alpha), len(mixture), normed.width // mixture.shape[1]), np.float32)
        blend = np.empty((mixture.shape[1], out.shape[2]), np.float32)
        flat = blend.reshape(-1)
        for k, window in enumerate(normed):  # a window stays in the processor's cache meanwhile
            np.dot(alpha[k], window, out=flat)
            np.dot(mixture, blend, out=out[k])
        target = torch.from_numpy(out).unflatten(2, (-1, d))
        ctx.alpha, ctx.mixture, ctx.pooled = alpha, mixture, pooled
        mean = target.mean(dim=2).to(layers.device)
        target = target.to(layers.device)
        ctx.mark_non_differentiable(target)
        return target, mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        """Through the mean: it is linear, so the patch means of LN(H) are all that is needed."""
        given = _numbers(grad)  # (batch, chans, d)
        on_blend = np.matmul(ctx.mixture.T, given).reshape(len(given), -1)
        blends, to_layers = np.empty_like(on_blend), np.empty_like(ctx.alpha)
        for k, window in enumerate(ctx.pooled):
            np.dot(ctx.alpha[k], window, out=blends[k])
            np.dot(window, on_blend[k], out=to_layers[k])
        each = np.matmul(given, blends.reshape(len(given), -1, given.shape[2]).transpose(0, 2, 1))
        to_chans = each.sum(axis=0)  # (chans, n_chans)
        by_layers, by_chans = (torch.from_numpy(a).to(grad.device) for a in (to_layers, to_chans))
        return by_layers, by_chans, None, None, None


def _numbers(x: Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(x.detach().float().cpu().numpy())


class Tokens:
    """Hidden states of one batch of windows, read only as far as a method asks.

    Parameters
    ----------
    parts, rows : where they are kept, and which windows these are.
    """

    def __init__(self, parts: Parts, rows: Rows) -> None:
        self._parts, self._rows = parts, rows.tolist()

    @classmethod
    def of(cls, hidden: Tensor) -> Tokens:
        """The view of a tensor (batch, layers, n_chans, n_patches, d)."""
        return cls(normalise(hidden.detach().cpu()), np.arange(len(hidden)))

    def __len__(self) -> int:
        return len(self._rows)

    def hidden(self, layers: Layers | None = None) -> Tensor:
        """H (batch, layers, n_chans, n_patches, d), float32, of all or these layers."""
        normed, _, _, centre, spread = self._parts
        found = self._gather(normed, layers)
        found *= self._gather(spread, layers)[..., None]
        found += self._gather(centre, layers)[..., None]
        return found

    def mean(self, layers: Layers | None = None) -> Tensor:
        """Mean of LN(H) over all tokens (batch, layers, d), float32."""
        found = self._parts.mean.index_select(0, torch.tensor(self._rows))
        return found if layers is None else found[:, list(layers)]

    def mixed(
        self, layer_weights: Tensor, chan_weights: Tensor, layers: Layers | None = None
    ) -> tuple[Tensor, Tensor]:
        """Sum of LN(H) over layers and electrodes.

        Parameters
        ----------
        layer_weights : (batch, layers), of all or of these `layers`.
        chan_weights : (chans, n_chans).

        Returns
        -------
        The sum (batch, chans, n_patches, d), without gradient, and its mean over the patches
        (batch, chans, d), with a gradient to both weights.
        """
        normed = self._windows(self._parts.normed, layers)
        pooled = self._windows(self._parts.pooled, layers)
        d = self._parts.normed.shape[-1]
        target, mean = _Mix.apply(layer_weights, chan_weights, normed, pooled, d)
        return target, mean

    def _windows(self, kept: Tensor, layers: Layers | None) -> _Windows:
        return _Windows(kept.flatten(2), self._rows, None if layers is None else list(layers))

    def _gather(self, kept: Tensor, layers: Layers | None) -> Tensor:
        depth = kept.shape[1] if layers is None else len(layers)
        # numpy's memory comes in huge pages where torch's costs a page fault every 4 kB.
        out = torch.from_numpy(np.empty((len(self), depth, *kept.shape[2:]), np.float32))
        for k, row in enumerate(self._rows):
            out[k] = kept[row] if layers is None else kept[row][list(layers)]
        return out


class HiddenStates:
    """Hidden states of windows, like an array (n, layers, n_chans, n_patches, d).

    ``hidden[rows]`` and ``hidden[rows, layers]`` read these windows and layers alone, as float32.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, layers, n_chans, n_patches, d)."""
        raise NotImplementedError

    def tokens(self, rows: Rows) -> Tokens:
        """The view of these windows for a batch."""
        raise NotImplementedError

    def select(self, rows: Rows) -> HiddenStates:
        """The windows at these indices, in this order; nothing is read."""
        return Selected(self, rows)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        rows, layers = key if isinstance(key, tuple) else (key, slice(None))
        chosen = np.arange(len(self))[rows]
        depth = np.arange(self.shape[1])[layers]
        tokens = self.tokens(np.atleast_1d(chosen))
        found = tokens.hidden(np.atleast_1d(depth).tolist()).numpy()
        return found[tuple(0 if axis.ndim == 0 else slice(None) for axis in (chosen, depth))]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype=dtype)


class Held(HiddenStates):
    """Hidden states in memory."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, layers, n_chans, n_patches, d)."""
        return tuple(self._parts.normed.shape)

    def tokens(self, rows: Rows) -> Tokens:
        """The view of these windows for a batch."""
        return Tokens(self._parts, rows)


class Selected(HiddenStates):
    """Some windows of other hidden states."""

    def __init__(self, whole: HiddenStates, rows: Rows) -> None:
        self._whole, self._rows = whole, np.asarray(rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, layers, n_chans, n_patches, d)."""
        return (len(self._rows), *self._whole.shape[1:])

    def tokens(self, rows: Rows) -> Tokens:
        """The view of these windows for a batch."""
        return self._whole.tokens(self._rows[rows])


class TeacherOutputs:
    """A frozen teacher's view of windows.

    Parameters
    ----------
    logits : float32 (n, n_outputs).
    hidden : hidden states of the same windows, or an array of them.
    """

    def __init__(self, logits: NDArray[np.float32], hidden: HiddenStates | NDArray[Any]) -> None:
        if not isinstance(hidden, HiddenStates):
            hidden = Held(normalise(torch.from_numpy(np.asarray(hidden))))
        self._logits, self.hidden = logits, hidden

    @property
    def logits(self) -> NDArray[np.float32]:
        """Logits (n, n_outputs)."""
        return self._logits

    def __len__(self) -> int:
        return len(self.hidden)

    def select(self, rows: Rows) -> TeacherOutputs:
        """The windows at these indices, in this order; hidden states stay where they are."""
        return TeacherOutputs(self.logits[rows], self.hidden.select(rows))

    def batch(self, rows: Rows) -> tuple[Tensor, Tokens]:
        """Logits (len(rows), n_outputs) and the view of the hidden states of these windows."""
        return torch.from_numpy(np.array(self.logits[rows])), self.hidden.tokens(rows)
