"""What a braindecode model and a module of the user's share: weights, a trial run, the source."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from distill.checkpoints import load_strict, read_state
from export.sources.base import Source
from export.sources.data import Data
from targets.errors import InputError
from targets.files import sha256

PREFIX = "model."  # of the keys of a dlink baseline, which wraps the network


@dataclass(frozen=True)
class Named:
    """What the command line calls a model.

    Attributes
    ----------
    text : as it was written: "braindecode:EEGNet".
    name : short, for files and titles.
    arguments : keyword arguments with which it was built.
    """

    kind: Literal["braindecode", "module"]
    text: str
    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


def source_of(model: nn.Module, named: Named, data: Data, weights: Path) -> Source:
    """The source of a freshly built model: weights loaded strictly, one window tried.

    Raises
    ------
    InputError
        Weights of another model, with the keys that are missing or not expected; a forward pass
        that fails, or gives another shape than (1, n_outputs).
    """
    labels = class_names(data)
    load_weights(model, weights)
    model.eval().requires_grad_(False)
    _probe(model, named.text, data, len(labels))
    checksum = sha256(weights)
    # Arguments that leave no trace in the weights (a stride, a pooling length) decide as well.
    decided = json.dumps([named.text, dict(named.arguments), data.signal.to_dict()], default=str)
    key = hashlib.sha256(f"{checksum}{decided}".encode())
    return Source(
        name=safe_name(named.name),
        kind=named.kind,
        what=f"{named.text} with {weights}",
        signal=data.signal,
        labels=labels,
        splits=data.splits,
        student=model,
        proto=None,
        weights_hash=key.hexdigest(),
        facts={
            "weights": {"file": str(weights), "sha256": checksum},
            "arguments": dict(named.arguments),
        },
        provenance={"model": named.text, "weights_sha256": checksum, **data.provenance},
    )


def safe_name(text: str) -> str:
    """A text as a name of files: letters, digits, ".", "_" and "-", a letter or digit first."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).lstrip("._-") or "model"


def class_names(data: Data) -> tuple[str, ...]:
    """The labels, which a network cannot be built without."""
    if data.labels is None:
        raise InputError(
            "nothing says what the classes are", where="--signal", value="no labels",
            todo='Write labels = ["left_hand", "right_hand"] into the signal file, or give --data.',
        )  # fmt: skip
    return data.labels


def needs_weights(weights: Path | None, text: str) -> Path:
    """The weights file, which must be given."""
    if weights is None:
        raise InputError(
            "a model without its weights is not exported", where=text,
            todo="Give --weights FILE (.safetensors, or a state_dict of torch.save).",
        )  # fmt: skip
    return weights


def load_weights(model: nn.Module, weights: Path) -> None:
    """Load a file strictly; keys of a dlink baseline may start with "model."."""
    state = read_state(weights)
    own, names = set(model.state_dict()), {}
    if own and all(key.startswith(PREFIX) for key in state) and not own & set(state):
        names = {key.removeprefix(PREFIX): key for key in state}
        state = {key.removeprefix(PREFIX): value for key, value in state.items()}
    try:
        load_strict(model, state, where=weights, names=names)
    except InputError as err:
        todo = "Give the weights of this class and size; --model-args changes its size."
        raise InputError(err.what, where=err.where, todo=todo) from None


def _probe(model: nn.Module, text: str, data: Data, n_outputs: int) -> None:
    shape = (1, data.signal.n_chans, data.signal.n_times)
    try:
        with torch.no_grad():
            out = model(torch.zeros(shape))
    except Exception as err:
        # The user's forward may fail in any way; its own words say why.
        raise InputError(
            f"the model fails on a window {shape}: {type(err).__name__}: {err}", where=text
        ) from err
    if not isinstance(out, Tensor) or tuple(out.shape) != (1, n_outputs):
        raise InputError(
            "the model's output has not one number a class", where=text,
            value=tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__,
            limit=(1, n_outputs),
            todo="Return the logits alone, and name the classes in the order of the outputs.",
        )  # fmt: skip
