"""An emulated board behind a pseudo-terminal, and a relay in between that spoils the line."""

import contextlib
import os
import pty
import re
import select
import subprocess
import threading
import tty
from pathlib import Path

import numpy as np

from firmware_bench import serial_firmware
from firmware_bench.mcu import Subject
from firmware_bench.toolchain import require_tool

TINY = Path(__file__).parent / "tiny_model"
WINDOWS = np.random.default_rng(7).integers(-128, 128, (3, 16)).astype(np.int8)


def tiny_outputs(windows=WINDOWS):
    rows, columns = np.arange(3)[:, None], np.arange(16)[None, :]
    weights = 7 * columns - 5 * rows - 40
    return np.clip((windows.astype(np.int64) @ weights.T) >> 7, -128, 127).astype(np.int8)


def subject(c_dir=TINY):
    return Subject(c_dir, WINDOWS, tiny_outputs())


def build(folder, c_dir=TINY, core="cortex-m4"):
    folder.mkdir(exist_ok=True)
    return serial_firmware.build(c_dir, serial_firmware.emulated_port(core), folder)


@contextlib.contextmanager
def emulated(elf, machine="mps2-an386"):
    """Run a firmware in QEMU; yields the path of its serial line."""
    process = subprocess.Popen(
        [
            *(require_tool("qemu-system-arm"), "-machine", machine, "-display", "none"),
            *("-monitor", "none", "-serial", "pty", "-kernel", str(elf)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    held = None
    try:
        port = re.search(r"/dev/pts/\d+", process.stdout.readline())[0]
        held = _hold(port)
        yield port
    finally:
        process.kill()
        process.communicate()
        if held is not None:
            os.close(held)


def _hold(port):
    """Keep the line open: QEMU looks only once a second whether someone has come (back)."""
    end = os.open(port, os.O_RDWR | os.O_NOCTTY)
    tty.setraw(end)
    os.write(end, b"hello\n")
    assert select.select([end], [], [], 10)[0], "the emulated board does not answer"
    while select.select([end], [], [], 0.1)[0]:
        os.read(end, 4096)
    return end


class Relay:
    """Passes lines between a host and a board; `to_board` and `to_host` may change each.

    Both are functions (line with its end) -> bytes. Setting `pulled` takes the host's port away, as
    when a cable is pulled.
    """

    def __init__(self, board_port, *, to_board=bytes, to_host=bytes, greeting=b""):
        self._hooks = {"board": to_board, "host": to_host}
        self._greeting = greeting
        self._board = os.open(board_port, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._board)
        self._host, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self.pulled, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._over.set()
        self._thread.join()
        for end in (self._board, self._host, self._slave):
            with contextlib.suppress(OSError):
                os.close(end)

    def vanish(self):
        """Pull the cable and wait until it is out."""
        self.pulled.set()
        self._thread.join()

    def _run(self):
        ends = {self._host: ("board", self._board), self._board: ("host", self._host)}
        rest = dict.fromkeys(ends, b"")
        while not self._over.is_set():
            for end in select.select(list(ends), [], [], 0.02)[0]:
                name, other = ends[end]
                *lines, rest[end] = (rest[end] + os.read(end, 4096)).split(b"\n")
                if end == self._host and lines and self._greeting:
                    os.write(self._host, self._greeting)
                    self._greeting = b""
                for line in lines:
                    if data := self._hooks[name](line + b"\n"):
                        os.write(other, data)
            if self.pulled.is_set():
                os.close(self._slave)
                os.close(self._host)
                return
