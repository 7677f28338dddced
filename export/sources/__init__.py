"""Inputs of an export: a run folder, a braindecode model, a module of the user's, an ONNX file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from export.sources.arguments import parse_arguments
from export.sources.base import Source
from export.sources.braindecode import PREFIX as BRAINDECODE
from export.sources.braindecode import open_braindecode
from export.sources.data import Given
from export.sources.module import PREFIX as MODULE
from export.sources.module import open_module
from export.sources.onnx_file import SUFFIX as ONNX
from export.sources.onnx_file import open_onnx
from export.sources.run import open_run
from targets.errors import InputError
from targets.target import suggestion

__all__ = ["Source", "open_run", "open_source"]

FORMS = {
    "a run folder": "runs/eegmat",
    "a model of braindecode": "braindecode:EEGNet --weights FILE",
    "a factory of yours": "module:models.py:make --weights FILE",
    "an ONNX file": "model.onnx --data windows.npz",
}


def open_source(
    text: str,
    *,
    arm: str = "distilled",
    weights: Path | None = None,
    data: Path | None = None,
    signal: Path | None = None,
    arguments: Mapping[str, Any] | Iterable[str] | None = None,
) -> Source:
    """What the command line names: one of four kinds of input.

    Parameters
    ----------
    text : a run folder; "braindecode:NAME"; "module:FILE.py:factory" or "package.module:factory";
        a path that ends in .onnx.
    arm : of a run: "distilled" or "matched".
    weights : of a braindecode model or a factory: .safetensors, or a file of torch.save.
    data : windows of an input that is no run.
    signal : contract of an input that is no run, where `data` does not hold it.
    arguments : keyword arguments of the model's class or factory, as a mapping or as texts
        "KEY=VALUE"; none for those of the run in which the weights lie.

    Raises
    ------
    InputError
        None of the four, an option that does not belong to the kind, or what the kind refuses.
    """
    named = parse_arguments(arguments)
    given = Given(weights, data, signal, named)
    if Path(text).is_dir():
        _refuse("a run folder", weights=weights, data=data, signal=signal, arguments=named)
        return open_run(Path(text), arm)
    if arm != "distilled":
        raise InputError("only a run has arms", where="--arm", value=arm, todo="Leave it out.")
    if text.startswith(BRAINDECODE):
        return open_braindecode(text, given)
    if text.endswith(ONNX):
        _refuse("an ONNX file", weights=weights, arguments=named)
        return open_onnx(Path(text), given)
    if _is_factory(text):
        return open_module(text, given)
    raise _unknown(text)


def _is_factory(text: str) -> bool:
    """ "module:..." or "package.module:factory"; no path with a colon in it."""
    if text.startswith(MODULE):
        return True
    source, colon, name = text.rpartition(":")
    dotted = all(part.isidentifier() for part in source.split("."))
    return bool(colon) and name.isidentifier() and (dotted or source.endswith(".py"))


def _refuse(kind: str, **given: Any) -> None:
    """Options that this kind of input does not take."""
    for name, value in given.items():
        if value:
            option = "--model-args" if name == "arguments" else f"--{name}"
            raise InputError(
                f"{kind} takes no such option: it holds all of that itself", where=option,
                value=value, todo="Leave it out.",
            )  # fmt: skip


def _unknown(text: str) -> InputError:
    forms = [f"  {kind}: dlink-export {example} -o DIR" for kind, example in FORMS.items()]
    path, near = Path(text), ""
    if path.parent.is_dir():
        near = suggestion(path.name, sorted(entry.name for entry in path.parent.iterdir()))
    lines = [f"{near} An input is one of".strip(), *forms]
    return InputError("no such input", where=text, todo="\n".join(lines))
