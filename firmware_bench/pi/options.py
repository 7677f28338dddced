"""What can be chosen for a run on a Linux board."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from targets.errors import InputError

#: A window is due this often where the product's hop is not said: its length over this number.
HOPS_PER_WINDOW = 4


@dataclass(frozen=True)
class PiOptions:
    """Options of :func:`firmware_bench.pi.bench.bench`.

    Attributes
    ----------
    runs : int
        Timed runs of each model file and number of threads; slow models do fewer (`block_s`).
    threads : tuple of int
        Numbers of threads, the first being the one that budgets judge.
    cold_starts : int
        New processes started for each model file.
    hop_s : float, optional
        The product's hop, s; a quarter of the window without it.
    paced_s : float
        Length of the loop at that hop, s, for each model file.
    block_s : float
        The most that one block of one model may take, s.
    sustained_s : float
        Minutes of full load on all cores, in s; 0 leaves them out.
    energy_s : float
        Length of the energy measurement, s, for each model file; 0 leaves it out. The board needs
        a power interface, or `meter_csv` be given.
    meter_csv : Path, optional
        What a power meter wrote: see :mod:`firmware_bench.pi.energy`.
    python : str, optional
        Interpreter on the board; without it the environment of `--prepare`, else `python3`.
    ssh_config : Path, optional
        For ``ssh -F``.
    ssh_options : tuple of str
        Each for ``ssh -o``.
    connect_s, reconnect_s : float
        How long to wait for a connection, and how long for a board that went away to return.
    reconnects : int
        How often a cut connection is taken up again.
    """

    runs: int = 200
    threads: tuple[int, ...] = (1,)
    cold_starts: int = 3
    hop_s: float | None = None
    paced_s: float = 10.0
    block_s: float = 5.0
    sustained_s: float = 0.0
    energy_s: float = 0.0
    meter_csv: Path | None = None
    python: str | None = None
    ssh_config: Path | None = None
    ssh_options: tuple[str, ...] = ()
    connect_s: float = 15.0
    reconnect_s: float = 180.0
    reconnects: int = 5

    def __post_init__(self) -> None:
        if min(self.runs, self.cold_starts) < 1:
            raise InputError("at least one run is needed", value=min(self.runs, self.cold_starts))
        if not self.threads or min(self.threads) < 1:
            raise InputError("a number of threads starts at 1", value=self.threads)
        if self.hop_s is not None and not 0 < self.hop_s < float("inf"):
            raise InputError("a hop is a time above 0 s", value=self.hop_s)
        if self.meter_csv is not None and not self.energy_s:
            raise InputError(
                "a meter's file is of no use without a measurement of energy",
                where=self.meter_csv, todo="Give the length of that measurement too.",
            )  # fmt: skip
