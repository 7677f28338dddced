"""The folder that goes to the board: the runner, the model files, the golden windows, the job."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from firmware_bench.artefact import Artefact
from firmware_bench.device import SCHEMA
from firmware_bench.pi.options import HOPS_PER_WINDOW, PiOptions
from firmware_bench.protocol import ROUNDS, WARM_BLOCKS, WARM_TOLERANCE
from targets.errors import InputError
from targets.files import atomic_path, sha256
from targets.target import Target

#: Raw outputs of the reference kernels stand in golden.npz for these formats.
RAW = {"int8.tflite": "outputs_int8", "int16x8.tflite": "outputs_int16"}
_GOLDEN = "golden.npz"


def job(artefact: Artefact, target: Target, options: PiOptions) -> dict[str, Any]:
    """Return what the runner is to do, as job.json holds it.

    Raises
    ------
    InputError
        No model in the artefact, or no golden windows.
    """
    files = artefact.models()
    if not files:
        raise InputError("no model file in the artefact", where=artefact.path)
    artefact.golden("windows")
    rounds = min(ROUNDS, options.runs)
    return {
        "schema": SCHEMA,
        "target": target.id,
        "runtimes": list(target.runtimes),
        "models": [
            {
                "id": f"{model}.{fmt}",
                "model": model,
                "format": fmt,
                "kind": path.suffix[1:],
                "file": f"models/{path.name}",
                "sha256": sha256(path),
                "bytes": path.stat().st_size,
                "expected": "logits" if model == "student" else "teacher_logits",
                "raw": RAW.get(fmt) if model == "student" else None,
            }
            for (model, fmt), path in files.items()
        ],
        "golden": {"file": _GOLDEN, "sha256": sha256(artefact.path / _GOLDEN)},
        "threads": list(dict.fromkeys(options.threads)),
        "rounds": rounds,
        "block": -(-options.runs // rounds),
        "block_s": options.block_s,
        "cold_starts": options.cold_starts,
        "warm_tolerance": WARM_TOLERANCE,
        "warm_blocks": WARM_BLOCKS,
        "hop_s": hop_s(artefact, options),
        "paced_s": options.paced_s,
        "energy_s": options.energy_s,
        "sustained_s": options.sustained_s,
    }


def hop_s(artefact: Artefact, options: PiOptions) -> float:
    """The product's hop in s: as chosen, else a quarter of the artefact's window."""
    if options.hop_s is not None:
        return options.hop_s
    signal = artefact.manifest["signal"]
    return float(signal["n_times"]) / float(signal["sfreq"]) / HOPS_PER_WINDOW


def write(artefact: Artefact, target: Target, out: Path, options: PiOptions) -> str:
    """Write the folder to `out`, atomically; return the digest of its job.

    `out` can be copied to a board by any means; ``python3 run.py job.json`` in it does the rest.
    """
    text = json.dumps(job(artefact, target, options), indent=1) + "\n"
    with atomic_path(out) as part:
        part.mkdir()
        for entry in resources.files("firmware_bench.device").iterdir():
            if entry.name.endswith(".py"):
                (part / entry.name).write_text(entry.read_text(encoding="utf-8"), encoding="utf-8")
        (part / "models").mkdir()
        for path in artefact.models().values():
            shutil.copyfile(path, part / "models" / path.name)
        shutil.copyfile(artefact.path / _GOLDEN, part / _GOLDEN)
        (part / "job.json").write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
