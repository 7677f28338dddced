"""What tests on the emulated board share."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest

from firmware_bench.rehearsal import guest_run, sshd, userland
from targets.errors import InputError

GUEST_RUN = guest_run.__file__
REFERENCE = Path(os.environ.get("DLINK_REFERENCE", Path(__file__).parents[3] / "shared/reference"))

needs_board = pytest.mark.skipif(
    not all(map(userland.is_built, userland.USERLANDS)),
    reason="rehearsal board is not built (make rehearsal)",
)
needs_models = pytest.mark.skipif(not REFERENCE.is_dir(), reason="no data")


@contextlib.contextmanager
def machine_or_skip(board, arch):
    """A board behind ssh, or a skipped test where this machine cannot hold one."""
    with contextlib.ExitStack() as stack:
        try:
            pi = stack.enter_context(sshd.Pi(board, arch))
        except InputError as err:
            pytest.skip(f"no emulated machine here: {err}")
        yield pi


def fully_connected(path, *, per_channel, bias=True, n_in=64, n_out=4):
    """Write an int8 TFLite model of one dense layer; returns its output for an input of ones."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    rng = np.random.default_rng(0)
    weights = rng.integers(-127, 128, (n_out, n_in), dtype=np.int8)
    scales = rng.uniform(0.005, 0.02, n_out) if per_channel else np.array([0.01])

    def tensor(name, shape, kind, buffer, scale):
        quantised = schema.QuantizationParametersT()
        quantised.scale, quantised.zeroPoint = list(map(float, scale)), [0] * len(scale)
        one = schema.TensorT()
        one.name, one.shape, one.type, one.buffer = name, shape, kind, buffer
        one.quantization = quantised
        return one

    def buffer(data):
        one = schema.BufferT()
        one.data = np.frombuffer(data, np.uint8) if data else None
        return one

    types = schema.TensorType
    graph = schema.SubGraphT()
    graph.tensors = [
        tensor(b"x", [1, n_in], types.INT8, 0, [0.05]),
        tensor(b"w", [n_out, n_in], types.INT8, 1, scales),
        tensor(b"b", [n_out], types.INT32, 2, scales * 0.05),
        tensor(b"y", [1, n_out], types.INT8, 0, [1.0]),
    ]
    graph.name, graph.inputs, graph.outputs = b"main", [0], [3]
    operator = schema.OperatorT()
    operator.inputs, operator.outputs = [0, 1, 2 if bias else -1], [3]
    operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    operator.builtinOptions = schema.FullyConnectedOptionsT()
    graph.operators = [operator]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version = 4
    model = schema.ModelT()
    model.version, model.description = 3, b"one dense layer"
    model.buffers = [buffer(b""), buffer(weights.tobytes()), buffer(bytes(4 * n_out))]
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return np.clip(np.rint((weights * scales[:, None]).sum(1) * 0.05 * 20), -128, 127)
