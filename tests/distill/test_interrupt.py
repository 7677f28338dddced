"""Ctrl-C is never lost, wherever in a batch it falls."""

import os
import signal

import pytest

from distill.interrupt import Interrupt


class Fragile:
    """Python swallows what its destructor raises."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_in_a_destructor_ends_the_batch():
    interrupt = Interrupt()
    with interrupt.listening():
        Fragile()
        with pytest.raises(KeyboardInterrupt):
            interrupt.on_train_batch_end(None, None, None, None, 0)


def test_without_a_signal_nothing_happens():
    interrupt = Interrupt()
    with interrupt.listening():
        interrupt.on_train_batch_end(None, None, None, None, 0)
        interrupt.on_validation_batch_end(None, None, None, None, 0)
        interrupt.on_train_end(None, None)


def test_the_second_one_interrupts_at_once():
    interrupt = Interrupt()
    with interrupt.listening():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the signal may fall on any line
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):
                pass


def test_the_handler_of_before_is_restored():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt().listening():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as Lightning leaves it
    assert signal.getsignal(signal.SIGINT) is before
