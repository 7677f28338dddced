"""A Raspberry Pi behind ssh, on this machine: ``python -m firmware_bench.rehearsal.sshd``.

This machine's own sshd answers on the loopback with keys of its own and sends each command, shell
and file transfer into the emulated machine. Clients are the system's ``ssh`` and ``scp`` with
``-F CONFIG``. Faults are switched on and off while it runs.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from firmware_bench.rehearsal import board_files, userland
from firmware_bench.rehearsal.board_files import HEALTH, Health
from firmware_bench.rehearsal.front import Fault, Front
from firmware_bench.rehearsal.machine import Machine
from targets.errors import InputError, user_errors

#: The name of the board in the configuration: ``ssh -F CONFIG rehearsal``.
HOST = "rehearsal"
#: Where Debian's sshd wants an empty folder when root starts it.
_PRIVILEGE_SEPARATION = Path("/run/sshd")

_SERVER = """\
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/client_key.pub
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
AllowTcpForwarding no
AllowAgentForwarding no
X11Forwarding no
PrintLastLog no
PrintMotd no
ForceCommand {folder}/enter
Subsystem sftp /usr/lib/openssh/sftp-server
"""

_CLIENT = """\
Host {host}
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {folder}/client_key
  IdentitiesOnly yes
  IdentityAgent none
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  BatchMode yes
"""

_ENTER = """\
#!/bin/bash
if [ -n "$SSH_ORIGINAL_COMMAND" ]; then set -- -c "$SSH_ORIGINAL_COMMAND"; else set -- -l; fi
exec {command} /bin/bash "$@"
"""


class Pi:
    """An emulated board that answers to ssh; a context manager.

    Parameters
    ----------
    board_id, arch : str
        As for :func:`emulate.run`.
    sites : sequence of str, optional
        Runtimes installed on it; all that numpy's version lets stand side by side by default, an
        empty sequence for a board without any.
    health : Health, optional
        How it is.
    disk_mb : int, optional
        Room in its home.
    clock_offset : str, optional
        By which its clock is wrong, as ``+3d``.

    Attributes
    ----------
    config : Path
        For ``ssh -F``.
    home : Path
        The user's home, seen from this machine; empty where `disk_mb` is given.
    """

    def __init__(
        self,
        board_id: str = "rpi4b",
        arch: str = "arm64",
        *,
        sites: Sequence[str] | None = None,
        health: Health | None = None,
        disk_mb: int | None = None,
        clock_offset: str | None = None,
    ) -> None:
        board_files.board(board_id)
        userland.root(arch)  # refuse before anything starts
        self._temporary = tempfile.TemporaryDirectory(
            prefix="dlink-pi-", ignore_cleanup_errors=True
        )
        self.folder = Path(self._temporary.name)
        self.machine = Machine(
            self.folder, board_id, arch, sites=default_sites(arch) if sites is None else sites,
            health=health, disk_mb=disk_mb, clock_offset=clock_offset,
        )  # fmt: skip
        self.home = self.machine.home
        self.config = self.folder / "ssh_config"
        self._sshd = _require("sshd")
        self._front = Front(self._serve)

    def __enter__(self) -> Pi:
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.shut_down()
        self._temporary.cleanup()

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1."""
        return self._front.port

    def ssh(self, command: str, *, stdin: str = "", timeout_s: float = 120
            ) -> subprocess.CompletedProcess[str]:  # fmt: skip
        """Run a command on it by the system's ssh, for tests; 255 is ssh's own failure."""
        return subprocess.run(
            ["ssh", "-F", str(self.config), HOST, command],
            input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def cut(self, *, after_bytes: int | None = None, after_s: float | None = None,
            stall: bool = False) -> None:  # fmt: skip
        """Cut each connection from now on (:class:`front.Fault`)."""
        self._front.fault = Fault(after_bytes, after_s, stall)

    def heal(self) -> None:
        """Cut no connection any more."""
        self._front.fault = None

    def reboot(self, down_s: float = 0.0) -> None:
        """Restart it: all of its processes die, ssh is refused for some seconds, /tmp is empty."""
        self.shut_down()
        time.sleep(down_s)
        self.boot()

    def shut_down(self) -> None:
        """Kill all of its processes; ssh is refused."""
        self._front.refuse()
        self.machine.stop()

    def boot(self) -> None:
        """Start it, on the same port as before."""
        self.machine.start()
        enter = self.folder / "enter"
        enter.write_text(_ENTER.format(command=shlex.join(self.machine.command())))
        enter.chmod(0o755)
        self._front.listen()

    def feel(self, health: Health) -> None:
        """Change how it is (governor, heat, throttling) while it runs."""
        self.machine.feel(health)

    def change_host_key(self) -> None:
        """Answer with another host key than the one that clients know."""
        self._key("host_key")

    def _start(self) -> None:
        for name in ("host_key", "client_key"):
            self._key(name)
        (self.folder / "sshd_config").write_text(_SERVER.format(folder=self.folder))
        self.boot()
        host_key = (self.folder / "host_key.pub").read_text().split()
        known = f"[127.0.0.1]:{self.port} {host_key[0]} {host_key[1]}\n"
        (self.folder / "known_hosts").write_text(known)
        config = _CLIENT.format(
            host=HOST, port=self.port, user=getpass.getuser(), folder=self.folder
        )
        self.config.write_text(config)

    def _key(self, name: str) -> None:
        path = self.folder / name
        path.unlink(missing_ok=True)
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", HOST, "-f", str(path)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def _serve(self, end: socket.socket) -> None:
        """Let an sshd of its own answer one connection, as inetd would."""
        if os.geteuid() == 0:
            _PRIVILEGE_SEPARATION.mkdir(exist_ok=True)
        log = self.folder / "sshd.log"
        with end, contextlib.suppress(FileNotFoundError):  # the board was taken away meanwhile
            command = [self._sshd, "-i", "-f", str(self.folder / "sshd_config"), "-E", str(log)]
            done = subprocess.Popen(
                command, stdin=end.fileno(), stdout=end.fileno(), stderr=subprocess.DEVNULL
            )
            end.close()
            done.wait()


def default_sites(arch: str) -> tuple[str, ...]:
    """Runtimes that stand side by side: those with numpy 2 on arm64, tflite-runtime on armhf."""
    return ("onnxruntime", "litert") if arch == "arm64" else ("tflite-runtime",)


def _require(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if path is None:
        raise InputError("program is not installed", where=name, todo="Run `make rehearsal`.")
    return path


@click.command(help=__doc__)
@click.option("--board", default="rpi4b", type=click.Choice(sorted(board_files.BOARDS)))
@click.option("--arch", default="arm64", type=click.Choice(sorted(userland.USERLANDS)))
@click.option("--site", "sites", multiple=True, help="A runtime; repeat for more. 'none': without.")
@click.option("--health", default="well", type=click.Choice(sorted(HEALTH)), help="How it is.")
@click.option("--disk-mb", type=int, help="Room in its home.")
@click.option("--clock", help="By which its clock is wrong: +3d, -30y.")
def main(
    board: str, arch: str, sites: tuple[str, ...], health: str, disk_mb: int | None,
    clock: str | None,
) -> None:  # fmt: skip
    """Start a board and keep it until interrupted."""
    chosen = None if not sites else tuple(name for name in sites if name != "none")
    with user_errors("rehearsal"), Pi(
        board, arch, sites=chosen, health=HEALTH[health], disk_mb=disk_mb, clock_offset=clock
    ) as pi:  # fmt: skip
        click.echo(f"ssh -F {pi.config} {HOST}\nInterrupt to end.")
        while True:
            time.sleep(1)


if __name__ == "__main__":
    main()
