"""Budgets x results -> one verdict a line: pass, fail, missing or inconclusive.

- `missing`: no measurement of that figure; never a pass.
- `inconclusive`: there is one, but it cannot carry a verdict: milliseconds of a machine whose
  environment is not valid, or an interval that holds the limit.
- Deterministic figures are hard gates everywhere, the interleaved ratio by its interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from firmware_bench.results import Measurement, Results
from targets.budget import Budget
from targets.units import exact, human

Status = Literal["pass", "fail", "missing", "inconclusive"]
EXIT_PASS, EXIT_FAIL, EXIT_MISSING = 0, 1, 3
#: Worst first: the verdict of a line that several formats match is that of the worst.
_SEVERITY: tuple[Status, ...] = ("fail", "missing", "inconclusive", "pass")


class Verdict(BaseModel):
    """What became of one budget line, and the measurement that decided it."""

    model_config = ConfigDict(frozen=True)

    budget: Budget
    status: Status
    reason: str
    measurement: Measurement | None = None

    @property
    def value_text(self) -> str:
        """The figure for a reader; exact where rounding would make it look equal to the limit."""
        if self.measurement is None or self.measurement.value is None:
            return "-"
        value, unit = self.measurement.value, self.budget.unit
        rounded = human(value, unit)
        if value != self.budget.limit and rounded == human(self.budget.limit, unit):
            return exact_text(value, self.budget)
        return rounded

    @property
    def limit_text(self) -> str:
        """The limit as the user wrote it, with its direction and tolerance."""
        sign = "≤" if self.budget.rule.better == "lower" else "≥"
        slack = f" ± {self.budget.tolerance:.0%}" if self.budget.tolerance else ""
        return f"{sign} {self.budget.limit_text}{slack}"


def exact_text(value: float, budget: Budget) -> str:
    """Write a figure without rounding: bytes as bytes."""
    return f"{value:,} B" if budget.unit == "B" else exact(value, budget.rule.dimension)


def judge(budgets: Iterable[Budget], results: Results) -> list[Verdict]:
    """Judge every budget line, in order."""
    return [_judge_line(budget, results) for budget in budgets]


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """0 all pass, 1 a line failed, 3 none failed but one is missing or inconclusive."""
    states = {verdict.status for verdict in verdicts}
    if "fail" in states:
        return EXIT_FAIL
    return EXIT_PASS if states == {"pass"} else EXIT_MISSING


def as_json(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Verdicts for a program: stable keys, figures in base units."""
    return {
        "schema_version": 1,
        "exit_code": exit_code(verdicts),
        "verdicts": [
            {
                "status": verdict.status,
                "reason": verdict.reason,
                "budget": verdict.budget.model_dump(mode="json"),
                "measurement": verdict.measurement.model_dump(mode="json")
                if verdict.measurement
                else None,
            }
            for verdict in verdicts
        ],
    }


def _judge_line(budget: Budget, results: Results) -> Verdict:
    wanted = {"model": budget.model, "metric": budget.metric}
    if budget.rule.scope == "target":
        wanted["target"] = budget.target
    if budget.format:
        wanted["format"] = budget.format
    found = results.select(**wanted)
    if not found:
        return Verdict(budget=budget, status="missing", reason=_why_missing(budget, results))
    verdicts = [_judge_one(budget, one, results) for one in found]
    return min(verdicts, key=lambda verdict: _SEVERITY.index(verdict.status))


def _why_missing(budget: Budget, results: Results) -> str:
    if budget.rule.scope == "target" and results.environment(budget.target) is None:
        return f"not measured on this target; run dlink-bench with -t {budget.target}"
    formats = [found.format for found in results.select(model=budget.model, metric=budget.metric)]
    if budget.format and formats:
        return f'no format "{budget.format}"; measured: {", ".join(dict.fromkeys(formats))}'
    return "no such figure in the results"


def _judge_one(budget: Budget, found: Measurement, results: Results) -> Verdict:
    def verdict(status: Status, reason: str) -> Verdict:
        return Verdict(budget=budget, status=status, reason=reason, measurement=found)

    if found.value is None:
        return verdict("missing", found.reason)
    if budget.rule.trust == "time":
        environment = results.environment(found.target)
        if environment is None or not environment.valid:
            faults = environment.faults if environment else ()
            why = faults[0].text if faults else "no environment was recorded"
            return verdict("inconclusive", f"milliseconds are indicative only: {why}")
    low, high = _ends(budget, found)
    inside = [_within(budget, end) for end in (low, high)]
    if all(inside):
        return verdict("pass", _margin(budget, found.value))
    if not any(inside):
        return verdict("fail", _margin(budget, found.value))
    kind = found.interval.kind if found.interval else "interval"
    return verdict(
        "inconclusive",
        f"the {kind} {human(low, budget.unit)} to {human(high, budget.unit)} holds the limit",
    )


def _ends(budget: Budget, found: Measurement) -> tuple[float, float]:
    """Ends of the interval that decides; an exact figure, or a spread over seeds, has only one."""
    assert found.value is not None
    interval = found.interval
    if budget.rule.trust == "exact" or interval is None or interval.kind == "standard deviation":
        return found.value, found.value
    return interval.low, interval.high


def _within(budget: Budget, value: float) -> bool:
    return value <= budget.bound if budget.rule.better == "lower" else value >= budget.bound


def _margin(budget: Budget, value: float) -> str:
    """How far the figure is from the limit, in words."""
    if budget.limit == 0:
        return "exactly as required" if value == 0 else f"{human(value, budget.unit)} too many"
    if value == budget.limit:
        return "exactly at the limit"
    share = 100 * abs(value - budget.limit) / abs(budget.limit)
    text = f"{share:.0f} %" if share >= 1 else f"{share:.2g} %"
    side = "below" if value < budget.limit else "above"
    good = _within(budget, value)
    tolerated = good and not _within(budget.model_copy(update={"tolerance": 0.0}), value)
    return f"{text} {side} the limit" + (", within the tolerance" if tolerated else "")
