"""Intermediate outputs by dotted path, for as long as a ``with`` block lasts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from targets.errors import InputError

INPUT = ":input"  # suffix of a path whose module's first argument is wanted, not its output


@contextlib.contextmanager
def tap(model: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Record what leaves the submodules at `paths` during the block.

    Yields a mapping path -> output of the last forward call; of a module that returns a tuple, its
    first entry. "path:input" records the module's first argument instead: the way to a residual
    stream that no module returns. The hooks go when the block ends, also by an exception, so that
    no tap outlives its use.

    Raises
    ------
    InputError
        A path names no submodule; the error lists the nearest parent's children. Or, when the
        block ends, a later layer has written into what was recorded: it is no longer what the
        tapped layer gave.
    """
    recorded: dict[str, Tensor] = {}
    versions: dict[str, int] = {}
    handles = []

    def keep(key: str, value: Any) -> None:
        value = value[0] if isinstance(value, tuple) else value
        recorded[key] = value
        if isinstance(value, Tensor) and not value.is_inference():
            versions[key] = value._version

    try:
        for path in paths:
            module = submodule(model, path.removesuffix(INPUT))

            def outgoing(_m: nn.Module, _args: object, output: Any, key: str = path) -> None:
                keep(key, output)

            def incoming(_m: nn.Module, args: tuple[Any, ...], key: str = path) -> None:
                keep(key, args)

            if path.endswith(INPUT):
                handles.append(module.register_forward_pre_hook(incoming))
            else:
                handles.append(module.register_forward_hook(outgoing))
        yield recorded
    finally:
        for handle in handles:
            handle.remove()
    changed = [key for key, version in versions.items() if recorded[key]._version != version]
    if changed:
        raise InputError(
            "a later layer works in place on the output of this one",
            where=", ".join(changed),
            todo="Tap that layer instead, or make it work out of place (inplace=False).",
        )


def submodule(model: nn.Module, path: str) -> nn.Module:
    """The submodule at a dotted path.

    Raises
    ------
    InputError
        There is none; says where the path breaks off and what stands there instead.
    """
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
