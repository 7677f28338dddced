"""What a user can ask of an export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from export.c.choose import Preference

RUNGS = ("calibration", "equalisation", "int16x8", "finetune")


@dataclass(frozen=True)
class PreprocessingOptions:
    """The causal preprocessor beside the model.

    Attributes
    ----------
    input_sfreq : rate of the device's samples in Hz; None: the contract's own.
    input_unit, uv_per_count : of the device's samples; counts of a converter need their size.
    input_ch_names : electrodes in the device's order; none: the contract's.
    kind : "iir" for a short delay, "fir" for the offline filters, late.
    hop : samples from window to window at the contract's rate; None: about a quarter of a second.
    """

    input_sfreq: float | None = None
    input_unit: Literal["V", "mV", "uV", "counts"] = "uV"
    uv_per_count: float | None = None
    input_ch_names: tuple[str, ...] = ()
    kind: Literal["iir", "fir"] = "iir"
    hop: int | None = None


@dataclass(frozen=True)
class Options:
    """Options of one export.

    Attributes
    ----------
    formats, targets : names; with neither, every format that can be made.
    with_teacher : put the teacher's ONNX beside the student.
    n_calibration, n_golden : windows of the calibration set and of the golden vectors.
    method : how ranges are chosen: "auto" climbs the ladder where the first is not good enough.
    rungs : of the ladder that may be climbed.
    max_drop, min_agreement : the gate on validation windows: balanced accuracy that int8 may lose
        (0.01 is one percentage point), and the share of equal decisions that it must keep.
    prefer, hop : what the C library is generated for; samples between windows of its streaming
        interface, which it has only where `hop` is given.
    """

    formats: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    with_teacher: bool = False
    n_calibration: int = 512
    n_golden: int = 100
    method: str = "auto"
    rungs: tuple[str, ...] = RUNGS
    max_drop: float = 0.01
    min_agreement: float = 0.95
    prefer: Preference = "balanced"
    hop: int | None = None
    preprocessing: PreprocessingOptions | None = None
