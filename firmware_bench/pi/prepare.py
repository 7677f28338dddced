"""Give a board what its Python lacks, in an environment of its own; every command is shown first.

The wheels come from the index that the board's pip is set up with, or are carried over from here,
for a board without internet: then this machine's pip looks for the board's system and version.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from firmware_bench.device.packages import READERS
from firmware_bench.pi.bench import check_machine
from firmware_bench.pi.options import PiOptions
from firmware_bench.pi.session import ENVIRONMENT, Session
from targets.errors import InputError
from targets.target import Target

#: What pip is asked for, by the names that targets give runtimes.
_PACKAGES = {name: package for kind in READERS.values() for name, package in kind.items()}
#: The one runtime with wheels for 32-bit boards: its last release, for Python up to 3.11 and
#: NumPy 1, which Debian has and indices mostly do not.
_NARROW = "tflite-runtime==2.14.0"
_NARROW_PYTHON = (3, 11)
_ROOM_BYTES = 400 * 2**20
_WHEELS = "wheels"
#: manylinux_2_17 is what wheels start at for ARM; pip takes no tag for another, so all are named.
_FIRST_GLIBC, _LIKELY_GLIBC = 17, 31
_TIMEOUT_S = 1800.0


@dataclass(frozen=True)
class Step:
    """One command: where it runs, its words, and what it is for."""

    where: Literal["here", "copy", "board"]
    words: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        return f"[{self.where}] {shlex.join(self.words)}    # {self.why}"


def prepare(
    host: str,
    target: Target,
    options: PiOptions,
    *,
    carry: bool = False,
    go: bool = False,
    say: Callable[[str], None] = print,
) -> list[Step]:
    """Show the commands that make a board ready, and run them if `go`.

    Parameters
    ----------
    carry : bool
        Download the wheels here and copy them over, instead of letting the board do it.
    go : bool
        Without it nothing is changed, anywhere.
    say : callable
        Gets every command before it runs.

    Raises
    ------
    InputError
        Another architecture, no wheels for that Python, no room, or a command that failed: its
        last words are told.
    """
    system = replace(options, python=options.python or "python3")
    with Session(host, system) as session, tempfile.TemporaryDirectory() as temporary:
        check_machine(session.hello, target, host)
        home = session.shell('printf %s "$HOME"').stdout
        wheels = Path(temporary) / _WHEELS
        found = plan(session.hello, target, home, host, wheels if carry else None)
        for step in found:
            say(str(step))
            if go:
                _do(step, session, wheels)
    if go:
        _verify(host, target, options)
    return found


def plan(
    hello: dict[str, Any], target: Target, home: str, host: str, wheels: Path | None
) -> list[Step]:
    """Commands for a board that says `hello`; `wheels` is the folder to carry wheels over in."""
    packages = packages_for(hello, target, host)
    if hello["free_bytes"] < _ROOM_BYTES:
        raise InputError(
            "the board has no room for the runtimes", where=host,
            value=f"{hello['free_bytes'] / 2**20:.0f} MiB free",
            limit=f"{_ROOM_BYTES / 2**20:.0f} MiB", todo="Free some space there (`df -h`).",
        )  # fmt: skip
    place = f"{home}/{ENVIRONMENT}"
    narrow = hello["pointer_bits"] == 32
    alone = ("--no-deps",) if narrow else ()
    pip = (f"{place}/bin/python", "-m", "pip", "install", "--only-binary=:all:", *alone)
    system = ("--system-site-packages",) if narrow else ()
    make = Step(
        "board", (hello["executable"], "-m", "venv", *system, place), "an environment of its own"
    )
    if wheels is None:
        return [make, Step("board", (*pip, *packages), "from the index that the board uses")]
    there = f"{hello['folder']}/{_WHEELS}"
    download = (
        sys.executable, "-m", "pip", "download", "--dest", str(wheels), "--only-binary=:all:",
        *alone, *_tags(hello), *packages,
    )  # fmt: skip
    return [
        Step("here", download, f"wheels for {hello['machine']}, Python {hello['python']}"),
        Step("copy", (str(wheels), f"{host}:{there}"), "over the same connection"),
        make,
        Step("board", (*pip, "--no-index", "--find-links", there, *packages), "from the wheels"),
    ]


def packages_for(hello: dict[str, Any], target: Target, host: str) -> list[str]:
    """What to install there: the target's runtimes as far as wheels exist for that system."""
    version = tuple(int(n) for n in hello["python"].split(".")[:2])
    if hello["pointer_bits"] == 64:
        # tflite-runtime and the others want different NumPys: it is left to those who have it.
        names = [_PACKAGES[name] for name in target.runtimes if name in _PACKAGES]
        return ["numpy", *(name for name in names if name != "tflite-runtime")]
    if version > _NARROW_PYTHON:
        raise InputError(
            "there is no runtime for a 32-bit system with this Python", where=host,
            value=f"Python {hello['python']}", limit="up to 3.11 (tflite-runtime 2.14.0)",
            todo="Install the 64-bit Raspberry Pi OS: this board can run it.",
        )  # fmt: skip
    if not hello["packages"].get("numpy", "2").startswith("1."):
        raise InputError(
            "a 32-bit system needs NumPy 1 from its own packages", where=host,
            value=f"NumPy {hello['packages'].get('numpy', 'none')}",
            todo="Install it on the board: sudo apt-get install python3-numpy.",
        )  # fmt: skip
    return [_NARROW]


