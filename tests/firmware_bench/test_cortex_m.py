"""The bench on real firmware in the real emulator: outputs, counts, and every way to go wrong."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from export.c.generate import generate
from firmware_bench import pipeline, toolchain
from firmware_bench.cores import CORES, find_core
from firmware_bench.cortex_m import run
from firmware_bench.emulator import emulate
from firmware_bench.toolchain import build_firmware, read_header, require_compiler
from targets.errors import InputError

TINY = Path(__file__).parent / "tiny_model"
WINDOWS = np.random.default_rng(7).integers(-128, 128, (5, 16)).astype(np.int8)

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs the cross compiler and the emulator: `make setup`",
)

# movs, then 10 times subs + bne, then movs, bx: 1 + 20 + 2 instructions, 9 + 1 branches taken.
COUNTED_LOOP = """
__asm__(".syntax unified\\n.section .text.dlink_model_invoke,\\"ax\\",%progbits\\n"
        ".global dlink_model_invoke\\n.type dlink_model_invoke,%function\\n.thumb_func\\n"
        "dlink_model_invoke:\\nmovs r0, #10\\n1: subs r0, #1\\nbne 1b\\nmovs r0, #0\\nbx lr\\n"
        ".size dlink_model_invoke, . - dlink_model_invoke\\n");
