"""The streaming interface on emulated cores: hops counted, outputs as those of whole windows."""

from __future__ import annotations

import json
import shutil

import pytest
from artefacts import REFERENCE
from click.testing import CliRunner

from firmware_bench import bare, stream_m
from firmware_bench.cli import bench
from targets.target import load

MODEL = REFERENCE / "eeg_student.int8.tflite"

pytestmark = [
    pytest.mark.skipif(not MODEL.exists(), reason="set DLINK_REFERENCE"),
    pytest.mark.skipif(
        not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
        reason="needs the cross compiler and the emulator: `make setup`",
    ),
]
HOP = 80
PEER_RAM = 81_348


@pytest.fixture(scope="module")
def model():
    with bare.opened(MODEL, hop=HOP) as opened:
        yield opened


def test_what_is_pushed(model):
    stream = model.stream
    assert stream.pushes.shape == (10 + bare.HOPS, HOP * 22)
    assert stream.expected.shape == (bare.HOPS, 4)
    assert model.manifest["hop"] == HOP
    assert model.subject().stream is stream


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_outputs_are_those_of_whole_windows_on_every_kind_of_core(model, core):
    result = stream_m.run(model.stream, core)
    assert result.differing_bytes == 0
    assert result.output_bytes == 4 * bare.HOPS
    least, most = result.instructions_range
    assert least <= result.instructions <= most < 1.02 * least
    assert result.ram_static_bytes == 0
    assert result.ram_bytes == model.library.stream_bytes + HOP * 22 + 4
    assert result.ram_bytes <= PEER_RAM / 8


def test_wrong_outputs_are_counted(model):
    wrong = model.stream.expected.copy()
    wrong[0, 1] ^= 1
    stream = stream_m.Stream(
        model.stream.c_dir, HOP, model.stream.block_bytes, model.stream.pushes, wrong
    )
    assert stream_m.run(stream, "cortex-m4").differing_bytes == 1


def test_measurements_name_share_and_memory(model):
    found = {
        one.metric: one
        for one in stream_m.measurements(model.stream, load("nucleo-l4r5zi"), 4_000_000)
    }
    hop = found["hop_instructions"]
    assert f"{hop.value / 4_000_000:.3f} of a whole window" in hop.note
    assert found["hop_latency_estimated"].evidence == "estimated"
    time = found["hop_latency_estimated"]
    assert time.interval.low <= time.value * 1.2
    assert time.interval.high >= time.value * 0.8
    assert found["hop_differing_bytes"].value == 0
    assert "samples of a hop 1,760" in found["hop_ram_bytes"].note


def test_on_the_command_line(tmp_path):
    out = tmp_path / "results.json"
    arguments = [str(MODEL), "-t", "nucleo-l4r5zi", "--hop", str(HOP), "-o", str(out)]
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 0, done.output
    assert f"Streaming, a window every {HOP} samples" in done.output
    assert "streaming ram" in done.output
    values = {
        (one["model"], one["metric"]): one["value"]
        for one in json.loads(out.read_text())["measurements"]
    }
    assert values["student", "hop_instructions"] < values["student", "instructions"] / 3
    assert values["student", "hop_ram_vs_peer"] <= 1 / 8


def test_a_hop_that_does_not_fit_is_a_sentence(tmp_path):
    arguments = [str(MODEL), "-t", "rp2040", "--hop", "3", "-o", str(tmp_path / "r.json")]
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 2
    assert "a multiple of 5, up to 800" in done.output


def test_an_artefact_has_its_library_already(tmp_path):
    arguments = [str(tmp_path), "-t", "rp2040", "--hop", "5", "-o", str(tmp_path / "r.json")]
    done = CliRunner().invoke(bench, arguments)
    assert done.exit_code == 2
    assert "generated already" in done.output
