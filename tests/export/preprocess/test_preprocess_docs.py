"""The examples of docs/preprocessing.md, as they stand there."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from chains_of_signals import chain, eeg

from export.c.host import find_compiler
from export.ir import Quant
from export.preprocess import write
from export.preprocess.streaming import Streaming

PAGE = Path(__file__).parents[3] / "docs" / "preprocessing.md"
COUNTS = {"input_unit": "counts", "uv_per_count": 0.0223}
# As the generated library declares itself; the output is the window's first bytes.
MODEL_H = """
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#define DLINK_MODEL_OUTPUT_BYTES 8
#define DLINK_MODEL_ARENA_BYTES 16
typedef enum { DLINK_OK = 0 } dlink_status_t;
extern int dlink_calls;
static inline dlink_status_t dlink_model_invoke(const int8_t *input, int8_t *output, void *arena,
                                                size_t arena_bytes)
{
    (void)arena;
    (void)arena_bytes;
    memcpy(output, input, DLINK_MODEL_OUTPUT_BYTES);
    dlink_calls++;
    return DLINK_OK;
}
"""
MAIN = """
#include <stdio.h>
int dlink_calls;
int main(void)
{
    int32_t counts[DLINK_PREPROCESS_N_IN];
    dlink_preprocess_counts_start(&state);
    while (fread(counts, sizeof counts, 1, stdin) == 1) {
        on_sample(counts);
    }
    fwrite(bytes, 1, sizeof bytes, stdout);
    return dlink_calls;
}
"""


def block(language, word):
    """The code block that holds `word`."""
    found = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.S)
    (text,) = (text for text in found if word in text)
    return text


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs")
    write(chain(**COUNTS), folder, hop=50, input_quant=Quant(np.array([0.02], np.float32), 3))
    return folder


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler")
def test_the_c_example(folder, tmp_path):
    library = folder / "c" / "preprocess"
    (tmp_path / "model.h").write_text(MODEL_H)
    (tmp_path / "main.c").write_text(block("c", "on_sample") + MAIN)
    command = [find_compiler(), "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{tmp_path}",
               f"-I{library}", *map(str, library.glob("*.c")), str(tmp_path / "main.c"),
               "-o", str(tmp_path / "main")]  # fmt: skip
    subprocess.run(command, check=True)
    x = np.rint(eeg(6, 1500, 500.0) / 0.0223).astype(np.int32)
    stdin = np.ascontiguousarray(x.T).tobytes()
    done = subprocess.run([tmp_path / "main"], input=stdin, stdout=subprocess.PIPE)
    assert done.returncode == 5  # windows at 400, 450, ... 600 samples
    quant = Quant(np.array([0.02], np.float32), 3)
    wanted = quant.quantise(Streaming(chain(**COUNTS).to_dict()).push(x)).T[-350:]
    found = np.frombuffer(done.stdout, np.int8).reshape(400, 4)[:350]
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_the_onnx_example(folder, monkeypatch):
    monkeypatch.chdir(folder)
    x = np.rint(eeg(6, 1250, 500.0) / 0.0223).astype(np.float32)
    found = []
    text = block("python", "onnxruntime") + "    found.append(x[0])\n"
    chunks = (x[None, :, k : k + 125] for k in range(0, 1250, 125))
    exec(text, {"device": lambda: chunks, "found": found})
    wanted = Streaming(chain(**COUNTS).to_dict()).push(x)
    np.testing.assert_allclose(np.concatenate(found, axis=1), wanted, atol=1e-4 * wanted.std())


def test_the_python_example_names_what_is_there():
    text = block("python", "Streaming")
    names = re.search(r"from preprocessing import (.*)", text).group(1).split(", ")
    from export.preprocess import streaming

    assert all(hasattr(streaming, name) for name in names)
    compile(text, "docs", "exec")
