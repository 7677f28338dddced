"""An int8 .tflite becomes a plain C99 library: reader, plan, emit and the kernels it ships."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from export.c.generate import GeneratedLibrary, Quantization, generate
    from export.c.host import HostModel

__all__ = ["GeneratedLibrary", "HostModel", "Quantization", "generate"]

_WHERE = {
    "GeneratedLibrary": "export.c.generate",
    "HostModel": "export.c.host",
    "Quantization": "export.c.generate",
    "generate": "export.c.generate",
}


def __getattr__(name: str) -> Any:
    """Load numpy and the generator only when they are used."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_WHERE[name]), name)
    globals()[name] = value
    return value
