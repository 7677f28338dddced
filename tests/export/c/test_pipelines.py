"""Pipelines: what a walk predicts is what the C does; cuts, strips and blocks fit their arena."""

from __future__ import annotations

import copy
import shutil
import subprocess

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from build import T, build, constant, options, pack
from hypothesis import given, settings
from hypothesis import strategies as st
from models import NAMES, chain_model, reference_model
from oracles import bytes_like, ours, reference

from export.c.choose import build as choose
from export.c.choose import runs
from export.c.fold import fold
from export.c.generate import generate
from export.c.graph import Pad, Reshape
from export.c.pipeline import COLUMNS, ROWS, Walk
from export.c.plan import aliases
from export.c.reader import read
from export.c.schedule import schedule
from export.c.stages import can_be_stage, lower_stage, reciprocal

few = settings(max_examples=12, deadline=None, derandomize=True, database=None)


def conv(width: int, kernel: int, stride: int, seed: int = 0) -> bytes:
    """One convolution along the columns, SAME padding, 8 channels to 6."""
    rng = np.random.default_rng(seed)
    x = T((1, 1, width, 8), 0.05, -7)
    weights = constant(rng.integers(-127, 128, (6, 1, kernel, 8), dtype=np.int8), [0.01] * 6)
    y = T((1, 1, -(-width // stride), 6), 0.2, 3)
    table = options("Conv2D", padding=0, strideH=1, strideW=stride)
    return build("CONV_2D", [x, weights], y, table)


def walk_of(model: bytes) -> Walk:
    graph = fold(read(model))
    stages = tuple(stage for op in graph.ops for stage in lower_stage(op))
    return Walk(stages, aliases(graph), COLUMNS)


@few
@given(st.integers(3, 90), st.integers(1, 9), st.integers(1, 4), st.integers(1, 40))
def test_a_walk_makes_every_position_once(width, kernel, stride, step):
    walk = walk_of(conv(width, kernel, stride))
    walked = walk.run(step)
    length = -(-width // stride)
    assert sum(walked.counts[0]) == length
    assert max(walked.counts[0]) <= -(-step // stride)  # its turn, and no more
    assert walked.read_from == 0
    assert walked.read_to <= width


@few
@given(st.integers(20, 90), st.integers(1, 9), st.integers(1, 4), st.data())
def test_a_walk_reads_what_a_part_needs(width, kernel, stride, data):
    length = -(-width // stride)
    first = data.draw(st.integers(0, length - 1))
    last = data.draw(st.integers(first + 1, length))
    walked = walk_of(conv(width, kernel, stride)).run(4, first, last)
    before = max((length - 1) * stride + kernel - width, 0) // 2
    assert sum(walked.counts[0]) == last - first
    assert walked.read_from == max(first * stride - before, 0)
    assert walked.read_to == min((last - 1) * stride - before + kernel, width)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "ad"])
def test_pipelines_of_reference_models_fit_what_they_say(name):
    graph = fold(read(reference_model(name)))
    order = schedule(graph, "reference")
    assert order.pipelines
    for pipeline in order.pipelines:
        walk = Walk(pipeline.stages, aliases(graph) | roots_of(pipeline), pipeline.axis)
        walked = walk.run(pipeline.step)
        for stream, root in zip(pipeline.streams[1:], walk.writes, strict=True):
            assert walked.most[root] <= stream.capacity
        for stage, block in zip(pipeline.stages, pipeline.blocks, strict=True):
            assert block % 3 == 0
            assert stage.scratch_bytes(block) <= order.plan.peak
    assert order.plan.peak == order.plan.lower_bound


def roots_of(pipeline) -> dict[int, int]:
    return {stream.tensor.index: stream.root for stream in pipeline.streams}


def test_wide_images_go_by_columns_and_high_ones_by_rows():
    eeg = schedule(fold(read(conv(90, 3, 1))), "reference").pipelines[0]
    x, y = T((1, 40, 6, 4), 0.1, 0), T((1, 20, 3, 4), 0.1, 0)
    table = options("Pool2D", padding=1, strideH=2, strideW=2, filterHeight=2, filterWidth=2)
    image = schedule(fold(read(build("MAX_POOL_2D", [x], y, table))), "reference").pipelines[0]
    assert (eeg.axis, image.axis) == (COLUMNS, ROWS)


def test_more_weight_on_memory_gives_no_larger_arena():
    graph = fold(read(conv(400, 25, 1)))
    peaks = [schedule(graph, "reference", power).plan.peak for power in (0.0, 0.25, 1.0, 3.0)]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[-1] < peaks[0]


def test_layers_join_one_pipeline_until_one_cannot():
    graph = fold(read(chain_model()))
    roots = aliases(graph)
    layers = [op for op in graph.ops if not isinstance(op, Reshape)]
    parts = runs(layers, roots, roots[graph.output.index])
    assert [[op.kind for op in part] for part in parts] == [["ADD", "MAX_POOL_2D"], ["SOFTMAX"]]
    assert can_be_stage(layers[0])
    assert len(choose(parts[0], roots)) <= 2


def test_a_reshaped_image_ends_a_pipeline():
    """Two poolings with a RESHAPE from 6x8x4 to 1x48x4 between them: the second is its own."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(pool((1, 12, 16, 4), (1, 6, 8, 4)), 0))
    other = schema.ModelT.InitFromObj(schema.Model.GetRootAs(pool((1, 1, 48, 4), (1, 1, 24, 4)), 0))
    graph = model.subgraphs[0]
    first, second = graph.operators[0], other.subgraphs[0].operators[0]
    ends = [copy.copy(other.subgraphs[0].tensors[i]) for i in (second.inputs[0], second.outputs[0])]
    graph.tensors += ends
    source, target = len(graph.tensors) - 2, len(graph.tensors) - 1
    code, reshape = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESHAPE
    code.version = 1
    model.operatorCodes.append(code)
    reshape.opcodeIndex = 1
    reshape.inputs, reshape.outputs = [int(first.outputs[0])], [source]
    reshape.builtinOptions = options("Reshape", newShape=[1, 1, 48, 4])
    reshape.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
    second.inputs, second.outputs = [source], [target]
    graph.operators += [reshape, second]
    graph.outputs = [target]
    data = pack(model)
    assert len(schedule(fold(read(data)), "reference").pipelines) == 2
    inputs = bytes_like(np.random.default_rng(4), 10, 12 * 16 * 4)
    np.testing.assert_array_equal(ours(data, inputs), reference(data, inputs))


def pool(source: tuple[int, ...], target: tuple[int, ...]) -> bytes:
    """A largest-of pooling by what leads from one shape to the other."""
    height, width = source[1] // target[1], source[2] // target[2]
    size = {"filterHeight": height, "filterWidth": width}
    table = options("Pool2D", padding=1, strideH=height, strideW=width, **size)
    return build("MAX_POOL_2D", [T(source, 0.1, 0)], T(target, 0.1, 0), table)


def test_padding_folds_into_a_convolution():
    name = "eeg_student.int8"
    graph = read(reference_model(name))
    folded = fold(graph)
    assert sum(isinstance(op, Pad) for op in graph.ops) == 1
    assert not any(isinstance(op, Pad) for op in folded.ops)
    assert folded.ops[1].window.padding == (0, 12)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 9, 25, 64, 125])
def test_reciprocal_divides_every_sum(count):
    factor = reciprocal(count)
    sizes = np.arange(128 * count + count // 2 + 1, dtype=np.uint64)
    assert factor
    np.testing.assert_array_equal(
        (sizes * np.uint64(factor)) >> np.uint64(24), sizes // np.uint64(count)
    )


def test_long_windows_take_their_weights_straight_from_flash():
    """320 values and more under a window: another kernel, another order of weights."""
    rng = np.random.default_rng(3)
    x = T((1, 1, 30, 40), 0.05, -7)
    weights = constant(rng.integers(-127, 128, (6, 1, 9, 40), dtype=np.int8), [0.01] * 6)
    bias = constant(rng.integers(-900, 900, 6, dtype=np.int32), [0.0005] * 6)
    y = T((1, 1, 30, 6), 1.0, 3)
    table = options("Conv2D", padding=0, strideH=1, strideW=1)
    model = build("CONV_2D", [x, weights, bias], y, table)
    stage = schedule(fold(read(model)), "reference").pipelines[0].stages[0]
    assert stage.fields["direct"] == 1
    inputs = bytes_like(rng, 10, 30 * 40)
    np.testing.assert_array_equal(ours(model, inputs), reference(model, inputs))


@pytest.mark.skipif(shutil.which("cppcheck") is None, reason="no cppcheck")
@pytest.mark.parametrize("path", ["PLAIN", "EMULATE_DSP", "PACKED"])
def test_cppcheck_has_nothing_to_say(path, tmp_path):
    generate(reference_model("eeg_student.int8"), tmp_path / "c", hop=80)
    done = subprocess.run(
        [
            *("cppcheck", "--enable=warning,style,performance,portability", "--std=c99"),
            *("--suppress=missingIncludeSystem", "--quiet"),
            *("--error-exitcode=1", f"-DDLINK_{path}", str(tmp_path / "c")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
