"""What --prepare would run, and that it does run: a real pip, a real environment, no network."""

import zipfile
from dataclasses import replace

import pytest
from pi_rig import this_machine
from sshd_rig import LoopbackBoard, needs_sshd

from firmware_bench.pi import prepare as preparing
from firmware_bench.pi.prepare import packages_for, plan, prepare
from firmware_bench.pi.session import ENVIRONMENT
from targets.errors import InputError
from targets.target import load

HELLO = {
    "python": "3.11.2", "executable": "/usr/bin/python3", "machine": "aarch64", "pointer_bits": 64,
    "libc": "glibc 2.36", "folder": "/home/pi/.cache/dlink-bench/work-1", "free_bytes": 2**33,
    "packages": {},
}  # fmt: skip
NARROW = HELLO | {"machine": "armv7l", "pointer_bits": 32, "packages": {"numpy": "1.24.2"}}


def test_a_board_with_internet_runs_two_commands():
    make, install = plan(HELLO, load("rpi5"), "/home/pi", "pi", None)
    assert make.words == ("/usr/bin/python3", "-m", "venv", f"/home/pi/{ENVIRONMENT}")
    assert install.words[-3:] == ("numpy", "onnxruntime", "ai-edge-litert")
    assert {make.where, install.where} == {"board"}


def test_carried_wheels_are_for_the_boards_python_processor_and_c_library(tmp_path):
    download, copy, make, install = plan(HELLO, load("rpi5"), "/home/pi", "pi", tmp_path)
    assert [step.where for step in (download, copy, make, install)] == [
        "here", "copy", "board", "board",
    ]  # fmt: skip
    words = download.words
    assert words[words.index("--python-version") + 1] == "311"
    assert words[words.index("--abi") + 1] == "cp311"
    tags = {words[k + 1] for k, word in enumerate(words) if word == "--platform"}
    assert {f"manylinux_2_{n}_aarch64" for n in (17, 27, 28, 34, 36)} <= tags
    assert "manylinux2014_aarch64" in tags
    assert "manylinux_2_37_aarch64" not in tags  # newer than the board's C library
    assert "--no-index" in install.words


@pytest.mark.parametrize("machine", ["armv7l", "aarch64"])
def test_a_32_bit_system_gets_the_one_runtime_that_there_is(machine, tmp_path):
    hello = NARROW | {"machine": machine}
    assert packages_for(hello, load("rpi3b+"), "pi") == ["tflite-runtime==2.14.0"]
    download, _, make, install = plan(hello, load("rpi3b+"), "/home/pi", "pi", tmp_path)
    assert "--system-site-packages" in make.words  # NumPy is Debian's
    assert "--no-deps" in install.words
    assert any(word.endswith("_armv7l") for word in download.words)
    assert not any(word.endswith("_aarch64") for word in download.words)


def test_what_cannot_work_is_refused_before_anything_is_run():
    with pytest.raises(InputError, match="no runtime for a 32-bit system with this Python"):
        plan(NARROW | {"python": "3.13.1"}, load("rpi4b"), "/home/pi", "pi", None)
    with pytest.raises(InputError, match="sudo apt-get install python3-numpy"):
        plan(NARROW | {"packages": {}}, load("rpi4b"), "/home/pi", "pi", None)
    with pytest.raises(InputError, match=r"no room .* 12 MiB free"):
        plan(HELLO | {"free_bytes": 12 * 2**20}, load("rpi5"), "/home/pi", "pi", None)


def test_what_is_missing():
    assert preparing.missing_packages({"numpy": "2", "ai-edge-litert": "2"}, load("rpi5")) == []
    assert preparing.missing_packages({"numpy": "2"}, load("rpi5")) == [
        "onnxruntime or ai-edge-litert or tflite-runtime"
    ]


def wheel(folder, name):
    """A package without content: enough for pip."""
    info = f"{name}-9.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-9.0-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}/__init__.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.0\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """Wheels that stand for an index, for this machine's pip and for the board's."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    for name in ("numpy", "onnxruntime", "ai_edge_litert"):
        wheel(folder, name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@needs_sshd
def test_without_go_nothing_is_changed(tmp_path, shelf):
    board = LoopbackBoard(tmp_path / "board")
    try:
        said = []
        prepare("board", this_machine(), board.options, carry=True, say=said.append)
        assert len(said) == 4
        assert said[0].startswith("[here] ")
        assert board.leftovers() == []
        assert not (board.home / ENVIRONMENT).exists()
    finally:
        board.stop()


@needs_sshd
@pytest.mark.slow
def test_wheels_are_carried_over_and_the_bench_then_finds_them(tmp_path, shelf):
    board = LoopbackBoard(tmp_path / "board")  # its pip sees no shelf: the login has a clean home
    try:
        prepare("board", this_machine(), board.options, carry=True, go=True, say=lambda _: None)
        assert (board.home / ENVIRONMENT / "bin/python").exists()
        assert board.leftovers() == []
    finally:
        board.stop()


@needs_sshd
@pytest.mark.slow
def test_a_board_without_internet_is_told_to_carry(tmp_path):
    board = LoopbackBoard(tmp_path / "board", "export PIP_NO_INDEX=1")
    try:
        with pytest.raises(InputError, match="carry the wheels over") as caught:
            prepare("board", this_machine(), replace(board.options), go=True, say=lambda _: None)
    finally:
        board.stop()
    assert "a command failed: ERROR: Could not find" in str(caught.value)
