"""Which runtimes there are and which are installed; importing none of them, nor NumPy."""

from __future__ import annotations

import importlib.util
from importlib import metadata

#: Where the TFLite `Interpreter` class is found, best first: package -> module.
TFLITE_PACKAGES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
#: A package under the name that targets give it.
SHORT = {"ai-edge-litert": "litert"}
#: File ending -> who reads it: a target's name for it -> package.
READERS = {
    "onnx": {"onnxruntime": "onnxruntime"},
    "tflite": {SHORT.get(package, package): package for package in TFLITE_PACKAGES},
}


def installed() -> dict[str, str]:
    """Runtimes, and NumPy, that are installed here: a target's name for it -> version."""
    packages = {name: package for kind in READERS.values() for name, package in kind.items()}
    found = {}
    for name, package in {**packages, "numpy": "numpy"}.items():
        module = TFLITE_PACKAGES.get(package, package).split(".", 1)[0]
        try:
            if importlib.util.find_spec(module) is not None:
                found[name] = metadata.version(package)
        except (ImportError, ValueError):
            continue
    return found
