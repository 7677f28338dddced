"""A machine to log in to: the emulated userland in namespaces of its own, without root rights.

Child processes stay in it, because the kernel hands each of the machine's programs to the emulator
(a binfmt_misc of its own, Linux 6.7 and later). What is killed with the machine is all of it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from firmware_bench.rehearsal import board_files, emulate, userland
from firmware_bench.rehearsal.board_files import Health
from targets.errors import InputError

SCRIPT = Path(__file__).parent / "native" / "machine.sh"
_START_S = 30
#: The same path names an empty library of this machine and libfaketime of the board: the loaders of
#: both read LD_PRELOAD.
_FAKETIME = "/usr/$LIB/faketime/libfaketime.so.1"
#: The file is read anew each time, so that the clock jumps while programs run.
_CLOCK = "FAKETIME_TIMESTAMP_FILE=/etc/qemu-binfmt/clock,FAKETIME_NO_CACHE=1,DONT_FAKE_MONOTONIC=1"


class Machine:
    """One emulated board that runs until it is stopped.

    Parameters
    ----------
    folder : Path
        For its files; ``home`` in it is the user's home and outlives restarts.
    board_id, arch : str
        As for :func:`emulate.run`.
    sites : sequence of str
        Runtimes that its ``python3`` finds.
    health : Health, optional
        How it is.
    disk_mb : int, optional
        Room in its home, which is then gone with a restart.
    clock_offset : str, optional
        By which its clock is wrong, as ``faketime`` writes it: ``+3d``, ``-30y``; ``+0`` for one
        that is right and jumps later.
    """

    def __init__(
        self,
        folder: Path,
        board_id: str,
        arch: str,
        *,
        sites: Sequence[str] = (),
        health: Health | None = None,
        disk_mb: int | None = None,
        clock_offset: str | None = None,
    ) -> None:
        self.board_id, self.arch, self.sites = board_id, arch, tuple(sites)
        self.health, self.disk_mb, self.clock_offset = health, disk_mb, clock_offset
        self.folder, self.home = folder, folder / "home"
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = folder / "machine.pid"

    def start(self) -> None:
        """Start it, with a new boot id.

        Raises
        ------
        InputError
            The userland is not built, or this kernel allows no such namespaces: with its words.
        """
        root = userland.root(self.arch)
        sites = [userland.site(self.arch, name) for name in self.sites]
        for name in ("new", "home", "packages", "stubs", "board/aarch64"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (self.folder / "board" / "arm").symlink_to("aarch64")
        board_files.write(self.folder / "board" / "aarch64", self.board_id, self.arch, self.health)
        listed = "".join(f"/opt/sites/{site.name}\n" for site in sites)
        (self.folder / "packages" / "runtimes.pth").write_text(listed, encoding="ascii")
        if self.clock_offset:
            _write_stub(self.folder / "stubs" / "libfaketime.so.1")
            self.set_clock(self.clock_offset)
        settings = {
            "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
            "NEW": self.folder / "new",
            "USERLAND": root.absolute(),
            "BOARD": self.folder / "board",
            "PACKAGES": self.folder / "packages",
            "SITES": root.absolute().parent / "sites",
            "HOME_DIR": self.home,
            "DISK": f"{self.disk_mb}m" if self.disk_mb else "",
            "STUBS": self.folder / "stubs",
            "QEMU": emulate.require_qemu(self.arch),
            "ARCH": self.arch,
            "READY": self._ready,
        }
        self._launch({name: str(value) for name, value in settings.items()})

    def feel(self, health: Health) -> None:
        """Change how it is, from now on and while programs run."""
        self.health = health
        board_files.rewrite(self.folder / "board" / "aarch64", self.board_id, self.arch, health)

    def set_clock(self, offset: str) -> None:
        """Make its clock jump, for running programs too, if it started with a wrong clock."""
        if not self.clock_offset:
            raise InputError(
                "the board started with a true clock", value=offset,
                todo='Start it with clock_offset="+0".',
            )  # fmt: skip
        self.clock_offset = offset
        (self.folder / "board" / "clock").write_text(f"{offset}\n", encoding="ascii")

    def stop(self) -> None:
        """Kill it and all that runs in it; does nothing where it is not running."""
        if self._process is None:
            return
        with contextlib.suppress(OSError, ValueError):
            os.kill(int(self._ready.read_text(encoding="ascii")), signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        self._ready.unlink(missing_ok=True)
        self._process = None

    def command(self) -> list[str]:
        """Return the words that, before a guest's program and its arguments, run it in there."""
        variables = {
            "HOME": "/home/pi",
            "USER": "pi",
            "LOGNAME": "pi",
            "SHELL": "/bin/bash",
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "QEMU_CPU": emulate.qemu_cpu(self.board_id, self.arch),
            "QEMU_UNAME": emulate.KERNEL,
        }
        if self.clock_offset:
            # For the guest alone: no program of this machine is to preload it.
            variables["QEMU_SET_ENV"] = f"LD_PRELOAD={_FAKETIME},{_CLOCK}"
        if self._process is None:
            raise InputError("the emulated machine is not running", where=self.board_id)
        first = self._ready.read_text(encoding="ascii").strip()
        enter = ("/usr/bin/nsenter", "--preserve-credentials", "--user", "--target")
        return [
            *("/usr/bin/env", "-i", *(f"{name}={value}" for name, value in variables.items())),
            # In two steps, or a plain user may not: where the mounts are made one is root, and
            # from there on user 1000.
            *(*enter, str(self._process.pid), "--mount", "--uts"),
            *(*enter, first, "--pid", "--root", "--wd"),
        ]

    def _launch(self, settings: dict[str, str]) -> None:
        self._ready.unlink(missing_ok=True)
        log = self.folder / "machine.log"
        with log.open("wb") as stream:
            self._process = subprocess.Popen(
                [
                    *("unshare", "--user", "--map-root-user", "--mount", "--pid", "--uts"),
                    *("--fork", "--kill-child", "/bin/bash", str(SCRIPT)),
                ],
                env=settings, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + _START_S
        while not self._up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                words = " / ".join(log.read_text(encoding="utf-8").splitlines()[-3:])
                self.stop()
                raise InputError(
                    "the emulated machine does not start", where=self.board_id, value=words,
                    todo="It needs user namespaces and a binfmt_misc of its own (Linux 6.7).",
                )  # fmt: skip
            time.sleep(0.02)

    def _up(self) -> bool:
        """Whether its first process is one of the board's: before, its root is this machine's."""
        try:
            program = os.readlink(f"/proc/{self._ready.read_text(encoding='ascii').strip()}/exe")
        except OSError:
            return False
        return Path(program).name.startswith("qemu-")


def _write_stub(path: Path) -> None:
    """Compile an empty library, for the emulator's loader to find under the board's path."""
    if path.exists():
        return
    compiler = shutil.which("gcc")
    if compiler is None:
        raise InputError("program is not installed", where="gcc", todo="Run `make setup`.")
    subprocess.run(
        [compiler, "-shared", "-nostdlib", "-x", "c", "/dev/null", "-o", str(path)], check=True
    )
