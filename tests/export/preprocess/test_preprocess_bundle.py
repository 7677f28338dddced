import json
import shutil
from itertools import islice

import numpy as np
import onnx
import pytest
from chains_of_signals import chain, contract

from export.c.host import find_compiler
from export.ir import Quant
from export.preprocess import bundle, replay, write
from export.untrusted import check_models
from targets.errors import InputError

COUNTS = {"input_unit": "counts", "uv_per_count": 0.0223}
QUANT = Quant(np.array([0.02], np.float32), 3)


def student(path):
    """Mean power in two pairs of channels: two logits."""
    weights = np.repeat(np.eye(2, dtype=np.float32), 2, axis=0)
    nodes = [
        onnx.helper.make_node("Mul", ["eeg", "eeg"], ["squares"]),
        onnx.helper.make_node("ReduceMean", ["squares"], ["power"], axes=[2], keepdims=0),
        onnx.helper.make_node("MatMul", ["power", "w"], ["logits"]),
    ]
    ends = [("eeg", (1, 4, 400)), ("logits", (1, 2))]
    infos = [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in ends]
    graph = onnx.helper.make_graph(
        nodes, "s", infos[:1], infos[1:], [onnx.numpy_helper.from_array(weights, "w")]
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artefact")
    path = student(folder / "student.fp32.onnx")
    made = write(chain(**COUNTS), folder, hop=50, student_onnx=path, input_quant=QUANT)
    return folder, made


@pytest.fixture
def copied(written, tmp_path):
    shutil.copytree(written[0], tmp_path / "a")
    return tmp_path / "a"


def test_every_form_is_there_and_passes(written):
    folder, made = written
    assert all((folder / name).is_file() for name in made["files"])
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert files == {*made["files"], "student.fp32.onnx"}
    what = [check["what"] for check in made["checks"]]
    assert what == ["preprocessing, Python", "preprocessing, ONNX", "raw window to logits, ONNX",
                    "preprocessing, C, float", "preprocessing, C, counts"]  # fmt: skip
    assert all(check["passed"] in (True, None) for check in made["checks"])
    if find_compiler():
        assert made["checks"][-1]["snr_db"] > 60
    assert made["hop"] == {"outputs": 50, "inputs": 125}
    assert made["delay"]["seconds"] < 0.05
    assert made["input"]["ch_names"] == list(chain().input_ch_names)
    json.dumps(made, allow_nan=False)


def test_replay_needs_the_folder_alone(copied, written):
    again = [{"what": w, **f, "passed": p} for w, f, p in replay(copied)]
    assert again == written[1]["checks"]


def verdicts(folder):
    return {what.removeprefix("preprocessing, "): p for what, _, p in replay(folder)}


def test_a_changed_coefficient_is_found_in_each_form(copied):
    path = copied / "c" / "preprocess" / "preprocess_model.c"
    text = path.read_text()
    row = next(line for line in text.splitlines() if "{-" in line or "{0." in line)
    path.write_text(text.replace(row, row.replace("{0.", "{0.1", 1)))
    other = chain(**COUNTS, high_pass_order=2)
    onnx.save(bundle_onnx(other), copied / "preprocessing.onnx")
    found = verdicts(copied)
    assert found["Python"] is True
    assert found["ONNX"] is False
    if find_compiler():
        assert found["C, float"] is False
        assert found["C, counts"] is True


def bundle_onnx(made):
    from export.preprocess.onnx_graph import streaming_model

    return streaming_model(made, 50)


def test_changed_golden_samples_are_found(copied):
    with np.load(copied / "preprocessing_golden.npz") as arrays:
        golden = dict(arrays)
    golden["eeg"] = golden["eeg"] * np.float32(1.01)
    golden["logits"] = golden["logits"] + np.float32(0.1)
    np.savez(copied / "preprocessing_golden.npz", **golden)
    assert not any(verdicts(copied).values())
    golden["eeg"][0, 0] = np.nan
    np.savez(copied / "preprocessing_golden.npz", **golden)
    assert not any(passed for _, _, passed in islice(replay(copied), 2))


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"raw": np.zeros((5, 10), np.int32), "eeg": np.zeros((4, 4), np.float32)}, "do not fit"),
        ({"raw": np.zeros((6, 10)), "eeg": np.zeros((4, 4), np.float32)}, "do not fit"),
        ({"eeg": np.zeros((4, 4), np.float32)}, "do not fit"),
        ({"raw": np.array([{}]), "eeg": np.zeros(3)}, "cannot be read"),
    ],
)
def test_damaged_golden_samples_are_refused(copied, arrays, says):
    np.savez(copied / "preprocessing_golden.npz", allow_pickle=True, **arrays)
    with pytest.raises(InputError, match=says):
        list(replay(copied))


def test_another_preprocessing_py_is_named_and_not_run(copied):
    (copied / "preprocessing.py").write_text("raise SystemExit('executed')\n")
    what, figures, passed = next(iter(replay(copied)))
    assert what == "preprocessing, Python"
    assert passed
    assert figures["file_is_this_version"] is False


@pytest.mark.parametrize("kind", ["iir", "fir"])
def test_without_a_student_and_in_volts(kind, tmp_path):
    made = write(chain(kind, input_unit="V", signal=contract(band=(1.0, 40.0))), tmp_path)
    assert not (tmp_path / "student.raw.fp32.onnx").exists()
    assert made["hop"] == {"outputs": 50, "inputs": 125}
    assert [check["what"] for check in made["checks"]][-1] == "preprocessing, C, float"
    assert all(check["passed"] in (True, None) for check in made["checks"])


def test_16_bit_input_leaves_the_bytes_out(tmp_path):
    wide = Quant(np.array([0.001], np.float32), bits=16)
    write(chain(**COUNTS), tmp_path, input_quant=wide)
    assert "to_int8" not in (tmp_path / "c" / "preprocess" / "preprocess_model.h").read_text()


def test_an_illegal_hop_names_a_legal_one(tmp_path):
    with pytest.raises(InputError, match="Choose 52"):
        write(chain(), tmp_path, hop=51)


def test_golden_samples_are_eeg_of_the_device():
    counts = bundle.golden_raw(chain(**COUNTS), 4000)
    assert counts.dtype == np.int32
    volts = bundle.golden_raw(chain(input_unit="V"), 4000)
    np.testing.assert_allclose(counts * 0.0223e-6, volts, atol=0.02e-6)
    spread = (volts - volts.mean(axis=1, keepdims=True)).std()
    assert 10e-6 < spread < 60e-6


def test_its_models_pass_the_checks_of_files_that_are_not_ours(written):
    check_models(written[0])
