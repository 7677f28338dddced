"""A whole bench over a pseudo-terminal, with the emulator as the board, and what can be wrong."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from serial_rig import TINY, WINDOWS, Relay, build, emulated, subject, tiny_outputs

from firmware_bench import mcu, serial_bench
from firmware_bench.cores import CORES
from firmware_bench.serial_bench import BoardRuns, check_board, combine, environment, student
from firmware_bench.serial_board import Hello, SerialBoard
from firmware_bench.serial_link import SerialLink
from targets.errors import InputError
from targets.target import load

BOARD = load("nucleo-l4r5zi")
TARGETS = {
    "cortex-m0plus": "rp2040",
    "cortex-m4": "nucleo-l4r5zi",
    "cortex-m7": "nucleo-h743zi",
    "cortex-m33": "rp2350",
    "cortex-m55": "corstone300",
}
HELLO = Hello(
    board="nucleo-l4r5zi", core="cortex-m4", cpuid=0x410FC241, clock_hz=120_000_000, counter=True,
    emulated=False, model_name="tiny", model_hash="0123456789abcdef", input_bytes=16,
    output_bytes=3, arena_bytes=32, chunk_bytes=192,
)  # fmt: skip
#: What a board might have told: 100 ms a run and one of 110 ms, two windows, five runs each.
RUNS = BoardRuns(
    hello=HELLO, outputs=np.zeros((2, 3), np.int8),
    cycles=[(12_000_000,) * 5, (12_000_000,) * 4 + (13_200_000,)],
    seconds=1.03, stack_bytes=320, sent_again=0, dropped=0,
)  # fmt: skip
needs_emulator = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs the cross compiler and the emulator: `make setup`",
)


def figures(found):
    return {one.metric: one for one in found}


def library(folder, body, **constants):
    """Write the tiny library with other constants, and `body` before its last line."""
    folder.mkdir()
    header, source = ((TINY / name).read_text() for name in ("model.h", "model.c"))
    for name, value in constants.items():
        before = next(line for line in header.splitlines() if f"DLINK_MODEL_{name} " in line)
        header = header.replace(before, f"#define DLINK_MODEL_{name} {value}")
    (folder / "model.h").write_text(header)
    (folder / "model.c").write_text(source.replace("    ++tiny_calls;", f"    {body}"))
    return folder


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    with emulated(build(tmp_path_factory.mktemp("bench")).elf) as port:
        yield port


@needs_emulator
@pytest.mark.parametrize("core", CORES)
def test_every_core_gives_the_golden_bytes_and_no_time(tmp_path, core):
    firmware, steps = build(tmp_path, core=core), []
    target = load(TARGETS[core])
    with emulated(firmware.elf, firmware.core.machine) as port:
        run, found = serial_bench.bench(subject(), target, port, progress=steps.append)
    values = figures(found)
    assert values["golden_differing_bytes"].value == 0
    assert 0 < values["stack_bytes"].value < 200
    assert {one.evidence for one in found} == {"emulated"}
    assert values["latency_median"].value is None
    assert values["latency_median"].reason == "an emulator has no clock"
    assert run.environment.description.startswith(f"emulator qemu-{firmware.core.machine}, {core}")
    assert run.environment.facts["model_hash"] == "0123456789abcdef"
    assert len(steps) == len(WINDOWS)


@needs_emulator
def test_stack_agrees_with_the_other_bench(board):
    from firmware_bench import cortex_m

    _, found = serial_bench.bench(subject(), BOARD, board)
    assert figures(found)["stack_bytes"].value == pytest.approx(
        cortex_m.run(TINY, "cortex-m4", WINDOWS).stack_bytes, abs=16
    )


@needs_emulator
def test_outputs_that_differ_are_counted(board):
    golden = tiny_outputs()
    golden[1, 2] += 1
    _, found = serial_bench.bench(replace(subject(), expected=golden), BOARD, board)
    assert figures(found)["golden_differing_bytes"].value == 1


@needs_emulator
def test_another_model_or_core_than_expected_is_refused(tmp_path, board):
    other = library(tmp_path / "c", "", HASH='"fedcba9876543210"')
    with pytest.raises(InputError, match="the board runs another model") as caught:
        serial_bench.bench(subject(other), BOARD, board)
    assert "fedcba9876543210" in str(caught.value)
    assert "--build-serial" in str(caught.value)
    with pytest.raises(InputError, match="another core answers"):
        serial_bench.bench(subject(), load("nucleo-h743zi"), board)
    wide = replace(subject(), inputs=np.zeros((1, 17), np.int8))
    with pytest.raises(InputError, match="golden vectors do not fit"):
        serial_bench.bench(wide, BOARD, board)


@needs_emulator
def test_a_noisy_line_changes_no_figure(board):
    count = [0]

    def noise(line):
        count[0] += 1
        return line[:-4] + b"#" + line[-3:] if count[0] % 5 == 0 else line

    with Relay(board, to_board=noise, to_host=noise) as relay:
        run, found = serial_bench.bench(subject(), BOARD, relay.port)
    assert figures(found)["golden_differing_bytes"].value == 0
    assert run.environment.facts["requests_sent_again"] > 1


@needs_emulator
def test_a_port_that_vanishes_in_the_middle_is_an_error(board):
    lines = []

    def pull_at_the_sixth(line):
        lines.append(line)
        if len(lines) == 6:
            relay.pulled.set()
        return line

    relay = Relay(board, to_board=pull_at_the_sixth)
    with relay, pytest.raises(InputError, match=f"{relay.port}: the serial line broke off: "):
        serial_bench.bench(subject(), BOARD, relay.port)


@needs_emulator
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return DLINK_ERROR_ARENA_TOO_SMALL;", "returned status 2"),
        ("((uint8_t *)arena)[DLINK_MODEL_ARENA_BYTES] = 0;", "wrote behind its arena"),
        ("((volatile int8_t *)output)[3] = 0;", "wrote behind its output"),
        ("output[0] = (int8_t)tiny_calls++;", "different outputs for the same window"),
        ("*(volatile int *)0xDFFFFFF0u = 0;", r"the firmware faulted \(pc=0x"),
    ],
)
def test_a_faulty_library_is_an_error_and_the_board_lives_on(tmp_path, body, message):
    faulty = library(tmp_path / "c", body)
    with emulated(build(tmp_path / "build", faulty).elf) as port:
        with pytest.raises(InputError, match=message):
            serial_bench.bench(subject(faulty), BOARD, port)
        with SerialLink(port) as link:
            assert SerialBoard(link).hello.model_name == "tiny"


@needs_emulator
def test_systick_counts_beyond_its_24_bits(tmp_path):
    """The emulated SysTick runs at 25 MHz of the emulator's time: the host's clock must agree."""
    wait = (
        "const volatile uint32_t *left = (uint32_t *)0xE000E018; uint32_t before = *left;"
        "for (int passages = 0; passages < 2;) {"
        "uint32_t now = *left; passages += now > before; before = now; }"
    )
    slow = library(tmp_path / "c", wait)
    elf = build(tmp_path / "build", slow, "cortex-m0plus").elf
    with emulated(elf) as port, SerialLink(port) as link:
        client = SerialBoard(link)
        assert client.hello.counter
        assert not client.hello.times
        client.load(WINDOWS[0].tobytes())
        runs = client.run(WINDOWS[0].tobytes(), 1)
    assert 1 << 24 < runs.cycles[0] < 3 << 24
    assert runs.cycles[0] / 25e6 == pytest.approx(runs.seconds, rel=0.1, abs=0.1)


def test_cycles_of_a_real_counter_become_measured_milliseconds():
    found = figures(student(BOARD, RUNS, RUNS.outputs))
    assert {one.evidence for one in found.values()} == {"measured"}
    assert found["latency_median"].value == pytest.approx(100)
    assert found["latency_worst"].value == pytest.approx(110)
    assert found["latency_median"].samples.count == 10
    assert found["latency_median"].interval.low == pytest.approx(100)
    assert found["latency_median"].note == "12,000,000 cycles by the core's counter at 120 MHz"
    assert found["stack_bytes"].value == 320
    assert environment(RUNS, BOARD).valid


def test_a_board_without_counter_gives_no_time_but_a_reason():
    runs = replace(RUNS, hello=replace(HELLO, counter=False), stack_bytes=None)
    found = figures(student(BOARD, runs, RUNS.outputs))
    assert found["latency_median"].value is None
    assert found["latency_median"].reason == "the board has no cycle counter"
    assert "stack_bytes" not in found


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"hello": replace(HELLO, clock_hz=80_000_000), "seconds": 1.54}, "rated-clock"),
        ({"seconds": 30.0}, "true-clock"),  # really 4 MHz: the PLL never ran
        ({"seconds": 0.5}, "true-clock"),
    ],
)
def test_a_clock_that_is_not_as_stated_makes_milliseconds_indicative(change, rule):
    found = environment(replace(RUNS, **change), BOARD)
    assert [fault.rule for fault in found.faults] == [rule]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"board": "nucleo-h743zi"}, r"another board answers \(found nucleo-h743zi"),
        ({"cpuid": 0x411FC272}, r"another core answers \(found cortex-m7"),
        ({"cpuid": 0x410FC200}, r"another core answers \(found CPUID 0x410fc200"),
    ],
)
def test_another_board_is_refused(change, message):
    check_board(HELLO, BOARD, "port")
    with pytest.raises(InputError, match=message):
        check_board(replace(HELLO, **change), BOARD, "port")


def test_board_figures_take_the_place_of_emulated_ones():
    from test_mcu import RESULT

    before = mcu.student(BOARD, {}, RESULT, RESULT.outputs)
    run = serial_bench.TargetRun(target=BOARD, environment=environment(RUNS, BOARD))
    joined, found = combine((run, before), (run, student(BOARD, RUNS, RUNS.outputs)))
    values = figures(found)
    assert len(values) == len(found)
    assert values["stack_bytes"].evidence == "measured"
    assert values["instructions"].evidence == "emulated"
    assert values["latency_estimated"].evidence == "estimated"
    assert joined.environment.facts["emulation"]["board"] == "nucleo-l4r5zi"
