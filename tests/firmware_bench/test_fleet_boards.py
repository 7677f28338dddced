"""boards.toml: what it may say, and every fault of it at once."""

from pathlib import Path

import pytest

from firmware_bench.fleet.boards import load_boards, pick
from targets.errors import InputError

GOOD = """\
[[board]]
name = "kitchen"
target = "rpi4b"
ssh = "pi@raspberrypi.local"
ssh_config = "ssh.conf"
ssh_options = ["Port=2222"]
threads = [1, 4]
runtimes = ["litert"]
sustained_minutes = 10

[[board]]
name = "desk"
target = "nucleo-l4r5zi"
serial = "/dev/ttyACM0"

[[board]]
name = "pico"
target = "rp2040"
emulated = true

[[board]]
name = "here"
target = "host"
host = true
runs = 20
"""


def read(folder, text):
    path = folder / "boards.toml"
    path.write_text(text)
    return load_boards(path)


def test_boards_with_their_options(tmp_path):
    kitchen, desk, pico, here = read(tmp_path, GOOD)
    assert [board.how for board in (kitchen, desk, pico, here)] == [
        "ssh", "serial", "emulated", "host",
    ]  # fmt: skip
    options = kitchen.pi_options()
    assert (options.threads, options.sustained_s) == ((1, 4), 600.0)
    assert (options.ssh_config, options.ssh_options) == (tmp_path / "ssh.conf", ("Port=2222",))
    assert kitchen.device().runtimes == ("litert",)
    assert "onnxruntime" in here.device().runtimes
    assert (desk.baud, here.runs, pico.reached) == (115_200, 20, "emulated")
    assert desk.reached == "serial /dev/ttyACM0"


def test_every_fault_at_once_each_with_its_line(tmp_path):
    text = """\
[[board]]
name = "kit chen"
target = "rpi4"
ssh = "-oProxyCommand=x"

[[board]]
name = "pico"
target = "rp2040"
host = true
colour = "red"

[[board]]
name = "pico"
target = "rpi5"
ssh = "pi@a"
runtimes = ["tensorrt"]
baud = 9600
runs = "many"

[[board]]
name = "lost"
target = "host"

[[board]]
name = "both"
target = "host"
host = true
emulated = true
"""
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    lines = str(caught.value).splitlines()
    assert "11 faults" in lines[0]
    wanted = [
        ("line 2:", "board.0.name"),
        ("line 3:", 'Did you mean "rpi4b"?'),
        ("line 4:", "not a host"),
        ("line 8:", "a cortex-m target is reached by serial or emulated, not host"),
        ("line 10:", "colour' is unknown"),
        ("line 13:", "another board has this name"),
        ("line 16:", "allowed: "),
        ("line 17:", "has no use with ssh; only with serial"),
        ("line 18:", "board.2.runs"),
        ("line 20:", "give one of ssh, serial, emulated, host"),
        ("line 27:", "give one of ssh, serial, emulated, host"),
    ]
    for line, (place, words) in zip(lines[1:], wanted, strict=True):
        assert place in line
        assert words in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "board: Field required"),
        ("board = []", "at least 1 item"),
        ("board = 3", "board"),
        ("[[board]\n", "not TOML"),
        ('[[board]]\nname = "h"\ntarget = "host"\nhost = false\n', "host"),
        ('[[board]]\nname = "h"\ntarget = "host"\nhost = true\nthreads = [1, 2]\n', "one number"),
        ('[[board]]\nname = "h"\ntarget = "host"\nhost = true\nthreads = [0]\n', "from 1 to 64"),
    ],
)
def test_files_that_are_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, text)


def test_a_file_that_is_not_there():
    with pytest.raises(InputError, match="not found"):
        load_boards(Path("nowhere.toml"))


def test_boards_are_picked_by_name_in_the_files_order(tmp_path):
    boards = read(tmp_path, GOOD)
    assert [board.name for board in pick(boards, ["here", "kitchen"])] == ["kitchen", "here"]
    assert pick(boards, []) == boards
    with pytest.raises(InputError, match='Did you mean "kitchen"'):
        pick(boards, ["kichen"])
