"""The whole way on an emulated Raspberry Pi: other processor, other word size, real ssh."""

from dataclasses import replace

import pytest
from artefacts import TFLITE
from pi_rig import QUICK, artefact
from rehearsal_rig import machine_or_skip

from firmware_bench.pi.bench import bench
from firmware_bench.rehearsal import userland
from targets.target import load

pytestmark = pytest.mark.slow


def by(found, **fields):
    return [m for m in found if all(getattr(m, k) == v for k, v in fields.items())]


def rehearse(tmp_path, monkeypatch, board, arch, models):
    if not userland.is_built(arch):
        pytest.skip("skipped: no rehearsal userland")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    built = artefact(tmp_path / "artefact")
    for name in set(built.manifest["files"]) - models:
        del built.manifest["files"][name]
    with machine_or_skip(board, arch) as pi:
        options = replace(QUICK, runs=1, ssh_config=pi.config, connect_s=30.0)
        found = bench(built, load(board), "rehearsal", options)
        left = pi.ssh("ls .cache/dlink-bench").stdout
    return *found, left


def test_a_64_bit_board_gives_outputs_and_no_milliseconds(tmp_path, monkeypatch):
    models = {"student.fp32.onnx", "golden.npz"}
    run, found, left = rehearse(tmp_path, monkeypatch, "rpi5", "arm64", models)
    assert left == ""
    seen = run.environment
    assert seen.description.startswith("an emulator of Raspberry Pi 5 Model B Rev 1.0, 4 cores")
    assert seen.faults[0].rule == "emulated"
    assert seen.facts["before"]["throttled_bits"] == 0  # by the board's vcgencmd
    assert {m.evidence for m in found} == {"emulated"}
    assert by(found, metric="golden_agreement")[0].value == 1.0
    assert not [m for m in found if m.unit == "ms" and m.value is not None]


@pytest.mark.skipif(not TFLITE.exists(), reason="skipped: no data")
def test_a_32_bit_board_runs_tflite_and_says_that_it_is_32_bit(tmp_path, monkeypatch):
    models = {"student.int8.tflite", "golden.npz"}
    run, found, _ = rehearse(tmp_path, monkeypatch, "rpi3b+", "armhf", models)
    assert run.environment.facts["pointer_bits"] == 32
    assert "32-bit" in run.environment.facts["notes"]
    (one,) = by(found, metric="latency_median")
    assert one.value is None
    assert one.runtime.startswith("tflite-runtime 2.14.0")
