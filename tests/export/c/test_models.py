"""Whole models: bit-exact, within the arena, and clean under sanitizers and cross compilers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from models import (
    NAMES,
    NAMES_S16,
    branches_model,
    chain_model,
    chain_model_s16,
    constant_branch_model,
    conv_model,
    float_ends_model,
    reference_model,
    residual_model,
)
from oracles import STRICT, bytes_like, micro, ours, reference

from export.c.generate import RUNTIME, generate
from export.c.reader import read

VECTORS = 20
MACS = {"eeg_student.int8": 2.033, "eeg_spatial_first.int8": 4.160, "kws": 2.657, "ad": 0.264}
CORES = {
    "cortex-m0plus": [],
    "cortex-m4": ["-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"],
    "cortex-m7": ["-mfloat-abi=hard", "-mfpu=fpv5-d16"],
    "cortex-m33": ["-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"],
    "cortex-m55": ["-mfloat-abi=hard"],
}


@pytest.mark.parametrize("name", NAMES)
def test_reference_model_equals_the_reference_kernels(name):
    model = reference_model(name).read_bytes()
    inputs = bytes_like(np.random.default_rng(7), VECTORS, read(model).input.size)
    np.testing.assert_array_equal(ours(model, inputs), reference(model, inputs))


@pytest.mark.parametrize("name", ["chain", *NAMES_S16])
@pytest.mark.parametrize("rounding", ["reference", "micro"])
def test_int16_model_equals_both(name, rounding, tmp_path):
    model = chain_model_s16() if name == "chain" else reference_model(name).read_bytes()
    source = read(model).input
    inputs = bytes_like(np.random.default_rng(7), VECTORS, source.size, "int16")
    oracle = {"reference": reference, "micro": lambda *a: micro(*a, source.shape)}[rounding]
    np.testing.assert_array_equal(ours(model, inputs, fc_rounding=rounding), oracle(model, inputs))


def test_int16_header(tmp_path):
    library = generate(chain_model_s16(), tmp_path / "c")
    assert library.dtype == "int16"
    assert library.arena_bytes == 80
    header = (tmp_path / "c" / "model.h").read_text()
    assert "dlink_model_invoke(const int16_t *input, int16_t *output, void *arena,\n" in header
    assert "INPUT_BYTES 120\n" in header
    assert "N_OUTPUTS 20\n" in header


@pytest.mark.parametrize("name", NAMES)
def test_reference_model_equals_tflite_micro(name):
    model = reference_model(name).read_bytes()
    graph = read(model)
    inputs = bytes_like(np.random.default_rng(8), VECTORS, graph.input.size)
    expected = micro(model, inputs, graph.input.shape)
    np.testing.assert_array_equal(ours(model, inputs, fc_rounding="micro"), expected)


@pytest.mark.parametrize("name", NAMES)
def test_reference_model_figures(name, tmp_path):
    library = generate(reference_model(name), tmp_path / "c", name=name)
    assert library.arena_bytes == library.arena_lower_bound_bytes
    assert library.macs / 1e6 == pytest.approx(MACS.get(name, 12.50), abs=0.005)


def test_chain_with_aliases_equals_both():
    model = chain_model()
    inputs = bytes_like(np.random.default_rng(1), VECTORS, 36)
    outputs = ours(model, inputs)
    np.testing.assert_array_equal(outputs, reference(model, inputs))
    np.testing.assert_array_equal(outputs, micro(model, inputs, (1, 1, 12, 3)))


@pytest.mark.parametrize("make", [branches_model, residual_model, constant_branch_model])
def test_sums_of_other_branches_equal_the_reference(make):
    model = make()
    inputs = bytes_like(np.random.default_rng(1), VECTORS, 144)
    np.testing.assert_array_equal(ours(model, inputs), reference(model, inputs))


def test_float_ends_are_left_to_the_caller(tmp_path):
    """The library computes what lies between: the same bytes, and the floats they stand for."""
    model = float_ends_model()
    library = generate(model, tmp_path / "c")
    assert library.operators == ("CONV_2D",)
    assert library.input_quantization == (float(np.float32(0.05)), -7)
    text = "The .tflite file's own input and output are float32."
    assert text in (tmp_path / "c" / "model.h").read_text()
    inputs = bytes_like(np.random.default_rng(1), VECTORS, 60)
    outputs = ours(model, inputs)
    np.testing.assert_array_equal(outputs, ours(conv_model(), inputs))
    real_in = np.float32(0.05) * (inputs.astype(np.float32) + 7)
    real_out = np.float32(0.03) * (outputs.astype(np.float32) + 128)
    np.testing.assert_array_equal(real_out, reference(model, real_in))


def _golden_library(tmp_path: Path, source: bytes | Path) -> Path:
    model = source if isinstance(source, bytes) else source.read_bytes()
    first = read(model).input
    inputs = bytes_like(np.random.default_rng(2), 4, first.size, first.dtype)
    generate(model, tmp_path / "c", golden=(inputs, reference(model, inputs)))
    return tmp_path / "c"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        *[(name, "PLAIN") for name in ("conv", "chain", "chain_s16", *NAMES, *NAMES_S16)],
        *[(name, "EMULATE_DSP") for name in ("conv", "eeg_student.int8", "ad", "ic")],
        *[(name, "PACKED") for name in ("conv", "eeg_student.int8", "ad", "ic")],
    ],
)
def test_example_is_clean_under_sanitizers(name, path, tmp_path):
    """main.c replays the golden vectors; an overflow or a stray access ends it."""
    made = {"conv": conv_model, "chain": chain_model, "chain_s16": chain_model_s16}
    source = made[name]() if name in made else reference_model(name)
    folder = _golden_library(tmp_path, source)
    flags = [*STRICT, "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    flags.append(f"-DDLINK_{path}")
    sources = sorted(map(str, folder.glob("*.c")))
    subprocess.run(["cc", *flags, *sources, "-o", tmp_path / "example"], check=True)
    done = subprocess.run([tmp_path / "example"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "model: 0 of 4 golden vectors differ\n"


def test_example_notices_a_wrong_golden_vector(tmp_path):
    inputs = np.zeros((2, 60), np.int8)
    outputs = reference(conv_model(), inputs)
    outputs[1, 3] ^= 1
    generate(conv_model(), tmp_path / "c", golden=(inputs, outputs))
    sources = sorted(map(str, (tmp_path / "c").glob("*.c")))
    subprocess.run(["cc", *STRICT, *sources, "-o", tmp_path / "example"], check=True)
    done = subprocess.run([tmp_path / "example"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "model: 1 of 2 golden vectors differ\n")


@pytest.mark.parametrize("core", CORES)
def test_every_kernel_compiles_for(core, tmp_path):
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc")
    generate(conv_model(), tmp_path / "c", golden=None)
    for kernel in RUNTIME.iterdir():
        shutil.copyfile(kernel, tmp_path / "c" / kernel.name)
    flags = ["-mthumb", f"-mcpu={core}", *CORES[core], *STRICT, "-O2", "-c"]
    sources = sorted(map(str, (tmp_path / "c").glob("*.c")))
    subprocess.run(["arm-none-eabi-gcc", *flags, *sources], check=True, cwd=tmp_path)
    assert len(list(tmp_path.glob("*.o"))) == len(sources)


@pytest.mark.skipif(shutil.which("cmake") is None, reason="no cmake")
def test_cmake_builds_the_example(tmp_path):
    folder = _golden_library(tmp_path, conv_model())
    build = tmp_path / "build"
    subprocess.run(
        ["cmake", "-S", folder, "-B", build, "-DDLINK_BUILD_EXAMPLE=ON"],
        check=True,
        capture_output=True,
    )
    subprocess.run(["cmake", "--build", build], check=True, capture_output=True)
    subprocess.run([build / "dlink_example"], check=True, capture_output=True)


@pytest.mark.parametrize("core", CORES)
def test_library_calls_nothing_but_memory_functions(core, tmp_path):
    """No allocation, no float, no other libc: the undefined symbols say so.

    Beyond memcpy and memset there is only what the compiler itself brings for a core that cannot
    divide or multiply to 64 bits.
    """
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("no arm-none-eabi-gcc")
    for kernel in sorted(RUNTIME.glob("*.c")):
        target = tmp_path / f"{kernel.stem}.o"
        flags = ["-mthumb", f"-mcpu={core}", *CORES[core], "-std=c99", "-O2", "-c"]
        subprocess.run(["arm-none-eabi-gcc", *flags, kernel, "-o", target], check=True)
    done = subprocess.run(
        ["arm-none-eabi-nm", *sorted(map(str, tmp_path.glob("*.o")))],
        check=True,
        capture_output=True,
        text=True,
    )
    kinds: dict[str, set[str]] = {}
    for line in done.stdout.splitlines():
        if len(words := line.split()) >= 2:
            kinds.setdefault(words[-2], set()).add(words[-1])
    outside = kinds["U"] - kinds["T"]
    integer = {"__aeabi_lmul", "__aeabi_uidiv", "__aeabi_idiv", "__aeabi_uidivmod"}
    integer |= {"__aeabi_idivmod", "__aeabi_lasr", "__aeabi_llsl", "__aeabi_llsr"}
    integer |= {"__gnu_thumb1_case_uqi", "__gnu_thumb1_case_sqi", "__clzsi2"}
    assert outside <= {"memcpy", "memset"} | (integer if core == "cortex-m0plus" else set())
