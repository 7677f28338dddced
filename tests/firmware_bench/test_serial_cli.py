"""`dlink-bench --serial` as a user runs it: build, answer, results file, gate, one-line errors."""

import json
import os
import pty
import shutil
import tty

import pytest
from artefacts import TFLITE, WINDOWS
from click.testing import CliRunner
from serial_rig import Relay, emulated

from firmware_bench import serial_firmware, serial_link
from firmware_bench.cli import bench, gate
from firmware_bench.serial_link import frame, unframe

pytestmark = pytest.mark.skipif(
    not (TFLITE.exists() and shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs DLINK_REFERENCE, the cross compiler and the emulator",
)
BUDGET = """\
[[budget]]
target = "rp2040"
model = "student"
metric = "latency_median"
limit = "10 s"
"""


def invoke(command, *args):
    return CliRunner().invoke(command, [str(arg) for arg in args])


def measured(path, metric):
    found = json.loads(path.read_text())["measurements"]
    return next(one for one in found if one["metric"] == metric and one["model"] == "student")


def test_from_building_to_the_results(tmp_path, artefact_folder):
    out, images = tmp_path / "results.json", tmp_path / "images"
    built = invoke(bench, artefact_folder, "-t", "nucleo-l4r5zi", "--build-serial", images)
    assert built.exit_code == 0, built.output
    assert f"nucleo-l4r5zi: {images / 'nucleo-l4r5zi.bin'}" in built.output
    assert "rehearse without the board: qemu-system-arm " in built.output
    with emulated(images / "nucleo-l4r5zi.qemu.elf") as port:
        found = invoke(bench, artefact_folder, "-t", "nucleo-l4r5zi", "--serial", port, "-o", out)
    assert found.exit_code == 0, found.output
    assert "nucleo-l4r5zi: emulator qemu-mps2-an386, cortex-m4, over a serial line" in found.output
    assert "  median: none: an emulator has no clock" in found.output
    assert f"bytes that differ: 0 (of {WINDOWS * 4} output bytes" in found.output
    assert "line: 0 requests sent again, 0 damaged lines dropped" in found.output
    assert measured(out, "golden_differing_bytes")["runtime"].endswith("over a serial line")
    assert measured(out, "instructions")["value"] > 1_000_000
    environment = json.loads(out.read_text())["runs"][0]["environment"]
    assert environment["facts"]["emulation"]["machine"] == "mps2-an386"


def test_measured_milliseconds_reach_results_and_gate(tmp_path, artefact_folder):
    """The emulated M0+ counts by SysTick at 25 MHz; the relay makes it say that it is a board."""
    out, budgets = tmp_path / "results.json", tmp_path / "budgets.toml"
    budgets.write_text(BUDGET)

    def claim(line):
        text = unframe(line.rstrip()) or ""
        for old, new in (
            ("board=qemu-mps2-an386", "board=rp2040"), ("clock=0", "clock=25000000"),
            ("emulated=1", "emulated=0"), ("cpuid=410fc240", "cpuid=410cc601"),
        ):  # fmt: skip
            text = text.replace(old, new)
        return frame(text)

    firmware = tmp_path / "build"
    firmware.mkdir()
    port = serial_firmware.emulated_port("cortex-m0plus")
    elf = serial_firmware.build(artefact_folder / "c", port, firmware).elf
    with emulated(elf) as line, Relay(line, to_host=claim) as relay:
        found = invoke(bench, artefact_folder, "-t", "rp2040", "--serial", relay.port, "-o", out)
    assert found.exit_code == 0, found.output
    assert "milliseconds are indicative only: the board runs at 25 MHz" in found.output
    latency = measured(out, "latency_median")
    assert latency["evidence"] == "measured"
    assert latency["samples"]["count"] == WINDOWS * 5
    assert 1 < latency["value"] < 10_000
    judged = invoke(gate, out, "--budgets", budgets)
    assert judged.exit_code == 3, judged.output
    assert "inconclusive: " in judged.output


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("-t", "nucleo-l4r5zi", "--serial", "/dev/ttyNONE7"), "serial port cannot be opened"),
        (("-t", "nucleo-l4r5zi", "-t", "rp2040", "--serial", "/dev/null"), "leads to one board"),
        (("-t", "host", "--serial", "/dev/null"), "no Cortex-M target"),
        (("-t", "rp2040", "--build-serial", "images"), "see docs/boards.md"),
        (("-t", "nucleo-l4r5zi", "--build-serial", "/proc/no"), "output cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path, monkeypatch, artefact_folder, args, message):
    monkeypatch.chdir(tmp_path)
    found = invoke(bench, artefact_folder, *args)
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1), found.output
    assert message in found.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_a_silent_port_is_one_line_and_exit_2(tmp_path, monkeypatch, artefact_folder):
    hurry = {"baud": 115_200, "timeout_s": 0.1, "attempts": 2}
    monkeypatch.setattr(serial_link.SerialLink.__init__, "__kwdefaults__", hurry)
    master, slave = pty.openpty()
    tty.setraw(slave)
    try:
        found = invoke(
            bench, artefact_folder, "-t", "nucleo-l4r5zi", "--serial", os.ttyname(slave),
            "-o", tmp_path / "results.json",
        )  # fmt: skip
    finally:
        os.close(master)
        os.close(slave)
    assert (found.exit_code, found.stderr.count("\n")) == (2, 1), found.output
    assert 'the board does not answer "hello"' in found.output
    assert not (tmp_path / "results.json").exists()