def _tags(hello: dict[str, Any]) -> list[str]:
    """Options of `pip download` for the board's processor, C library and Python."""
    machine = hello["machine"]
    if hello["pointer_bits"] == 32 and machine in ("aarch64", "armv8l"):
        machine = "armv7l"  # a 32-bit system under a 64-bit kernel
    match = re.search(r"glibc 2\.(\d+)", hello["libc"])
    newest = int(match[1]) if match else _LIKELY_GLIBC
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, _FIRST_GLIBC - 1, -1)]
    version = "".join(hello["python"].split(".")[:2])
    words = ["--python-version", version, "--implementation", "cp", "--abi", f"cp{version}"]
    for platform in (*platforms, f"manylinux2014_{machine}", f"linux_{machine}"):
        words += ["--platform", platform]
    return words


def _do(step: Step, session: Session, wheels: Path) -> None:
    if step.where == "copy":
        session.send(wheels.parent)
        return
    if step.where == "here":
        wheels.mkdir(exist_ok=True)
        done = subprocess.run(
            step.words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    else:
        done = session.shell(shlex.join(step.words), timeout_s=_TIMEOUT_S)
    if done.returncode != 0:
        raise _failed(step, done.stdout, done.stderr, session.host)


def _failed(step: Step, stdout: str, stderr: str, host: str) -> InputError:
    said = (stderr.strip() or stdout.strip()).splitlines() or ["no word"]
    errors = [line for line in said if line.lower().startswith("error")] or said
    todo = "Run the command by hand to see more."
    if "ensurepip" in stdout + stderr:
        todo = "Install the module on the board: sudo apt-get install python3-venv."
    elif "No space left" in stderr:
        todo = "Free some space (`df -h`)."
    elif step.where == "board" and "pip" in step.words and "--no-index" not in step.words:
        todo = "Has the board internet? If not, carry the wheels over from here."
    return InputError(
        f"a command failed: {errors[0]}", where=host, value=shlex.join(step.words), todo=todo
    )


def _verify(host: str, target: Target, options: PiOptions) -> None:
    """Connect again, as a bench does, and see what its Python has."""
    with Session(host, options) as session:
        missing = missing_packages(session.hello["packages"], target)
    if missing:
        raise InputError(
            "the board still lacks what the bench needs", where=host, value=", ".join(missing),
            todo="Run the commands by hand to see what they say.",
        )  # fmt: skip


def missing_packages(packages: Sequence[str], target: Target) -> list[str]:
    """NumPy, if it is not there; the runtimes, if none of the target's is."""
    runtimes = [_PACKAGES[name] for name in target.runtimes if name in _PACKAGES]
    missing = [] if "numpy" in packages else ["numpy"]
    return missing if set(runtimes) & set(packages) else [*missing, " or ".join(runtimes)]
