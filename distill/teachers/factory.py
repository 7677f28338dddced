"""A user's module from the dotted path of the factory that makes it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from distill.braindecode_import import braindecode_models
from distill.signal import SignalSpec
from targets.errors import InputError

WHERE = "[teacher] module"


def make_module(
    path: str, arguments: Mapping[str, Any], signal: SignalSpec, n_outputs: int
) -> nn.Module:
    """Call a factory with what it takes of the signal, and with the user's arguments.

    Parameters
    ----------
    path : "package.module:factory" or "path/to/file.py:factory". Importing it runs its code.
    arguments : beside n_chans, n_times, n_outputs, sfreq, ch_names and chs_info, which are given
        where the factory has parameters of these names.

    Raises
    ------
    InputError
        Not found, arguments that it does not take, whatever it raises, no torch module.
    """
    factory = find_factory(path)
    offered = {
        "n_chans": signal.n_chans,
        "n_times": signal.n_times,
        "n_outputs": n_outputs,
        "sfreq": signal.sfreq,
        "ch_names": list(signal.ch_names),
        "chs_info": [{"ch_name": name} for name in signal.ch_names],
    }
    taken = inspect.signature(factory).parameters
    _check_arguments(arguments, offered, taken)
    given = {name: value for name, value in offered.items() if name in taken}
    try:
        model = factory(**given, **arguments)
    except Exception as err:
        # The user's code may fail in any way; its own words say why.
        raise InputError(
            f"factory failed: {type(err).__name__}: {err}", where=WHERE, value=path,
            todo=f"It was called with {', '.join([*given, *arguments]) or 'nothing'}.",
        ) from err  # fmt: skip
    if not isinstance(model, nn.Module):
        raise InputError("factory gives no torch module", where=WHERE, value=type(model).__name__)
    return model


def _check_arguments(
    arguments: Mapping[str, Any],
    offered: Mapping[str, Any],
    taken: Mapping[str, inspect.Parameter],
) -> None:
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values())
    faults = [f"{name} comes from the signal and the classes" for name in arguments
              if name in offered]  # fmt: skip
    faults += [f"{name} is no parameter of the factory" for name in arguments
               if name not in offered and name not in taken and not open_ended]  # fmt: skip
    if faults:
        raise InputError(
            "; ".join(faults), where="[teacher] arguments",
            limit=", ".join(name for name in taken if name not in offered) or "none",
        )  # fmt: skip


def find_factory(path: str) -> Callable[..., Any]:
    """The callable at "package.module:factory" or "path/to/file.py:factory"."""
    source, _, name = path.rpartition(":")
    try:
        module = _from_file(Path(source)) if source.endswith(".py") else _from_package(source)
    except Exception as err:
        # Importing runs the user's code, which may fail in any way.
        raise InputError(
            f"cannot be imported: {type(err).__name__}: {err}", where=WHERE, value=path,
            todo="Install the package, put its folder on PYTHONPATH, or name the file: "
            "path/to/file.py:factory.",
        ) from err  # fmt: skip
    found = getattr(module, name, None)
    if not callable(found):
        own = [n for n, v in vars(module).items()
               if callable(v) and getattr(v, "__module__", "") == module.__name__]  # fmt: skip
        raise InputError(f"{source} has no callable {name!r}", where=WHERE,
                         limit=", ".join(own) or "none")  # fmt: skip
    return found


def _from_package(source: str) -> ModuleType:
    if source.partition(".")[0] == "braindecode":
        braindecode_models()  # the safe way round a torchaudio that cannot load
    return importlib.import_module(source)


def _from_file(path: Path) -> ModuleType:
    """A module from its file, without a folder on the import path."""
    spec = importlib.util.spec_from_file_location(f"dlink_teacher_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up while it is executed
    spec.loader.exec_module(module)
    return module
