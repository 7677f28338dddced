"""Keyword arguments from the command line: KEY=VALUE, the value as TOML or a bare word."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from targets.errors import InputError

_WORD = re.compile(r"[A-Za-z_][\w./-]*")
WHERE = "--model-args"


def parse_arguments(given: Mapping[str, Any] | Iterable[str] | None) -> dict[str, Any]:
    """Arguments by name: 8, 0.5, true, [1, 2] and "text" as in TOML; a bare word is a text, too.

    Raises
    ------
    InputError
        No KEY=VALUE, a key that is no name or stands twice, a value that is neither.
    """
    if given is None or isinstance(given, Mapping):
        return dict(given or {})
    found: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier() or key in found:
            raise InputError(
                "argument stands there twice" if key in found else "must be KEY=VALUE",
                where=WHERE, value=text[:80], todo="Write --model-args F1=16.",
            )  # fmt: skip
        found[key] = _value(value.strip(), text)
    return found


def _value(value: str, text: str) -> Any:
    if value not in ("true", "false", "inf", "nan") and _WORD.fullmatch(value):
        return value
    try:
        read = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        read = {}
    if set(read) != {"value"}:
        raise InputError("value is neither TOML nor a word", where=WHERE, value=text[:80],
                         limit='8, 0.5, true, [1, 2], "a text", word')  # fmt: skip
    return read["value"]
