"""The signal contract as code, put into an artefact under construction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from export.options import PreprocessingOptions
from export.preprocess import design, replay, write
from export.preprocess.replaying import DEFINITION
from export.quantised import Quantised
from export.sources import Source


def add_preprocessing(
    part: Path, source: Source, options: PreprocessingOptions, quantised: Quantised | None
) -> dict[str, Any]:
    """Design the causal chain from the device's samples, write its forms; facts for the manifest.

    Raises
    ------
    InputError
        A device whose rate or electrodes cannot serve the contract.
    """
    signal = source.signal
    preprocessor = design(
        signal,
        input_sfreq=options.input_sfreq or signal.sfreq,
        input_unit=options.input_unit,
        input_ch_names=options.input_ch_names or None,
        kind=options.kind,
        uv_per_count=options.uv_per_count,
    )
    quant, planar = None, False
    if quantised is not None:
        graph = quantised.qgraph.graph
        quant = quantised.qgraph.input_quant
        planar = graph.tensors[graph.input].shape[1:3] == (signal.n_chans, signal.n_times)
    found = write(
        preprocessor, part, hop=options.hop, student_onnx=part / "student.fp32.onnx",
        input_quant=quant, planar=planar,
    )  # fmt: skip
    told = found["input"]
    return found | {
        "input_sfreq": told["sfreq"],
        "input_unit": told["unit"],
        "input_ch_names": told["ch_names"],
        "delay_seconds": found["delay"]["seconds"],
    }


def checks(folder: Path) -> list[dict[str, Any]]:
    """Every form of the chain in an artefact, run on its golden samples; none without one.

    `passed` is None where a form cannot be run on this machine.
    """
    if not (folder / DEFINITION).exists():
        return []
    return [{"what": what, **figures, "passed": passed} for what, figures, passed in replay(folder)]
