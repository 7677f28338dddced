"""A connection to a board by the system's ssh and scp: the user's keys, agent, jump hosts count.

One connection carries all commands, so that each costs milliseconds: that of a first, long command,
with whose end it ends. Its socket lies in a folder of its own and goes with it. Nothing of the
user's settings is weakened: no password is asked for, and an unknown host key is an error.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from firmware_bench.pi.ssh_faults import ConnectionLost, explain
from targets.errors import InputError

_ALIVE_S, _ALIVE_TRIES = 5, 3
_HOST = re.compile(r"[^\s\x00-\x1f\x7f'\"`$;&|<>()\\!*?{}]+")
#: ssh's own failure, apart from those of the command.
EXIT_SSH = 255


class Ssh:
    """An open connection with a command that runs on it; a context manager.

    Parameters
    ----------
    host : str
        As ssh takes it: "pi@raspberrypi.local", "pi@192.168.1.7", or a name of ~/.ssh/config.
    script : str
        The long command: a POSIX shell script. It is program text: user strings in it must have
        gone through shlex.quote.
    config : Path, optional
        For ``ssh -F``.
    options : sequence of str
        Each for ``ssh -o`` ("Port=2222").
    connect_s : float
        How long to wait for the connection.

    Attributes
    ----------
    process : Popen
        The long command, its stdin and stdout as pipes. Closing its stdin is how it is told to end.

    Raises
    ------
    HostRefused, ConnectionLost
        Both InputErrors: the first if trying again does not help.
    """

    def __init__(
        self,
        host: str,
        script: str,
        *,
        config: Path | None = None,
        options: Sequence[str] = (),
        connect_s: float = 15.0,
    ) -> None:
        self.host = checked_host(host)
        for tool in ("ssh", "scp"):
            if shutil.which(tool) is None:
                raise InputError(f"{tool} is not installed here", todo="Install openssh-client.")
        self._options = _options(config, options, connect_s)
        # A socket's path is short: 104 bytes on some systems.
        self._folder = Path(tempfile.mkdtemp(prefix="dlink-ssh-", dir=_short_folder()))
        self._shared = ["-o", f"ControlPath={self._folder / 'master'}"]
        self._words = (self._folder / "stderr").open("a+b")
        self.process = subprocess.Popen(
            [*self._ssh("-M"), _remote(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is ours to handle: the board is cleaned up first
        )
        try:
            self._connect(connect_s)
        except BaseException:
            self.close()
            raise

    def _connect(self, connect_s: float) -> None:
        end = time.monotonic() + connect_s + 5
        while not (self._folder / "master").exists():
            code = self.process.poll()
            if code == EXIT_SSH:
                raise self.lost()
            if code is not None:
                return  # the command has ended already: its owner asks why
            if time.monotonic() > end:
                raise ConnectionLost(
                    "the board is not reached", where=self.host,
                    value=f"no connection in {connect_s:g} s", todo="Check its power and network.",
                )  # fmt: skip
            time.sleep(0.02)

    def run(
        self, script: str, *, timeout_s: float = 60.0, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[str]:
        """Run a POSIX shell script on the board to its end; its exit code is the caller's to judge.

        Raises
        ------
        ConnectionLost, HostRefused
            The connection failed, or the script took longer than `timeout_s`.
        """
        try:
            done = subprocess.run(
                [*self._ssh(), _remote(script)],
                input=stdin, capture_output=True, timeout=timeout_s, check=False,
                env=_environment(), start_new_session=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ConnectionLost(
                "the board does not answer", where=self.host, value=f"after {timeout_s:g} s",
                todo="Check its power and network.",
            ) from None  # fmt: skip
        stdout, stderr = (one.decode("utf-8", "replace") for one in (done.stdout, done.stderr))
        if done.returncode == EXIT_SSH:
            raise self.lost(stderr)
        return subprocess.CompletedProcess(done.args, done.returncode, stdout, stderr)

    def copy(self, folder: Path, remote: str, *, timeout_s: float = 600.0) -> None:
        """Copy what lies in `folder` into the folder `remote`, which exists on the board.

        Raises
        ------
        CopyFailed
            scp ended with an error while the connection stands: no room, no right.
        ConnectionLost, HostRefused
            The connection failed.
        """
        entries = sorted(str(path) for path in folder.iterdir())
        done = None
        for mode in ([], ["-O"]):  # the second for boards whose SSH server knows no sftp
            command = ["scp", "-r", "-q", *mode, *self._options, *self._shared]
            try:
                done = subprocess.run(
                    [*command, "--", *entries, f"{self._scp_host()}:{remote}/"],
                    stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False,
                    env=_environment(), start_new_session=True,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                raise ConnectionLost(
                    "copying to the board stalled", where=self.host, value=f"after {timeout_s:g} s",
                    todo="Check its network.",
                ) from None  # fmt: skip
            if done.returncode == 0:
                return
            if b"subsystem" not in done.stderr:
                break
        assert done is not None
        said = done.stderr.decode("utf-8", "replace")
        if not self.alive():
            raise self.lost(said)
        raise CopyFailed(said.strip().splitlines()[-1:] or ["scp failed"], self.host)

    def alive(self) -> bool:
        """Whether the connection still stands."""
        return self.process.poll() is None

    def lost(self, stderr: str = "") -> InputError:
        """Build the error of a command that ended with ssh's own exit code."""
        return explain("\n".join((stderr, self.said())), self.host)

    def said(self) -> str:
        """What the long command, or ssh for it, wrote to stderr."""
        self._words.seek(0)
        return self._words.read().decode("utf-8", "replace")

    def close(self, patience_s: float = 0.0) -> None:
        """End the command and with it the connection; a second call does nothing.

        The command has `patience_s` to come to its own end.
        """
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        for end in (lambda: None, self.process.terminate, self.process.kill):
            end()
            try:
                self.process.wait(timeout=patience_s or 1.0)
                break
            except subprocess.TimeoutExpired:
                patience_s = 2.0
        with contextlib.suppress(OSError, ValueError):
            self._words.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended_by: object) -> None:
        self.close()

    def _ssh(self, *words: str) -> list[str]:
        return ["ssh", *self._options, *self._shared, *words, "--", self.host]

    def _scp_host(self) -> str:
        """scp takes a bare colon as the end of the host: an IPv6 address wants brackets."""
        user, at, name = self.host.rpartition("@")
        return f"{user}{at}[{name}]" if ":" in name and not name.startswith("[") else self.host


