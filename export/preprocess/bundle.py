"""All forms of a causal chain, written into an artefact under construction."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.ir import Quant
from export.preprocess import replaying, streaming
from export.preprocess.definition import Preprocessor
from export.preprocess.response import facts, settle_seconds
from targets.files import atomic_path

#: Standard deviation of the golden EEG, its mains and its electrodes' offsets, in microvolts.
_EEG, _MAINS, _OFFSETS = 20.0, 10.0, 2000.0
_HOP_SECONDS = 0.25


def golden_raw(preprocessor: Preprocessor, n: int) -> NDArray[Any]:
    """Samples (n_in_chans, n) as the device would send them: float32, or int32 counts.

    Noise of 1/f power, an alpha rhythm, mains and offsets; the same on every machine but for the
    last bits, which is why the samples are stored.
    """
    rng, rate = np.random.default_rng(7), preprocessor.input_sfreq
    white = np.fft.rfft(rng.standard_normal((preprocessor.n_in_chans, n)))
    freqs = np.fft.rfftfreq(n, 1 / rate)
    noise = np.fft.irfft(white / np.sqrt(np.maximum(freqs, 0.1)), n)
    t = np.arange(n) / rate
    x = _EEG * (noise / noise.std() + np.sin(2 * np.pi * 10 * t))
    x += _MAINS * np.sin(2 * np.pi * (preprocessor.signal.notch or 50) * t)
    if preprocessor.remove_first:
        x += _OFFSETS * rng.standard_normal((len(x), 1))
    x *= preprocessor.signal.gain * 1e-6 / preprocessor.gain  # microvolts to the device's unit
    if preprocessor.input_unit != "counts":
        return np.asarray(x, np.float32)
    most = 2 ** (preprocessor.input_bits - 1) - 1
    return np.asarray(np.clip(np.rint(x), -most, most), np.int32)


def write(
    preprocessor: Preprocessor,
    folder: Path,
    *,
    hop: int | None = None,
    student_onnx: Path | None = None,
    input_quant: Quant | None = None,
    planar: bool = False,
) -> dict[str, Any]:
    """Write definition, Python, ONNX, C and golden samples, then replay them.

    Parameters
    ----------
    hop : samples at the contract's rate between windows, for preprocessing.onnx; by default the
        least legal one of a quarter second or more.
    student_onnx : the float32 student, for student.raw.fp32.onnx.
    input_quant : the int8 student's input, for bytes in C; 16-bit ones are left out.
    planar : whether that input is (n_chans, n_times) rather than interleaved.

    Returns
    -------
    dict
        JSON-ready: `definition` (hash), `input`, :func:`export.preprocess.response.facts`, `hop`,
        `raw_window`, `c` (bytes of states and tables), `checks` (as :func:`replay` gives them),
        `files`.

    Raises
    ------
    InputError
        Illegal hop, a student of another contract, coefficients that fixed point cannot hold.
    """
    import onnx

    from export.preprocess.generate import generate
    from export.preprocess.onnx_graph import legal_hop, prefix, raw_samples, streaming_model

    if hop is None:
        hop = legal_hop(preprocessor, round(_HOP_SECONDS * preprocessor.signal.sfreq))
    preprocessor.write(folder / replaying.DEFINITION)
    shutil.copyfile(streaming.__file__, folder / replaying.PYTHON)
    models = {replaying.ONNX: streaming_model(preprocessor, hop)}
    if student_onnx is not None:
        models[replaying.STUDENT] = prefix(student_onnx, preprocessor)
    for name, model in models.items():
        with atomic_path(folder / name) as part:
            onnx.save(model, str(part))
    quant = input_quant if input_quant is not None and input_quant.bits == 8 else None
    (folder / "c").mkdir(exist_ok=True)
    made = generate(preprocessor, folder / replaying.C, quant=quant, planar=planar)
    samples = raw_samples(preprocessor)
    _write_golden(preprocessor, folder, samples, student_onnx)
    return {
        "definition": preprocessor.hash,
        "input": {
            "ch_names": list(preprocessor.input_ch_names),
            "sfreq": preprocessor.input_sfreq,
            "unit": preprocessor.input_unit,
            "uv_per_count": preprocessor.uv_per_count,
        },
        **facts(preprocessor),
        "hop": {"outputs": hop, "inputs": hop // preprocessor.up * preprocessor.down},
        "raw_window": {"samples": samples, "lead_in_seconds": settle_seconds(preprocessor)},
        "c": {k: v for k, v in dataclasses.asdict(made).items() if k != "files"},
        "checks": [
            {"what": what, **figures, "passed": passed}
            for what, figures, passed in replaying.replay(folder)
        ],
        "files": [
            replaying.DEFINITION, replaying.PYTHON, *models, replaying.GOLDEN,
            *(f"{replaying.C}/{name}" for name in made.files),
        ],
    }  # fmt: skip


def _write_golden(
    preprocessor: Preprocessor, folder: Path, samples: int, student_onnx: Path | None
) -> None:
    """Raw samples, what the Python form makes of them, and the student's logits at the end."""
    from export.runtimes import OnnxModel

    raw = golden_raw(preprocessor, samples)
    eeg = streaming.Streaming(preprocessor.to_dict()).push(raw)
    arrays = {"raw": raw, "eeg": eeg}
    if student_onnx is not None:
        window = eeg[:, -preprocessor.signal.n_times :]
        arrays["logits"] = OnnxModel(student_onnx).run(window[None])[0]
    with atomic_path(folder / replaying.GOLDEN) as part, part.open("wb") as handle:
        np.savez(handle, **arrays)
