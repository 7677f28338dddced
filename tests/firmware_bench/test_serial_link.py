"""The line protocol: real firmware in the real emulator, with every fault of a line in between."""

import os
import pty
import random
import shutil
import time
import tty
import zlib

import pytest
import serial
from serial_rig import TINY, Relay, build, emulated

from firmware_bench.serial_link import BoardError, SerialLink, frame, unframe
from targets.errors import InputError

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs the cross compiler and the emulator: `make setup`",
)


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """The serial line of one emulated M4 that runs the tiny model."""
    with emulated(build(tmp_path_factory.mktemp("link"), TINY).elf) as port:
        yield port


CRC = f"{zlib.crc32(bytes([1] * 16)):08x}"


def once(change, when):
    """A hook that changes the first line that holds `when`, and no other."""
    pending = [True]

    def hook(line):
        if pending and when in line:
            pending.clear()
            return change(line)
        return line

    return hook


def flip(line):
    """One bit of a digit in the middle of a line."""
    middle = len(line) // 2
    return line[:middle] + bytes([line[middle] ^ 1]) + line[middle + 1 :]


@pytest.mark.parametrize("text", ["1 hello", "a input 0 ff00", "- error bad-checksum"])
def test_lines_survive_framing_and_no_damage_does(text):
    line = frame(text).rstrip(b"\n")
    assert unframe(line) == text
    for at in range(len(line)):
        for bit in range(8):
            assert unframe(line[:at] + bytes([line[at] ^ (1 << bit)]) + line[at + 1 :]) is None
        assert unframe(line[:at]) is None


def test_every_command_and_its_limits(board):
    with SerialLink(board) as link:
        words = link.request("hello")
        assert words[:2] == ["dlink-serial", "1"]
        assert {"model=tiny", "hash=0123456789abcdef", "counter=0", "emulated=1"} <= set(words)
        assert link.request("input", 0, "00" * 16) == ["16"]
        assert link.request("input", 15, "7f") == ["16"]
        for command, arguments, code in [
            ("input", (16, "00"), "out-of-range"),
            ("input", (0, "00" * 17), "out-of-range"),
            ("input", (0, "0g"), "bad-argument"),
            ("input", (0, "000"), "bad-argument"),
            ("input", ("-1", "00"), "out-of-range"),
            ("input", ("4294967296", "00"), "out-of-range"),
            ("input", (0,), "bad-argument"),
            ("input", (0, "00", "00"), "bad-argument"),
            ("run", (0, "00000000"), "out-of-range"),
            ("run", (17, "00000000"), "out-of-range"),
            ("run", (1, "0000000"), "bad-argument"),
            ("run", (1, "00000000"), "input-differs"),
            ("output", (0, 4), "out-of-range"),
            ("output", (3, 1), "out-of-range"),
            ("reboot", (), "bad-command"),
        ]:
            with pytest.raises(BoardError) as caught:
                link.request(command, *arguments)
            assert caught.value.code == code, (command, arguments)
        assert link.traffic.sent_again == link.traffic.dropped == 0


def test_a_person_at_a_terminal_gets_an_answer(board):
    with serial.Serial(board, timeout=3) as port:
        port.write(b"hello\r")
        assert b"- ok dlink-serial 1 board=qemu-mps2-an386 " in port.readline()
        port.write(b"help\r\n")
        assert b"- error no-checksum" in port.readline()


def test_nothing_malformed_hangs_the_board(board):
    source = random.Random(5)
    good = frame("1 input 0 " + "00" * 16)
    with serial.Serial(board, timeout=3) as port:
        for _ in range(150):
            line = bytes(source.randrange(256) for _ in range(source.choice((1, 3, 40, 600, 5000))))
            if source.random() < 0.5:
                line = flip(good)[: source.randrange(1, len(good))]
            line = line.replace(b"\n", b".").replace(b"\r", b".")
            port.write(line + b"\n")
            answer = port.readline()
            assert unframe(answer.rstrip()).startswith("- error "), (line, answer)
    with SerialLink(board) as link:
        assert link.request("hello")


@pytest.mark.parametrize(
    ("hooks", "sent_again", "dropped"),
    [
        pytest.param({"to_board": once(flip, b" input ")}, 1, 0, id="flipped-in-the-request"),
        pytest.param({"to_host": once(flip, b"16")}, 1, 1, id="flipped-in-the-answer"),
        pytest.param({"to_board": once(lambda line: line[:20], b" input ")}, 1, 0, id="cut"),
        pytest.param({"to_board": once(lambda line: b"", b" input ")}, 1, 0, id="lost-request"),
        pytest.param({"to_host": once(lambda line: b"", b"16")}, 1, 0, id="lost-answer"),
        pytest.param({"to_host": once(lambda line: line * 3, b"16")}, 0, 0, id="answered-thrice"),
        pytest.param(
            {"greeting": b"\xff\x00\x80 boot\r\n1 ok lies *00000000\r\n"}, 0, 2, id="garbage-first"
        ),
        pytest.param({"greeting": b"\xfe no end of line "}, 1, 1, id="garbage-before-the-answer"),
    ],
)
def test_damage_is_repaired(board, hooks, sent_again, dropped):
    with Relay(board, **hooks) as relay, SerialLink(relay.port, timeout_s=0.5) as link:
        assert link.request("input", 0, "01" * 16) == ["16"]
        assert link.request("run", 1, CRC)
        assert link.request("output", 0, 3)[0] == "010000"
        assert (link.traffic.sent_again, link.traffic.dropped) == (sent_again, dropped)


def test_a_late_answer_is_not_taken_for_the_next(board):
    def late(line):
        time.sleep(0.4)
        return line

    hook = once(late, b"16")
    with Relay(board, to_host=hook) as relay, SerialLink(relay.port, timeout_s=0.3) as link:
        assert link.request("input", 0, "01" * 16) == ["16"]
        assert link.request("hello")[0] == "dlink-serial"


def test_a_line_that_damages_everything_is_an_error(board):
    with Relay(board, to_host=flip) as relay, SerialLink(relay.port, timeout_s=0.2) as link:
        with pytest.raises(InputError, match="only damaged lines come back") as caught:
            link.request("hello")
        assert "Check --baud" in str(caught.value)


def test_no_answer_is_an_error_in_time():
    master, slave = pty.openpty()
    tty.setraw(slave)
    try:
        with SerialLink(os.ttyname(slave), timeout_s=0.1, attempts=3) as link:
            begin = time.monotonic()
            with pytest.raises(InputError, match='does not answer "hello"'):
                link.request("hello")
            assert time.monotonic() - begin < 2
            assert link.traffic.sent_again == 2
    finally:
        os.close(master)
        os.close(slave)


def test_a_port_that_vanishes_is_an_error(board):
    with Relay(board) as relay, SerialLink(relay.port) as link:
        assert link.request("hello")
        relay.vanish()
        with pytest.raises(InputError, match="the serial line broke off: "):
            link.request("hello")


@pytest.mark.parametrize(
    ("port", "reason"),
    [("/dev/ttyNONE7", "No such file or directory"), ("/dev/null", "cannot be opened")],
)
def test_a_port_that_is_none_is_an_error(port, reason):
    with pytest.raises(InputError, match=reason) as caught:
        SerialLink(port)
    assert str(caught.value).startswith(f"{port}: serial port cannot be opened: ")
    assert caught.value.todo
