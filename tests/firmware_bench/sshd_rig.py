"""A real sshd on loopback in the place of a board: own port, own keys, own home, own processes."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from pi_rig import QUICK

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
#: A login: a home of its own, the interpreter of the tests as python3, and nothing of dlink.
_LOGIN = """#!/bin/sh
HOME={home}; export HOME; cd "$HOME"
unset XDG_CACHE_HOME PYTHONPATH
PATH={home}/bin:/usr/bin:/bin; export PATH
OMP_NUM_THREADS=1; export OMP_NUM_THREADS
{extra}
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""
_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {root}/{host_key}
PidFile none
AuthorizedKeysFile {root}/user_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp {sftp}
ForceCommand {root}/login
MaxStartups 50
"""


class LoopbackBoard:
    """The sshd, its keys and its home; `extra` is shell text of the login."""

    def __init__(self, root: Path, extra: str = "", python: str = sys.executable) -> None:
        self.root, self.home = root, root / "home"
        (self.home / "bin").mkdir(parents=True)
        self.python(python)
        for name in ("host_key", "other_key", "user_key"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(root / name)], check=True
            )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.login(extra)
        self.know(root / "host_key.pub")
        self._write_client()
        self._sshd = None
        self.start()

    def python(self, path: str | None) -> None:
        """Put an interpreter on the board's PATH, or none at all."""
        wrapper = self.home / "bin/python3"
        if path is None:
            wrapper.unlink()
            return
        wrapper.write_text(f'#!/bin/sh\nexec {path} "$@"\n')
        wrapper.chmod(0o755)

    def login(self, extra: str) -> None:
        script = self.root / "login"
        script.write_text(_LOGIN.format(home=self.home, extra=extra))
        script.chmod(0o755)

    def know(self, key: Path) -> None:
        words = key.read_text().split()
        (self.root / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {words[0]} {words[1]}\n")

    def start(self, host_key: str = "host_key", prefix: tuple[str, ...] = ()) -> None:
        sftp = next(
            path
            for path in ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")
            if Path(path).exists()
        )
        config = self.root / "sshd_config"
        config.write_text(
            _CONFIG.format(port=self.port, root=self.root, host_key=host_key, sftp=sftp)
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        self._sshd = subprocess.Popen(
            [*prefix, SSHD, "-D", "-e", "-f", str(config)],
            stderr=(self.root / "sshd.log").open("ab"), start_new_session=True,
        )  # fmt: skip
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise RuntimeError((self.root / "sshd.log").read_text())

    def processes(self) -> list[int]:
        """Everything that runs below this board's home, by its environment."""
        found = []
        mark = f"HOME={self.home}".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if mark in (entry / "environ").read_bytes().split(b"\0"):
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found

    def connections(self) -> list[int]:
        """The sshd processes that serve a connection."""
        table = subprocess.run(
            ["ps", "-eo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True
        ).stdout
        children: dict[int, list[int]] = {}
        for line in table.splitlines():
            pid, parent, name = line.split(None, 2)
            if name.startswith("sshd"):
                children.setdefault(int(parent), []).append(int(pid))
        found, queue = [], [self._sshd.pid]
        while queue:
            below = children.get(queue.pop(), [])
            found += below
            queue += below
        return found

    @property
    def pid(self) -> int:
        """Of the sshd that listens."""
        return self._sshd.pid

    def clients(self) -> list[str]:
        """ssh processes on this side that have our configuration, once they had a moment."""
        end = time.monotonic() + 10
        while True:
            table = subprocess.run(
                ["ps", "-eo", "args="], capture_output=True, text=True, check=True
            ).stdout.splitlines()
            ours = str(self.root / "ssh_config")
            found = [line for line in table if line.startswith("ssh ") and ours in line]
            if not found or time.monotonic() > end:
                return found
            time.sleep(0.1)

    def cut(self) -> None:
        """Break every connection; the board itself goes on."""
        for pid in self.connections():
            kill(pid)

    def power_off(self) -> None:
        """Kill everything at once, as a reboot does."""
        self._sshd.kill()
        for pid in [*self.connections(), *self.processes()]:
            kill(pid)
        self._sshd.wait()

    def leftovers(self) -> list[str]:
        """Files and processes of ours on the board, once it had a moment to clean up."""
        end = time.monotonic() + 10
        while (left := self._left()) and time.monotonic() < end:
            time.sleep(0.1)
        return left

    def _left(self) -> list[str]:
        cache = self.home / ".cache/dlink-bench"
        files = [str(path) for path in cache.iterdir()] if cache.exists() else []
        return files + [str(pid) for pid in self.processes()]

    def stop(self) -> None:
        if self._sshd.poll() is None:
            self.power_off()

    @property
    def options(self):
        return replace(QUICK, ssh_config=self.root / "ssh_config", connect_s=10.0, reconnect_s=20.0)

    def _write_client(self) -> None:
        (self.root / "ssh_config").write_text(
            f"Host board\n HostName 127.0.0.1\n Port {self.port}\n"
            f" IdentityFile {self.root}/user_key\n IdentitiesOnly yes\n IdentityAgent none\n"
            f" UserKnownHostsFile {self.root}/known_hosts\n GlobalKnownHostsFile /dev/null\n"
            " StrictHostKeyChecking yes\n"
        )


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


needs_sshd = pytest.mark.skipif(SSHD is None, reason="skipped: no sshd on this machine")
