"""Windows for an input that is no run: those of a run folder, of a saved folder, of an .npz file.

A split may be absent. Without "train" there is nothing to calibrate on, without "val" nothing that
decides on a model, without "test" no golden vector of a subject that the model never saw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.arms import Arm
from distill.folder import RunFolder, open_folder
from distill.rows import blocks
from distill.signal import SignalSpec
from distill.windows import SPLIT_NAMES, Windows
from export.sources.npz import read_npz
from export.sources.run import seen_by
from export.sources.signal_file import Contract, read_contract
from targets.errors import InputError
from targets.files import read_json, sha256

_FORMS = "a run folder, a folder of Windows.save with splits.json, or an .npz file"


@dataclass(frozen=True)
class Given:
    """What the command line says of a model beside its name; each kind takes what it needs.

    Attributes
    ----------
    weights : of a network: .safetensors, or a file of torch.save.
    data, signal : windows, and the contract where they do not hold it; see :func:`find_data`.
    arguments : keyword arguments of the network's class or factory.
    """

    weights: Path | None = None
    data: Path | None = None
    signal: Path | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def find_data(self) -> Data:
        """The windows and the contract; see :func:`find_data`."""
        return find_data(self.data, self.signal, self.weights)


@dataclass(frozen=True)
class Data:
    """What is known of the model's input.

    Attributes
    ----------
    labels : class names; None where only the contract is given and names none.
    splits : "train", "val", "test" -> windows; any may be absent.
    arm : the arm of the run in which the weights lie, where they lie in one.
    provenance : where the windows come from, and their checksum.
    """

    signal: SignalSpec
    labels: tuple[str, ...] | None
    splits: Mapping[str, Windows]
    arm: Arm | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)


def find_data(data: Path | None, signal: Path | None, weights: Path | None) -> Data:
    """The windows of `data`; else of the run in which `weights` lie; else only the contract.

    Raises
    ------
    InputError
        None of the three, or what one of them refuses.
    """
    contract = None if signal is None else read_contract(signal)
    if data is not None:
        return open_data(data, contract)
    run = None if weights is None else _run_around(weights)
    if run is not None and weights is not None:
        arm = run.arms.get(weights.absolute().parent.name)
        found = _of_run(run, arm)
        if contract is not None:
            contract.signal.check(found.signal, where=run.path)
        return found
    if contract is None:
        raise InputError(
            "nothing says what the model's input is", where="--data",
            todo=f"Give --data ({_FORMS}), or at least the signal contract with --signal FILE.",
        )  # fmt: skip
    return Data(contract.signal, contract.labels, {})


def open_data(path: Path, contract: Contract | None = None) -> Data:
    """Windows of a run folder, a saved folder or an .npz file.

    Parameters
    ----------
    contract : of an .npz file that holds none; must agree with one that the data hold.

    Raises
    ------
    InputError
        Not there, of no such form, a subject in two splits, a value that is not finite.
    """
    if path.is_dir() and (path / "run.json").is_file():
        found = _of_run(open_folder(path), None)
    elif path.is_dir():
        found = _of_folder(path)
    elif path.suffix == ".npz" or not path.exists():
        return _of_npz(path, contract)
    else:
        raise InputError("data have no form that is known", where=path, limit=_FORMS)
    if contract is not None:
        contract.signal.check(found.signal, where=path)
    return found


def _run_around(weights: Path) -> RunFolder | None:
    """The run folder above a file, if it lies in one."""
    for folder in weights.absolute().parents:
        if (folder / "run.json").is_file() and (folder / "recipe.toml").is_file():
            return open_folder(folder)
    return None


def _of_run(run: RunFolder, arm: Arm | None) -> Data:
    """A run's splits; with the electrodes of the arm's student, if the arm is known."""
    splits = {name: run.splits[name] for name in SPLIT_NAMES}
    if arm is not None:
        splits = {name: seen_by(arm.student, part) for name, part in splits.items()}
    train = splits["train"]
    source = {
        "run": str(run.path),
        "windows_hash": run.windows.hash,
        "recipe_hash": run.recipe.hash,
    }
    return Data(train.signal, train.labels, splits, arm, {"data": source})


def _of_folder(path: Path) -> Data:
    try:
        windows = Windows.load(path)
    except (KeyError, TypeError, ValueError) as err:
        raise InputError(f"windows cannot be read: {err!r}", where=path, limit=_FORMS) from None
    signal, n = windows.signal, len(windows)
    if windows.x.shape != (n, signal.n_chans, signal.n_times) or windows.x.dtype != np.float32:
        raise InputError(
            "x.npy is not what index.json says", where=path,
            value=f"{windows.x.dtype} {windows.x.shape}",
            limit=f"float32 ({n}, {signal.n_chans}, {signal.n_times})",
        )  # fmt: skip
    split = _splits_by_subject(windows, path / "splits.json")
    source = {"folder": str(path), "windows_hash": windows.hash}
    return _by_split(windows, split, path, {"data": source})


def _splits_by_subject(windows: Windows, path: Path) -> NDArray[np.str_]:
    """The split of each window as splits.json says it; "" for a subject that it leaves out."""
    split = np.full(len(windows), "", dtype="<U5")
    groups = read_json(path, "splits")
    for name, members in groups.items() if isinstance(groups, dict) else [("no table", 0)]:
        if name not in SPLIT_NAMES or not isinstance(members, list):
            raise InputError(
                "splits.json must give subjects by split", where=path, value=name,
                limit='{"train": ["S01"], "val": ["S02"], "test": ["S03"]}',
            )  # fmt: skip
        for subject in map(str, members):
            here = windows.subject == subject
            if not here.any() or (split[here] != "").any():
                what = "stands twice in the splits" if here.any() else "is not in the data"
                raise InputError(f"subject {subject!r} {what}", where=path, value=name,
                                 limit=", ".join(windows.subjects[:12]))  # fmt: skip
            split[here] = name
    return split


def _of_npz(path: Path, contract: Contract | None) -> Data:
    windows, split = read_npz(path, contract)
    named = contract.labels if contract is not None else None
    if named is not None and named != windows.labels:
        raise InputError(
            "class names differ between the data and --signal", where=path,
            value=", ".join(windows.labels), limit=", ".join(named),
        )  # fmt: skip
    source = {"file": str(path), "sha256": sha256(path)}
    return _by_split(windows, split, path, {"data": source})


def _by_split(
    windows: Windows, split: NDArray[np.str_], path: Path, source: Mapping[str, Any]
) -> Data:
    """The windows apart; a subject in two splits and values that are not finite are refused."""
    for subject in windows.subjects:
        places = sorted(set(split[windows.subject == subject].tolist()) - {""})
        if len(places) > 1:
            raise InputError(
                f"subject {subject!r} stands in two splits", where=path, value=" and ".join(places),
                todo="Give each subject to one split: a leak makes every figure worthless.",
            )  # fmt: skip
    row = 0
    for block in blocks(windows.x):
        if not np.isfinite(block).all():
            k, chan, time = np.argwhere(~np.isfinite(block))[0]
            raise InputError(
                f"window {row + k} holds a value that is not finite", where=path,
                value=f"{block[k, chan, time]} in {windows.signal.ch_names[chan]}, sample {time}",
                todo="Leave such windows out.",
            )  # fmt: skip
        row += len(block)
    parts = {name: windows.select(split == name) for name in SPLIT_NAMES if (split == name).any()}
    return Data(windows.signal, windows.labels, parts, provenance=source)
