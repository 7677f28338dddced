"""Power by the board's own interface: the Raspberry Pi 5 tells volts and amperes of each rail."""

from __future__ import annotations

import re
import threading
import time

from .board import vcgencmd

_RAIL = re.compile(r"(\w+)_([AV])\b[^=\n]*=([0-9.]+)[AV]")
EVERY_S = 0.5


def watts(text: str) -> float | None:
    """Sum of volts times amperes over the rails of `vcgencmd pmic_read_adc` that tell both.

    What the converters themselves lose is not in it: a meter at the plug shows more.
    """
    volts: dict[str, float] = {}
    amperes: dict[str, float] = {}
    for rail, unit, value in _RAIL.findall(text):
        (volts if unit == "V" else amperes)[rail] = float(value)
    both = [volts[rail] * amperes[rail] for rail in volts if rail in amperes]
    return sum(both) if both else None


def read() -> float | None:
    """Power now, W; None where the board has no such interface."""
    return watts(vcgencmd("pmic_read_adc") or "")


class Sampler:
    """Reads the power in the background while a block runs; a context manager.

    `samples` holds (monotonic s, W).
    """

    def __init__(self) -> None:
        self.samples: list[tuple[float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *ended_by: object) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stop.is_set():
            power = read()
            if power is None:
                return
            self.samples.append((time.monotonic(), power))
            self._stop.wait(EVERY_S)
