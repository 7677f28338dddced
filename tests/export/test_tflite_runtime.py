"""tflite-runtime in an environment of its own; what is said when it is missing, crashes, hangs."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.device import run_tflite
from export.runtimes import TfliteModel
from export.tflite_runtime import VARIABLE, TfliteRuntimeModel, find
from targets.errors import InputError

INSTALLED = find()
needs_runtime = pytest.mark.skipif(INSTALLED is None, reason="no .venv-tflite: run make setup")


@pytest.fixture
def python(tmp_path):
    """Return a function that writes a program standing in for the environment's Python."""

    def write(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return write


@needs_runtime
def test_int8_is_within_two_steps_of_the_reference_kernels(mic):
    device = TfliteRuntimeModel(mic.int8)
    inputs = TfliteModel(mic.int8).quantise_input(mic.windows)
    got = device.run_raw(inputs)
    want = TfliteModel(mic.int8, reference=True).run_int8(inputs)
    assert (got.shape, got.dtype) == (want.shape, np.int8)
    assert np.abs(got.astype(int) - want).max() <= 2
    assert device.runtime == "tflite-runtime 2.14.0"


@needs_runtime
def test_logits_are_the_raw_outputs_between_the_scales(mic):
    windows = mic.windows[:8]
    step = mic.qgraph.output_quant.scale[0]
    got = TfliteRuntimeModel(mic.int8).run(windows)
    np.testing.assert_allclose(got, TfliteModel(mic.int8).run(windows), atol=2.01 * step)


@needs_runtime
def test_fp32_is_that_of_torch(mic):
    got = TfliteRuntimeModel(mic.fp32).run(mic.windows[:8])
    np.testing.assert_allclose(got, mic.logits[:8], atol=1e-4 * mic.logits.std())


@needs_runtime
def test_inputs_of_another_type_are_refused(mic):
    with pytest.raises(InputError, match="inputs are float64, the model takes") as caught:
        TfliteRuntimeModel(mic.int8).run_raw(np.zeros((1, 800 * 19)))
    assert "tflite-runtime" in str(caught.value)


@needs_runtime
def test_that_environment_is_the_pinned_one():
    pins = (Path(__file__).parents[2] / "constraints-tflite.txt").read_text().splitlines()
    code = "from importlib.metadata import version as v; print(v('{}'))"
    for pin in filter(lambda line: "==" in line, pins):
        name, _, wanted = pin.partition("==")
        done = subprocess.run([INSTALLED, "-I", "-c", code.format(name)], capture_output=True)
        assert done.stdout.decode().strip() == wanted


def test_a_crash_is_an_error_that_names_the_signal(mic, python):
    model = TfliteRuntimeModel(mic.int8, python=python("kill -SEGV $$"))
    with pytest.raises(InputError, match=r"crashed \(found SIGSEGV\)\. Leave this runtime out"):
        model.run(mic.windows[:1])


def test_a_hang_and_an_answer_without_words_are_errors(mic, python):
    model = TfliteRuntimeModel(mic.int8, python=python("exec sleep 30"), timeout_s=0.2)
    with pytest.raises(InputError, match=r"took too long \(found over 0.2 s\)"):
        model.run(mic.windows[:1])
    model = TfliteRuntimeModel(mic.int8, python=python("exit 3"))
    with pytest.raises(InputError, match="no reason given"):
        model.run(mic.windows[:1])


def test_the_script_runs_under_dlinks_own_python_too(mic, tmp_path):
    (tmp_path / "m.tflite").write_bytes(mic.int8)
    inputs = TfliteModel(mic.int8).quantise_input(mic.windows[:3])
    np.save(tmp_path / "in.npy", inputs)
    run_tflite.run(str(tmp_path / "m.tflite"), str(tmp_path / "in.npy"), str(tmp_path / "out.npy"))
    np.testing.assert_array_equal(
        np.load(tmp_path / "out.npy"), TfliteModel(mic.int8).run_int8(inputs)
    )


def test_the_script_stands_alone_on_python_3_9():
    text = Path(run_tflite.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 9))
    imported = {
        name.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for name in node.names
    } | {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert imported - set(sys.stdlib_module_names) == {"numpy"}


def test_where_it_is_looked_for(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, "")
    assert find() is None
    monkeypatch.setenv(VARIABLE, sys.executable)
    assert find() == Path(sys.executable)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none"))
    with pytest.raises(InputError, match=f"{VARIABLE}: no Python there"):
        find()
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    (tmp_path / ".venv-tflite" / "bin").mkdir(parents=True)
    (tmp_path / ".venv-tflite" / "bin" / "python").touch()
    assert find() == tmp_path / ".venv-tflite" / "bin" / "python"


def test_without_the_environment_it_says_how_to_get_it(monkeypatch, mic):
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(InputError, match="Run `make setup`"):
        TfliteRuntimeModel(mic.int8)
