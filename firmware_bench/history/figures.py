"""A figure of the history, and what of a results file becomes one."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from firmware_bench.results import Measurement, Results
from targets.budget import ANY_TARGET
from targets.metrics import METRICS

#: Digits of a commit that are shown.
SHORT = 10


@dataclass(frozen=True)
class Figure:
    """One measurement with all that tells it from others.

    Attributes
    ----------
    commit, dirty : str or None, bool or None
        Source it belongs to, and whether that was changed since; None where nobody knows.
    created : str
        When it was taken, ISO 8601.
    artefact, artefact_sha256 : str
        Name of the artefact, and a hash over the checksums of its files.
    target, board : str
        Id of the target; name of the board in its fleet, or "". What is not measured is of no
        single board.
    valid : bool
        False for milliseconds of an environment that is not valid: they are indicative.
    environment : str
        The environment in a line, with the rules that did not hold.
    """

    commit: str | None
    dirty: bool | None
    created: str
    artefact: str
    artefact_sha256: str
    dlink: str | None
    target: str
    board: str
    model: str
    format: str
    runtime: str
    metric: str
    value: int | float | None
    unit: str
    evidence: str
    valid: bool
    low: float | None
    high: float | None
    interval_kind: str | None
    reason: str
    environment: str

    @property
    def label(self) -> str:
        """The commit for a reader: "0123abcdef", "0123abcdef+dirty", "no commit"."""
        return commit_label(self.commit, self.dirty)

    @property
    def place(self) -> str:
        """Target and board: "rpi4b", "rpi4b kitchen"."""
        return f"{self.target} {self.board}".strip()

    @property
    def what(self) -> str:
        """Model, format and runtime without its version: "student int8.tflite litert"."""
        return " ".join(filter(None, (self.model, self.format, family(self.runtime))))


@dataclass(frozen=True)
class Filter:
    """Which figures are wanted; a field that is None does not matter."""

    metric: str | None = None
    target: str | None = None
    board: str | None = None
    model: str | None = None
    format: str | None = None
    artefact: str | None = None
    evidence: str | None = None


def commit_label(commit: str | None, dirty: bool | None) -> str:
    """Write a commit for a reader."""
    if commit is None:
        return "no commit"
    short = commit[:SHORT] if re.fullmatch(r"[0-9a-f]{40,64}", commit) else commit
    return f"{short}+dirty" if dirty else short


def family(runtime: str) -> str:
    """Runtime without versions: they change from commit to commit, and it stays the same line.

    "onnxruntime 1.31.1, 2 threads" -> "onnxruntime, 2 threads"; of "a 1 / b 2" and "a 1 -> b 2" the
    first words.
    """
    words = [part.split()[0].rstrip(",") for part in re.split(r" (?:/|->) ", runtime) if part]
    threads = re.search(r"(\d+) threads", runtime)
    return " / ".join(words) + (f", {threads[1]} threads" if threads else "")


def digest(results: Results) -> str:
    """SHA-256 of what a results file says; white space and the order of keys do not matter."""
    return _sha256(results.model_dump(mode="json"))


def artefact_digest(manifest: dict[str, Any]) -> str:
    """SHA-256 over the checksums of an artefact's files, or of a bare model's record."""
    return _sha256(manifest.get("files") or manifest)


def source_of(results: Results, commit: str | None) -> tuple[str | None, bool | None]:
    """Commit and dirty flag: as given, else of the bench, else of the export."""
    if commit is not None:
        clean = commit.removesuffix("+dirty")
        return clean, clean != commit
    exported = results.manifest.get("provenance") or {}
    for git in (
        results.provenance.get("git"),
        (exported.get("exported_with") or {}).get("git"),
        {"commit": exported.get("git_commit"), "dirty": exported.get("dirty")},
    ):
        if isinstance(git, dict) and git.get("commit"):
            return str(git["commit"]), git.get("dirty")
    return None, None


def figures_of(results: Results, commit: str | None = None) -> list[Figure]:
    """Turn a results file into figures."""
    source, dirty = source_of(results, commit)
    boards = {one["id"]: one["board"] for one in results.provenance.get("fleet", ())}
    common: dict[str, Any] = {
        "commit": source,
        "dirty": dirty,
        "created": results.created,
        "artefact": str(results.manifest.get("name", "")),
        "artefact_sha256": artefact_digest(results.manifest),
        "dlink": results.provenance.get("dlink"),
    }
    return [
        Figure(
            **common,
            **_where(one, results, boards),
            **one.model_dump(include=set(_KEPT)),
            low=one.interval.low if one.interval else None,
            high=one.interval.high if one.interval else None,
            interval_kind=one.interval.kind if one.interval else None,
        )
        for one in results.measurements
    ]


_KEPT = ("model", "format", "runtime", "metric", "value", "unit", "evidence", "reason")


def _where(one: Measurement, results: Results, boards: dict[str, str]) -> dict[str, Any]:
    """Target, board and environment; a fleet's id is "target@board" where it has several."""
    environment = results.environment(one.target)
    summary, valid = "", True
    if environment is not None:
        faults = "; ".join(fault.text for fault in environment.faults)
        summary = f"{environment.description} ({faults})" if faults else environment.description
    if METRICS[one.metric].trust == "time":
        valid = environment is not None and environment.valid
    board = ""
    if one.evidence == "measured":  # the others are of the kind of board, whoever asked for them
        board = boards.get(one.target, "")
    target = one.target if one.target == ANY_TARGET else one.target.partition("@")[0]
    return {"target": target, "board": board, "environment": summary, "valid": valid}


def _sha256(data: Any) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
