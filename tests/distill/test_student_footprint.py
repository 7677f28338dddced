"""The static figures against the exported graph, TensorFlow Lite Micro and the C library."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from distill.counts import count
from distill.footprint import Footprint, check_target, estimate, footprint
from distill.mic import MiC, MiCConfig
from distill.mic_sizes import NAMES, SIZES
from export import from_onnx, quantize, tflite, trace
from export.c.generate import generate
from export.calibration import calibrate
from export.runtimes import MicroModel, TfliteModel
from targets.errors import InputError
from targets.target import all_ids, load

CONFIGS = {
    "default": MiCConfig(),
    **SIZES,
    "wide stride": MiCConfig(kernel=40, stride=10, expand=1, width=24, blocks=2),
}
SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("mic-s", "mic-m")]


def student(name, n_chans=19, n_outputs=2, d=40):
    torch.manual_seed(0)
    return MiC(n_chans, 800, n_outputs, d=d, config=CONFIGS[name])


def exported(mic, folder):
    """Batch statistics of noise, then all the way: (ONNX graph, int8 TFLite)."""
    with torch.no_grad():
        for _ in range(3):
            mic.train()(torch.randn(16, mic.n_chans, 800))
    trace.export_onnx(mic.deploy(), torch.zeros(1, mic.n_chans, 800), folder / "s.onnx")
    graph = from_onnx.read(folder / "s.onnx")
    windows = np.random.default_rng(0).normal(size=(16, mic.n_chans, 800)).astype(np.float32)
    return graph, tflite.write_int8(quantize.quantize(graph, calibrate(graph, windows)))


@pytest.mark.parametrize("name", ["default", "mic-xs", "wide stride", *SLOW])
@pytest.mark.parametrize("n_chans", [19, 22])
def test_it_is_what_the_exported_graph_says(name, n_chans, tmp_path):
    mic = student(name, n_chans)
    found, (graph, _) = footprint(mic), exported(mic, tmp_path)
    assert found.params == graph.n_parameters()
    assert found.macs == graph.macs()
    assert found.arena_bytes == graph.arena_bytes()
    assert found.input_bytes == n_chans * 800
    biases = (found.weight_bytes - found.params) // 3
    assert biases == sum(t.size for t in graph.tensors.values() if t.data is not None and
                         len(t.shape) == 1)  # fmt: skip


@pytest.mark.parametrize("name", ["mic-xs", *SLOW])
def test_every_size_runs_in_int8_within_the_documented_distance(name, tmp_path):
    """docs/students.md: TFLite Micro adds its records, our C library stays below."""
    mic = student(name)
    found, (_, int8) = footprint(mic), exported(mic, tmp_path)
    micro = MicroModel(int8)
    inputs = np.random.default_rng(1).integers(-128, 128, (4, 19 * 800)).astype(np.int8)
    np.testing.assert_array_equal(
        micro.run_int8(inputs), TfliteModel(int8, reference=True).run_int8(inputs)
    )
    biases = (found.weight_bytes - found.params) // 3
    records = micro.arena_bytes() - found.arena_bytes
    assert 0 < records < 4096 + 18 * biases
    library = generate(int8, tmp_path / "c")
    assert library.arena_bytes < found.arena_bytes
    assert library.arena_bytes + found.input_bytes + found.output_bytes < found.ram_bytes
    assert library.macs == found.macs
    assert found.weight_bytes < library.weight_bytes < 1.25 * found.weight_bytes


@pytest.mark.parametrize("name", CONFIGS)
def test_macs_are_those_that_torch_counts(name):
    mic = student(name)
    assert footprint(mic).macs == count(mic.deploy(), torch.zeros(1, 19, 800)).macs


@pytest.mark.parametrize("name", CONFIGS)
def test_folding_saves_the_mimic_space_in_every_size(name):
    mic, x = student(name), torch.randn(4, 19, 800)
    with torch.no_grad():
        mic.train()(10 * x)
        torch.testing.assert_close(mic.deploy()(x), mic.eval()(x), atol=1e-5, rtol=1e-5)
    assert footprint(mic).macs < count(mic, x[:1]).macs
    assert footprint(mic) == footprint(mic.deploy()) == footprint(student(name, d=200))


def test_arena_of_a_residual_block_by_hand():
    """The block's input waits while the body runs; the addition holds three maps."""
    config = MiCConfig(spatial=1, expand=1, width=40, blocks=1, compress=1)
    # From 200 steps of 1 map to 100 steps of 40: input and output of an addition, and the body's.
    assert estimate(config, 1, 800, 2).arena_bytes == 3 * 100 * 40


def test_looking_costs_no_random_numbers():
    """Else a student that is checked against a target would train differently."""
    torch.manual_seed(1)
    mic = MiC(4, 400, 2)
    state = torch.get_rng_state()
    footprint(mic)
    estimate(MiCConfig(), 4, 400, 2)
    assert torch.equal(torch.get_rng_state(), state)


def test_an_unknown_layer_is_no_silent_zero():
    mic = student("default")
    mic.settle.append(nn.MaxPool2d((1, 2)))
    with pytest.raises(AssertionError, match="MaxPool2d"):
        footprint(mic)


@pytest.mark.parametrize("board", all_ids())
def test_each_board_holds_each_size(board):
    for size in NAMES:
        check_target(MiC(22, 800, 4, config=SIZES[size]), load(board), patch=200)


def test_a_student_that_is_too_large_is_told_what_would_fit():
    mic = MiC(19, 2000, 2, config=MiCConfig(spatial=128, expand=2))
    with pytest.raises(InputError) as caught:
        check_target(mic, load("nrf52840"), patch=200)
    need = footprint(mic).ram_bytes
    assert need == 128 * 2000 + 256 * 500 + 19 * 2000 + 2
    assert str(caught.value) == (
        "[student] target: the student needs more RAM (arena, input and output) than Nordic "
        f"nRF52840 has (found {need / 1024:.0f} KiB, allowed 256 KiB). "
        'Take size "mic-xs" or "mic-s" or "mic-m", which fits, or another board.'
    )
    check_target(mic, load("nucleo-h743zi"), patch=200)
    check_target(mic, load("rpi4b"), patch=200)


def test_where_no_size_fits_the_window_is_the_matter():
    mic = MiC(128, 4000, 2, config=SIZES["mic-xs"])
    with pytest.raises(InputError, match=r"No named size fits: take fewer electrodes"):
        check_target(mic, load("nrf52840"), patch=200)


def test_flash_is_checked_too():
    cost = Footprint(1, 1, 1000, weight_bytes=3 * 2**20, input_bytes=10, output_bytes=2)
    board = load("nucleo-l4r5zi")
    assert cost.faults(board) == [("flash (weights)", 3 * 2**20, 2 * 2**20)]
    assert replace(cost, weight_bytes=2 * 2**20).faults(board) == []
