"""torch -> ONNX: static shape, batch 1, one file, checked and simplified."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import onnxsim
import torch

from targets.errors import InputError
from targets.files import atomic_path


def export_onnx(
    model: torch.nn.Module,
    example: torch.Tensor,
    path: Path,
    *,
    input_name: str = "eeg",
    output_name: str = "logits",
    opset: int = 20,
) -> None:
    """Write `model` in evaluation mode as ONNX, whole or not at all.

    Parameters
    ----------
    example : torch.Tensor
        One window, float32 (1, n_chans, n_times); its shape becomes the only shape.

    Raises
    ------
    InputError
        The model cannot be exported, or the output cannot be written.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with _quiet() as chatter, torch.no_grad():
            try:
                program = torch.onnx.export(
                    model,
                    (example,),
                    None,
                    dynamo=True,
                    opset_version=opset,
                    input_names=[input_name],
                    output_names=[output_name],
                    external_data=False,
                    verbose=False,
                )
                assert program is not None
                proto = simplify(program.model_proto)
            except Exception as err:
                # The exporter raises dozens of types; the cause lies in the model it was given.
                raise InputError(
                    "the model cannot be exported to ONNX",
                    where=type(model).__name__,
                    value=_last_words(err, chatter.getvalue()),
                    todo="Replace the operation named, or export a supported model.",
                ) from err
    finally:
        for module, training in modes:
            module.training = training
    with atomic_path(path) as part:
        part.write_bytes(proto.SerializeToString(deterministic=True))


def simplify(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Fold constants and batch norms, drop the tracer's notes, check; return a new model."""
    simple, same = onnxsim.simplify(proto)
    if not same:
        raise ValueError("onnxsim's result differs from the original model")
    strip_notes(simple)
    onnx.checker.check_model(simple, full_check=True)
    return simple


def strip_notes(proto: onnx.ModelProto) -> None:
    """Remove the exporter's stack traces and source paths, which belong to nobody's device."""
    graph = proto.graph
    for item in (proto, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        del item.metadata_props[:]
        item.doc_string = ""
    for constant in graph.initializer:
        del constant.metadata_props[:]
        constant.doc_string = ""


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Collect what the exporter prints, warns and logs; give it back only on failure."""
    chatter = io.StringIO()
    with (
        contextlib.redirect_stdout(chatter),
        contextlib.redirect_stderr(chatter),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield chatter
        finally:
            logging.disable(before)


def _last_words(err: Exception, chatter: str) -> str:
    """The exporter's error, innermost cause first, on one line."""
    inner: BaseException = err
    while inner.__cause__ is not None:
        inner = inner.__cause__
    lines = (str(inner) or type(inner).__name__).strip().splitlines() or chatter.splitlines()[-1:]
    return f"{type(inner).__name__}: {lines[0][:300]}"
