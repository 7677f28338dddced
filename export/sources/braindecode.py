"""A model of braindecode by the name of its class, with weights from a file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from distill.braindecode_import import braindecode_models
from distill.recipe.student import BASELINES, GIVEN
from export.sources.base import Source
from export.sources.data import Data, Given
from export.sources.torch_model import Named, class_names, needs_weights, source_of
from targets.errors import InputError
from targets.target import suggestion

PREFIX = "braindecode:"


def open_braindecode(text: str, given: Given) -> Source:
    """The model "braindecode:NAME", built for the contract's window.

    Where its weights lie in a run folder of dlink-distill, that run gives windows and contract, and
    the arguments of a baseline of this class.

    Raises
    ------
    InputError
        Unknown name (near misses are suggested) or argument, no weights, no contract, a class that
        cannot be built for this window, weights of another model.
    """
    name = text.removeprefix(PREFIX)
    kind = _class(name, text)
    weights = needs_weights(given.weights, text)
    found = given.find_data()
    arguments = given.arguments or _arguments(name, found)
    model = build(kind, text, found, arguments)
    return source_of(model, Named("braindecode", text, name.lower(), arguments), found, weights)


def build(kind: Any, text: str, data: Data, arguments: Mapping[str, Any]) -> nn.Module:
    """An instance of a braindecode class for the contract's channels, samples and classes."""
    taken = inspect.signature(kind).parameters
    allowed = sorted(set(taken) - {*GIVEN, "kwargs"})
    unknown = [key for key in arguments if key not in allowed]
    if unknown:
        raise InputError(
            f"{kind.__name__} of braindecode has no such keyword, or the contract decides it",
            where="--model-args", value=", ".join(unknown), limit=", ".join(allowed) or "none",
            todo=suggestion(unknown[0], allowed),
        )  # fmt: skip
    spec = data.signal
    shape = {
        "n_chans": spec.n_chans, "n_times": spec.n_times, "n_outputs": len(class_names(data)),
        "sfreq": spec.sfreq, "chs_info": [{"ch_name": name} for name in spec.ch_names],
    }  # fmt: skip
    given = {key: value for key, value in shape.items() if key in taken}
    try:
        model: nn.Module = kind(**given, **arguments)
    except Exception as err:  # braindecode and torch raise what they like at sizes that do not go
        raise InputError(
            f"{kind.__name__} cannot be built for these windows: {type(err).__name__}: {err}",
            where=text, value=f"{spec.n_chans} x {spec.n_times}, {dict(arguments)}",
            todo="Choose other --model-args, or another contract.",
        ) from err  # fmt: skip
    return model


def _class(name: str, text: str) -> Any:
    models = braindecode_models()
    known = sorted(key for key, value in vars(models).items()
                   if inspect.isclass(value) and issubclass(value, nn.Module))  # fmt: skip
    if name not in known:
        folded = {key.lower(): key for key in known}
        near = folded.get(name.lower())
        todo = f'Did you mean "{near}"?' if near else suggestion(name, known)
        raise InputError("braindecode has no such model", where=text, value=name,
                         limit=", ".join(known), todo=todo)  # fmt: skip
    return getattr(models, name)


def _arguments(name: str, data: Data) -> Mapping[str, Any]:
    """Those of the run's student, where the weights lie in a run of this very class."""
    student = data.arm.student if data.arm is not None else None
    if student is not None and BASELINES.get(student.name) == name:
        return student.arguments
    return {}
