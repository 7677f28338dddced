"""From the key names of the authors' checkpoints to braindecode's.

One table a model, read off both classes and checked by equal outputs. What is neither renamed nor
named as droppable stays as it is and makes the strict load fail with the key's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from targets.errors import InputError

State = dict[str, Tensor]


class Converted(NamedTuple):
    """A state dict in braindecode's names, and the file's own name of each key."""

    state: State
    names: dict[str, str]


@dataclass(frozen=True)
class KeyMap:
    """How a model's checkpoints are named.

    Attributes
    ----------
    marks : a regular expression; a key that it matches betrays the authors' naming.
    rename : (regular expression, replacement), applied one after another to each such key.
    drop : keys, after `rename`, of parts that the model does not have: pre-training heads and the
        like.
    new : prefixes of parts that pre-training does not have: the head, and what only fine-tuning
        adds. They stay fresh where the checkpoint lacks them.
    fit : adapts what depends on the window or the montage; for both namings.
    """

    marks: str = r"(?!)"
    rename: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    new: tuple[str, ...] = ("final_layer.",)
    fit: Callable[[State, nn.Module], State] | None = None

    def convert(self, state: State, model: nn.Module, *, where: object) -> Converted:
        """The state dict in braindecode's names, fitted to the model.

        Raises
        ------
        InputError
            Two keys of the file name the same weight.
        """
        # "module." in front of every key: saved from a DataParallel wrapper.
        prefix = "module." if all(key.startswith("module.") for key in state) else ""
        plain = {name.removeprefix(prefix): name for name in state}
        theirs = any(re.match(self.marks, key) for key in plain)
        names: dict[str, str] = {}
        for key, name in plain.items():
            new = self._renamed(key) if theirs else key
            if any(re.match(pattern, new) for pattern in self.drop):
                continue
            if new in names:
                raise InputError(
                    f"checkpoint names one weight twice: {names[new]} and {name}", where=where
                )
            names[new] = name
        found = {key: state[name] for key, name in names.items()}
        return Converted(found if self.fit is None else self.fit(found, model), names)

    def _renamed(self, key: str) -> str:
        for pattern, replacement in self.rename:
            key = re.sub(pattern, replacement, key)
        return key
