"""Streaming: what push gives for each window is what invoke gives for the same samples."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from models import conv_model, reference_model
from nets import SAME, VALID, Net, random_net
from oracles import STRICT, reference

from export.c.fold import fold
from export.c.generate import generate
from export.c.host import HostModel, StreamModel, find_compiler
from export.c.reader import read
from export.c.stream_flow import Extent, Flow, Reach
from export.c.stream_nodes import find_nodes, windows_of
from export.c.streaming import plan
from targets.errors import InputError

PLAIN, DSP = ("-DDLINK_PLAIN",), ("-DDLINK_EMULATE_DSP",)
UNDEFINED = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
PEER_RAM = 81_348  # of TensorFlow Lite Micro with CMSIS-NN on eeg_student

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="needs a C compiler")


def samples_of(model: StreamModel, times: int, hops: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    shape = (times + hops * model.hop, model.sample_bytes)
    return rng.integers(-128, 128, shape, dtype=np.int8)


def check(model: bytes, folder: Path, hop: int, chunks: list[int], flags: tuple[str, ...]) -> None:
    """Several windows, pushed in several ways, against invoke and the reference kernels."""
    library = generate(model, folder / "c", hop=hop)
    stream = StreamModel(folder / "c", (*STRICT, *flags))
    assert (stream.hop, stream.stream_bytes) == (hop, library.stream_bytes)
    shape = library.input_shape
    times = int(np.prod(shape)) // stream.sample_bytes
    samples = samples_of(stream, times, 4)
    inputs = windows_of(samples, shape, times, hop)
    expected = stream.run(inputs)
    np.testing.assert_array_equal(expected, reference(model, inputs))
    for chunk in chunks:
        np.testing.assert_array_equal(stream.stream(samples, min(chunk, hop)), expected)


@needs_compiler
@pytest.mark.parametrize("seed", range(6))
def test_random_nets(seed: int, tmp_path: Path) -> None:
    model, times, stride = random_net(seed)
    rng = np.random.default_rng(seed)
    most = times // stride
    hop = stride * int(rng.integers(1, most + 1) if seed % 2 else min(most, seed + 1))
    flags = PLAIN if seed % 4 < 2 else DSP
    check(model, tmp_path, hop, [1, 7, hop], flags + UNDEFINED)


@needs_compiler
@pytest.mark.parametrize("hop", [2, 6, 60])
def test_hops_from_one_position_to_the_whole_window(hop: int, tmp_path: Path) -> None:
    net = Net(np.random.default_rng(1), (1, 1, 60, 3), 2)
    net.conv("Conv2D", 7, 1, 2, SAME, 4)
    net.residual(5)
    net.pool("AVERAGE", 3, 1, SAME)
    net.conv("DepthwiseConv2D", 4, 1, 3, VALID, 2)
    net.head(3)
    check(net.pack(), tmp_path, hop, [1, hop - 1, hop], PLAIN)


@needs_compiler
@pytest.mark.parametrize(
    ("name", "hop", "flags"),
    [
        ("eeg_student.int8", 80, PLAIN),
        ("eeg_student.int8", 85, DSP),
        ("eeg_spatial_first.int8", 200, DSP),
        ("kws", 14, PLAIN),
    ],
)
def test_reference_models(name: str, hop: int, flags: tuple[str, ...], tmp_path: Path) -> None:
    check(reference_model(name).read_bytes(), tmp_path, hop, [1, 13, hop], flags)


def test_cost_and_memory_of_the_student() -> None:
    """All memory of a stream, a hop's samples at once, is at most an eighth of the peer's."""
    graph = fold(read(reference_model("eeg_student.int8")))
    hop, whole = (plan(graph, "reference", samples) for samples in (80, 800))
    assert hop.block_bytes + 80 * hop.sample_values + graph.output.nbytes <= PEER_RAM / 8
    assert hop.cost < whole.cost / 3


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    net = Net(np.random.default_rng(5), (1, 3, 50, 1), 2)
    net.conv("DepthwiseConv2D", 5, 3, 1, SAME, 4)
    net.conv("DepthwiseConv2D", 1, 3, 1, VALID, 2)
    net.pool("MAX", 2, 2, VALID)
    net.head(2)
    folder = tmp_path_factory.mktemp("small") / "c"
    model = net.pack()
    generate(model, folder, hop=6)
    return model, folder


@needs_compiler
def test_the_block_can_move_and_a_stream_can_begin_again(small: tuple[bytes, Path]) -> None:
    stream = StreamModel(small[1], STRICT)
    samples = samples_of(stream, 50, 3)
    expected = stream.stream(samples, 6)
    outputs = []
    stream.stream(samples[7:40], 5)  # to be forgotten
    stream.start()
    for i in range(0, len(samples), 4):
        stream.block = stream.block.copy()
        if (output := stream.push(samples[i : i + 4])) is not None:
            outputs.append(output)
    np.testing.assert_array_equal(np.stack(outputs), expected)
    assert len(np.unique(expected, axis=0)) > 1


@needs_compiler
def test_status_codes(small: tuple[bytes, Path]) -> None:
    stream = StreamModel(small[1], STRICT)
    samples, output = np.zeros((7, 3), np.int8), np.full(2, 77, np.int8)
    made = ctypes.c_int32(5)
    good = [stream.block.ctypes.data, stream.stream_bytes, samples.ctypes.data, 6]
    good += [output.ctypes.data, ctypes.addressof(made)]

    def push(place: int, value: int) -> int:
        return stream.push_raw(*[*good[:place], value, *good[place + 1 :]])

    assert push(3, 6) == 7  # not started
    stream.start()
    assert [push(0, 0), push(2, 0), push(4, 0), push(5, 0)] == [1, 1, 1, 1]
    assert push(1, stream.stream_bytes - 1) == 4
    assert push(0, good[0] + 1) == 5
    assert [push(3, -1), push(3, 7)] == [6, 6]
    assert made.value == 5
    assert push(3, 0) == 0
    assert (made.value, output.tolist()) == (0, [77, 77])
    assert [push(3, 6) for _ in range(9)] == [0] * 9
    assert made.value == 1


@needs_compiler
def test_no_access_out_of_bounds(small: tuple[bytes, Path], tmp_path: Path) -> None:
    """A program with every buffer of its exact size on the heap, under the address sanitizer."""
    _, folder = small
    stream = StreamModel(folder, STRICT)
    samples = samples_of(stream, 50, 5)
    (tmp_path / "samples.bin").write_bytes(samples.tobytes())
    (tmp_path / "push.c").write_text(_PUSH)
    sources = [str(path) for path in folder.glob("*.c") if path.name != "main.c"]
    sources.append(str(tmp_path / "push.c"))
    program = str(tmp_path / "push")
    flags = ["-std=c99", "-g", "-O1", "-fsanitize=address,undefined", *DSP]
    subprocess.run(
        [find_compiler() or "cc", *flags, f"-I{folder}", *sources, "-o", program],
        check=True,
    )
    done = subprocess.run(
        [program, str(tmp_path / "samples.bin")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = [[int(value) for value in line.split()] for line in done.stdout.splitlines()]
    np.testing.assert_array_equal(rows, stream.stream(samples, 4))


_PUSH = """
#include <stdio.h>
#include <stdlib.h>
#include "model.h"
int main(int argc, char **argv)
{
    FILE *const file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    void *const block = malloc(DLINK_MODEL_STREAM_BYTES);
    int8_t *const output = malloc(DLINK_MODEL_OUTPUT_BYTES);
    int8_t *const samples = malloc(4 * DLINK_MODEL_SAMPLE_BYTES);
    int32_t made = 0;
    if (file == NULL || dlink_model_stream_start(block, DLINK_MODEL_STREAM_BYTES) != DLINK_OK) {
        return 2;
    }
    for (size_t n; (n = fread(samples, DLINK_MODEL_SAMPLE_BYTES, 4, file)) != 0;) {
        if (dlink_model_push(block, DLINK_MODEL_STREAM_BYTES, samples, (int32_t)n, output, &made)
            != DLINK_OK) {
            return 3;
        }
        for (int i = 0; made && i < DLINK_MODEL_N_OUTPUTS; i++) {
            printf("%d%c", output[i], i + 1 < DLINK_MODEL_N_OUTPUTS ? ' ' : '\\n');
        }
    }
    free(block);
    free(output);
    free(samples);
    fclose(file);
    return 0;
}
"""


@pytest.mark.skipif(not shutil.which("cppcheck"), reason="needs cppcheck")
def test_cppcheck_has_nothing_to_say(small: tuple[bytes, Path]) -> None:
    files = [str(small[1] / name) for name in ("model.c", "dlink_stream.c", "dlink_pipeline.c")]
    flags = ["--quiet", "--std=c99", "--enable=warning,style,performance,portability"]
    done = subprocess.run(["cppcheck", *flags, *files], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="needs the cross compiler")
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m4", "cortex-m55"])
def test_compiles_without_warnings_for_a_core(
    core: str, small: tuple[bytes, Path], tmp_path: Path
) -> None:
    flags = [f"-mcpu={core}", "-mthumb", "-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion"]
    for name in ("model.c", "dlink_stream.c"):
        command = ["arm-none-eabi-gcc", *flags, "-Werror", "-c", str(small[1] / name)]
        subprocess.run([*command, "-o", str(tmp_path / "out.o")], check=True)


def test_without_a_hop_nothing_is_added(tmp_path: Path) -> None:
    library = generate(conv_model(), tmp_path / "c")
    assert (library.hop, library.stream_bytes) == (None, 0)
    assert "dlink_stream.c" not in library.files
    assert "stream" not in (tmp_path / "c" / "model.h").read_text()
    if find_compiler():
        assert HostModel(tmp_path / "c", STRICT).arena_bytes > 0
        with pytest.raises(InputError, match="no streaming interface"):
            StreamModel(tmp_path / "c", STRICT)


@pytest.mark.parametrize("hop", [0, -2, 1, 21, 22])
def test_a_hop_that_does_not_fit(hop: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a multiple of 2, up to 20"):
        generate(conv_model(), tmp_path / "c", hop=hop)
    assert not (tmp_path / "c").exists()


def test_a_model_that_does_not_slide(tmp_path: Path) -> None:
    for name, why in (("ad", "does not slide"), ("ic", "no axis of 1x32x32x3 is the longer one")):
        with pytest.raises(InputError, match=why):
            generate(reference_model(name), tmp_path / name, hop=2)


def test_a_model_that_is_all_edge(tmp_path: Path) -> None:
    net = Net(np.random.default_rng(0), (1, 1, 12, 2), 2)
    net.conv("Conv2D", 13, 1, 1, SAME, 2)
    net.head(2)
    with pytest.raises(InputError, match="free of padding"):
        generate(net.pack(), tmp_path / "c", hop=2)


def test_windows_of_a_stream() -> None:
    samples = np.arange(12, dtype=np.int8).reshape(6, 2)
    by_sample = [[0, 1, 2, 3, 4, 5, 6, 7], [4, 5, 6, 7, 8, 9, 10, 11]]
    by_channel = [[0, 2, 4, 6, 1, 3, 5, 7], [4, 6, 8, 10, 5, 7, 9, 11]]
    assert windows_of(samples, (1, 1, 4, 2), 4, 2).tolist() == by_sample
    assert windows_of(samples, (1, 4, 2, 1), 4, 2).tolist() == by_sample
    assert windows_of(samples, (1, 2, 4), 4, 2).tolist() == by_channel
    assert windows_of(samples, (1, 2, 4, 1), 4, 2).tolist() == by_channel


def test_edges_of_a_convolution() -> None:
    """1x5 with SAME padding and stride 2 over 20: 1 before, 2 after."""
    _, node = find_nodes(fold(read(conv_model())))
    assert (node.left, node.right, node.length, node.stride) == (1, 9, 10, 2)


def test_flow_of_one_convolution() -> None:
    """A hop of 4 samples; kernel 5, stride 2, padding 1 and 2; two positions at a time."""
    levels = [Extent(20, 0, 20, 4, 3), Extent(10, 1, 9, 2, 4)]
    flow = Flow(levels, [Reach(2, 1, 5, 4, 17, 2)], batch=4)
    flow.run(6)
    assert flow.counts == [{2: flow.counts[0][2]}]
    assert flow.slots == [0, 5]  # windows that begin at 0, 4, .. 16
    assert flow.most[1] == 10
    assert flow.most[0] >= 4 + 5 - 2
