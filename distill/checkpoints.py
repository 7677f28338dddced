"""Weights in and out: safetensors, or torch files read as weights only. Never a pickle."""

from __future__ import annotations

import argparse
import hashlib
import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from targets.errors import InputError
from targets.files import atomic_path

# Where the published EEG checkpoints keep their state dict.
NESTED = ("model", "state_dict", "model_state", "model_state_dict")
SHOWN = 8  # keys listed in an error before "and N more"


def save_weights(module: nn.Module, path: Path) -> None:
    """Write the state dict as safetensors, atomically."""
    from safetensors.torch import save_file

    state = {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}
    with atomic_path(path) as part:
        save_file(state, part)


def read_state(path: Path) -> dict[str, Tensor]:
    """State dict of a .safetensors file, or of any file of torch.save (weights only).

    Raises
    ------
    InputError
        Missing or damaged file, a file that would need unpickling of objects, no state dict.
    """
    if not path.is_file():
        raise InputError("checkpoint not found", where=path, todo="Check the path.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # Training scripts keep their command line beside the weights: plain values by name.
        with torch.serialization.safe_globals([argparse.Namespace]):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        raise InputError(
            "checkpoint holds Python objects, not only weights, and is not loaded",
            where=path,
            value=str(err).splitlines()[0],
            todo="Save its state_dict() as .safetensors in the environment that made it.",
        ) from None
    except Exception as err:
        # Damaged files fail inside zip, tar or safetensors readers with many types.
        raise InputError(f"checkpoint cannot be read: {err}", where=path) from None
    for key in NESTED:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict) or not any(isinstance(v, Tensor) for v in loaded.values()):
        raise InputError("checkpoint holds no state dict", where=path, value=type(loaded).__name__)
    return {key: value for key, value in loaded.items() if isinstance(value, Tensor)}


def _listed(keys: list[str]) -> str:
    shown = ", ".join(keys[:SHOWN])
    return shown if len(keys) <= SHOWN else f"{shown} and {len(keys) - SHOWN} more"


def load_strict(
    module: nn.Module,
    state: dict[str, Tensor],
    *,
    where: object,
    new: tuple[str, ...] = (),
    names: Mapping[str, str] | None = None,
) -> list[str]:
    """Load a state dict strictly.

    Parameters
    ----------
    names : what the file itself calls a key, where keys have been renamed on the way here.
    new : prefixes of keys that may be absent or of another shape because this task replaces them
        (the classification head).

    Returns
    -------
    list of str
        Keys that keep their fresh values under `new`.

    Raises
    ------
    InputError
        Lists missing keys, unexpected keys and keys of another shape, all at once.
    """
    own = module.state_dict()

    def is_new(key: str) -> bool:
        return key.startswith(new) if new else False

    fresh = [
        key
        for key in own
        if is_new(key) and (key not in state or state[key].shape != own[key].shape)
    ]
    missing = [key for key in own if key not in state and key not in fresh]
    called = names or {}
    unexpected = [called.get(key, key) for key in state if key not in own and not is_new(key)]
    shapes = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own
        if key in state and key not in fresh and state[key].shape != own[key].shape
    ]
    faults = [
        f"{name}: {_listed(keys)}"
        for name, keys in (("missing", missing), ("unexpected", unexpected), ("shape", shapes))
        if keys
    ]
    if faults:
        raise InputError(
            "checkpoint is of another model; " + "; ".join(faults),
            where=where,
            todo="Give the checkpoint of this architecture and size, or correct [teacher].",
        )
    module.load_state_dict(
        {key: value for key, value in state.items() if key in own and key not in fresh},
        strict=False,
    )
    return fresh


def state_hash(module: nn.Module) -> str:
    """First 16 hex digits of a SHA-256 over names and values of all weights and buffers."""
    digest = hashlib.sha256()
    for key, value in sorted(module.state_dict().items()):
        digest.update(key.encode())
        digest.update(
            value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()[:16]
