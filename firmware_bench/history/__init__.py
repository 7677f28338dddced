"""Results of many runs in one SQLite file: listed, shown, drawn and compared over commits."""

from firmware_bench.history.figures import Figure, Filter
from firmware_bench.history.store import Added, History

__all__ = ["Added", "Figure", "Filter", "History"]
