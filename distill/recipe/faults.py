"""pydantic's faults in the user's words: line, key, what is allowed, a suggestion."""

from __future__ import annotations

import difflib
import re
import typing
from typing import Any

from pydantic import BaseModel


def sentences(faults: list[Any], text: str, root: type[BaseModel]) -> list[str]:
    """Every fault as a sentence, in the order of the file.

    A list that is too short only because one of its entries has a fault is no fault of its own.
    """
    places = [fault["loc"] for fault in faults]
    faults = [
        fault
        for fault in faults
        if fault["type"] != "too_short"
        or not any(p != fault["loc"] and p[: len(fault["loc"])] == fault["loc"] for p in places)
    ]
    found = [(_line(_keys_in_file(fault, root), text) or 0, fault) for fault in faults]
    return [sentence(fault, text, root) for _, fault in sorted(found, key=lambda pair: pair[0])]


def sentence(fault: Any, text: str, root: type[BaseModel]) -> str:
    """One fault as a sentence: line, key, value, allowed.

    Parameters
    ----------
    fault : an entry of ``ValidationError.errors()``.
    text : the TOML file.
    root : the model that was filled, whose fields say which keys are known.
    """
    keys = _keys_in_file(fault, root)
    key, line = ".".join(keys) or "recipe", _line(keys, text)
    at = f"line {line}: " if line else ""
    if fault["type"] == "extra_forbidden":
        allowed = sorted({name for m in _models(keys[:-1], root) for name in m.model_fields})
        close = difflib.get_close_matches(keys[-1], allowed, 1, 0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(allowed)}"
        return f"{at}key {key!r} is unknown; {hint}"
    message = fault["msg"].removeprefix("Value error, ")
    given = fault.get("input")
    if fault["type"].startswith("union_tag"):
        tags = _expected_tags(fault)
        given = fault["ctx"].get("tag")
        message = "must be " + _either(tags)
        message += _suggestion(given, tags)
    elif fault["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", fault["ctx"]["expected"])
        message += _suggestion(given, allowed)
    shown = f" (found {given!r})" if isinstance(given, (str, int, float)) else ""
    return f"{at}{key}: {message}{shown}"


def _either(names: list[str]) -> str:
    quoted = [repr(name) for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[:-1] else quoted)


def _suggestion(given: object, allowed: list[str]) -> str:
    close = difflib.get_close_matches(str(given), allowed, 1, 0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _expected_tags(fault: Any) -> list[str]:
    tags = re.findall(r"'([^']*)'", fault["ctx"].get("expected_tags", ""))
    return tags or ["files", "simulate"]


def _keys_in_file(fault: Any, root: type[BaseModel]) -> list[str]:
    """The dotted key as the file has it: pydantic adds the chosen kind of a union's table."""
    keys: list[str] = []
    models: list[type[BaseModel]] = [root]
    for piece in (str(piece) for piece in fault["loc"]):
        chosen = [model for model in models if piece in _tags(model)]
        if len(models) > 1 and chosen:
            models = chosen
            continue
        keys.append(piece)
        if not piece.isdigit():  # an entry of an array of tables is of the array's models
            models = _below(models, piece)
    if fault["type"].startswith("union_tag"):
        keys.append(fault["ctx"]["discriminator"].strip("'\"").removesuffix("()").split("_")[-1])
    return keys


def _below(models: list[type[BaseModel]], key: str) -> list[type[BaseModel]]:
    """Models that may stand under a key of `models`."""
    return [
        inner
        for model in models
        if key in model.model_fields
        for inner in _inner(model.model_fields[key].annotation)
    ]


def _tags(model: type[BaseModel]) -> set[str]:
    """Values of a model's fields that hold one word only: what a union is told apart by."""
    return {
        value
        for field in model.model_fields.values()
        if typing.get_origin(field.annotation) is typing.Literal
        for value in typing.get_args(field.annotation)
        if isinstance(value, str)
    }


def _inner(annotation: Any) -> list[type[BaseModel]]:
    """Every model inside an annotation: unions, tuples, Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in typing.get_args(annotation) for model in _inner(part)]


def _models(path: list[str], root: type[BaseModel]) -> list[type[BaseModel]]:
    """Models that may stand at a dotted path."""
    models = [root]
    for piece in path:
        if not piece.isdigit():
            models = _below(models, piece)
    return models


def _line(keys: list[str], text: str) -> int | None:
    """Line on which a dotted key stands in the TOML text, if it can be found."""
    table: list[str] = []
    seen: dict[str, int] = {}  # entries so far of each array of tables
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*(\[+)([^\]]+)\]", line)
        if header:
            table = []
            for piece in header[2].split("."):
                table.append(piece.strip())
                name = ".".join(piece for piece in table if not piece.isdigit())
                if header[1] == "[[" and name == header[2].replace(" ", ""):
                    seen[name] = seen.get(name, -1) + 1
                if name in seen:
                    table.append(str(seen[name]))
            if table == keys:
                return number
        entry = re.match(r"\s*([\w\"'-]+)\s*=", line)
        if entry and [*table, entry[1].strip("\"'")] == keys[: len(table) + 1]:
            return number
    return None
