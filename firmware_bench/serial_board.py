"""A board that runs the serial bench, as an object: who it is, and what it answers."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass

from firmware_bench.serial_link import BoardError, SerialLink
from targets.errors import InputError

PROTOCOL = "dlink-serial"
VERSION = "1"
MOST_RUNS = 16  # of one request (serial_bench.c)
_FIRST_RUN_S = 60.0
_WORDS = {
    "status": "dlink_model_invoke returned status",
    "arena-overrun": "the model wrote behind its arena",
    "output-overrun": "the model wrote behind its output",
    "output-changes": "the model gives different outputs for the same window",
    "input-differs": "the board does not hold the window that it was sent: it was reset meanwhile",
}


@dataclass(frozen=True)
class Hello:
    """What a board says of itself.

    Attributes
    ----------
    board, core : str
        Target id and core that the firmware was built for; an emulator's begins with "qemu-".
    cpuid : int
        The core's own identification register.
    clock_hz : int
        Clock of the cycle counter; 0 if there is none.
    counter : bool
        Whether the cycle counter moves.
    emulated : bool
        Whether this is no hardware.
    """

    board: str
    core: str
    cpuid: int
    clock_hz: int
    counter: bool
    emulated: bool
    model_name: str
    model_hash: str
    input_bytes: int
    output_bytes: int
    arena_bytes: int
    chunk_bytes: int

    @property
    def times(self) -> bool:
        """Whether its cycles are time of a real clock."""
        return self.counter and not self.emulated and self.clock_hz > 0


@dataclass(frozen=True)
class Runs:
    """Some runs on one window: cycles of each, seconds on the host's clock, CRC of the output."""

    cycles: tuple[int, ...]
    seconds: float
    output_crc: int


class SerialBoard:
    """Speaks version 1 of the protocol over an open link."""

    def __init__(self, link: SerialLink) -> None:
        self.link = link
        self.hello = self._hello()
        self._run_s: float | None = None  # the longest single run so far

    def _hello(self) -> Hello:
        name, version, *words = [*self.link.request("hello"), "", ""]
        if (name, version) != (PROTOCOL, VERSION):
            raise InputError(
                "the board speaks another protocol",
                where=self.link.port,
                value=f"{name} {version}",
                limit=f"{PROTOCOL} {VERSION}",
                todo="Flash the firmware again: --build-serial.",
            )
        fields = dict(word.partition("=")[::2] for word in words)
        try:
            return Hello(
                board=fields["board"],
                core=fields["core"],
                cpuid=int(fields["cpuid"], 16),
                clock_hz=int(fields["clock"]),
                counter=fields["counter"] == "1",
                emulated=fields["emulated"] != "0",
                model_name=fields["model"],
                model_hash=fields["hash"],
                input_bytes=int(fields["input"]),
                output_bytes=int(fields["output"]),
                arena_bytes=int(fields["arena"]),
                chunk_bytes=int(fields["chunk"]),
            )
        except (KeyError, ValueError) as err:
            raise InputError(
                f"the board's hello cannot be read: {err}",
                where=self.link.port,
                todo="Flash the firmware again: --build-serial.",
            ) from None

    def load(self, window: bytes) -> None:
        """Send one input window, chunk by chunk."""
        for offset in range(0, len(window), self.hello.chunk_bytes):
            chunk = window[offset : offset + self.hello.chunk_bytes]
            self._request("input", offset, chunk.hex())

    def run(self, window: bytes, count: int) -> Runs:
        """Run the model `count` times, at most 16, on the loaded window, which must be `window`."""
        crc = zlib.crc32(window)
        expected = _FIRST_RUN_S if self._run_s is None else 5.0 + 4 * count * self._run_s
        begin = time.monotonic()
        output_crc, *cycles = self._request(
            "run", count, f"{crc:08x}", timeout_s=expected, attempts=2
        )
        seconds = time.monotonic() - begin
        self._run_s = max(self._run_s or 0.0, seconds / count)
        return Runs(tuple(map(int, cycles)), seconds, int(output_crc, 16))

    def output(self) -> bytes:
        """Fetch the output of the last run."""
        size, chunk = self.hello.output_bytes, self.hello.chunk_bytes
        parts = [
            self._request("output", offset, min(chunk, size - offset))[0]
            for offset in range(0, size, chunk)
        ]
        return bytes.fromhex("".join(parts))

    def stack(self) -> int | None:
        """Run once more with the stack painted; bytes below the bench. None if it cannot tell."""
        try:
            return int(self.link.request("stack", timeout_s=_FIRST_RUN_S, attempts=2)[0])
        except BoardError as err:
            if err.code == "no-stack":
                return None
            raise self._refusal("stack", err) from None

    def _request(
        self,
        command: str,
        *arguments: object,
        timeout_s: float | None = None,
        attempts: int | None = None,
    ) -> list[str]:
        try:
            return self.link.request(command, *arguments, timeout_s=timeout_s, attempts=attempts)
        except BoardError as err:
            raise self._refusal(command, err) from None

    def _refusal(self, command: str, err: BoardError) -> InputError:
        known = _WORDS.get(err.code)
        what = f"{known} {err.detail}".strip() if known else f'the board refused "{command}": {err}'
        return InputError(what, where=self.link.port)
