"""A bare .tflite as the thing to bench: windows, reference outputs, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from artefacts import REFERENCE, TFLITE
from click.testing import CliRunner

from export.runtimes import TfliteModel
from firmware_bench import bare
from firmware_bench.cli import bench, gate
from targets.errors import InputError

needs_model = pytest.mark.skipif(not TFLITE.exists(), reason="set DLINK_REFERENCE")
needs_tools = pytest.mark.skipif(
    not (shutil.which("arm-none-eabi-gcc") and shutil.which("qemu-system-arm")),
    reason="needs the cross compiler and the emulator: `make setup`",
)


def test_the_peers_window_is_its_generator():
    state, expected = 12345, []
    for _ in range(6):
        state = (state * 1664525 + 1013904223) % 2**32
        expected.append(state // 2**24 - 256 * (state >= 2**31))
    assert bare.peer_window(6).tolist() == expected
    assert bare.peer_window(6).dtype == np.int8


def test_windows_are_the_peers_then_reproducible_random_ones():
    found = bare.windows(40)
    assert found.shape == (1 + bare.RANDOM_WINDOWS, 40)
    np.testing.assert_array_equal(found[0], bare.peer_window(40))
    np.testing.assert_array_equal(found, bare.windows(40))
    assert len({row.tobytes() for row in found}) == len(found)


@needs_model
def test_reference_outputs_are_those_of_the_reference_kernels():
    model = TfliteModel(TFLITE, reference=True)
    inputs = bare.windows(int(np.prod(model.input_shape)), count=2)
    np.testing.assert_array_equal(bare.reference_outputs(model, inputs), model.run_int8(inputs))


def test_an_int16_model_takes_and_gives_two_bytes_a_value():
    path = REFERENCE / "eeg_student.int16x8.tflite"
    if not path.exists():
        pytest.skip("set DLINK_REFERENCE")
    model = TfliteModel(path, reference=True)
    inputs = bare.windows(2 * int(np.prod(model.input_shape)), count=1)
    assert bare.reference_outputs(model, inputs).shape == (2, 2 * 4)


@needs_model
def test_opened_model_knows_itself_and_leaves_nothing_behind(tmp_path):
    with bare.opened(TFLITE) as model:
        folder = model.library.out_dir
        assert (folder / "model.h").is_file()
        assert model.manifest["name"] == "eeg_spatial_first.int8"
        assert (model.manifest["format"], model.manifest["macs"]) == ("int8.tflite", 4_160_256)
        assert 30_000 < model.constant_bytes < TFLITE.stat().st_size
        assert model.subject().expected.shape == (1 + bare.RANDOM_WINDOWS, 4)
        metrics = {one.metric: one.value for one in model.measurements()}
        assert metrics == {"file_size": TFLITE.stat().st_size, "macs": 4_160_256}
    assert not folder.exists()
    with bare.opened(TFLITE, tmp_path / "kept"):
        pass
    assert (tmp_path / "kept" / "c" / "model.c").is_file()


@needs_model
@needs_tools
def test_command_on_two_boards_then_the_gate(tmp_path):
    output = tmp_path / "results.json"
    args = [str(TFLITE), "-t", "nucleo-l4r5zi", "-t", "rp2040", "-t", "rp2040", "-o", str(output)]
    found = CliRunner().invoke(bench, [*args, "--keep", str(tmp_path / "kept")])
    assert found.exit_code == 0, found.output
    assert "eeg_spatial_first.int8: 4,160,256 multiply-accumulates" in found.output
    assert "Against TensorFlow Lite Micro + CMSIS-NN" in found.output
    assert (tmp_path / "kept" / "rp2040" / "firmware.elf").is_file()
    data = json.loads(output.read_text())
    assert [run["target"]["id"] for run in data["runs"]] == ["nucleo-l4r5zi", "rp2040"]
    values = {(one["target"], one["model"], one["metric"]): one for one in data["measurements"]}
    for board in ("nucleo-l4r5zi", "rp2040"):
        assert values[board, "student", "golden_differing_bytes"]["value"] == 0
        ours = values[board, "student", "instructions"]["value"]
        peer = values[board, "peer", "instructions"]
        assert peer["evidence"] == "published"
        ratio = values[board, "student", "instructions_vs_peer"]["value"]
        assert ratio == pytest.approx(ours / peer["value"])
    budgets = tmp_path / "budgets.toml"
    budgets.write_text(
        '[[budget]]\ntarget = "rp2040"\nmodel = "student"\nmetric = "code_vs_peer"\nlimit = "1x"\n'
    )
    judged = CliRunner().invoke(gate, [str(output), "--budgets", str(budgets)])
    assert judged.exit_code == 0, judged.output
    assert "eeg_spatial_first.int8" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("content", "target", "message"),
    [
        (None, "rp2040", "model file not found"),
        (b"no flatbuffer", "rp2040", "broken.tflite"),
        (b"no flatbuffer", "host", "bare .tflite model is measured on Cortex-M targets only"),
    ],
)
def test_refusals_are_one_line(tmp_path, content, target, message):
    path = tmp_path / "broken.tflite"
    if content is not None:
        path.write_bytes(content)
    args = [str(path), "-t", target, "-o", str(tmp_path / "results.json")]
    found = CliRunner().invoke(bench, args)
    assert (found.exit_code, found.output.count("\n")) == (2, 1), found.output
    assert message in found.output
    assert not (tmp_path / "results.json").exists()


def test_a_float_model_says_what_to_do(tmp_path):
    path = REFERENCE / "eeg_student.fp32.tflite"
    if not path.exists():
        pytest.skip("set DLINK_REFERENCE")
    with pytest.raises(InputError, match=r"FLOAT32.*[Qq]uantise"), bare.opened(path):
        pass
