"""Hostile .tflite files: each rule by a file made for it, then hundreds of damaged real ones."""

import contextlib
import subprocess
import sys
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hostile import mutants

from export.untrusted import Limits, load_tflite
from export.untrusted_tflite import check_tflite
from targets.errors import InputError

SUM = 0  # ADD of the schema's operators


def tensor(shape=(1, 4), kind=0, buffer=0, name=b"t"):
    found = schema.TensorT()
    found.shape, found.type, found.buffer, found.name = list(shape), kind, buffer, name
    return found


def operator(inputs, outputs, code=0):
    found = schema.OperatorT()
    found.opcodeIndex, found.inputs, found.outputs = code, inputs, outputs
    return found


def honest() -> schema.ModelT:
    """Input 0, constant 1; 2 = 0 + 1, 3 = 2 + 1 is the output."""
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description = 3, b"hand"
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = SUM, SUM, 1
    empty, full = schema.BufferT(), schema.BufferT()
    full.data = np.frombuffer(np.ones(4, np.float32).tobytes(), np.uint8)
    graph.tensors = [tensor(), tensor(buffer=1), tensor(), tensor()]
    graph.operators = [operator([0, 1], [2]), operator([2, 1], [3])]
    for node in graph.operators:
        node.builtinOptionsType, node.builtinOptions = 11, schema.AddOptionsT()
    graph.inputs, graph.outputs = [0], [3]
    model.operatorCodes, model.subgraphs, model.buffers = [code], [graph], [empty, full]
    return model


def packed(model) -> bytes:
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def edit(**paths):
    """A change of the honest model: path, with __ for a dot -> value."""

    def change(model):
        for path, value in paths.items():
            place = model
            *steps, last = path.split("__")
            for step in steps:
                place = place[int(step)] if step.isdigit() else getattr(place, step)
            if last.isdigit():
                place[int(last)] = value
            else:
                setattr(place, last, value)

    return change


def custom(model):
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = 32
    code.customCode = b"Evil"


def quantised(**fields):
    def change(model):
        quant = schema.QuantizationParametersT()
        quant.scale, quant.zeroPoint = [1.0], [0]
        for name, value in fields.items():
            setattr(quant, name, value)
        model.subgraphs[0].tensors[2].quantization = quant

    return change


def signature(model):
    entry, found = schema.TensorMapT(), schema.SignatureDefT()
    entry.name, entry.tensorIndex = b"x", 77
    found.inputs, found.outputs, found.signatureKey = [entry], [], b"k"
    model.signatureDefs = [found]


def metadata(model):
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"min_runtime_version", 9
    model.metadata = [entry]


G = "subgraphs__0__"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.subgraphs.append(m.subgraphs[0]), r"too many graphs \(found 2, allowed 1"),
        (edit(subgraphs=[]), "must have one graph"),
        (custom, "node 0: operator is not one.*CUSTOM 'Evil'"),
        (edit(operatorCodes__0__builtinCode=119), "operator is not one"),  # WHILE
        (edit(operatorCodes__0__builtinCode=4000), "number 4000"),
        (edit(**{f"{G}operators__0__opcodeIndex": 5}), "code is outside the table"),
        (edit(**{f"{G}operators__0__inputs": [0, 99]}), "inputs: tensor is outside.*found 99"),
        (edit(**{f"{G}operators__0__inputs": [0, -2]}), "inputs: tensor is outside.*found -2"),
        (edit(**{f"{G}operators__0__outputs": [-1]}), "outputs: tensor is outside"),
        (edit(**{f"{G}operators__0__inputs": [3, 1]}), r"node 0 \(ADD\).*tensor 3, which itself"),
        (edit(**{f"{G}operators__0__inputs": [2, 1]}), "tensor 2, which itself or a later"),
        (edit(**{f"{G}operators__1__outputs": [2]}), "makes again tensor 2"),
        (edit(**{f"{G}operators__1__outputs": [1]}), "overwrites input or constant tensor 1"),
        (edit(**{f"{G}inputs": [0, 0]}), "graph inputs stand there twice"),
        (edit(**{f"{G}inputs": [1]}), "or hold data"),
        (edit(**{f"{G}inputs": [44]}), "graph inputs: tensor is outside"),
        (edit(**{f"{G}inputs": []}), "tensor 0, which nothing makes"),
        (edit(**{f"{G}outputs": []}), "output is made by no node"),
        (edit(**{f"{G}operators": []}), "output is made by no node"),
        (edit(**{f"{G}tensors__2__shape": [1, -4]}), "unusable shape"),
        (edit(**{f"{G}tensors__2__shape": [1 << 30, 1 << 30, 1 << 30]}), "unusable shape"),
        (edit(**{f"{G}tensors__2__shape": [1] * 9}), "damaged: tensor 2 has 9 axes"),
        (edit(**{f"{G}tensors__1__shape": [1, 5]}), "disagrees .*16 bytes, allowed 20"),
        (edit(**{f"{G}tensors__1__buffer": 7}), "buffer is outside the table"),
        (edit(**{f"{G}tensors__2__type": 5}), "type that is not read"),
        (edit(**{f"{G}tensors__2__sparsity": schema.SparsityParametersT()}), "sparse"),
        (quantised(scale=[1.0, 2.0, 3.0]), "quantisation is unusable"),
        (quantised(scale=[float("nan")]), "quantisation is unusable"),
        (quantised(zeroPoint=[0] * 4), "quantisation is unusable"),
        (edit(buffers__1__offset=4096), "lie outside the flatbuffer"),
        (edit(**{f"{G}operators__0__largeCustomOptionsOffset": 64}), "options lie outside"),
        (signature, "signature's tensor is outside"),
        (metadata, "metadata's buffer is outside"),
    ],
)  # fmt: skip
def test_each_fault_is_named(tmp_path, change, said):
    model = honest()
    change(model)
    path = tmp_path / "model.tflite"
    path.write_bytes(packed(model))
    with pytest.raises(InputError, match=said) as caught:
        load_tflite(path, trial=False)
    assert str(path) in str(caught.value)


