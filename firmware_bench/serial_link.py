"""Requests and answers over a serial line that may lose, damage or invent bytes.

A line is ``TEXT *CRC`` (CRC-32 of TEXT, 8 hexadecimal digits) and a line end. A request is
``SEQ COMMAND ARGUMENTS``; its answer repeats SEQ, so that a late answer to an earlier request is
not taken for it. Whatever fails its checksum is dropped; a request without an answer is sent again,
behind an empty line that ends whatever the board had half read. docs/boards.md has the commands.
"""

from __future__ import annotations

import re
import time
import zlib
from dataclasses import dataclass
from types import TracebackType

import serial  # type: ignore[import-untyped]

from targets.errors import InputError

_LINE = re.compile(rb"(.*) \*([0-9a-f]{8})")
_LONGEST_LINE = 4096
_POLL_S = 0.05
#: Errors that mean that the request did not arrive whole: it is sent again.
_NOT_RECEIVED = ("bad-checksum", "no-checksum", "too-long")


class BoardError(Exception):
    """The board refused a request: `code` is its word for it, `detail` what it added."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code} {detail}".strip())
        self.code, self.detail = code, detail


@dataclass
class Traffic:
    """What the line has been through: requests sent again, lines dropped for their checksum."""

    requests: int = 0
    sent_again: int = 0
    dropped: int = 0


def frame(text: str) -> bytes:
    """Return `text` as a line with its checksum."""
    data = text.encode("ascii")
    return data + b" *%08x\n" % zlib.crc32(data)


def unframe(line: bytes) -> str | None:
    """Return the text of a line without its end; None if it has no checksum or a wrong one."""
    match = _LINE.fullmatch(line)
    if match is None or zlib.crc32(match[1]) != int(match[2], 16):
        return None
    return match[1].decode("ascii", errors="replace")


class SerialLink:
    """An open serial line to a board that runs the serial bench; a context manager.

    Parameters
    ----------
    port : str
        ``/dev/ttyACM0``, ``COM3``, or the path of a pseudo-terminal.
    baud : int
        Bits per second; a pseudo-terminal ignores it.
    timeout_s : float
        How long to wait for an answer before a request is sent again.
    attempts : int
        How often a request is sent at most.

    Raises
    ------
    InputError
        The port cannot be opened.
    """

    def __init__(
        self, port: str, *, baud: int = 115_200, timeout_s: float = 1.0, attempts: int = 5
    ) -> None:
        self.port, self.timeout_s, self.attempts = port, timeout_s, attempts
        self.traffic = Traffic()
        self._sequence = 0
        self._received = b""
        try:
            self._serial = serial.Serial(
                port, baud, timeout=_POLL_S, write_timeout=5, exclusive=True
            )
            self._serial.reset_input_buffer()
        except (serial.SerialException, OSError, ValueError) as err:
            raise InputError(
                f"serial port cannot be opened: {_reason(err)}",
                where=port,
                todo="Check the name, that you may use it (group dialout), and that no other"
                " program has it open.",
            ) from None

    def __enter__(self) -> SerialLink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the port back; a second call does nothing."""
        self._serial.close()

    def request(
        self,
        command: str,
        *arguments: object,
        timeout_s: float | None = None,
        attempts: int | None = None,
    ) -> list[str]:
        """Send a request until it is answered; return the words of the answer behind ``ok``.

        Raises
        ------
        BoardError
            The board refused it.
        InputError
            No answer, the port is gone, or the firmware faulted.
        """
        self._sequence += 1
        self.traffic.requests += 1
        sequence = f"{self._sequence:x}"
        data = frame(" ".join((sequence, command, *map(str, arguments))))
        dropped = self.traffic.dropped
        for attempt in range(attempts or self.attempts):
            self.traffic.sent_again += attempt != 0
            self._write(data if attempt == 0 else b"\n" + data)
            answer = self._answer(sequence, timeout_s or self.timeout_s, again=attempt != 0)
            if answer is not None:
                return answer
        raise self._no_answer(command, self.traffic.dropped - dropped)

    def _no_answer(self, command: str, dropped: int) -> InputError:
        if dropped:
            return InputError(
                f'only damaged lines come back on "{command}"',
                where=self.port,
                value=f"{dropped} lines without a good checksum",
                todo="Check --baud and the cable, and that the board runs the serial bench.",
            )
        return InputError(
            f'the board does not answer "{command}"',
            where=self.port,
            todo="Check the port and --baud, that the serial bench is flashed"
            " (--build-serial), then reset the board.",
        )

    def _answer(self, sequence: str, timeout_s: float, *, again: bool) -> list[str] | None:
        """Wait for the answer to `sequence`; None if it is time to send the request (yet) again.

        A request sent `again` may first be told of the torso that the empty line before it ended.
        """
        deadline = time.monotonic() + timeout_s
        while (line := self._read_line(deadline)) is not None:
            text = unframe(line)
            if text is None:
                self.traffic.dropped += 1
                continue
            first, _, rest = text.partition(" ")
            if first == "fault":
                raise InputError(f"the firmware faulted ({rest})", where=self.port)
            state, *words = rest.split(" ")
            if state == "error" and words and words[0] in _NOT_RECEIVED:
                if not again:
                    return None
                again = False
                continue
            if first != sequence:
                continue  # the greeting after a reset, or an answer that came too late
            if state == "ok":
                return words
            raise BoardError(words[0] if words else "unknown", " ".join(words[1:]))
        return None

    def _read_line(self, deadline: float) -> bytes | None:
        """Return the next line that is not empty, without its end; None at the deadline."""
        while True:
            line, end, rest = self._received.partition(b"\n")
            if end or len(line) > _LONGEST_LINE:
                self._received = rest
                if line := line.strip(b"\r"):
                    return line
                continue
            if time.monotonic() >= deadline:
                return None
            try:
                self._received += self._serial.read(max(1, self._serial.in_waiting))
            except (serial.SerialException, OSError, TypeError) as err:
                raise self._gone(err) from None

    def _write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
            self._serial.flush()
        except (serial.SerialException, OSError) as err:
            raise self._gone(err) from None

    def _gone(self, err: Exception) -> InputError:
        return InputError(
            f"the serial line broke off: {_reason(err)}",
            where=self.port,
            todo="Check cable and board, then run again.",
        )


def _reason(err: Exception) -> str:
    """Return the system's word for an error, not pyserial's sentence around it."""
    cause = err if isinstance(err, OSError) and err.strerror else err.__context__
    if isinstance(cause, OSError) and cause.strerror:
        match = re.search(r"\[Errno \d+\] ([^:']+)", cause.strerror)
        return match[1] if match else cause.strerror
    return str(err).rstrip(".")
