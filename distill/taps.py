"""Intermediate outputs by dotted path, for as long as a ``with`` block lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from targets.errors import InputError


@contextlib.contextmanager
def tap(model: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record the outputs of the submodules at `paths` during the block.

    Yields a mapping path -> output of the last forward call. The hooks go when the block ends,
    also by an exception, so that no tap outlives its use.

    Raises
    ------
    InputError
        A path names no submodule; the error lists the nearest parent's children.
    """
    recorded: dict[str, Tensor] = {}
    handles = []
    try:
        for path in paths:
            module = _submodule(model, path)

            def record(_module: nn.Module, _args: object, output: Tensor, key: str = path) -> None:
                recorded[key] = output

            handles.append(module.register_forward_hook(record))
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


def _submodule(model: nn.Module, path: str) -> nn.Module:
    """The submodule at a dotted path, or an error that says what stands there instead."""
    here = model
    for depth, piece in enumerate(path.split(".")):
        children = dict(here.named_children())
        if piece not in children:
            parent = ".".join(path.split(".")[:depth]) or type(model).__name__
            raise InputError(
                f"layer {path!r} is not in the model",
                where=parent,
                limit=", ".join(children) or "no children",
                todo="Correct the tap's path.",
            )
        here = children[piece]
    return here
