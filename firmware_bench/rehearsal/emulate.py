"""Run one program of the emulated board: QEMU's user emulator on a tree of links and board files.

Files are the board's where the board has them, this machine's elsewhere, so that a script and a
model of this machine are named by their own paths. Child processes are not emulated here: what
starts some goes over ssh (:mod:`firmware_bench.rehearsal.sshd`).
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware_bench.rehearsal import board_files, userland
from firmware_bench.rehearsal.board_files import Health
from targets.errors import InputError

#: Where the guest's memory begins in QEMU's own. Every guest address then lies below GUEST_END and
#: every address of QEMU itself above.
GUEST_BASE = 0x2_0000_0000
GUEST_END = 1 << 40
KERNEL = "6.6.51+rpt-rpi-v8"
_LINKED = ("usr", "lib", "bin", "etc", "opt")
_TIMED_OUT = 124  # as timeout(1)


@dataclass(frozen=True)
class Finished:
    """A program that ended.

    Attributes
    ----------
    returncode : int
        Exit code; minus the number of the signal that ended it; 124 after a timeout.
    stdout, stderr : str
        What it printed.
    """

    returncode: int
    stdout: str
    stderr: str

    @property
    def timed_out(self) -> bool:
        """Whether the time given was over."""
        return self.returncode == _TIMED_OUT

    @property
    def crash(self) -> str | None:
        """Name of the signal that the program died of (``SIGSEGV``), or None."""
        return signal.Signals(-self.returncode).name if self.returncode < 0 else None

    def check(self, what: object) -> Finished:
        """Return itself, or raise an InputError that tells a crash from an exit code."""
        if self.returncode == 0:
            return self
        last = self.stderr.strip().splitlines()[-1:] or [""]
        if self.crash:
            raise InputError(
                f"the program crashed on the emulated board: {self.crash}", where=what,
                value=last[0],
            )  # fmt: skip
        fault = "timed out" if self.timed_out else f"ended with exit code {self.returncode}"
        raise InputError(f"the program {fault} on the emulated board", where=what, value=last[0])


def run(
    board_id: str,
    arch: str,
    site: str | None,
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    health: Health | None = None,
    timeout_s: float = 600,
    stdin: str = "",
    qemu_options: Sequence[str] = (),
) -> Finished:
    """Run a program on an emulated board and wait for its end.

    Parameters
    ----------
    board_id : str
        As in ``targets/boards``: decides the core and the board's files.
    arch : str
        ``arm64`` or ``armhf``.
    site : str or None
        The runtime to be importable (:data:`userland.USERLANDS`); None is a Python without any.
    argv : sequence of str
        The guest's program, by name (``python3``) or by path, and its arguments.
    env : mapping, optional
        Variables beyond the board's own few; this machine's are not passed on.
    health : Health, optional
        How the board is.
    timeout_s : float
        Seconds of this machine after which the program is killed.
    stdin : str
        Its input.
    qemu_options : sequence of str
        Further options of the emulator, as a plugin.

    Raises
    ------
    InputError
        Board, architecture or site unknown; userland or emulator not there.
    """
    qemu = require_qemu(arch)
    with board_root(board_id, arch, health) as root:
        command = [
            *(qemu, "-cpu", qemu_cpu(board_id, arch), "-L", str(root)),
            *("-B", hex(GUEST_BASE), "-r", KERNEL, "-seed", "1", *qemu_options),
            *(_program(root, argv[0]), *argv[1:]),
        ]
        try:
            done = subprocess.run(
                command,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
                env=_environment(arch, site) | dict(env or {}),
            )
        except subprocess.TimeoutExpired as err:
            return Finished(_TIMED_OUT, _text(err.stdout), _text(err.stderr))
    return Finished(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def board_root(board_id: str, arch: str, health: Health | None = None) -> Iterator[Path]:
    """Yield a folder that looks like the board's root: links to the userland, and its own files."""
    source = userland.root(arch)
    board_files.board(board_id)
    with tempfile.TemporaryDirectory(prefix="dlink-board-") as name:
        root = Path(name)
        for part in _LINKED:
            (root / part).symlink_to(source.absolute() / part)
        board_files.write(root, board_id, arch, health)
        yield root


def qemu_cpu(board_id: str, arch: str) -> str:
    """Return QEMU's name of the board's core.

    Its 32-bit emulator knows none of these cores. ``max`` runs all that they run, and runtimes
    choose their kernels by /proc/cpuinfo, which is the board's.
    """
    return "max" if arch == "armhf" else board_files.board(board_id).core.qemu


def require_qemu(arch: str) -> str:
    """Return the path of the architecture's user emulator; InputError where it is missing."""
    name = userland.USERLANDS[arch].qemu if arch in userland.USERLANDS else "qemu-aarch64"
    path = shutil.which(name)
    if path is None:
        raise InputError("program is not installed", where=name, todo="Run `make rehearsal`.")
    return path


def _environment(arch: str, site: str | None) -> dict[str, str]:
    variables = {
        "HOME": "/home/pi",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        # Counts repeat only if hashes do.
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    if site is not None:
        variables["PYTHONPATH"] = str(userland.site(arch, site).absolute())
    return variables


def _program(root: Path, name: str) -> str:
    """Path on this machine of a guest's program: QEMU does not look that one up under -L."""
    candidates = [name.lstrip("/")] if "/" in name else [f"usr/bin/{name}", f"bin/{name}"]
    for candidate in candidates:
        if (root / candidate).exists():
            return str(root / candidate)
    raise InputError("no such program on the emulated board", where=name)


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
