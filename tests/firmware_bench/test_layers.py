"""Instructions layer by layer: they add up, are the graph's layers, and nothing else changes."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from artefacts import TFLITE, results
from click.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1] / "export" / "c"))
from models import (
    branches_model,
    chain_model,
    chain_model_s16,
    conv_model,
    residual_model,
)
from nets import random_net

from export.c.fold import fold
from export.c.generate import generate
from export.c.graph import Reshape
from export.c.pipeline import Walk
from export.c.reader import read
from export.c.schedule import schedule
from export.runtimes import TfliteModel
from firmware_bench import bare, calls, layers
from firmware_bench.cli import bench
from firmware_bench.cores import CORES
from firmware_bench.cortex_m import run
from firmware_bench.results import LayerCount, LayerTable, load, save
from targets.errors import InputError

TINY = Path(__file__).parent / "tiny_model"
MODELS = {
    "conv": conv_model,
    "chain": chain_model,
    "chain-int16": chain_model_s16,
    "branches": branches_model,
    "residual": residual_model,
    "net": lambda: random_net(2)[0],
}
needs_model = pytest.mark.skipif(not TFLITE.exists(), reason="set DLINK_REFERENCE")
pytestmark = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs the cross compiler and the emulator: `make setup`",
)


def predicted_calls(graph):
    """How often each layer's kernels are called: by the generator's own walk through pipelines."""
    order = schedule(graph, "reference")
    found = dict.fromkeys((layer.op.index for layer in order.layers), 1)
    for pipeline in order.pipelines:
        roots = {stage.output.index: stage.output.index for stage in pipeline.stages}
        walk = Walk(pipeline.stages, roots | order.plan.roots, pipeline.axis)
        counts = walk.run(pipeline.step).counts
        for stage, turns in zip(pipeline.stages, counts, strict=True):
            found[stage.op.index] = found.get(stage.op.index, 0) + len(turns)
    return found


def check(path, core, folder):
    """Both ways of counting on one library, and the table against the graph."""
    generate(path, folder / "c")
    model = TfliteModel(path, reference=True)
    dtype = np.dtype(model.interpreter.get_input_details()[0]["dtype"])
    windows = bare.windows(int(np.prod(model.input_shape)) * dtype.itemsize, count=2)
    whole = run(folder / "c", core, windows)
    told = run(folder / "c", core, windows, by_layer=True)
    assert (told.elf_sha256, told.instructions) == (whole.elf_sha256, whole.instructions)
    np.testing.assert_array_equal(told.outputs, bare.reference_outputs(model, windows))
    assert not whole.calls
    table = layers.layer_table(path, told)
    graph = fold(read(path))
    ops = [op for op in graph.ops if not isinstance(op, Reshape)]
    rows = [(one.index, one.operator, one.activation, one.macs) for one in table.layers]
    assert rows == [(op.index, op.kind, op.activation, op.macs) for op in ops]
    counted = sum(one.instructions for one in table.layers)
    assert counted + table.between == table.total.instructions == whole.instructions
    assert all(one.instructions > 0 for one in table.layers)
    assert table.between > 0
    assert table.total.macs == sum(op.macs for op in graph.ops)
    assert {one.index: one.calls for one in table.layers} == predicted_calls(graph)
    return table


@pytest.mark.parametrize(
    ("name", "core"),
    [*((name, "cortex-m55") for name in MODELS), *(("net", core) for core in list(CORES)[:-1])],
)
def test_layers_add_up_and_are_the_graph_s(name, core, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(MODELS[name]())
    check(path, core, tmp_path)


@needs_model
def test_a_reference_model_in_strips(tmp_path):
    table = check(TFLITE, "cortex-m4", tmp_path)
    assert max(one.calls for one in table.layers) > 10  # in strips, the layers in turn
    for one in table.layers:
        if one.macs:
            assert one.instructions_per_mac == one.instructions / one.macs
            assert one.share_of_limit == pytest.approx(one.macs / one.instructions / 2)
            assert 0 < one.share_of_limit < 1
        else:
            assert one.instructions_per_mac is one.share_of_limit is None


# Reads its parameter n, then n rounds of two instructions, then calls `pause`: 3 more there.
KERNEL = """
__asm__(".syntax unified\\n.section .text.kernel,\\"ax\\",%progbits\\n.global kernel\\n"
        ".type kernel,%function\\n.thumb_func\\nkernel:\\npush {r4, lr}\\nldr r4, [r0]\\n"
        "1: subs r4, #1\\nbne 1b\\nbl pause\\npop {r4, pc}\\n.size kernel, . - kernel\\n"
        ".section .text.pause,\\"ax\\",%progbits\\n.type pause,%function\\n.thumb_func\\n"
        "pause:\\nnop\\nnop\\nbx lr\\n.size pause, . - pause\\n");
