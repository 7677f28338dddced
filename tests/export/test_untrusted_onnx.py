"""Hostile ONNX files: each rule by a file made for it, then hundreds of damaged real ones."""

import contextlib
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from hostile import proto_mutants
from onnx import TensorProto, helper
from onnx_models import Maker

from export import manifest
from export.untrusted import Limits, check_models, load_onnx
from targets.errors import InputError


def honest() -> onnx.ModelProto:
    maker = Maker()
    x = maker.node("Relu", maker.conv(maker.unsqueeze(), 4, 2))
    return maker.model(maker.head(x, 80))


@pytest.fixture
def refused(tmp_path):
    """Assert that a model, changed by a function, is refused with these words and its file."""

    def check(change, said, **options):
        proto = honest()
        changed = change(proto)
        proto = proto if changed is None else changed
        path = tmp_path / "model.onnx"
        path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
        with pytest.raises(InputError, match=said) as caught:
            load_onnx(path, **{"trial": False, **options})
        assert str(path) in str(caught.value)

    return check


def test_an_honest_model_loads(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(honest(), path)
    assert load_onnx(path) == honest()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("/etc/passwd", "outside the model's folder"),
        ("../../secret", "outside the model's folder"),
        ("C:\\secret", "outside the model's folder"),
        ("weights.bin", "in another file"),
    ],
)
@pytest.mark.parametrize("where", ["initializer", "attribute"])
def test_external_data_of_any_kind(refused, place, said, where):
    def change(proto):
        tensor = TensorProto(name="w", data_type=1, dims=[2, 4, 1, 1], data_location=1)
        tensor.external_data.add(key="location", value=place)
        if where == "initializer":
            proto.graph.initializer[1].CopyFrom(tensor)
        else:
            proto.graph.node.add(op_type="Constant", output=["k"]).attribute.add(
                name="value", type=onnx.AttributeProto.TENSOR
            ).t.CopyFrom(tensor)

    refused(change, rf"{said}.*{Path(place).name.split(chr(92))[-1]}.*save_as_external_data=False")


def first(proto) -> TensorProto:
    return proto.graph.initializer[1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: first(p).dims.__setitem__(0, -2), "unusable shape"),
        (lambda p: first(p).dims.extend([1 << 40, 1 << 40]), "unusable shape"),
        (lambda p: first(p).dims.extend([1] * 9), "unusable shape"),
        (lambda p: first(p).dims.append(3), r"shape disagrees with its data \(found 32 bytes"),
        (lambda p: first(p).ClearField("raw_data"), "shape disagrees.*found 0 values"),
        (lambda p: first(p).float_data.append(1), "several forms"),
        (lambda p: first(p).int64_data.append(1), "several forms"),
        (lambda p: setattr(first(p), "data_type", 77), "type that is not read"),
        (lambda p: setattr(first(p), "data_type", 14), "type that is not read"),
        (lambda p: setattr(first(p).segment, "begin", 1), "one segment"),
        (lambda p: p.graph.initializer.append(first(p)), "'c1' stands there twice"),
        (lambda p: p.graph.sparse_initializer.add(), "sparse"),
        (lambda p: p.graph.input[0].type.tensor_type.shape.dim.add(dim_value=-1), "unusable shape"),
        (lambda p: p.graph.input[0].type.tensor_type.shape.dim.add(dim_value=1 << 60), "unusable"),
        (lambda p: p.graph.output[0].type.sequence_type.elem_type.SetInParent(), "no tensor"),
    ],
)  # fmt: skip
def test_tensors_that_lie(refused, change, said):
    refused(lambda proto: change(proto) and None, said)


def cycle(proto):
    proto.graph.node[0].input[0] = "gemm4"


def attributed(name, **value):
    def change(proto):
        node = next(n for n in proto.graph.node if n.op_type == "Conv")
        kept = [a for a in node.attribute if a.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, **value)])

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (cycle, r"node '?unsqueeze0.*reads 'gemm4', which itself or a later node makes.*cycle"),
        (lambda p: p.graph.node[0].input.__setitem__(0, "nobody"), "'nobody', which nothing makes"),
        (lambda p: p.graph.node[1].output.__setitem__(0, "unsqueeze0"), "a second time"),
        (lambda p: p.graph.node[1].output.__setitem__(0, "eeg"), "a second time"),
        (lambda p: p.graph.node.reverse(), "later node makes"),
        (lambda p: setattr(p.graph.output[0], "name", "gone"), "made by no node"),
        (lambda p: p.graph.output.append(p.graph.output[0]), "stands there twice"),
        (lambda p: setattr(p.graph.node[2], "domain", "com.evil"), "domain 'com.evil'"),
        (lambda p: setattr(p.graph.node[2], "op_type", "Launch"), "no such operator in version 20"),
        (lambda p: p.opset_import.add(domain="com.evil", version=1), "com.evil"),
        (lambda p: p.opset_import.add(version=20), "named twice"),
        (lambda p: p.ClearField("opset_import"), "found none, allowed 7 to"),
        (lambda p: setattr(p.opset_import[0], "version", 10**6), "operator set version"),
        (lambda p: p.functions.add(name="f"), "inline_local_functions"),
        (lambda p: p.training_info.add(), "training steps"),
        (lambda p: p.graph.ClearField("node"), "number of nodes"),
        (lambda p: p.ClearField("graph"), "not an ONNX model"),
        (lambda p: setattr(p.graph.node[0], "name", "\x1b[2J"), "not printable"),
        (lambda p: setattr(p.graph.node[0], "name", "n" * 9999), "9999 characters"),
        (lambda p: setattr(p, "ir_version", 999), "checker refuses"),
        (attributed("group", value=0), "must be positive"),
        (attributed("strides", value=[0, 1]), "must be positive"),
        (attributed("dilations", value=[1, 1 << 40]), "must be positive"),
        (lambda p: p.graph.node[2].attribute.add(name="a", ref_attr_name="b"), "refers"),
    ],
)  # fmt: skip
def test_graphs_that_are_none(refused, change, said):
    refused(lambda proto: change(proto) and None, said)


