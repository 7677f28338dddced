"""The signal contract from a file of the user's: JSON or TOML, with the class names if wanted."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from distill.signal import SignalSpec
from targets.errors import InputError
from targets.target import suggestion

_EXAMPLE = 'Write ch_names = ["C3", "Cz"], sfreq = 200, n_times = 800, and unit, band, ... .'


@dataclass(frozen=True)
class Contract:
    """labels: class names in the order of the model's outputs; None where nothing says them."""

    signal: SignalSpec
    labels: tuple[str, ...] | None = None


def read_contract(path: Path) -> Contract:
    """Fields of :class:`~distill.signal.SignalSpec` and `labels`, at the top or below [signal].

    Raises
    ------
    InputError
        No such file, neither JSON nor TOML, or every fault of its fields at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise InputError("signal file not found", where=path, todo="Check the path.") from None
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as err:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise InputError(f"signal file is not readable {kind}: {err}", where=path) from None
    if not isinstance(found, dict):
        raise InputError("signal file holds no table", where=path, todo=_EXAMPLE)
    fields = dict(found)
    labels = fields.pop("labels", None)
    inner = fields.pop("signal", None)
    if isinstance(inner, dict):
        fields |= inner
    return Contract(
        parse_signal(fields, where=path),
        None if labels is None else check_labels(labels, where=path),
    )


def parse_signal(fields: Any, *, where: object) -> SignalSpec:
    """The contract of a table of fields; refuses with every fault at once."""
    if not isinstance(fields, Mapping):
        raise InputError("the signal contract is no table", where=where, todo=_EXAMPLE)
    try:
        return SignalSpec(**fields)
    except (ValidationError, TypeError) as err:
        raise InputError(
            f"the signal contract has faults: {_sentences(err)}", where=where, todo=_EXAMPLE
        ) from None


def check_labels(labels: Any, *, where: object) -> tuple[str, ...]:
    """Class names: at least two, each a text, none twice."""
    names = list(labels) if isinstance(labels, (list, tuple)) else []
    if len(names) < 2 or not all(isinstance(name, str) and name for name in names):
        raise InputError(
            "labels must be at least two class names", where=where, value=str(labels)[:80],
            todo='Write labels = ["left_hand", "right_hand"], in the order of the outputs.',
        )  # fmt: skip
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError("labels hold a class twice", where=where, value=", ".join(twice))
    return tuple(names)


def _sentences(err: ValidationError | TypeError) -> str:
    if isinstance(err, TypeError):
        return str(err)
    known, said = list(SignalSpec.model_fields), []
    for fault in err.errors():
        key = ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden":
            said.append(f"{key} is no field of it. {suggestion(key, known)}".rstrip(" ."))
        else:
            said.append(f"{key}: {fault['msg']}" if key else str(fault["msg"]))
    return "; ".join(said)
