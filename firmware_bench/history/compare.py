"""What changed between two commits, beyond what chance explains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from firmware_bench.history.figures import Figure, family
from targets.metrics import METRICS

#: indicative: it moved, but one of its environments is not valid.
Verdict = Literal["better", "worse", "indicative", "new", "gone", "same"]
TOLERANCE = 0.1
#: Exact for a budget, but not the same on every run: they are of processes, not of models.
_VARYING = ("peak_rss", "model_rss")
Key = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """One figure before and after; one of them is None where only the other commit has it."""

    before: Figure | None
    after: Figure | None
    verdict: Verdict
    why: str

    @property
    def figure(self) -> Figure:
        """The later one that there is."""
        found = self.after or self.before
        assert found is not None
        return found

    @property
    def relative(self) -> float | None:
        """(after - before) / |before|, or None where that has no meaning."""
        if self.before is None or self.after is None or not self.before.value:
            return None
        assert self.after.value is not None
        return (self.after.value - self.before.value) / abs(self.before.value)


def compare(
    before: Sequence[Figure], after: Sequence[Figure], *, tolerance: float = TOLERANCE
) -> list[Change]:
    """Judge every figure that one of two commits has, in order.

    Of several results of one commit the latest count. Figures of another evidence are another
    figure. Deterministic ones (counts, sizes, outputs, estimates) changed if they differ at all;
    those with an interval if each lies outside the other's; others beyond `tolerance`, relative.
    """
    old, new = _latest(before), _latest(after)
    return [_judge(old.get(key), new.get(key), tolerance) for key in dict.fromkeys((*old, *new))]


def deterministic(one: Figure) -> bool:
    """Whether a figure is the same each time it is taken of the same thing."""
    if one.evidence == "estimated":
        return True  # its band is of the truth, not of the figure
    return METRICS[one.metric].trust == "exact" and one.metric not in _VARYING


def _key(one: Figure) -> Key:
    return (one.artefact, one.target, one.board, one.model, one.format, family(one.runtime),
            one.metric, one.evidence)  # fmt: skip


def _latest(figures: Iterable[Figure]) -> dict[Key, Figure]:
    ordered = sorted(figures, key=lambda one: one.created)  # stable: a file's own order stays
    return {_key(one): one for one in ordered if one.value is not None}


def _judge(before: Figure | None, after: Figure | None, tolerance: float) -> Change:
    if before is None or after is None:
        return Change(before, after, "new" if before is None else "gone", "")
    assert before.value is not None
    assert after.value is not None
    if before.value == after.value:
        return Change(before, after, "same", "")
    moved, why = _moved(before, after, tolerance)
    if not moved:
        return Change(before, after, "same", why)
    if not (before.valid and after.valid):
        return Change(before, after, "indicative", why)
    lower = METRICS[after.metric].better == "lower"
    better = (after.value < before.value) == lower
    return Change(before, after, "better" if better else "worse", why)


def _moved(before: Figure, after: Figure, tolerance: float) -> tuple[bool, str]:
    assert before.value is not None
    assert after.value is not None
    if deterministic(after):
        # An estimate is a float that another order of sums changes in its last digits.
        near = abs(after.value - before.value) <= 1e-9 * abs(before.value)
        return not near, "deterministic"
    if before.low is not None and after.low is not None:
        apart = not _holds(before, after.value) and not _holds(after, before.value)
        return apart, "outside both intervals" if apart else "within an interval"
    moved = abs(after.value - before.value) > tolerance * abs(before.value)
    return moved, f"{'beyond' if moved else 'within'} {tolerance:.0%}"


def _holds(one: Figure, value: float) -> bool:
    assert one.low is not None
    assert one.high is not None
    return one.low <= value <= one.high
