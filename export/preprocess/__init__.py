"""The signal contract on the device: one causal chain as Python, ONNX and C.

:func:`design` makes its definition, :func:`write` puts all forms into an artefact, :func:`replay`
checks them again from the folder alone. docs/preprocessing.md says how they are used.
"""

from export.preprocess.bundle import write
from export.preprocess.definition import Preprocessor
from export.preprocess.design import design
from export.preprocess.replaying import replay

__all__ = ["Preprocessor", "design", "replay", "write"]
