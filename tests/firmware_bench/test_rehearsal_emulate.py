"""Programs on the emulated board: runtimes, exit codes, crashes, what they see of it."""

import json

import numpy as np
import pytest
from rehearsal_rig import GUEST_RUN, REFERENCE, fully_connected, needs_board, needs_models

from firmware_bench.rehearsal import emulate
from firmware_bench.rehearsal.board_files import HEALTH
from targets.errors import InputError

pytestmark = needs_board
STUDENT = REFERENCE / "eeg_student.int8.tflite"


def python(code, board_id="rpi4b", arch="arm64", site=None, **given):
    return emulate.run(board_id, arch, site, ["python3", "-c", code], **given)


@pytest.mark.parametrize(("arch", "machine"), [("arm64", "aarch64"), ("armhf", "armv7l")])
def test_a_program_sees_the_board(arch, machine):
    code = (
        "import os, json; read = lambda path: open(path).read();"
        "print(json.dumps([os.uname().machine, read('/proc/device-tree/model'),"
        "read('/proc/cpuinfo').count('0xd0b'),"
        "read('/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor'),"
        "sorted(k for k in os.environ if k.startswith('DLINK'))]))"
    )
    done = python(code, "rpi5", arch, health=HEALTH["ondemand"])
    assert json.loads(done.stdout) == [
        machine, "Raspberry Pi 5 Model B Rev 1.0\0", 4, "ondemand\n", []
    ]  # fmt: skip


def test_input_exit_code_and_both_outputs_pass():
    code = "import sys; print(sys.stdin.read()); sys.stderr.write('why'); sys.exit(7)"
    done = python(code, stdin="hello")
    assert (done.returncode, done.stdout, done.stderr) == (7, "hello\n", "why")
    assert done.crash is None
    with pytest.raises(InputError, match=r"script: .*exit code 7 .*why"):
        done.check("script")


def test_a_crash_is_told_from_an_exit_code():
    done = python("import ctypes; ctypes.string_at(0)")
    assert done.crash == "SIGSEGV"
    with pytest.raises(InputError, match="crashed on the emulated board: SIGSEGV"):
        done.check("script")


def test_a_program_that_does_not_end_is_killed():
    done = python("print('begun', flush=True); input()", timeout_s=0.1)
    assert done.timed_out
    with pytest.raises(InputError, match="timed out"):
        done.check("script")


def test_without_a_site_no_runtime_is_found():
    assert "ModuleNotFoundError" in python("import numpy").stderr


def test_an_unknown_program_is_refused():
    with pytest.raises(InputError, match="no such program"):
        emulate.run("rpi4b", "arm64", None, ["no-such-program"])


@pytest.mark.slow
@needs_models
@pytest.mark.parametrize(
    ("arch", "site"),
    [("arm64", "litert"), ("arm64", "tflite-runtime"), ("armhf", "tflite-runtime")],
)
def test_an_int8_student_computes_what_it_computes_here(arch, site, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    out = tmp_path / "outputs.npz"
    argv = ["python3", GUEST_RUN, str(STUDENT), "--out", str(out)]
    emulate.run("rpi4b", arch, site, argv).check(STUDENT)
    here = Interpreter(model_path=str(STUDENT))
    here.allocate_tensors()
    entry, exit_ = here.get_input_details()[0], here.get_output_details()[0]
    window = np.random.default_rng(0).standard_normal(entry["shape"]).astype(np.float32)
    scale, zero = entry["quantization"]
    steps = np.clip(np.rint(window / scale) + zero, -128, 127)
    here.set_tensor(entry["index"], steps.astype(np.int8))
    here.invoke()
    with np.load(out) as arrays:
        differing = np.abs(arrays["output_0"][0].astype(int) - here.get_tensor(exit_["index"]))
    # LiteRT is equal to the bit; tflite-runtime rounds a step differently here and there.
    assert differing.max() <= (0 if site == "litert" else 3)


def dense(folder, arch, site, **layer):
    """Run one dense layer on a window of ones: how it ended, its outputs, those expected."""
    path, windows, out = (folder / name for name in ("dense.tflite", "ones.npz", "out.npz"))
    expected = fully_connected(path, **layer)
    np.savez(windows, windows=np.ones((1, layer.get("n_in", 64)), np.float32))
    argv = ["python3", GUEST_RUN, str(path), "--windows", str(windows), "--out", str(out)]
    done = emulate.run("rpi3b+", arch, site, argv)
    if done.returncode:
        return done, None, expected
    with np.load(out) as arrays:
        return done, arrays["output_0"].ravel(), expected


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["arm64", "armhf"])
@pytest.mark.parametrize("per_channel", [False, True])
def test_dense_layers_with_a_bias_run_under_tflite_runtime(arch, per_channel, tmp_path):
    done, found, expected = dense(tmp_path, arch, "tflite-runtime", per_channel=per_channel)
    done.check("dense layer")
    assert np.abs(found - expected).max() <= 1


@pytest.mark.slow
def test_tflite_runtime_crashes_on_a_dense_layer_per_channel_without_bias(tmp_path):
    """A fault of its release 2.14.0 on Arm; per tensor it runs, and so does LiteRT."""
    layer = {"bias": False, "n_in": 5}
    done, *_ = dense(tmp_path, "arm64", "tflite-runtime", per_channel=True, **layer)
    assert done.crash == "SIGSEGV"
    for site, per_channel in (("tflite-runtime", False), ("litert", True)):
        done, found, expected = dense(tmp_path, "arm64", site, per_channel=per_channel, **layer)
        assert done.crash is None
        assert np.abs(found - expected).max() <= 1
