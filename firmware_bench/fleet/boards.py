"""boards.toml: which boards there are, how each is reached, what is measured on it.

::

    [[board]]
    name = "kitchen"              # yours, one of its kind in the file
    target = "rpi4b"              # an id of targets/boards
    ssh = "pi@raspberrypi.local"  # or serial = "/dev/ttyACM0", emulated = true, host = true
    threads = [1, 4]
    sustained_minutes = 10

Every fault of a file is told at once, each with its line.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictInt, ValidationError

from distill.recipe.faults import sentences
from firmware_bench.pi.options import PiOptions
from firmware_bench.pi.ssh import checked_host
from firmware_bench.serial_firmware import BAUD
from targets.errors import InputError
from targets.target import Target, all_ids, load, suggestion

How = Literal["ssh", "serial", "emulated", "host"]
#: How a board may be reached -> the kind of target that it then is.
KINDS: dict[How, str] = {
    "ssh": "linux", "serial": "cortex-m", "emulated": "cortex-m", "host": "host",
}  # fmt: skip
_LINUX = ("runtimes", "sustained_minutes", "paced_s", "hop_s", "cold_starts", "python")
#: Options that only some ways of reaching a board have a use for.
_ONLY: dict[str, tuple[How, ...]] = {
    **dict.fromkeys(("ssh_config", "ssh_options", *_LINUX), ("ssh",)),
    "baud": ("serial",),
    "runs": ("ssh", "host"),
    "threads": ("ssh", "host"),
}


class Board(BaseModel):
    """One board of a fleet.

    Attributes
    ----------
    name : str
        What the user calls it.
    target : str
        Id of the target that it is.
    ssh, serial : str, optional
        Host as for ssh; device of a serial line. One of these, `emulated` or `host` is given.
    ssh_config, ssh_options : Path, tuple of str
        For ``ssh -F`` and ``ssh -o`` ("Port=2222").
    baud : int
        Speed of the serial line.
    runs, threads : int, tuple of int
        Timed runs of each model; numbers of threads, the first being what budgets judge.
    runtimes : tuple of str
        Of the target's runtimes those to measure; empty means all.
    sustained_minutes : float
        Full load on all cores at the end.
    paced_s, hop_s, cold_starts, python
        As in :class:`firmware_bench.pi.options.PiOptions`.
    timeout_minutes : float
        A board that takes longer has failed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=64)
    target: str
    ssh: str | None = None
    serial: str | None = Field(default=None, min_length=1)
    emulated: Literal[True] | None = None
    host: Literal[True] | None = None
    ssh_config: Path | None = None
    ssh_options: tuple[str, ...] = ()
    baud: StrictInt = Field(default=BAUD, ge=1200, le=4_000_000)
    runs: StrictInt = Field(default=200, ge=1)
    threads: tuple[StrictInt, ...] = Field(default=(1,), min_length=1)
    runtimes: tuple[str, ...] = ()
    sustained_minutes: float = Field(default=0.0, ge=0, le=24 * 60)
    paced_s: float = Field(default=10.0, gt=0, le=3600)
    hop_s: float | None = Field(default=None, gt=0, lt=float("inf"))
    cold_starts: StrictInt = Field(default=3, ge=1)
    python: str | None = None
    timeout_minutes: float = Field(default=120.0, gt=0)

    @property
    def how(self) -> How:
        """How the board is reached."""
        return next(how for how in KINDS if getattr(self, how))

    @property
    def reached(self) -> str:
        """The way to the board in a few words: "ssh pi@host"."""
        address = getattr(self, self.how)
        return self.how if address is True else f"{self.how} {address}"

    def device(self) -> Target:
        """Return the board's target, with the chosen runtimes only."""
        target = load(self.target)
        return target.model_copy(update={"runtimes": self.runtimes}) if self.runtimes else target

    def pi_options(self) -> PiOptions:
        """Return the options of a Linux board's run."""
        return PiOptions(
            runs=self.runs,
            threads=self.threads,
            cold_starts=self.cold_starts,
            hop_s=self.hop_s,
            paced_s=self.paced_s,
            sustained_s=60 * self.sustained_minutes,
            python=self.python,
            ssh_config=self.ssh_config,
            ssh_options=self.ssh_options,
        )


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    board: tuple[Board, ...] = Field(min_length=1)


