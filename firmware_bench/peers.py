"""Our figures beside those of TensorFlow Lite Micro with CMSIS-NN, on the models it was counted on.

The peer's figures (data/peers.toml) are recorded, one row a model and core, found by the model's
checksum. To compare fairly, our side counts what the peer's counts: flash of the *whole* firmware,
start-up and C library included; RAM with input and output, which lie in the peer's arena. "Code" is
flash less the model's constants (weights and biases as the .tflite file stores them), the same
number of bytes on both sides: a table that we expand or reorder counts against us.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import resources
from typing import Any

from firmware_bench.results import Measurement, Results, figure
from targets.errors import InputError
from targets.target import Target

#: Compared figure -> (metric of ours and of the peer, metric of the ratio).
FIGURES = {
    "instructions": ("instructions", "instructions_vs_peer"),
    "flash": ("firmware_bytes", "flash_vs_peer"),
    "code": ("code_bytes", "code_vs_peer"),
    "ram": ("ram_bytes", "ram_vs_peer"),
    "stack": ("stack_bytes", "stack_vs_peer"),
    "streaming ram": ("hop_ram_bytes", "hop_ram_vs_peer"),
}
DERIVED = ("code", "streaming ram")  # from the peer's flash; its RAM: it holds the whole window
PEER = "peer"
_FILE = "data/peers.toml"


@dataclass(frozen=True)
class PeerModel:
    """The peer on one model.

    Attributes
    ----------
    figures : dict
        Core -> figure ("instructions", "flash", "ram", "stack") -> count or bytes.
    goals : dict
        Core -> figure -> largest ratio ours / peer that we accept.
    """

    name: str
    sha256: str
    figures: dict[str, dict[str, int]]
    goals: dict[str, dict[str, Fraction]]


@dataclass(frozen=True)
class Peer:
    """An engine with its recorded figures; `about` says which build and how it was counted."""

    name: str
    about: str
    models: tuple[PeerModel, ...]

    def model(self, sha256: str) -> PeerModel | None:
        """Return the row of the model file with this checksum, or None."""
        return next((one for one in self.models if one.sha256 == sha256), None)


@dataclass(frozen=True)
class Comparison:
    """One figure of ours against the peer's on one target; `goal` is None where none is set."""

    target: str
    figure: str
    ours: int
    peer: int
    goal: Fraction | None

    @property
    def ratio(self) -> float:
        """Ours divided by the peer's."""
        return self.ours / self.peer

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal. Compared as exact fractions."""
        return None if self.goal is None else Fraction(self.ours, self.peer) <= self.goal


@cache
def load() -> Peer:
    """Read the recorded figures."""
    text = (resources.files("firmware_bench") / _FILE).read_text(encoding="utf-8")
    return parse(text)


def parse(text: str) -> Peer:
    """Read a peer's figures from TOML; a missing or misspelt key is an InputError."""
    try:
        raw = tomllib.loads(text)
        models = tuple(_model(entry) for entry in raw["model"])
        return Peer(raw["name"], f"{raw['name']}, {raw['build']}; {raw['source']}", models)
    except (tomllib.TOMLDecodeError, KeyError, ValueError, TypeError, AttributeError) as err:
        raise InputError(f"peer's figures cannot be used: {err}", where=_FILE) from None


def _model(raw: dict[str, Any]) -> PeerModel:
    figures = {core: dict(row) for core, row in raw["figures"].items()}
    recorded = FIGURES.keys() - set(DERIVED)
    wrong = [core for core, row in figures.items() if row.keys() != recorded]
    wrong += [name for name in raw["goals"] if name not in FIGURES]
    if wrong:
        raise ValueError(f"{raw['name']}: {wrong[0]}")
    goals: dict[str, dict[str, Fraction]] = {core: {} for core in figures}
    for name, value in raw["goals"].items():
        by_core = value if isinstance(value, dict) else dict.fromkeys(figures, value)
        for core, limit in by_core.items():
            goals[core][name] = Fraction(limit)
    return PeerModel(raw["name"], raw["sha256"], figures, goals)


def measurements(
    manifest: dict[str, Any], targets: Iterable[Target], found: Iterable[Measurement]
) -> list[Measurement]:
    """Return the peer's figures as ``published`` ones, our code size, and the ratios.

    Nothing if the model of `manifest` is none that the peer was counted on.
    """
    row = load().model(str(manifest.get("sha256")))
    if row is None:
        return []
    constants = int(manifest["constant_bytes"])
    ours = {
        (one.target, one.metric): one.value
        for one in found
        if one.model == "student" and one.value is not None
    }
    more: list[Measurement] = []
    for target in targets:
        peer = row.figures.get(target.core)
        total = ours.get((target.id, "firmware_bytes"))
        if peer is None or total is None:
            continue
        ours[target.id, "code_bytes"] = total - constants
        beside = {**peer, "code": peer["flash"] - constants}
        if (target.id, "hop_ram_bytes") in ours:
            beside["streaming ram"] = peer["ram"]
        more += _beside(target, ours, beside, constants)
    return more


def _beside(
    target: Target, ours: dict[tuple[str, str], Any], peer: dict[str, int], constants: int
) -> list[Measurement]:
    """Figures of one target: our code size, then each figure of the peer with the ratio."""
    note = f"whole firmware less {constants:,} B of weights and biases"
    code = ours[target.id, "code_bytes"]
    found = [figure(target.id, "student", "code_bytes", code, "emulated", note=note)]
    for name, theirs in peer.items():
        metric, ratio = FIGURES[name]
        value, runtime = ours[target.id, metric], load().name
        found.append(
            figure(
                target.id, "peer", metric, theirs, "published",
                runtime=runtime, note=load().about,
            )
        )  # fmt: skip
        against = f"{value:,} against {theirs:,} of {runtime}"
        share = value / theirs
        found.append(figure(target.id, "student", ratio, share, "emulated", note=against))
    return found


def compare(results: Results) -> list[Comparison]:
    """Return each compared figure of `results` with its goal, target by target.

    Empty for a model that the peer was not counted on.
    """
    row = load().model(str(results.manifest.get("sha256")))
    found = []
    for run in results.runs:
        goals = row.goals.get(run.target.core, {}) if row else {}
        for name, (metric, _) in FIGURES.items():
            theirs = _value(results, run.target.id, PEER, metric)
            ours = _value(results, run.target.id, "student", metric)
            if ours is not None and theirs is not None:
                found.append(Comparison(run.target.id, name, ours, theirs, goals.get(name)))
    return found


def _value(results: Results, target: str, model: str, metric: str) -> int | None:
    found = results.select(target=target, model=model, metric=metric)
    return int(found[0].value) if found and found[0].value is not None else None
