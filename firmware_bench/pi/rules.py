"""The rules that make a board's milliseconds valid, by name; docs/raspberry_pi.md has the table.

A rule looks at everything the board reported and returns what it saw, or "". A note does the same
but takes nothing from the figures' validity.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from firmware_bench.pi.record import Record
from firmware_bench.results import Environment, Fault
from targets.target import Target

Rule = Callable[[Record, Target], str]
#: Raspberry Pis slow down at 80 °C at the latest (60 °C, softly, on the 3B+).
HOT_C = 80.0
_NOW, _SLOW = 0b1, 0b1110
_SLOW_SINCE_BOOT = _SLOW << 16
_JUMP_S = 0.5
_CLOCK_TOLERANCE, _DRIFT = 0.02, 0.95


def _emulated(record: Record, target: Target) -> str:
    return "; ".join(dict.fromkeys(record.emulated))


def _virtual(record: Record, target: Target) -> str:
    shared = record.identity["virtual"]
    return "a virtual machine shares its processor with others" if shared else ""


def _wrong_board(record: Record, target: Target) -> str:
    model = record.identity["model"] or "an unknown board"
    wanted = target.name.replace("+", " Plus")
    return "" if f"{model} ".startswith(f"{wanted} ") else f"this is {model}, not a {target.name}"


def _governor(record: Record, target: Target) -> str:
    found = {state["governor"] for state in record.states} - {"performance"}
    if not found:
        return ""
    words = ", ".join(sorted(str(one) for one in found if one))
    if not words:
        return "the frequency governor cannot be read"
    return f'the frequency governor is "{words}", not "performance"'


def _throttled_now(record: Record, target: Target) -> str:
    bits = record.states[0]["throttled_bits"] or 0
    return f"before the run: {_words(record.states[0])}" if bits & _SLOW else ""


def _throttled_during(record: Record, target: Target) -> str:
    first, *later = record.states
    before = (first["throttled_bits"] or 0) & _SLOW_SINCE_BOOT
    for state in later:
        bits = state["throttled_bits"] or 0
        if bits & _SLOW or (bits & _SLOW_SINCE_BOOT) & ~before:
            return f"during the run: {_words(state)}"
    return ""


def _throttling_unknown(record: Record, target: Target) -> str:
    if any(state["throttled_bits"] is not None for state in record.states):
        return ""
    return "neither vcgencmd nor the kernel tells whether the board throttles"


def _under_voltage(record: Record, target: Target) -> str:
    first, *later = record.states
    before = (first["throttled_bits"] or 0) >> 16 & _NOW
    if (first["throttled_bits"] or 0) & _NOW or any(
        bits & _NOW or (bits >> 16 & _NOW and not before)
        for bits in (state["throttled_bits"] or 0 for state in later)
    ):
        return "the power supply sagged below its limit"
    return ""


def _hot(record: Record, target: Target) -> str:
    hottest = max((state["temperature_c"] or 0.0 for state in record.states), default=0.0)
    return f"the processor reached {hottest:.0f} °C" if hottest >= HOT_C else ""


def _busy(record: Record, target: Target) -> str:
    if record.others:
        return f"{record.others} other bench ran on the board"
    load, cores = record.states[0]["load_1m"], record.identity["cores"] or 1
    return f"load {load:.2f} on {cores} cores before the run" if load and load > cores / 4 else ""


def _steady_clock(record: Record, target: Target) -> str:
    # The state at the start is of an idle board and may be slower by right.
    seen = [state["frequency_mhz"] for state in record.states[1:] if state["frequency_mhz"]]
    if seen and min(seen) < _DRIFT * max(seen):
        return f"the clock fell from {max(seen):.0f} to {min(seen):.0f} MHz"
    return ""


def _rated_clock(record: Record, target: Target) -> str:
    told = record.states[-1]["max_mhz"]
    if not told or not target.clock_hz:
        return ""
    rated = target.clock_hz / 1e6
    if abs(told - rated) <= _CLOCK_TOLERANCE * rated:
        return ""
    return f"the board's highest clock is {told:.0f} MHz, the data sheet's {rated:.0f} MHz"


def _swap(record: Record, target: Target) -> str:
    for first, last in itertools.pairwise(record.states):
        pages = last["swapped_pages"] - first["swapped_pages"]
        if pages > 0:  # a smaller count is that of a board started anew
            return f"{pages} pages were swapped during the run"
    return ""


def _pinned(record: Record, target: Target) -> str:
    starts = [u["starts"] for k, u in record.units.items() if k.startswith("alone:")]
    wanted = min(record.job["threads"][0], len(record.identity["allowed_cores"]))
    loose = any(len(one["pinned"]) != wanted for found in starts for one in found)
    return "a process could not be kept on its cores" if loose else ""


RULES: dict[str, Rule] = {
    "emulated": _emulated,
    "own-machine": _virtual,
    "wrong-board": _wrong_board,
    "governor": _governor,
    "throttled-now": _throttled_now,
    "throttled-during": _throttled_during,
    "throttling-unknown": _throttling_unknown,
    "under-voltage": _under_voltage,
    "hot": _hot,
    "busy": _busy,
    "steady-clock": _steady_clock,
    "rated-clock": _rated_clock,
    "swap": _swap,
    "pinned": _pinned,
}


def clock_jump(record: Record, target: Target) -> str:
    """Steps of the wall clock; times are of the monotonic clock and do not feel them."""
    jumps = []
    for first, last in itertools.pairwise(record.states):
        on = last["monotonic"] - first["monotonic"]
        off = (last["unix"] - first["unix"]) - on
        if on > 0 and abs(off) > _JUMP_S:  # a board started anew counts from 0
            jumps.append(off)
    if not jumps:
        return ""
    return f"the board's wall clock jumped by {max(jumps, key=abs):+.1f} s; no time is taken by it"


def _narrow(record: Record, target: Target) -> str:
    seen = record.identity
    if seen["pointer_bits"] == 32 and (seen["kernel_bits"] == 64 or target.isa == "neon"):
        return "a 32-bit system on a 64-bit processor: a 64-bit one is about a third faster"
    return ""


def _resumed(record: Record, target: Target) -> str:
    boots = {start["identity"]["boot_id"] for start in record.starts}
    if len(record.starts) == 1:
        return ""
    how = f", the board itself {len(boots) - 1} times" if len(boots) > 1 else ""
    return f"the runner was started {len(record.starts)} times{how}; no round was cut in two"


def _brown(record: Record, target: Target) -> str:
    bits = (record.states[0]["throttled_bits"] or 0) >> 16
    return f"since its start: {_words(record.states[0])}" if bits else ""


NOTES: dict[str, Rule] = {
    "clock-jump": clock_jump,
    "32-bit": _narrow,
    "resumed": _resumed,
    "since-boot": _brown,
}


def assess(record: Record, target: Target) -> Environment:
    """Judge what the board reported by every rule, and keep the facts."""
    faults = [
        Fault(rule=k, text=text) for k, rule in RULES.items() if (text := rule(record, target))
    ]
    notes = {name: text for name, rule in NOTES.items() if (text := rule(record, target))}
    seen, states = record.identity, record.states
    kind = "an emulator of " if record.emulated else ""
    return Environment(
        description=f"{kind}{seen['model'] or seen['cpu'] or seen['machine']}, {seen['cores']}"
        f" cores, {seen['pointer_bits']} bit, {seen['system'] or seen['kernel']}",
        facts={
            **seen,
            "before": states[0],
            "after": states[-1],
            "during": _ranges(record),
            "emulated": bool(record.emulated),
            "notes": notes | {f"host-{k}": text for k, text in enumerate(record.notes)},
        },
        faults=tuple(faults),
    )


def _ranges(record: Record) -> dict[str, list[float]]:
    """Least and most of what was read between the rounds."""
    found = {}
    for name in ("frequency_mhz", "temperature_c", "load_1m"):
        seen = [state[name] for state in record.states if state[name] is not None]
        if seen:
            found[name] = [min(seen), max(seen)]
    return found


def _words(state: dict[str, object]) -> str:
    words = state["throttled"]
    return ", ".join(words) if isinstance(words, list) else ""