"""
CALLS = """
#include "model.h"
typedef struct { int n; } layer_t;
void kernel(const layer_t *layer);
static const layer_t layer0 = {5}, layer3 = {7}, layer3_sum = {2}, other = {1};
dlink_status_t dlink_model_invoke(const int8_t *input, int8_t *output, void *arena,
                                  size_t arena_bytes)
{
    (void)input; (void)arena; (void)arena_bytes; (void)layer3; (void)other;
    for (int i = 0; i < 3; ++i) {
        kernel(&layer0);
        kernel(&layer3_sum);
    }
    kernel(&LAST);
    output[0] = output[1] = output[2] = 0;
    return DLINK_OK;
}
"""
WINDOWS = np.zeros((1, 16), np.int8)


def counted(n):
    return 2 + 2 * n + 1 + 3 + 1


def library(folder, last):
    folder.mkdir()
    shutil.copy(TINY / "model.h", folder)
    (folder / "model.c").write_text(CALLS.replace("LAST", last))
    (folder / "kernel.c").write_text(KERNEL)
    return folder


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m33"])
def test_counts_are_exact_to_the_instruction(tmp_path, core):
    found = run(library(tmp_path / "c", "layer3"), core, WINDOWS, by_layer=True)
    assert found.calls == {
        "layer0": calls.CallCount(3, 3 * counted(5)),
        "layer3_sum": calls.CallCount(3, 3 * counted(2)),
        "layer3": calls.CallCount(1, counted(7)),
    }
    between = found.instructions - sum(one.instructions for one in found.calls.values())
    assert 10 < between < 60  # the loop of dlink_model_invoke


def test_a_kernel_without_a_layer_is_refused(tmp_path):
    folder = library(tmp_path / "c", "other")
    assert not run(folder, "cortex-m4", WINDOWS).calls
    with pytest.raises(InputError, match=rf"layer cannot be told.*1 calls, {counted(1)} instr"):
        run(folder, "cortex-m4", WINDOWS, by_layer=True)


def test_a_library_without_named_layers_is_refused():
    with pytest.raises(InputError, match="layers of this library cannot be told apart"):
        run(TINY, "cortex-m4", WINDOWS, by_layer=True)


def test_the_library_must_be_the_model_s(tmp_path):
    path, other = tmp_path / "model.tflite", tmp_path / "other.tflite"
    path.write_bytes(conv_model())
    other.write_bytes(conv_model(seed=1))
    generate(path, tmp_path / "c")
    found = run(tmp_path / "c", "cortex-m4", np.zeros((1, 60), np.int8), by_layer=True)
    with pytest.raises(InputError, match="the C library is of another model"):
        layers.layer_table(other, found)
    with pytest.raises(InputError, match="has layers that the model has not"):
        layers.layer_table(path, replace(found, calls={"layer9": calls.CallCount(1, 2)}))


def test_limits_are_of_the_core_and_the_width_of_values():
    assert [layers.core_limit(core, "int8")[0] for core in CORES] == [1, 2, 2, 2, 16]
    assert [layers.core_limit(core, "int16")[0] for core in CORES] == [1, 2, 2, 2, 8]


def test_results_keep_the_table_and_old_files_are_read(tmp_path):
    one = LayerCount(
        index=3, operator="CONV_2D", shape="1x1", activation="RELU", macs=10, calls=2,
        instructions=20, instructions_per_mac=2.0, share_of_limit=0.25,
    )  # fmt: skip
    table = LayerTable(limit=2, limit_reason="SMLAD", layers=(one,), between=5, total=one)
    before = results()
    before = before.model_copy(
        update={"runs": tuple(r.model_copy(update={"layers": table}) for r in before.runs)}
    )
    path = tmp_path / "results.json"
    save(path, before)
    assert load(path).runs[0].layers == table
    data = json.loads(path.read_text())
    for old in data["runs"]:
        del old["layers"]
    path.write_text(json.dumps(data))
    assert load(path).runs[0].layers is None


@needs_model
def test_command_prints_and_keeps_the_table(tmp_path):
    out = tmp_path / "results.json"
    args = [str(TFLITE), "-t", "corstone300", "--layers", "-o", str(out)]
    found = CliRunner().invoke(bench, args)
    assert found.exit_code == 0, found.output
    assert "corstone300: layer by layer, emulated" in found.output
    assert "limit of cortex-m55: MACs per instruction 16 (VMLADAVA.S8" in found.output
    (one,) = load(out).runs
    whole = load(out).select(metric="instructions", model="student")[0].value
    assert sum(row.instructions for row in one.layers.layers) + one.layers.between == whole
    assert f"{one.layers.between:,}" in found.output
    assert f"{one.layers.layers[0].macs:,}" in found.output


def test_command_on_an_artefact_and_without_a_board(artefact_folder, tmp_path):
    out = tmp_path / "results.json"
    args = [str(artefact_folder), "--layers", "-o", str(out)]
    refused = CliRunner().invoke(bench, args)
    assert (refused.exit_code, refused.output.count("\n")) == (2, 1), refused.output
    assert "layers are counted on Cortex-M targets only" in refused.output
    found = CliRunner().invoke(bench, [*args, "-t", "nucleo-l4r5zi"])
    assert found.exit_code == 0, found.output
    assert load(out).runs[0].layers.total.macs > 0
