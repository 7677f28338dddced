"""The forms of a causal chain in an artefact, checked against its golden samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.c.host import find_compiler
from export.preprocess import fixed, streaming
from export.preprocess.definition import Preprocessor
from export.preprocess.streaming import Streaming
from targets.errors import InputError

DEFINITION, PYTHON, GOLDEN = "preprocessing.json", "preprocessing.py", "preprocessing_golden.npz"
ONNX, STUDENT, C = "preprocessing.onnx", "student.raw.fp32.onnx", "c/preprocess"

#: Largest differences that pass: relative to the standard deviation of the golden result, of
#: logits relative to the largest (or 1), of the integer form in its own steps.
BOUNDS = {"python": 1e-6, "onnx": 1e-4, "logits": 1e-3, "float": 5e-5, "counts_steps": 32.0}
_CHUNK = 37

Check = tuple[str, dict[str, Any], bool | None]


def load_golden(folder: Path, preprocessor: Preprocessor) -> dict[str, NDArray[Any]]:
    """Arrays of preprocessing_golden.npz: raw (n_in_chans, n), eeg (n_chans, m), maybe logits.

    Raises
    ------
    InputError
        Missing, damaged, or of another chain.
    """
    path = folder / GOLDEN
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = {key: np.asarray(arrays[key]) for key in arrays.files}
    except (OSError, ValueError, EOFError) as err:
        raise InputError(f"golden samples cannot be read: {err}", where=path) from None
    shapes = {key: value.shape for key, value in found.items()}
    raw, eeg = shapes.get("raw", ()), shapes.get("eeg", ())
    kind = np.dtype(np.int32 if preprocessor.input_unit == "counts" else np.float32)
    wanted = (preprocessor.n_in_chans, preprocessor.n_chans)
    if len(raw) != 2 or len(eeg) != 2 or (raw[0], eeg[0]) != wanted or found["raw"].dtype != kind:
        raise InputError(
            "golden samples do not fit the preprocessing", where=path, value=shapes, limit=wanted,
            todo="Export the artefact again.",
        )  # fmt: skip
    return found


def replay(folder: Path) -> Iterator[Check]:
    """Run every form in the folder on the golden samples: what, figures, passed.

    `passed` is None where a form could not be run here (no C compiler). ``preprocessing.py`` is
    compared with this version's text and not executed.

    Raises
    ------
    InputError
        Definition, golden samples or a model cannot be read.
    """
    preprocessor = Preprocessor.read(folder / DEFINITION)
    golden = load_golden(folder, preprocessor)
    yield _python(folder, preprocessor, golden)
    yield _onnx(folder, preprocessor, golden)
    if (folder / STUDENT).is_file() and "logits" in golden:
        yield _student(folder, golden)
    for form in ("float", "counts") if preprocessor.input_unit == "counts" else ("float",):
        what = f"preprocessing, C, {form}"
        if find_compiler() is None:
            yield what, {"note": "no C compiler here"}, None
        else:
            yield _c(what, folder, form, preprocessor, golden)


def _relative(found: NDArray[Any], golden: dict[str, NDArray[Any]]) -> float:
    """Largest difference over the golden standard deviation; infinite if shapes differ."""
    wanted = golden["eeg"][:, : found.shape[1]]
    if found.shape != wanted.shape or not found.size:
        return float("inf")
    deviation = float(golden["eeg"].std())
    return float(np.abs(found.astype(np.float64) - wanted).max()) / deviation


def _below(figure: float, bound: float) -> bool:
    """Not a number is no pass."""
    return bool(figure < bound)


def _chunks(n: int) -> range:
    return range(0, n, _CHUNK)


def _python(folder: Path, preprocessor: Preprocessor, golden: dict[str, NDArray[Any]]) -> Check:
    chain, raw = Streaming(preprocessor.to_dict()), golden["raw"]
    parts = [chain.push(raw[:, k : k + _CHUNK]) for k in _chunks(raw.shape[1])]
    error = _relative(np.concatenate(parts, axis=1), golden)
    try:
        text = (folder / PYTHON).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"file cannot be read: {err}", where=folder / PYTHON) from None
    same = text == Path(streaming.__file__).read_text(encoding="utf-8")
    figures = {"error": error, "bound": BOUNDS["python"], "file_is_this_version": same}
    return "preprocessing, Python", figures, _below(error, BOUNDS["python"])


def _onnx(folder: Path, preprocessor: Preprocessor, golden: dict[str, NDArray[Any]]) -> Check:
    from export.runtimes import OnnxModel

    session = OnnxModel(folder / ONNX).session
    first = session.get_inputs()[0]
    hop = first.shape[-1]
    if tuple(first.shape[:2]) != (1, preprocessor.n_in_chans) or not isinstance(hop, int):
        raise InputError(
            "model's input does not fit the preprocessing", where=folder / ONNX, value=first.shape
        )
    try:
        found = run_stream(session, golden["raw"].astype(np.float32), hop)
    except Exception as err:  # onnxruntime's error types share no public base
        raise InputError(f"model cannot be run as a stream: {err}", where=folder / ONNX) from None
    error, bound = _relative(found, golden), BOUNDS["onnx"]
    return "preprocessing, ONNX", {"error": error, "bound": bound}, _below(error, bound)


def run_stream(session: Any, raw: NDArray[np.float32], hop: int) -> NDArray[np.float32]:
    """A streaming model over raw (n_in_chans, n) from zero states, `hop` samples at a time."""
    first, *held = session.get_inputs()
    names = [node.name for node in session.get_outputs()]
    states = {node.name: np.zeros(node.shape, np.float32) for node in held}
    parts = []
    for k in range(0, raw.shape[1] - hop + 1, hop):
        values = session.run(None, {first.name: raw[None, :, k : k + hop], **states})
        out = dict(zip(names, values, strict=True))
        parts.append(out.pop("eeg")[0])
        states = {name.removesuffix("_out"): value for name, value in out.items()}
    return np.concatenate(parts, axis=1)


def _student(folder: Path, golden: dict[str, NDArray[Any]]) -> Check:
    from export.runtimes import OnnxModel

    raw, wanted = golden["raw"].astype(np.float32), golden["logits"]
    found = OnnxModel(folder / STUDENT).run(raw[None])[0]
    error = float("inf")
    if found.shape == wanted.shape:
        error = float(np.abs(found - wanted).max()) / max(1.0, float(np.abs(wanted).max()))
    bound = BOUNDS["logits"]
    return "raw window to logits, ONNX", {"error": error, "bound": bound}, _below(error, bound)


def _c(
    what: str, folder: Path, form: str, preprocessor: Preprocessor, golden: dict[str, NDArray[Any]]
) -> Check:
    from export.preprocess.host import HostChain

    host, raw = HostChain(folder / C, form), golden["raw"]
    if (host.n_in_chans, host.n_chans) != (preprocessor.n_in_chans, preprocessor.n_chans):
        raise InputError("C form is that of another chain", where=folder / C)
    parts = [host.push(raw[:, k : k + _CHUNK]) for k in _chunks(raw.shape[1])]
    found = np.concatenate(parts, axis=1)
    if form == "float":
        error = _relative(found, golden)
        bound = BOUNDS["float"]
        return what, {"error": error, "bound": bound}, _below(error, bound)
    values = host.convert("counts_to_float", found, np.float32)
    error = _relative(values, golden)
    step = fixed.inner_gain(preprocessor) / float(golden["eeg"].std())
    with np.errstate(divide="ignore"):
        noise = (values - golden["eeg"]).std() if values.shape == golden["eeg"].shape else np.inf
        snr = float(20 * np.log10(golden["eeg"].std() / noise)) if noise > 0 else None
    bound = BOUNDS["counts_steps"]
    figures = {"error": error / step, "bound": bound, "unit": "steps", "snr_db": snr}
    return what, figures, _below(error / step, bound)
