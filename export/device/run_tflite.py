"""Run a .tflite file on prepared inputs: ``run_tflite.py MODEL INPUTS.npy OUTPUTS.npy``.

Stands alone: Python 3.9 or newer, numpy, and tflite-runtime or ai-edge-litert. INPUTS holds one row
an inference, (n, elements), of the dtype of the model's input; OUTPUTS gets the same, (n, elements)
of its output's. Prints one line of JSON: the runtime and its version.
"""

import importlib
import json
import sys
from importlib import metadata

import numpy as np

RUNTIMES = {
    "tflite-runtime": "tflite_runtime.interpreter",
    "ai-edge-litert": "ai_edge_litert.interpreter",
}


def find_interpreter():  # type: ignore[no-untyped-def]
    """Return (class, "package version") of the first runtime that is installed."""
    for package, module in RUNTIMES.items():
        try:
            found = importlib.import_module(module).Interpreter
        except ImportError:
            continue
        return found, f"{package} {metadata.version(package)}"
    raise SystemExit("neither tflite-runtime nor ai-edge-litert is installed")


def run(model: str, inputs: str, outputs: str) -> str:
    """Run every row of the file `inputs`, one thread; returns the runtime's name and version."""
    interpreter_class, runtime = find_interpreter()
    interpreter = interpreter_class(model_path=model, num_threads=1)
    interpreter.allocate_tensors()
    entry, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    rows = np.load(inputs, allow_pickle=False)
    if rows.dtype != entry["dtype"]:
        raise SystemExit(f"inputs are {rows.dtype}, the model takes {np.dtype(entry['dtype'])}")
    found = []
    for row in rows:
        interpreter.set_tensor(entry["index"], row.reshape(entry["shape"]))
        interpreter.invoke()
        found.append(np.array(interpreter.get_tensor(out["index"])).reshape(-1))
    np.save(outputs, np.stack(found), allow_pickle=False)
    return str(runtime)


if __name__ == "__main__":
    print(json.dumps({"runtime": run(*sys.argv[1:4])}))
