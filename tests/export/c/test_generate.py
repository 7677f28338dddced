"""The folder that `generate` writes, and what it reports."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from models import chain_model, conv_model

from export.c.emit import float_literal
from export.c.generate import generate
from targets.errors import InputError


def test_report_and_files(tmp_path):
    library = generate(conv_model(), tmp_path / "c", name="tiny-1.0")
    assert {"CMakeLists.txt", "main.c", "model.c", "model.h"} < set(library.files)
    assert {"dlink_conv_stage.c", "dlink_conv_mve.h", "dlink_pipeline.c"} < set(library.files)
    assert not {"dlink_depthwise_stage.c", "dlink_softmax.c"} & set(library.files)
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == list(library.files)
    assert library.macs == 600
    assert library.weight_bytes == 60 + 16 + 16 + 4  # weights, bias, multipliers, shifts
    assert library.arena_bytes == library.arena_lower_bound_bytes
    assert library.operators == ("CONV_2D",)
    assert library.input_quantization == (float(np.float32(0.05)), -7)
    assert (library.input_shape, library.output_shape) == ((1, 1, 20, 3), (1, 1, 10, 4))


def test_header_says_what_the_report_says(tmp_path):
    library = generate(chain_model(), tmp_path / "c")
    header = (tmp_path / "c" / "model.h").read_text()
    macros = dict(re.findall(r"#define DLINK_MODEL_(\w+) (\S+)", header))
    assert macros["NAME"] == '"model"'
    assert int(macros["ARENA_BYTES"]) == library.arena_bytes
    assert (macros["INPUT_BYTES"], macros["OUTPUT_BYTES"], macros["N_OUTPUTS"]) == (
        "36",
        "18",
        "18",
    )
    assert float(macros["OUTPUT_SCALE"].rstrip("f")) == library.output_quantization.scale
    assert macros["OUTPUT_ZERO_POINT"] == "(-128)"


def test_each_layer_has_a_comment_with_shapes_and_macs(tmp_path):
    generate(conv_model(), tmp_path / "c")
    source = (tmp_path / "c" / "model.c").read_text()
    line = "/* 0: CONV_2D 1x5 stride 1x2, 1x1x20x3 -> 1x1x10x4, RELU6, 600 MACs */"
    assert source.count(line) == 2  # at the constants and at the call
    assert max(map(len, source.splitlines())) <= 100


def test_two_runs_write_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        generate(chain_model(), tmp_path / folder)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


def test_an_earlier_library_is_replaced_whole(tmp_path):
    generate(conv_model(), tmp_path / "c")
    generate(chain_model(), tmp_path / "c")
    assert not (tmp_path / "c" / "dlink_conv2d.c").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


def test_a_folder_with_other_content_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="folder holds something else"):
        generate(conv_model(), tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_unusable_arguments(tmp_path):
    good, out = conv_model(), tmp_path / "c"
    rows, results = np.zeros((2, 60), np.int8), np.zeros((2, 40), np.int8)
    with pytest.raises(InputError, match="name cannot stand in C source"):
        generate(good, out, name='a"; int x')
    with pytest.raises(InputError, match=r"golden inputs do not fit .*int8 \(2, 60\)"):
        generate(good, out, golden=(rows[:, 1:], results))
    with pytest.raises(InputError, match="golden outputs do not fit"):
        generate(good, out, golden=(rows, results[:1]))
    with pytest.raises(InputError, match="float64"):
        generate(good, out, golden=(rows, results.astype(float)))
    with pytest.raises(InputError, match="golden vectors are empty"):
        generate(good, out, golden=(rows[:0], results[:0]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [1.0, 0.1, 2**-30, 3e8, 1 / 3, 123456789.0])
def test_float_literals_read_back(value):
    text = float_literal(np.float32(value))
    assert re.fullmatch(r"[\d.]+(\.\d|e[+-]?\d+|\d)\d*f", text)
    assert "." in text or "e" in text
    assert np.float32(text[:-1]) == np.float32(value)


def test_importing_the_package_is_light():
    code = (
        "import sys, export.c; print([m for m in ('numpy', 'ai_edge_litert') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
