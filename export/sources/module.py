"""A network from a factory of the user's, with weights from a file."""

from __future__ import annotations

from pathlib import Path

from distill.teachers.factory import make_module
from export.sources.base import Source
from export.sources.data import Given
from export.sources.torch_model import Named, class_names, needs_weights, source_of
from targets.errors import InputError

PREFIX = "module:"


def open_module(text: str, given: Given) -> Source:
    """The network that a factory makes: "module:FILE.py:factory" or "package.module:factory".

    The factory gets what it has parameters for of n_chans, n_times, n_outputs, sfreq, ch_names and
    chs_info, and the arguments that are given. Importing it runs its code.

    Raises
    ------
    InputError
        A factory that is not found or fails, no weights, no contract, weights of another model.
    """
    path = text.removeprefix(PREFIX)
    source, _, factory = path.rpartition(":")
    if source.endswith(".py") and not Path(source).is_file():
        raise InputError("no such file", where=source, todo="Check the path.")
    weights = needs_weights(given.weights, text)
    found = given.find_data()
    try:
        model = make_module(path, given.arguments, found.signal, len(class_names(found)))
    except InputError as err:
        # In the words of this command: the factory names the recipe's keys.
        where = "--model-args" if str(err.where).endswith("arguments") else text
        raise InputError(
            err.what, where=where, value=err.value, limit=err.limit, todo=err.todo
        ) from err
    named = Named("module", text, factory.lower(), given.arguments)
    return source_of(model, named, found, weights)