def test_graphs_within_graphs(refused):
    def nested(proto):
        inner = helper.make_graph([], "in", [], [])
        for _ in range(8):
            node = helper.make_node("If", ["c0"], ["x"], then_branch=inner, else_branch=inner)
            inner = helper.make_graph([node], "in", [], [])
        proto.graph.node.append(inner.node[0])

    refused(nested, r"nested too deeply \(found 4, allowed 3\)")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"hello, I am no model" * 40, "not a readable ONNX model"),
        (b"\x0a\x05ab", "not a readable ONNX model: 5 bytes"),
        (b"\x80" * 40, "more than ten bytes"),
        (b"\x0b", "wire type 3"),
        (b"\x00\x00", "field number 0"),
        (b"\x3d\x00", "runs over the end"),
        (b"", "file is empty"),
    ],
)
def test_bytes_that_are_no_onnx(refused, data, said):
    refused(lambda proto: data, said)


def varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def test_a_small_file_that_would_fill_the_memory(refused):
    nodes = b"\x0a\x00" * 2_000_000  # two bytes a node in the file, hundreds when parsed
    start = time.monotonic()
    refused(lambda proto: b"\x3a" + varint(len(nodes)) + nodes, "more than 1000000 fields")
    assert time.monotonic() - start < 20


def test_files_that_are_too_large_or_absent(refused, tmp_path):
    refused(lambda proto: None, "file is too large.*512 B", limits=Limits(file_bytes=512))
    with pytest.raises(InputError, match="file not found"):
        load_onnx(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="is no file"):
        load_onnx(tmp_path)


def huge(proto):
    """Every size in the file is small; what the model makes of them is not."""
    maker = Maker()
    shape = maker.const(np.array([1 << 16, 1 << 15, 4], np.int64))
    big = maker.node("Expand", maker.const(np.ones((1,), np.float32)), shape)
    total = maker.node("ReduceSum", big)
    return maker.model(maker.node("Add", "eeg", total), (1, 4, 40))


def test_sizes_that_only_the_graph_makes_are_found_in_the_trial(refused):
    refused(huge, r"the runtime refuses the model: ValueError: value 'expand0' has", trial=True)


def test_the_trial_has_limits_of_memory_and_time(refused):
    small = Limits(elements=1 << 50, trial_bytes=2 << 30)
    refused(huge, "the runtime (refuses|does not survive)", trial=True, limits=small)

    refused(lambda proto: None, "does not finish one window", trial=True,
            limits=Limits(trial_seconds=0.05))  # fmt: skip


FUZZ = """
import resource, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
import onnx
from hostile import mutants, proto_mutants
from export.untrusted import load_onnx
from targets.errors import InputError
import export.untrusted_onnx
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, resource.RLIM_INFINITY))
whole, path = Path(sys.argv[1]).read_bytes(), Path(sys.argv[1] + ".broken")
loaded = refused = 0
slowest = 0.0
count = int(sys.argv[3]) // 2
structured = proto_mutants(onnx.ModelProto.FromString(whole), count)
for data in (*mutants(whole, count), *structured):
    path.write_bytes(data)
    start = time.monotonic()
    try:
        load_onnx(path, trial=False)
        loaded += 1
    except InputError:
        refused += 1
    slowest = max(slowest, time.monotonic() - start)
print(loaded, refused, slowest)
"""


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_damaged_files_load_or_are_refused_within_two_gigabytes(mic, tmp_path, kind):
    path = tmp_path / "model.onnx"
    onnx.save(mic.proto if kind == "fp32" else mic.qdq, path)
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(path), str(Path(__file__).parent), "600"],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    loaded, refused, slowest = map(float, done.stdout.split())
    assert loaded + refused == 600
    assert refused > 100
    assert slowest < 2.0


def test_what_the_rules_let_through_the_runtime_survives_or_is_refused(mic, tmp_path):
    path, tried = tmp_path / "model.onnx", 0
    for data in proto_mutants(mic.qdq, 400, seed=5):
        path.write_bytes(data)
        try:
            load_onnx(path, trial=False)
        except InputError:
            continue
        tried += 1
        with contextlib.suppress(InputError):  # any other end of it fails the test
            load_onnx(path)
        if tried == 12:
            break
    assert tried == 12


def test_an_artefact_with_a_hostile_model_is_refused_although_its_checksums_agree(
    exported, tmp_path
):
    folder = tmp_path / "a"
    shutil.copytree(exported, folder)
    check_models(folder)
    path = folder / "student.fp32.onnx"
    proto = onnx.load(path)
    tensor = proto.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    path.write_bytes(proto.SerializeToString())
    found = manifest.load(exported)
    manifest.write(found.model_copy(update={"files": manifest.files_of(folder)}), folder)
    manifest.load(folder)
    with pytest.raises(InputError, match="/etc/passwd"):
        check_models(folder)