def load_boards(path: Path) -> tuple[Board, ...]:
    """Read boards.toml; a relative `ssh_config` counts from its folder.

    Raises
    ------
    InputError
        Not found, not TOML, or every fault of its content at once.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except FileNotFoundError:
        raise InputError("boards file not found", where=path, todo="Check the path.") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as err:
        raise InputError(f"boards file is not TOML: {err}", where=path) from None
    faults: list[Any] = list(_contradictions(raw))
    boards: tuple[Board, ...] = ()
    try:
        boards = _File.model_validate(raw).board
    except ValidationError as err:
        faults += err.errors()
    if faults:
        found = sentences(faults, text, _File)
        head = "boards file has " + ("a fault" if len(found) == 1 else f"{len(found)} faults")
        raise InputError(head + "".join(f"\n  {one}" for one in found), where=path)
    return tuple(_at_home(board, path.parent) for board in boards)


def pick(boards: Sequence[Board], names: Sequence[str]) -> tuple[Board, ...]:
    """Return the boards of these names, in the file's order; all without a name.

    Raises
    ------
    InputError
        A name that no board has.
    """
    known = [board.name for board in boards]
    for name in names:
        if name not in known:
            raise InputError(
                "no such board", value=name, limit=", ".join(known), todo=suggestion(name, known)
            )
    return tuple(board for board in boards if not names or board.name in names)


def _at_home(board: Board, folder: Path) -> Board:
    if board.ssh_config is None:
        return board
    return board.model_copy(update={"ssh_config": folder / board.ssh_config.expanduser()})


def _contradictions(raw: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What no single key shows, as faults like pydantic's; fields of a wrong type are passed by."""
    entries = raw.get("board")
    seen: set[str] = set()
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict):
            continue
        for key, message in _of_one(entry):
            yield _fault(index, key, message, entry)
        name = entry.get("name")
        if isinstance(name, str):
            if name in seen:
                yield _fault(index, "name", "another board has this name", entry)
            seen.add(name)


def _of_one(entry: dict[str, Any]) -> Iterator[tuple[str, str]]:
    ways = [how for how in KINDS if how in entry]
    if len(ways) != 1:
        yield ways[1] if ways else "", f"give one of {', '.join(KINDS)}"
    yield from _target_faults(entry, ways)
    for key, uses in _ONLY.items():
        if key in entry and len(ways) == 1 and ways[0] not in uses:
            yield key, f"has no use with {ways[0]}; only with {' or '.join(uses)}"
    threads = entry.get("threads")
    if isinstance(threads, list):
        if ways == ["host"] and len(threads) != 1:
            yield "threads", "one number of threads is measured on the host"
        if not all(isinstance(n, int) and 1 <= n <= 64 for n in threads):
            yield "threads", "each is a number from 1 to 64"
    if isinstance(entry.get("ssh"), str):
        try:
            checked_host(entry["ssh"])
        except InputError:
            yield "ssh", "not a host; give it as for ssh, such as pi@raspberrypi.local"


def _target_faults(entry: dict[str, Any], ways: list[How]) -> Iterator[tuple[str, str]]:
    name = entry.get("target")
    if not isinstance(name, str):
        return
    if name not in all_ids():
        yield "target", f"unknown target; {suggestion(name, all_ids()) or ', '.join(all_ids())}"
        return
    target = load(name)
    if len(ways) == 1 and KINDS[ways[0]] != target.kind:
        allowed = " or ".join(how for how, kind in KINDS.items() if kind == target.kind)
        yield "target", f"a {target.kind} target is reached by {allowed}, not {ways[0]}"
    runtimes = entry.get("runtimes")
    if isinstance(runtimes, list) and not set(map(str, runtimes)) <= set(target.runtimes):
        yield "runtimes", f"allowed: {', '.join(target.runtimes)}"


def _fault(index: int, key: str, message: str, entry: dict[str, Any]) -> dict[str, Any]:
    loc = ("board", index, key) if key else ("board", index)
    return {"type": "value_error", "loc": loc, "msg": message, "input": entry.get(key)}
