"""A trial run of a model that is not ours, in a process of its own with limits.

The checker's shape inference and the runtimes are C++ that was written for honest files: a zero
stride may divide, an expanded constant may fill the machine. What happens to the trial's process
happens to nobody else.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.untrusted import Limits

_ALLOWED_CHATTER = 2000


def try_model(kind: str, data: bytes, where: Path, limits: Limits) -> None:
    """Check, load and run the model once on zeros, elsewhere.

    Parameters
    ----------
    kind : "onnx" or "tflite".

    Raises
    ------
    InputError
        The runtime refuses the model, crashes on it, or exceeds the limits of memory or time.
    """
    from targets.errors import InputError

    asked = [kind, str(limits.trial_bytes), str(limits.elements), str(limits.trial_seconds)]
    try:
        # -P: the folder of this file holds modules that must not hide others of the same name.
        done = subprocess.run(
            [sys.executable, "-P", __file__, *asked], input=data, capture_output=True,
            timeout=limits.trial_seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(
            "the model does not finish one window", where=where,
            limit=f"{limits.trial_seconds:g} s", todo="Export a smaller model.",
        ) from None  # fmt: skip
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise InputError("the runtime does not survive the model", where=where, value=name,
                         todo="Export the model again; it is damaged or hostile.")  # fmt: skip
    try:
        answer = json.loads(done.stdout[-_ALLOWED_CHATTER:].splitlines()[-1])
    except (ValueError, IndexError):
        last = done.stderr[-_ALLOWED_CHATTER:].decode(errors="replace").strip().splitlines()
        answer = {"error": last[-1] if last else f"exit code {done.returncode}"}
    if answer.get("error"):
        raise InputError(f"the runtime refuses the model: {answer['error']}", where=where)


def _onnx(data: bytes, most_elements: int) -> None:
    import math

    import numpy as np
    import onnx
    import onnxruntime

    proto = onnx.ModelProto.FromString(data)
    onnx.checker.check_model(proto, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    for info in (*inferred.graph.value_info, *inferred.graph.output):
        shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
        if math.prod(shape) > most_elements:
            raise ValueError(f"value {info.name!r} has {shape} elements, allowed {most_elements}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    feeds = {}
    for entry in session.get_inputs():
        if entry.type != "tensor(float)" or not all(isinstance(n, int) for n in entry.shape):
            return  # what feeds it is the caller's to refuse; it has loaded
        feeds[entry.name] = np.zeros(entry.shape, np.float32)
    session.run(None, feeds)


def _tflite(data: bytes, most_elements: int) -> None:
    import numpy as np

    for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            break
    else:
        return  # nothing here would run it
    interpreter = module.Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    for entry in interpreter.get_input_details():
        interpreter.set_tensor(entry["index"], np.zeros(entry["shape"], entry["dtype"]))
    interpreter.invoke()


def _main(kind: str, most_bytes: str, most_elements: str, seconds: str) -> None:
    import resource

    def cap(what: int, most: int) -> None:
        _, hard = resource.getrlimit(what)
        bounded = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (bounded, hard))

    cap(resource.RLIMIT_AS, int(most_bytes))
    cap(resource.RLIMIT_CPU, int(float(seconds)) + 1)
    cap(resource.RLIMIT_CORE, 0)
    answer: dict[str, Any] = {"error": None}
    try:
        {"onnx": _onnx, "tflite": _tflite}[kind](sys.stdin.buffer.read(), int(most_elements))
    except Exception as err:  # each library raises types of its own; the text goes to the user
        said = (str(err).strip().splitlines() or [""])[0]
        answer["error"] = f"{type(err).__name__}: {said[:300]}"
    print("\n" + json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:5])
