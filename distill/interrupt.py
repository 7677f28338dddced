"""Ctrl-C ends training between two batches.

Python raises KeyboardInterrupt wherever it happens to be; inside a destructor or a callback from C
it is printed and forgotten, and training would go on. So the signal only leaves a note, which is
read at the end of each batch. A second Ctrl-C interrupts at once.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from lightning.pytorch.callbacks import Callback


class Interrupt(Callback):
    """Raises KeyboardInterrupt after the batch in which it was asked to."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self, _number: int, _frame: Any) -> None:
        """Handle SIGINT."""
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def _check(self) -> None:
        if self.asked:
            raise KeyboardInterrupt

    def on_train_batch_end(self, *_args: Any) -> None:
        """Read the note."""
        self._check()

    def on_validation_batch_end(self, *_args: Any) -> None:
        """Read the note."""
        self._check()

    def on_train_end(self, *_args: Any) -> None:
        """Read the note a last time."""
        self._check()

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to SIGINT during the block, in the main thread; restore the handler after it."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = signal.signal(signal.SIGINT, self.ask)
        try:
            yield
        finally:
            # Lightning leaves SIGINT ignored when it was interrupted.
            signal.signal(signal.SIGINT, previous)
