"""The C forms on emulated cores: the result is the host's, and what a sample costs."""

import shutil

import numpy as np
import pytest
from chains_of_signals import chain, eeg

from export.c.host import find_compiler
from export.preprocess.generate import generate
from export.preprocess.host import HostChain
from firmware_bench.cores import CORES, find_core
from firmware_bench.emulator import Counter, emulate
from firmware_bench.toolchain import build_firmware, build_plugin

pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm") and find_compiler()),
    reason="needs the cross compiler and the emulator: `make setup`",
)

COUNT, WINDOWS = 25, 40
# The bench runs a model on windows of bytes: here one "window" is a chunk of raw samples.
MODEL_H = """
#ifndef MODEL_H
#define MODEL_H
#include "preprocess_model.h"
#define DLINK_MODEL_NAME "preprocessing"
#define DLINK_MODEL_HASH "0"
#define DLINK_MODEL_ARENA_BYTES 16
#define DLINK_MODEL_ARENA_ALIGN 4
#define DLINK_MODEL_INPUT_BYTES {input}
#define DLINK_MODEL_OUTPUT_BYTES {output}
typedef enum {{ DLINK_OK = 0 }} dlink_status_t;
dlink_status_t dlink_model_invoke(const int8_t *input, int8_t *output, void *arena,
                                  size_t arena_bytes);
#endif
"""
MODEL_C = """
#include "model.h"
static dlink_preprocess_{form}_state_t state;
dlink_status_t dlink_model_invoke(const int8_t *input, int8_t *output, void *arena,
                                  size_t arena_bytes)
{{
    static int begun;
    int32_t made = 0;
    (void)arena;
    (void)arena_bytes;
    if (!begun) {{
        begun = 1;
        dlink_preprocess_{form}_start(&state);
    }}
    return (dlink_status_t)dlink_preprocess_{form}_push(
        &state, (const void *)input, {count}, (void *)output, {made}, &made);
}}
"""


def on_core(folder, form, core, x):
    """Result (n_chans, n) of an emulated core and its instructions in each chunk."""
    n_in, made = len(x), COUNT * 2 // 5
    shape = {"input": 4 * COUNT * n_in, "output": 4 * made * 4}
    (folder / "c" / "model.h").write_text(MODEL_H.format(**shape))
    (folder / "c" / "model.c").write_text(MODEL_C.format(form=form, count=COUNT, made=made))
    firmware = build_firmware(folder / "c", find_core(core), folder)
    chunks = np.ascontiguousarray(x.T).view(np.int8).reshape(WINDOWS, -1)
    counter = Counter(build_plugin(folder))
    found = emulate(firmware, chunks, timeout_s=60, counter=counter)
    counted = [sum(b.instructions * b.executions for b in region) for region in found.regions]
    values = found.outputs.reshape(-1).view(x.dtype).reshape(-1, 4)
    return values.T, np.array(counted)


@pytest.fixture(scope="module", params=["counts", "float"])
def prepared(request, tmp_path_factory):
    """Folder with a generated chain, the form, raw samples and the host's result."""
    folder, form = tmp_path_factory.mktemp("core"), request.param
    generate(chain(input_unit="counts", uv_per_count=0.0223), folder / "c")
    x = np.rint(eeg(6, COUNT * WINDOWS, 500.0, offset=3000.0) / 0.0223)
    x = x.astype(np.int32 if form == "counts" else np.float32)
    return folder, form, x, HostChain(folder / "c", form).push(x)


@pytest.mark.parametrize("core", CORES)
def test_a_core_computes_what_the_host_does(core, prepared, tmp_path):
    folder, form, x, wanted = prepared
    shutil.copytree(folder / "c", tmp_path / "c")
    found, counted = on_core(tmp_path, form, core, x)
    if form == "counts":
        assert np.array_equal(found, wanted)
    else:  # fused multiplications on the core round once less
        np.testing.assert_allclose(found, wanted, atol=2e-6 * wanted[:, 100:].std())
    each = counted[1:].mean() / COUNT / 4
    print(f"{core} {form}: {each:.0f} instructions a channel and sample")
    # 4 sections, and 26 taps for two outputs of five samples; without a float unit 50 times more.
    assert 30 < each < (12_000 if core == "cortex-m0plus" else 600)
