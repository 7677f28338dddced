"""The state of the machine around a measurement, and the rules that make its milliseconds valid.

Each rule is a name and a function of the state before and after; it returns what it saw, or "".
Times taken while a rule does not hold are indicative: the gate calls them inconclusive.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from firmware_bench.results import Environment, Fault

State = dict[str, Any]
_PACKAGES = ("onnxruntime", "ai-edge-litert", "tflite-runtime", "numpy")


def read_state(root: Path = Path("/")) -> State:
    """Read what can be read without rights: CPU, governor, clock, load, virtualisation, throttling.

    Parameters
    ----------
    root : Path
        Where /proc and /sys hang (another folder in tests).
    """
    info = _text(root / "proc/cpuinfo")
    pairs = (line.partition(":") for line in info.splitlines())
    fields = {name.strip(): value.strip() for name, _, value in pairs}
    cpu0 = root / "sys/devices/system/cpu/cpu0"
    kilohertz = _text(cpu0 / "cpufreq/scaling_cur_freq")
    throttled = _text(cpu0 / "thermal_throttle/core_throttle_count")
    load = _text(root / "proc/loadavg").split()
    return {
        "cpu": fields.get("model name") or fields.get("Model") or platform.processor() or "unknown",
        "cores": sum(line.startswith("processor") for line in info.splitlines()) or os.cpu_count(),
        "governor": _text(cpu0 / "cpufreq/scaling_governor") or None,
        "frequency_mhz": int(kilohertz) / 1000
        if kilohertz.isdigit()
        else _number(fields.get("cpu MHz")),
        "load_1m": float(load[0]) if load else None,
        "virtual": "hypervisor" in fields.get("flags", "").split(),
        "container": (root / ".dockerenv").exists() or (root / "run/.containerenv").exists(),
        "throttle_count": int(throttled) if throttled.isdigit() else None,
        "cpu_ticks": _ticks(_text(root / "proc/stat")),
    }


def versions() -> dict[str, str]:
    """Versions of Python, the kernel and the runtimes that are installed."""
    found = {"python": platform.python_version(), "kernel": platform.release()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _virtual(before: State, after: State) -> str:
    if before["virtual"]:
        return "a virtual machine shares its processor with others"
    return "a container may share its processor" if before["container"] else ""


def _governor(before: State, after: State) -> str:
    if before["governor"] in (None, "performance"):
        return "" if before["governor"] else "the frequency governor cannot be read"
    return f'the frequency governor is "{before["governor"]}", not "performance"'


def _busy(before: State, after: State) -> str:
    load, cores = before["load_1m"], before["cores"] or 1
    return f"load {load:.2f} on {cores} cores before the run" if load and load > cores / 4 else ""


def _drift(before: State, after: State) -> str:
    first, last = before["frequency_mhz"], after["frequency_mhz"]
    if first and last and last < 0.95 * first:
        return f"the clock fell from {first:.0f} to {last:.0f} MHz"
    return ""


def _throttled(before: State, after: State) -> str:
    first, last = before["throttle_count"], after["throttle_count"]
    return "the processor throttled for heat" if first is not None and last != first else ""


def _stolen(before: State, after: State) -> str:
    total, steal = (b - a for a, b in zip(before["cpu_ticks"], after["cpu_ticks"], strict=True))
    if total > 0 and steal / total > 0.01:
        return f"{100 * steal / total:.0f} % of the processor time went to other guests"
    return ""


RULES: dict[str, Callable[[State, State], str]] = {
    "own-machine": _virtual,
    "governor": _governor,
    "idle-before": _busy,
    "steady-clock": _drift,
    "no-throttling": _throttled,
    "no-stolen-time": _stolen,
}


def assess(before: State, after: State) -> Environment:
    """Judge the states before and after a run by every rule."""
    faults = [
        Fault(rule=name, text=text) for name, rule in RULES.items() if (text := rule(before, after))
    ]
    keep = ("governor", "frequency_mhz", "load_1m", "throttle_count")
    facts = {
        **{key: before[key] for key in ("cpu", "cores", "virtual", "container")},
        "before": {key: before[key] for key in keep},
        "after": {key: after[key] for key in keep},
        "versions": versions(),
    }
    kind = "virtual machine" if before["virtual"] else "machine"
    return Environment(
        description=f"{before['cpu']}, {before['cores']} cores, {kind}",
        facts=facts,
        faults=tuple(faults),
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def _ticks(stat: str) -> tuple[int, int]:
    """Total and stolen ticks of all processors (proc(5): the eighth figure is steal)."""
    figures = [int(word) for word in stat.split("\n", 1)[0].split()[1:9] if word.isdigit()]
    return (sum(figures), figures[7]) if len(figures) == 8 else (0, 0)
