"""One connection to a board: a keeper there, its answers here."""

from __future__ import annotations

import contextlib
import json
import queue
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, Self

from firmware_bench.device import keeper
from firmware_bench.pi.options import PiOptions
from firmware_bench.pi.ssh import EXIT_SSH, CopyFailed, Ssh
from firmware_bench.pi.ssh_faults import ConnectionLost
from targets.errors import InputError

#: Where `--prepare` puts the environment, below the home folder on the board.
ENVIRONMENT = ".local/share/dlink-bench/venv"
_BEAT_S = 10.0
_HELLO_S = 90.0  # a slow card, an old board, a first import
_SPARE_BYTES = 32 * 2**20
_EXIT_NO_PYTHON = 127


class DiskFull(InputError):
    """No room on the board."""


class Session:
    """A keeper on the board (see :mod:`firmware_bench.device.keeper`); a context manager.

    Attributes
    ----------
    hello : dict
        What the board says it is: folder, python, machine, pointer_bits, packages, free_bytes.

    Raises
    ------
    InputError
        No connection; no Python there, or too old a one.
    """

    def __init__(self, host: str, options: PiOptions) -> None:
        self.host = host
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._ended = threading.Event()
        self._ssh = Ssh(
            host,
            keeper_script(options.python),
            config=options.ssh_config,
            options=options.ssh_options,
            connect_s=options.connect_s,
        )
        try:
            threading.Thread(target=self._read, daemon=True).start()
            self.hello = self._next(_HELLO_S)
            if self.hello["kind"] == "old":
                raise InputError(
                    "Python on the board is too old", where=host, value=self.hello["python"],
                    limit="3.9 or later", todo="Install a newer Raspberry Pi OS (Bullseye on).",
                )  # fmt: skip
            threading.Thread(target=self._beat, daemon=True).start()
        except BaseException:
            self.close()
            raise

    def send(self, folder: Path) -> None:
        """Copy what lies in `folder` into the work folder on the board.

        Raises
        ------
        DiskFull
            Not enough room there.
        """
        need = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if self.hello["free_bytes"] < need + _SPARE_BYTES:
            raise self._full(self.hello["free_bytes"], need + _SPARE_BYTES)
        try:
            self._ssh.copy(folder, self.hello["folder"])
        except CopyFailed as err:
            free = self._ask("free")["bytes"]
            if free < need:
                raise self._full(free, need) from None
            raise InputError(
                f"copying to the board failed: {err}", where=self.host, value=self.hello["folder"]
            ) from None

    def run(self, job: str, on_line: Callable[[str], None]) -> None:
        """Run the job of the work folder to its end.

        Parameters
        ----------
        job : str
            File name of the job.
        on_line : callable
            Gets each line of the journal as it comes.

        Raises
        ------
        ConnectionLost
            The line broke; what `on_line` got until then is good.
        InputError
            The runner ended with an error.
        """
        self._request(do="run", arguments=["run.py", job, "--attached"])
        while True:
            answer = self._next(None)
            if answer["kind"] == "line":
                on_line(answer["text"])
            elif answer["kind"] == "end":
                self._judge(answer)
                return

    def clock_offset(self) -> float:
        """The board's clock minus this machine's, s, as far as half a round trip tells."""
        before = time.time()
        there = float(self._ask("free")["unix"])
        return there - (before + time.time()) / 2

    def shell(self, script: str, *, timeout_s: float = 600.0) -> subprocess.CompletedProcess[str]:
        """Run a shell script on the board over the same connection."""
        return self._ssh.run(script, timeout_s=timeout_s)

    def close(self) -> None:
        """End the session: the keeper removes its folder and what runs there."""
        self._ended.set()
        self._ssh.close(patience_s=10.0 if self._ssh.alive() else 0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended_by: object) -> None:
        self.close()

    def _judge(self, answer: dict[str, Any]) -> None:
        code, words = answer["code"], answer["errors"].strip().splitlines()
        if code in (0, 3):  # 3: no model could be run; the journal says of each why
            return
        last = words[-1] if words else "no word"
        if "No space left on device" in answer["errors"] or "Disk quota" in answer["errors"]:
            raise self._full(0, _SPARE_BYTES)
        raise InputError(
            f"the runner on the board ended with code {code}: {last}", where=self.host,
            todo="Run again; what was measured is kept.",
        )  # fmt: skip

    def _full(self, free: int, need: int) -> DiskFull:
        return DiskFull(
            "the board's disk is full", where=self.host, value=f"{free / 2**20:.0f} MiB free",
            limit=f"{need / 2**20:.0f} MiB needed",
            todo="Free some space there (`df -h`), or set XDG_CACHE_HOME to another disk.",
        )  # fmt: skip

    def _ask(self, question: str) -> dict[str, Any]:
        self._request(do=question)
        while (answer := self._next(60.0))["kind"] != question:
            continue
        return answer

    def _request(self, **request: Any) -> None:
        stdin = self._ssh.process.stdin
        assert stdin is not None
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except (OSError, ValueError):
            raise self._gone() from None

    def _next(self, timeout_s: float | None) -> dict[str, Any]:
        try:
            answer = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise ConnectionLost(
                "the board does not answer", where=self.host, value=f"after {timeout_s:g} s",
                todo="Check its load and network.",
            ) from None  # fmt: skip
        if answer is None:
            self._lines.put(None)
            raise self._gone()
        return answer

    def _gone(self) -> InputError:
        """Build the error for a keeper that ended before it was told to."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._ssh.process.wait(timeout=10)
        said, code = self._ssh.said(), self._ssh.process.returncode
        if code == _EXIT_NO_PYTHON:
            return InputError(
                "no Python on the board", where=self.host, value=said.strip() or None,
                todo="Install it there with `sudo apt-get install python3 python3-venv`, or name"
                " the interpreter.",
            )  # fmt: skip
        if "No space left on device" in said:
            return self._full(0, _SPARE_BYTES)
        if code in (0, EXIT_SSH) or code is None or code < 0:
            return self._ssh.lost()
        last = said.strip().splitlines()[-1:] or ["no word"]
        # A keeper that was killed (by a reboot, by the kernel) ends with 128 and its signal.
        kind = ConnectionLost if code > 128 else InputError
        return kind(f"the board ended the session with code {code}: {last[0]}", where=self.host)

    def _read(self) -> None:
        assert self._ssh.process.stdout is not None
        for line in self._ssh.process.stdout:
            text = line.decode("utf-8", "replace")
            if text.startswith(keeper.MARK):
                with contextlib.suppress(ValueError):
                    self._lines.put(json.loads(text[len(keeper.MARK) :]))
        self._lines.put(None)

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_S):
            try:
                self._request(do="beat")
            except InputError:
                return


def keeper_script(python: str | None) -> str:
    """Shell text that starts the keeper under `python`, or the first interpreter that is there."""
    places = shlex.quote(python) if python else f'"$HOME/{ENVIRONMENT}/bin/python" python3'
    source = (resources.files("firmware_bench.device") / "keeper.py").read_text(encoding="utf-8")
    # Nothing in the folder one happens to log in to may pass for a module.
    text = "import sys\nsys.path[:] = [one for one in sys.path if one]\n" + source
    tried = python or f"~/{ENVIRONMENT}/bin/python, python3"
    return (
        f'for p in {places}; do if command -v "$p" >/dev/null 2>&1; then'
        f' exec "$p" -c {shlex.quote(text)}; fi; done;'
        f" echo {shlex.quote('looked for ' + tried)} >&2; exit {_EXIT_NO_PYTHON}"
    )
