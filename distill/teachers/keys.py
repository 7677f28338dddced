"""From the key names of the authors' checkpoints to braindecode's.

One table a model, read off both classes and checked by equal outputs. What is neither renamed nor
named as droppable stays as it is and makes the strict load fail with the key's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

State = dict[str, Tensor]


@dataclass(frozen=True)
class KeyMap:
    """How a model's checkpoints are named.

    Attributes
    ----------
    marks : a regular expression; a key that it matches betrays the authors' naming.
    rename : (regular expression, replacement), applied one after another to each key.
    drop : keys (in the authors' names, after `rename`) of parts that the model does not have:
        pre-training heads and the like.
    new : prefixes of parts that pre-training does not have: the head, and what only fine-tuning
        adds. They stay fresh where the checkpoint lacks them.
    fit : adapts what depends on the window or the montage; for both namings.
    """

    marks: str = r"(?!)"
    rename: tuple[tuple[str, str], ...] = ()
    drop: tuple[str, ...] = ()
    new: tuple[str, ...] = ("final_layer.",)
    fit: Callable[[State, nn.Module], State] | None = None

    def convert(self, state: State, model: nn.Module) -> State:
        """The state dict in braindecode's names, fitted to the model."""
        if all(key.startswith("module.") for key in state):  # saved from a DataParallel wrapper
            state = {key.removeprefix("module."): value for key, value in state.items()}
        if any(re.match(self.marks, key) for key in state):
            state = {self._renamed(key): value for key, value in state.items()}
            state = {
                key: value
                for key, value in state.items()
                if not any(re.match(pattern, key) for pattern in self.drop)
            }
        return state if self.fit is None else self.fit(state, model)

    def _renamed(self, key: str) -> str:
        for pattern, replacement in self.rename:
            key = re.sub(pattern, replacement, key)
        return key
