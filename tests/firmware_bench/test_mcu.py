"""The Cortex-M rows: the real C library in the real emulator, and the teacher that does not fit."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from artefacts import TFLITE, WINDOWS

from firmware_bench import mcu, validation
from firmware_bench.artefact import load as load_artefact
from firmware_bench.cortex_m import CortexMResult
from targets.errors import InputError
from targets.target import load

BOARD = load("nucleo-l4r5zi")
RESULT = CortexMResult(
    machine="m", core="cortex-m4", outputs=np.array([[1, 2], [3, 4]], np.int8),
    instructions=12_000_000, instructions_by_class={"alu": 12_000_000}, repeatable=True,
    flash_model_bytes=40_000, flash_total_bytes=50_000, ram_arena_bytes=30_000, ram_io_bytes=4_000,
    ram_static_bytes=500, stack_bytes=300, cycles_estimated=12_000_000, cycle_model="rules",
    elf_sha256="0", compiler="gcc", emulator="qemu", instructions_range=(12_000_000, 12_000_000),
    cycles_board=13_200_000, fetched_bytes=900, flash_misses=7,
)  # fmt: skip


def figures(found):
    return {m.metric: m for m in found}


def test_one_run_becomes_figures_with_their_evidence():
    found = figures(mcu.student(BOARD, {"macs": 4_000_000}, RESULT, RESULT.outputs))
    assert {name: m.value for name, m in found.items()} == {
        "instructions": 12_000_000,
        "instructions_per_mac": 3.0,
        "flash_bytes": 40_000,
        "firmware_bytes": 50_000,
        "ram_bytes": 34_500,
        "stack_bytes": 300,
        "golden_differing_bytes": 0,
        "cycles_core_only": 12_000_000,
        "cycles_estimated": 13_200_000,
        "latency_core_only": pytest.approx(100.0),
        "latency_estimated": pytest.approx(110.0),
    }
    kinds = {m.metric: m.evidence for m in found.values()}
    assert {kinds[name] for name in kinds if "cycles" in name or "latency" in name} == {"estimated"}
    assert {kinds[name] for name in kinds if "bytes" in name or "inst" in name} == {"emulated"}


def test_an_estimate_carries_the_computed_error():
    found = figures(mcu.student(BOARD, {}, RESULT, RESULT.outputs))
    time, band = found["latency_estimated"], validation.band(BOARD)
    assert (time.interval.low, time.interval.high) == pytest.approx(band.times(110.0))
    assert time.interval.low < 110 < time.interval.high
    assert "13,200,000 cycles: 12,000,000 cycles by rules, 1,200,000 of the flash" in time.note
    assert "900 B of code fetched, 7 misses" in time.note
    assert band.text in time.note


def test_without_flash_terms_the_estimate_is_the_core_s_and_says_so():
    result = replace(RESULT, core="cortex-m0plus", cycles_board=None)
    found = figures(mcu.student(load("rp2040"), {}, result, RESULT.outputs))
    assert found["cycles_estimated"].value == found["cycles_core_only"].value == 12_000_000
    assert found["latency_estimated"].note.startswith("core only: ")
    assert "quoted from a study" in found["latency_estimated"].note


def test_differing_bytes_are_counted():
    other = RESULT.outputs.copy()
    other[1, 0] += 1
    found = figures(mcu.student(BOARD, {}, RESULT, other))
    assert found["golden_differing_bytes"].value == 1
    assert "instructions_per_mac" not in found
    with pytest.raises(InputError, match="golden outputs do not fit"):
        mcu.student(BOARD, {}, RESULT, other[:1])


def test_a_core_without_cycle_model_has_no_time_but_a_reason():
    result = replace(RESULT, cycles_estimated=None, cycle_model="no rules for this core")
    found = figures(mcu.student(BOARD, {}, result, RESULT.outputs))
    assert found["latency_estimated"].value is None
    assert found["latency_estimated"].reason == "no rules for this core"
    assert not [name for name in found if "cycles" in name or name == "latency_core_only"]


def test_data_dependence_is_told():
    result = replace(RESULT, data_dependent=True, instructions_range=(11, 12_000_000))
    found = figures(mcu.student(BOARD, {}, result, RESULT.outputs))
    assert found["instructions"].note == "data-dependent: 11 to 12,000,000"


def test_the_teacher_does_not_fit_by_a_factor():
    facts = {"weights_int8_bytes": 5_818_372, "activation_peak_int8_bytes": 327_680}
    found = figures(mcu.teacher(BOARD, facts))
    assert found["flash_factor"].value == pytest.approx(5_818_372 / (2 << 20))
    assert found["flash_factor"].note == (
        "does not fit: needs 5.82 MB flash, 2.77 times the board's 2.10 MB"
    )
    assert found["ram_factor"].value == 0.5
    assert found["ram_factor"].note.startswith("fits:")
    assert mcu.teacher(BOARD, {}) == []


@pytest.mark.skipif(
    not (TFLITE.exists() and shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs DLINK_REFERENCE, the cross compiler and the emulator",
)
def test_the_real_library_on_the_emulated_board_equals_the_reference_kernels(artefact_folder):
    steps = []
    run, found = mcu.bench(
        mcu.of_artefact(load_artefact(artefact_folder)), BOARD, progress=steps.append
    )
    values = figures(found)
    assert values["golden_differing_bytes"].value == 0
    assert f"{WINDOWS} windows" in values["golden_differing_bytes"].note
    assert 0.3 < values["instructions_per_mac"].value < 20
    assert 30_000 < values["flash_bytes"].value < values["firmware_bytes"].value < 100_000
    assert run.environment.facts["elf_sha256"]
    assert len(steps) == mcu.STEPS


def test_an_artefact_without_c_is_refused(tmp_path, artefact_folder):
    copy = tmp_path / "copy"
    shutil.copytree(artefact_folder, copy)
    shutil.rmtree(copy / "c", ignore_errors=True)
    artefact = replace(load_artefact(artefact_folder), path=copy)
    with pytest.raises(InputError, match="has no C library"):
        mcu.of_artefact(artefact)
