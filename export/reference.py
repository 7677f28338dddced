"""Integer models with ELU for LiteRT's reference kernels, which have no ELU.

LiteRT's other kernels compute int8 ELU as a table of 256 bytes. Here that table is read out of them
and put into the model: cast to int32, add 128, gather. All three the reference kernels have, so
that every other operator is theirs.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

_Code, _Options = schema.BuiltinOperator, schema.BuiltinOptions


def has_elu(content: bytes) -> bool:
    """Whether a .tflite file holds an ELU; False for what cannot be read as one."""
    if content[4:8] != b"TFL3":
        return False
    root = schema.Model.GetRootAs(content, 0)
    codes = (root.OperatorCodes(i) for i in range(root.OperatorCodesLength()))
    return any(code.BuiltinCode() == _Code.ELU for code in codes)


def with_tables(content: bytes) -> bytes:
    """The model with every int8 ELU as a table; a float ELU is left."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    elus = {i for i, code in enumerate(model.operatorCodes) if code.builtinCode == _Code.ELU}
    operators = []
    for op in graph.operators:
        integer = graph.tensors[op.inputs[0]].type == schema.TensorType.INT8
        if op.opcodeIndex in elus and integer:
            operators += _table(model, int(op.inputs[0]), int(op.outputs[0]))
        else:
            operators.append(op)
    graph.operators = operators
    for i in elus - {op.opcodeIndex for op in operators}:
        model.operatorCodes[i] = _operator_code(_Code.CAST)  # nobody's: only its place is kept
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def elu_table(source: schema.TensorT, target: schema.TensorT) -> npt.NDArray[np.int8]:
    """ELU of -128..127 as LiteRT computes it between the scales of two tensors."""
    from export.runtimes import litert

    module = litert()
    interpreter = module.Interpreter(
        model_content=_alone(source, target),
        experimental_op_resolver_type=module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    every = np.arange(-128, 128).astype(np.int8)[None]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], every)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))[0]


def _alone(source: schema.TensorT, target: schema.TensorT) -> bytes:
    """A model of one ELU over 256 values."""
    tensors = [
        schema.TensorT(shape=[1, 256], type=t.type, quantization=t.quantization)
        for t in (source, target)
    ]
    model = schema.ModelT(
        version=3,
        operatorCodes=[_operator_code(_Code.ELU)],
        buffers=[schema.BufferT()],
        subgraphs=[
            schema.SubGraphT(
                tensors=tensors,
                inputs=[0],
                outputs=[1],
                operators=[schema.OperatorT(opcodeIndex=0, inputs=[0], outputs=[1])],
            )
        ],
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _operator_code(code: int, version: int = 1) -> schema.OperatorCodeT:
    return schema.OperatorCodeT(
        deprecatedBuiltinCode=min(code, 127), builtinCode=code, version=version
    )


def _table(model: schema.ModelT, source: int, target: int) -> list[schema.OperatorT]:
    """The three operators in the place of an ELU."""
    graph = model.subgraphs[0]
    x, y = graph.tensors[source], graph.tensors[target]

    def constant(data: npt.NDArray[Any], kind: int, quantization: Any = None) -> int:
        model.buffers.append(schema.BufferT(data=np.frombuffer(data.tobytes(), np.uint8)))
        return tensor(list(data.shape), kind, len(model.buffers) - 1, quantization)

    def tensor(shape: Any, kind: int, buffer: int = 0, quantization: Any = None) -> int:
        graph.tensors.append(
            schema.TensorT(shape=shape, type=kind, buffer=buffer, quantization=quantization)
        )
        return len(graph.tensors) - 1

    def operator(
        code: int, inputs: list[int], output: int, kind: int, options: Any, version: int = 1
    ) -> schema.OperatorT:
        model.operatorCodes.append(_operator_code(code, version))
        return schema.OperatorT(
            opcodeIndex=len(model.operatorCodes) - 1,
            inputs=inputs,
            outputs=[output],
            builtinOptionsType=kind,
            builtinOptions=options,
        )

    int32 = schema.TensorType.INT32
    cast, index = tensor(x.shape, int32), tensor(x.shape, int32)
    offset = constant(np.array([128], np.int32), int32)
    table = constant(elu_table(x, y), schema.TensorType.INT8, y.quantization)
    return [
        operator(_Code.CAST, [source], cast, _Options.CastOptions, schema.CastOptionsT()),
        operator(_Code.ADD, [cast, offset], index, _Options.AddOptions, schema.AddOptionsT()),
        operator(
            _Code.GATHER, [table, index], target, _Options.GatherOptions, schema.GatherOptionsT(), 2
        ),
    ]