def test_an_honest_model_loads(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(packed(honest()))
    assert load_tflite(path) == path.read_bytes()


def test_tensors_that_only_together_fill_the_memory():
    model = honest()
    model.subgraphs[0].tensors += [tensor((1 << 28,)) for _ in range(5)]
    with pytest.raises(InputError, match="take more memory"):
        check_tflite(packed(model), Path("model"), Limits())


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0\0\0\0TFL3", b"\xff\xff\xff\x7fTFL3" * 4])
def test_bytes_that_are_no_model(tmp_path, data):
    path = tmp_path / "model.tflite"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"empty|not a TFLite model|damaged|one graph"):
        load_tflite(path, trial=False)


def test_what_the_runtime_refuses_is_said_in_its_words(tmp_path):
    model = honest()
    model.subgraphs[0].tensors[1].shape, model.subgraphs[0].tensors[1].type = [1, 2, 2], 0
    model.subgraphs[0].tensors[0].shape = [1, 3]
    path = tmp_path / "model.tflite"
    path.write_bytes(packed(model))
    load_tflite(path, trial=False)
    with pytest.raises(InputError, match=r"the runtime refuses the model: RuntimeError: .*prepare"):
        load_tflite(path)


FUZZ = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from hostile import mutants
from export.untrusted import Limits
from export.untrusted_tflite import check_tflite
from targets.errors import InputError
check_tflite(Path(sys.argv[1]).read_bytes(), Path("x"), Limits())
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, resource.RLIM_INFINITY))
count = [0, 0]
for data in mutants(Path(sys.argv[1]).read_bytes(), 600):
    try:
        check_tflite(data, Path("x"), Limits())
        count[0] += 1
    except InputError:
        count[1] += 1
print(*count)
"""


@pytest.mark.parametrize("kind", ["fp32", "int8"])
def test_damaged_files_load_or_are_refused_within_a_gigabyte(mic, tmp_path, kind):
    path = tmp_path / "model.tflite"
    path.write_bytes(getattr(mic, kind))
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(path), str(Path(__file__).parent)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    loaded, refused = map(int, done.stdout.split())
    assert loaded + refused == 600
    assert refused > 60


def test_what_the_rules_let_through_does_not_take_this_process_down(mic, tmp_path):
    path, tried = tmp_path / "model.tflite", 0
    for data in mutants(mic.int8, 400, seed=5):
        path.write_bytes(data)
        try:
            load_tflite(path, trial=False)
        except InputError:
            continue
        tried += 1
        with contextlib.suppress(InputError):  # any other end of it fails the test
            load_tflite(path)
        if tried == 25:
            break
    assert tried == 25
