"""Several boards measured at once, from one file that names them; one results.json of all."""

from firmware_bench.fleet.boards import Board, load_boards
from firmware_bench.fleet.run import FleetResult, run_fleet

__all__ = ["Board", "FleetResult", "load_boards", "run_fleet"]