class CopyFailed(Exception):
    """scp failed although the connection stands."""

    def __init__(self, words: list[str], host: str) -> None:
        super().__init__(words[0])
        self.host = host


def checked_host(host: str) -> str:
    """Refuse what ssh would take for an option, or a shell for more than a name."""
    if not host or host.startswith("-") or not _HOST.fullmatch(host):
        raise InputError(
            "not a host", value=repr(host),
            todo="Give it as for ssh: pi@raspberrypi.local, or a name of ~/.ssh/config.",
        )  # fmt: skip
    return host


def _remote(script: str) -> str:
    """The user's login shell may be any: it sees one quoted word for a POSIX shell."""
    return f"exec sh -c {shlex.quote(script)}"


def _options(config: Path | None, options: Sequence[str], connect_s: float) -> list[str]:
    if config is not None and not config.is_file():
        raise InputError("ssh configuration not found", where=config)
    for option in options:
        if not re.match(r"\w+\s*[= ]", option) or "\n" in option:
            raise InputError("not an ssh option", value=repr(option), limit="Key=Value")
    fixed = (
        "BatchMode=yes",
        f"ConnectTimeout={max(1, round(connect_s))}",
        f"ServerAliveInterval={_ALIVE_S}",
        f"ServerAliveCountMax={_ALIVE_TRIES}",
        "ForwardAgent=no",
        "ForwardX11=no",
        "ClearAllForwardings=yes",
        "ControlPersist=no",
        "ControlMaster=no",
        "LogLevel=ERROR",
        "RequestTTY=no",
        "RemoteCommand=none",
    )
    words = ["-F", str(config)] if config is not None else []
    return [*words, *(word for one in (*fixed, *options) for word in ("-o", one))]


def _environment() -> dict[str, str]:
    """The user's, with messages in English: they are told apart by their words."""
    return {**os.environ, "LC_ALL": "C"}


def _short_folder() -> str | None:
    folder = tempfile.gettempdir()
    return None if len(folder) < 60 or not os.path.isdir("/tmp") else "/tmp"  # noqa: S108
