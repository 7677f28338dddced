"""A board's report as it would be: a Raspberry Pi 5, quiet, cool, done in one go."""

import copy

from firmware_bench.pi.record import Record

JOB = {
    "schema": 1, "target": "rpi5", "runtimes": ["onnxruntime", "litert"], "threads": [1, 4],
    "rounds": 4, "block": 3, "hop_s": 0.25, "energy_s": 0, "sustained_s": 0,
    "models": [
        {"id": f"{model}.{fmt}", "model": model, "format": fmt, "kind": fmt.split(".")[1]}
        for model, fmt in (
            ("student", "fp32.tflite"), ("student", "int8.tflite"), ("teacher", "fp32.onnx"),
        )
    ],
}  # fmt: skip
RUNTIME = {"tflite": "litert", "onnx": "onnxruntime"}
ENTRIES = [f"{one['id']}@{RUNTIME[one['kind']]}" for one in JOB["models"]]
MS = {ENTRIES[0]: 4.0, ENTRIES[1]: 2.0, ENTRIES[2]: 40.0}
STATE = {
    "governor": "performance", "frequency_mhz": 2400.0, "max_mhz": 2400.0, "temperature_c": 51.0,
    "throttled_bits": 0, "throttled": [], "load_1m": 0.1, "swapped_pages": 7, "swap_used_bytes": 0,
}  # fmt: skip
IDENTITY = {
    "model": "Raspberry Pi 5 Model B Rev 1.0", "cpu": None, "virtual": False, "cores": 4,
    "allowed_cores": [0, 1, 2, 3], "machine": "aarch64", "pointer_bits": 64, "kernel_bits": 64,
    "kernel": "6.6", "system": "Debian GNU/Linux 12 (bookworm)", "boot_id": "a",
    "runtimes": {"onnxruntime": "1.31.1", "litert": "2.3.0"},
}  # fmt: skip


def state(at, **changed):
    return {**STATE, "monotonic": 100.0 + at, "unix": 1e9 + at, **changed}


def start(at=0.0, identity=None, **changed):
    return {
        "identity": {**IDENTITY, **(identity or {})}, "state": state(at, **changed),
        "emulated": [], "entries": dict.fromkeys(ENTRIES, "package"),
    }  # fmt: skip


def alone(entry):
    opened = {"runtime": f"{entry.partition('@')[2]} 1", "pinned": [3], "start_ns": 2e8,
              "import_ns": 3e8, "load_ns": 1e7, "first_ns": 5e6}  # fmt: skip
    golden = {"windows": 4, "finite": True, "agreement": 1.0, "max_abs": 1e-5, "scale": 2.0}
    return {"starts": [opened] * 3, "golden": golden, "memory": {"peak_rss": 60_000_000}}


def units():
    found = {"start:0": start(), "files": {m["id"]: {"whole": True} for m in JOB["models"]}}
    for entry in ENTRIES:
        found[f"bare:{entry.partition('@')[2]}"] = {"peak_rss": 50_000_000}
        found[f"alone:{entry}"] = alone(entry)
        found[f"paced:{entry}"] = {"responses_ns": [3e6] * 10, "misses": 0, "hop_ns": 250e6}
    for threads in JOB["threads"]:
        found[f"warm:{threads}"] = {"stable": dict.fromkeys(ENTRIES, True)}
        for turn in range(JOB["rounds"]):
            found[f"round:{threads}:{turn}"] = {
                "state": state(1.0 + turn + 10 * threads),
                "runs": {
                    entry: {"times_ns": [ms * 1e6 / threads * (1 + k / 100) for k in range(3)],
                            "changed": 0}
                    for entry, ms in MS.items()
                },
            }  # fmt: skip
    found["end"] = {"state": state(60.0)}
    return copy.deepcopy(found)


def record(found=None, **job):
    return Record({**JOB, **job}, units() if found is None else found)
