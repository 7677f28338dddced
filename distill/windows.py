"""Windows by subject and session, and how they are split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.rows import blocks, take
from distill.signal import SignalSpec
from targets.errors import InputError
from targets.files import atomic_path

SPLIT_NAMES = ("train", "val", "test")
COLUMNS = ("y", "subject", "session")  # what index.json says of each window


@dataclass(frozen=True)
class Windows:
    """Labelled windows.

    Attributes
    ----------
    x : float32 (n, n_chans, n_times), in the units of `signal`: an array, a memory map, or
        :class:`~distill.rows.Rows` of one.
    y : int64 (n,), index into `labels`.
    subject, session : str (n,).
    labels : class names.
    signal : the contract that `x` obeys.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    subject: NDArray[np.str_]
    session: NDArray[np.str_]
    labels: tuple[str, ...]
    signal: SignalSpec

    def __len__(self) -> int:
        return len(self.y)

    @property
    def n_outputs(self) -> int:
        """Number of classes."""
        return len(self.labels)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subject names, sorted."""
        return tuple(sorted(set(self.subject.tolist())))

    def select(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> Windows:
        """The windows where `which` holds (boolean), or at these indices.

        A boolean mask is a view: the samples stay where they are, on disk or in memory. Indices,
        for the few windows that calibrate or are shown, copy.
        """
        lazy = which.dtype == np.bool_
        return Windows(
            take(self.x, np.flatnonzero(which)) if lazy else self.x[which],
            self.y[which],
            self.subject[which],
            self.session[which],
            self.labels,
            self.signal,
        )

    @cached_property
    def hash(self) -> str:
        """First 16 hex digits of a SHA-256 over samples, labels, subjects and contract."""
        digest = begin_hash(self.signal)
        for block in blocks(self.x):
            digest.update(block)
        return end_hash(digest, {key: getattr(self, key) for key in COLUMNS}, self.labels)

    def save(self, folder: Path) -> None:
        """Write the windows to a folder (x.npy and index.json), atomically."""
        with atomic_path(folder) as part:
            part.mkdir()
            digest = begin_hash(self.signal)
            x = np.lib.format.open_memmap(part / "x.npy", "w+", np.float32, self.x.shape)
            start = 0
            for block in blocks(self.x):
                x[start : start + len(block)] = block
                digest.update(block)
                start += len(block)
            x.flush()
            columns = {key: getattr(self, key).tolist() for key in COLUMNS}
            write_index(part, columns, self.labels, self.signal, digest)

    @classmethod
    def load(cls, folder: Path) -> Windows:
        """Read windows written by :meth:`save`; the samples stay on disk (memory-mapped)."""
        try:
            index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            x = np.load(folder / "x.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as err:
            raise InputError(
                f"windows cannot be read: {err}",
                where=folder,
                todo="Run dlink-distill again to write them.",
            ) from None
        found = cls(
            x,
            np.asarray(index["y"], dtype=np.int64),
            np.asarray(index["subject"], dtype=str),
            np.asarray(index["session"], dtype=str),
            tuple(index["labels"]),
            SignalSpec(**index["signal"]),
        )
        # Where the writer left the hash nobody need read all samples for it; `replace` and
        # `select` make other windows, which hash themselves.
        if "hash" in index:
            found.__dict__["hash"] = index["hash"]
        return found


def begin_hash(signal: SignalSpec) -> Any:
    """The SHA-256 of :attr:`Windows.hash` before the samples pass by."""
    return hashlib.sha256(signal.hash.encode())


def end_hash(digest: Any, columns: Mapping[str, Any], labels: tuple[str, ...]) -> str:
    """The hash, when all samples have passed by."""
    digest.update(np.ascontiguousarray(columns["y"], dtype=np.int64).tobytes())
    digest.update("\n".join([*columns["subject"], *columns["session"], *labels]).encode())
    return str(digest.hexdigest()[:16])


def write_index(
    folder: Path,
    columns: Mapping[str, Sequence[Any]],
    labels: tuple[str, ...],
    signal: SignalSpec,
    digest: Any,
) -> None:
    """index.json of a folder of windows; `digest` has seen their samples."""
    index = {
        **columns,
        "labels": list(labels),
        "signal": signal.to_dict(),
        "hash": end_hash(digest, columns, labels),
    }
    (folder / "index.json").write_text(json.dumps(index), encoding="utf-8")


def concatenate(parts: list[Windows]) -> Windows:
    """Join windows of one contract."""
    first = parts[0]
    for part in parts[1:]:
        first.signal.check(part.signal, where="recordings of one data set")
    return Windows(
        np.concatenate([p.x for p in parts]),
        np.concatenate([p.y for p in parts]),
        np.concatenate([p.subject for p in parts]),
        np.concatenate([p.session for p in parts]),
        first.labels,
        first.signal,
    )


def _assign(names: NDArray[np.str_], groups: dict[str, tuple[str, ...]], what: str) -> list[str]:
    """Split name of each window by its subject or session; refuse overlap and absent names."""
    present = sorted(set(names.tolist()))
    seen: dict[str, str] = {}
    for split, members in groups.items():
        for member in members:
            if member in seen:
                raise InputError(
                    f"{what} {member!r} stands twice in the splits",
                    where="[split]",
                    value=f"{seen[member]} and {split}",
                    todo=f"Give each {what} to one split: a leak makes every figure worthless.",
                )
            if member not in present:
                raise InputError(
                    f"{what} {member!r} of split {split!r} is not in the data",
                    where="[split]",
                    limit=", ".join(present),
                )
            seen[member] = split
    return [seen.get(name, "") for name in names]


def split_windows(
    windows: Windows, kind: str, groups: dict[str, tuple[str, ...]]
) -> dict[str, Windows]:
    """Split into train, val and test, and teacher where `groups` has that.

    Parameters
    ----------
    windows : all windows.
    kind : "cross_subject" (groups name subjects), "cross_session" (groups name sessions) or
        "within_session" (the first 60 % of each session train, then 20 % val, 20 % test; in
        order of time within each class, so that neighbouring windows rarely fall apart).
    groups : split name -> members; unused for "within_session".

    Raises
    ------
    InputError
        A member in two splits, an unknown member, or a split without every class.
    """
    if kind == "within_session":
        names = np.full(len(windows), "", dtype="<U5")
        for subject, session in sorted(set(zip(windows.subject, windows.session, strict=True))):
            for label in range(windows.n_outputs):
                here = np.flatnonzero(
                    (windows.subject == subject)
                    & (windows.session == session)
                    & (windows.y == label)
                )
                cuts = [round(len(here) * 0.6), round(len(here) * 0.8)]
                for split, part in zip(SPLIT_NAMES, np.split(here, cuts), strict=True):
                    names[part] = split
    else:
        key = windows.subject if kind == "cross_subject" else windows.session
        names = np.asarray(_assign(key, groups, kind.removeprefix("cross_")))
    wanted = (*SPLIT_NAMES, *(("teacher",) if "teacher" in groups else ()))
    parts = {split: windows.select(names == split) for split in wanted}
    for split, chosen in parts.items():
        absent = [windows.labels[k] for k in range(windows.n_outputs) if not np.any(chosen.y == k)]
        if absent:
            raise InputError(
                f"split {split!r} holds no window of class {', '.join(absent)}",
                where="[split]",
                todo="Give it more subjects, sessions or windows.",
            )
    return parts


def label_subset(windows: Windows, n: int, seed: int) -> NDArray[np.bool_]:
    """Which `n` windows keep their label: a mask (len(windows),).

    Classes get equal shares, and within a class the subjects take turns, as long as they have
    windows left. The windows stand in one order that `seed` decides and the first `n` are taken,
    so that the subset of a smaller `n` lies within that of a larger one: a curve over `n` compares
    more labels, not other labels.

    Raises
    ------
    InputError
        Fewer windows than classes, or more than there are.
    """
    rng = np.random.default_rng(seed)
    present = rng.permutation(np.unique(windows.y))
    subjects, who = np.unique(windows.subject, return_inverse=True)
    if not len(present) <= n <= len(windows):
        raise InputError(
            "number of labelled windows does not fit the training split",
            where="[split] labelled", value=n,
            limit=f"{len(present)} (one a class) to {len(windows)} (all)",
        )  # fmt: skip
    # Windows of each (class, subject) in a drawn order; one is taken off the end at a time.
    drawn = rng.permutation(len(windows))
    order = drawn[np.lexsort((who[drawn], windows.y[drawn]))]
    counts = np.zeros((windows.n_outputs, len(subjects)), dtype=np.int64)
    np.add.at(counts, (windows.y, who), 1)
    ends = np.cumsum(counts).reshape(counts.shape)
    turn = rng.permutation(len(subjects))
    taken = np.zeros_like(counts)
    mask = np.zeros(len(windows), dtype=bool)
    for _ in range(n):
        open_classes = [k for k in present if np.any(taken[k] < counts[k])]
        k = min(open_classes, key=lambda k: taken[k].sum())
        # The subject with the fewest labels of this class, then the fewest of all, then by draw.
        left = np.flatnonzero(taken[k] < counts[k])
        who_next = left[np.lexsort((turn[left], taken[:, left].sum(axis=0), taken[k, left]))[0]]
        taken[k, who_next] += 1
        mask[order[ends[k, who_next] - taken[k, who_next]]] = True
    return mask