"""


def library(folder, body, signature=True, **constants):
    """Write a C library of which `body` is the model's call; constants replace tiny's."""
    folder.mkdir(exist_ok=True)
    header = (TINY / "model.h").read_text()
    for name, value in constants.items():
        lines = header.splitlines()
        at = next(i for i, line in enumerate(lines) if f"DLINK_MODEL_{name} " in line)
        lines[at] = f"#define DLINK_MODEL_{name} {value}"
        header = "\n".join(lines) + "\n"
    (folder / "model.h").write_text(header)
    call = (
        "dlink_status_t dlink_model_invoke(const int8_t *input, int8_t *output, void *arena,"
        " size_t arena_bytes)\n{\n(void)input; (void)output; (void)arena; (void)arena_bytes;\n"
        f"{body}\nreturn DLINK_OK;\n}}\n"
    )
    (folder / "model.c").write_text('#include "model.h"\n' + (call if signature else body))
    return folder


def tiny_reference(windows):
    rows, columns = np.arange(3)[:, None], np.arange(16)[None, :]
    weights = 7 * columns - 5 * rows - 40
    return np.clip((windows.astype(np.int64) @ weights.T) >> 7, -128, 127)


@pytest.mark.parametrize("core", CORES)
def test_every_core_computes_the_same_bytes(core):
    result = run(TINY, core, WINDOWS)
    assert result.outputs.dtype == np.int8
    np.testing.assert_array_equal(result.outputs, tiny_reference(WINDOWS))
    assert result.repeatable
    assert sum(result.instructions_by_class.values()) == result.instructions
    assert result.instructions_by_class["multiply"] == 48  # 3 x 16, one each on every core
    assert result.machine in result.emulator
    assert f"-mcpu={core}" in result.compiler
    estimated = core not in pipeline.TRIPLES or pipeline.available()
    assert (result.cycles_estimated is not None) == estimated
    assert result.cycles_board is None  # no board was given
    assert (result.model_name, result.model_hash) == ("tiny", "0123456789abcdef")


@pytest.mark.parametrize(("core", "cycles"), [("cortex-m0plus", 33), ("cortex-m4", 43)])
def test_count_is_exact_and_without_the_bench(tmp_path, core, cycles):
    result = run(library(tmp_path / "c", COUNTED_LOOP, signature=False), core, WINDOWS)
    assert result.instructions == 23
    assert result.instructions_by_class == {
        **{"load": 0, "store": 0, "multiply": 0, "alu": 12, "branch": 11, "other": 0}
    }
    # M4: 23 + 10 x 2. M0+: 23 + 10 x 1.
    assert result.cycles_estimated == cycles
    assert not result.data_dependent
    assert result.instructions_range == (23, 23)
    assert result.stack_bytes == 0


@pytest.mark.skipif(not pipeline.available(), reason=pipeline.MISSING)
def test_vector_instructions_have_their_class_and_a_loop_end_costs_nothing(tmp_path):
    body = COUNTED_LOOP[: COUNTED_LOOP.index("movs r0, #10")] + (
        "push {r4, lr}\\nmovs r3, #64\\ndlstp.8 lr, r3\\n1: vldrb.u8 q0, [r0]\\n"
        "vmladava.s8 r2, q0, q0\\nletp lr, 1b\\nmovs r0, #0\\npop {r4, pc}\\n"
        '.size dlink_model_invoke, . - dlink_model_invoke\\n");'
    )
    result = run(library(tmp_path / "c", body, signature=False), "cortex-m55", WINDOWS)
    assert result.instructions == 3 + 4 * 3 + 2
    assert result.instructions_by_class == {
        **{"load": 4 + 1, "store": 1, "multiply": 4, "alu": 2, "branch": 1 + 4, "other": 0}
    }
    # a load and a product overlap: two cycles a round, and a few around the loop
    assert 4 * 2 <= result.cycles_estimated <= 4 * 2 + 12


def test_instruction_across_a_page_is_counted_as_any_other(tmp_path):
    # movs is the last halfword but one of a page of 1 KiB, subs.w reaches into the next one.
    body = COUNTED_LOOP.replace(".global", ".balign 1024\\n.space 1020\\n.global", 1)
    body = body.replace("subs r0, #1", "subs.w r0, r0, #1")
    result = run(library(tmp_path / "c", body, signature=False), "cortex-m4", WINDOWS)
    assert (result.instructions, result.cycles_estimated) == (23, 43)
    assert result.flash_model_bytes >= 1020 + 12


def test_count_that_depends_on_the_data_is_said(tmp_path):
    body = "for (volatile int i = 0; i < input[0]; ++i) { }"
    windows = np.zeros((3, 16), np.int8)
    windows[:, 0] = (5, 9, 100)
    result = run(
        library(tmp_path / "c", body + "output[0] = output[1] = output[2] = 0;"),
        "cortex-m4",
        windows,
    )
    assert result.repeatable
    assert result.data_dependent
    low, high = result.instructions_range
    assert low == result.instructions
    assert (high - low) % 4 == 0  # four more rounds, each of the same length
    assert high > low


def test_reference_student_equals_the_reference_kernels(tmp_path):
    model = (
        Path(os.environ.get("DLINK_REFERENCE", "../shared/reference")) / "eeg_student.int8.tflite"
    )
    if not model.is_file():
        pytest.skip(f"{model.name} not found: set DLINK_REFERENCE")
    generated = generate(model, tmp_path / "c", name="eeg_student")
    interpreter = Interpreter(
        str(model), experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
    )
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    shape = (4, *source["shape"][1:])
    inputs = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
    expected = []
    for one in inputs:
        interpreter.set_tensor(source["index"], one[None])
        interpreter.invoke()
        expected.append(interpreter.get_tensor(target["index"]).ravel())
    result = run(tmp_path / "c", "cortex-m4", inputs.reshape(4, -1))
    np.testing.assert_array_equal(result.outputs, expected)
    assert result.repeatable
    assert result.ram_arena_bytes == generated.arena_bytes
    assert result.flash_model_bytes > generated.weight_bytes
    assert result.instructions > generated.macs
    per_mac = result.instructions / generated.macs
    print(f"{result.instructions} instructions, {per_mac:.2f} per MAC on {result.core}")


def test_one_window_is_enough_and_files_are_kept_on_demand(tmp_path):
    result = run(TINY, "cortex-m4", WINDOWS[:1], work_dir=tmp_path / "kept")
    assert result.outputs.shape == (1, 3)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [
        "firmware.elf",
        "firmware.map",
    ]


def test_same_library_elsewhere_gives_the_same_firmware(tmp_path):
    shutil.copytree(TINY, tmp_path / "else where,x")
    first = run(TINY, "cortex-m4", WINDOWS[:1])
    second = run(tmp_path / "else where,x", "cortex-m4", WINDOWS[:1])
    assert first.elf_sha256 == second.elf_sha256
    assert first.instructions == second.instructions


def test_stack_is_what_the_call_used(tmp_path):
    body = """
        volatile int8_t local[{n}];
        for (size_t i = 0; i < sizeof local; ++i) local[i] = input[i % 16];
        output[0] = output[1] = output[2] = local[3];"""
    small = run(library(tmp_path / "a", body.format(n=64)), "cortex-m4", WINDOWS[:1])
    large = run(library(tmp_path / "b", body.format(n=1064)), "cortex-m4", WINDOWS[:1])
    assert large.stack_bytes - small.stack_bytes == 1000


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return DLINK_ERROR_ARENA_TOO_SMALL;", "window 0 with status 2 (arena too small)"),
        ("output[0] = *(volatile int8_t *)0xF0000000u;", "faulted (pc=0x"),
        ("__builtin_trap();", "faulted (pc=0x"),
        ("((volatile uint8_t *)arena)[arena_bytes] = 1;", "window 0: arena overrun"),
        ("((volatile int8_t *)output)[3] = 1;", "window 0: output overrun"),
    ],
)
def test_misbehaving_model_is_named(tmp_path, body, says):
    with pytest.raises(InputError) as caught:
        run(library(tmp_path / "c", body), "cortex-m4", WINDOWS)
    assert says in str(caught.value)
    assert "tiny on emulated cortex-m4" in str(caught.value)


@pytest.mark.parametrize("core", CORES)
def test_stack_overflow_is_named_on_every_core(tmp_path, core):
    body = """
        volatile int8_t deep[20000];
        for (int i = 19999; i >= 0; --i) deep[i] = input[0];
        output[0] = output[1] = output[2] = deep[7];"""
    with pytest.raises(InputError, match=rf"on emulated {core}: .* faulted \(stack-overflow\)"):
        run(library(tmp_path / "c", body), core, WINDOWS)


def test_error_names_the_window(tmp_path):
    body = "if (input[0] == 77) return DLINK_ERROR_NULL_POINTER;"
    windows = np.zeros((6, 16), np.int8)
    windows[4, 0] = 77
    with pytest.raises(InputError, match="window 4 with status 1"):
        run(library(tmp_path / "c", body), "cortex-m0plus", windows)


def test_endless_loop_times_out(tmp_path):
    with pytest.raises(InputError, match=r"did not end within 1\.5 s"):
        run(library(tmp_path / "c", "for (;;) { }"), "cortex-m4", WINDOWS, timeout_s=1.5)


def test_output_that_is_never_the_same_is_refused(tmp_path):
    # A counter that survives between the calls: the second call on a window tells another story.
    body = "static int8_t n; output[0] = output[1] = output[2] = n++;"
    with pytest.raises(InputError, match="different outputs for the same window"):
        run(library(tmp_path / "c", body), "cortex-m4", WINDOWS)


def test_stale_firmware_never_runs(tmp_path):
    firmware = build_firmware(TINY, find_core("cortex-m4"), tmp_path)
    assert emulate(firmware, WINDOWS, timeout_s=20).outputs.shape == (5, 3)
    changed = bytearray(firmware.elf.read_bytes())
    changed[-1] ^= 1
    firmware.elf.write_bytes(changed)
    with pytest.raises(InputError, match="changed since it was linked"):
        emulate(firmware, WINDOWS, timeout_s=20)


def test_firmware_of_another_model_is_noticed(tmp_path):
    firmware = build_firmware(TINY, find_core("cortex-m4"), tmp_path)
    other = replace(firmware, header=replace(firmware.header, hash="f" * 16))
    with pytest.raises(InputError, match=r"wrong line 'model'.*tiny ffff"):
        emulate(other, WINDOWS, timeout_s=20)


@pytest.mark.parametrize(
    "windows",
    [WINDOWS[:0], WINDOWS[:, :15], WINDOWS[0], WINDOWS.astype(np.float32)],
    ids=["none", "short", "flat", "float"],
)
def test_windows_that_do_not_fit_are_refused(windows):
    with pytest.raises(InputError, match=r"allowed int8 \(N, 16\)"):
        run(TINY, "cortex-m4", windows)


def test_library_that_does_not_build(tmp_path):
    with pytest.raises(InputError, match=r"model\.c: C library does not compile .*unused"):
        run(library(tmp_path / "a", "int unused;"), "cortex-m4", WINDOWS)
    with pytest.raises(InputError, match=r"does not link .*undefined reference to `missing'"):
        run(library(tmp_path / "b", "extern int missing(void); missing();"), "cortex-m4", WINDOWS)
    big = library(tmp_path / "d", "", ARENA_BYTES=8 << 20)
    with pytest.raises(InputError, match=r"does not link for cortex-m4.*RAM"):
        run(big, "cortex-m4", WINDOWS)


def test_folder_and_header_are_checked(tmp_path):
    with pytest.raises(InputError, match="C library not found"):
        run(tmp_path, "cortex-m4", WINDOWS)
    shutil.copy(TINY / "model.h", tmp_path)
    with pytest.raises(InputError, match=r"no \*\.c file"):
        run(tmp_path, "cortex-m4", WINDOWS)
    strange = library(tmp_path / "c", "", ARENA_BYTES="sizeof(int)")
    with pytest.raises(InputError, match="ARENA_BYTES is not a plain integer"):
        run(strange, "cortex-m4", WINDOWS)


def test_header_is_read_by_the_preprocessor(tmp_path):
    core = find_core("cortex-m4")
    folder = library(tmp_path / "c", "", ARENA_BYTES="(0x40u)", NAME='"a-b"')
    header = read_header(folder, core)
    assert (header.name, header.arena_bytes, header.input_bytes) == ("a-b", 64, 16)


def test_unknown_core_lists_the_known():
    with pytest.raises(InputError, match=r"cortex-m3\b.*cortex-m0plus, cortex-m4"):
        run(TINY, "cortex-m3", WINDOWS)


@pytest.mark.parametrize(
    ("missing", "package"),
    [
        ("arm-none-eabi-gcc", "gcc-arm-none-eabi"),
        ("qemu-system-arm", "qemu-system-arm"),
        ("gcc", "gcc"),
    ],
)
def test_missing_program_names_its_package(monkeypatch, tmp_path, missing, package):
    found = shutil.which

    def which(name):
        return None if name == missing else found(name)

    monkeypatch.setattr(toolchain.shutil, "which", which)
    with pytest.raises(InputError, match=rf"{missing}: .*make setup.*package {package}\."):
        run(TINY, "cortex-m4", WINDOWS)


def test_missing_c_library_names_its_package(monkeypatch, tmp_path):
    bare = tmp_path / "arm-none-eabi-gcc"
    bare.write_text("#!/bin/sh\necho libc.a\n")
    bare.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="libnewlib-arm-none-eabi"):
        require_compiler()
