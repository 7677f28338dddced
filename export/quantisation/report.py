"""quantisation.json, whoever quantised: one form, and what the manifest takes from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distill.windows import Windows
from export.quantisation.score import Gate


def new_report(
    method: str, calibration: Windows, gate: Gate | None, val: Windows | None
) -> dict[str, Any]:
    """A report in which nothing was tried yet.

    Parameters
    ----------
    gate, val : what judges, on which windows; without one of them nothing is judged.
    """
    judge = None
    if gate is not None and val is not None:
        judge = {
            "max_drop": gate.max_drop, "min_agreement": gate.min_agreement,
            "windows": len(val), "subjects": list(val.subjects),
        }  # fmt: skip
    return {
        "method": method,
        "calibration": {
            "windows": len(calibration),
            "hash": calibration.hash,
            "subjects": list(calibration.subjects),
        },
        "gate": judge,
        "passed_by": None,
        "wide": [],
        "fine_tuned": False,
        "rungs": [],
        "comparisons": [],
        "sensitivity": [],
    }


def summary(report: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest's fields of a report."""
    gate = report["gate"]
    return {
        "method": report["method"],
        "passed_by": report["passed_by"],
        "gate": gate and {k: gate[k] for k in ("max_drop", "min_agreement", "windows")},
        "wide": tuple(report["wide"]),
        "fine_tuned": report["fine_tuned"],
    }
