"""What is exported: a student with its signal contract, its windows, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from distill.signal import SignalSpec
from distill.windows import Windows

if TYPE_CHECKING:
    import onnx
    from torch import nn


@dataclass(frozen=True)
class Source:
    """Everything that the pipeline needs to know of a model; each kind of input makes one.

    Attributes
    ----------
    name : short name for files and titles.
    kind : where it comes from.
    what : one line for people: "MiC student of runs/eegmat, distilled, seed 2".
    signal, labels : contract and class names.
    splits : "train", "val", "test" -> windows as this model sees them; a split may be absent.
    student : in evaluation mode, (1, n_chans, n_times) -> (1, n_outputs); None for an ONNX file.
    proto : the ONNX file's model; None for torch models.
    make_teacher : loads the teacher, frozen; None where there is none.
    no_teacher : why `make_teacher` is None, for an error; "" where there simply is no teacher.
    soft_targets : the teacher's logits on the training windows, (n_train, n_outputs), computed when
        called; None where there is no teacher.
    weights_hash : SHA-256 over the student's weights and its arguments, hexadecimal: the key of
        what is made from it. The checksum of the file stands in facts["weights"].
    facts : what manifest and card say of training: results of a run, or of a file its checksum.
    provenance : recipe, hashes, versions: the manifest's provenance, less "exported_with".
    """

    name: str
    kind: Literal["run", "braindecode", "module", "onnx"]
    what: str
    signal: SignalSpec
    labels: tuple[str, ...]
    splits: Mapping[str, Windows]
    student: nn.Module | None
    proto: onnx.ModelProto | None
    weights_hash: str
    make_teacher: Callable[[], nn.Module] | None = None
    no_teacher: str = ""
    soft_targets: Callable[[], Any] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
