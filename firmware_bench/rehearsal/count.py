"""Count what a program of the emulated board executes between two marks.

Instructions are exact and repeat to 0.005 % for one thread; memory traffic is a model of the
board's data caches; resident memory is the guest's own. The plugin, ``native/count.c``, says how.
No wall time is taken: it would be this machine's.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware_bench.rehearsal import board_files, emulate, userland
from targets.errors import InputError
from targets.files import atomic_path

SOURCE = Path(__file__).parent / "native" / "count.c"
_FLAGS = ("-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden")


@dataclass(frozen=True)
class Counts:
    """What ran between the marks, summed over all inferences there.

    Attributes
    ----------
    instructions : int
        Executed by the guest.
    dram_lines : int
        Lines of 64 bytes that no cache held. Caches are empty where the region begins, as they were
        where the constants of the latency model were fitted: count one inference a region.
    blocks : list of (bytes, int)
        Code of each executed block and how often it ran, the most instructions first.
    peak_rss_bytes : int
        Largest resident memory of the guest over the whole program, loading included.
    reads_writes, l1_misses, l2_misses : int
        Data accesses and the lines that missed.
    stdout : str
        What the program printed.
    """

    instructions: int
    dram_lines: int
    blocks: list[tuple[bytes, int]]
    peak_rss_bytes: int
    reads_writes: int = 0
    l1_misses: int = 0
    l2_misses: int = 0
    stdout: str = ""


def count(
    board_id: str,
    arch: str,
    site: str | None,
    runner_argv: Sequence[str],
    *,
    caches: bool = True,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 600,
    keep: Path | None = None,
) -> Counts:
    """Run a program on an emulated board and count the region that it marks.

    Parameters
    ----------
    board_id, arch, site
        As for :func:`emulate.run`.
    runner_argv : sequence of str
        The program, such as ``["python3", guest_run.py, MODEL]``. It marks one region with
        ``os.close(-20816)`` and ``os.close(-20817)`` and runs on one thread.
    caches : bool
        Whether to model the caches; without, counting is several times as fast.
    env : mapping, optional
        Further variables of the program.
    timeout_s : float
        Seconds after which the program is killed.
    keep : Path, optional
        Gets the region's file, which :func:`read` and ``firmware_bench.estimate`` read.

    Raises
    ------
    InputError
        Nothing built, the program failed or crashed, or it marked no region or several.
    """
    with tempfile.TemporaryDirectory(prefix="dlink-count-") as name:
        out = Path(name) / "count"
        finished = emulate.run(
            board_id, arch, site, runner_argv, env=env, timeout_s=timeout_s,
            qemu_options=["-plugin", _plugin_option(board_id, out, caches)],
        )  # fmt: skip
        finished.check(" ".join(runner_argv[:3]))
        regions = sorted(Path(name).glob("count.[0-9]*"))
        if len(regions) != 1:
            raise InputError(
                "the program marks no single region to count", where=" ".join(runner_argv[:3]),
                value=f"{len(regions)} regions", limit="1",
                todo="Surround the inferences by close(-20816) and close(-20817).",
            )  # fmt: skip
        if keep is not None:
            with atomic_path(keep) as part:
                shutil.copyfile(regions[0], part)
        peak = int(out.with_suffix(".memory").read_text(encoding="ascii"))
        return read(regions[0], peak, finished.stdout)


def read(path: Path, peak_rss_bytes: int = 0, stdout: str = "") -> Counts:
    """Read a region's file, as ``native/count.c`` writes it."""
    weighted, totals = [], {}
    for line in path.read_text(encoding="ascii").splitlines():
        words = line.split()
        if words[0] == "#":
            totals = {name: int(n) for name, n in zip(words[1::2], words[2::2], strict=True)}
        else:
            instructions, executed = int(words[1]), int(words[2])
            weighted.append((instructions * executed, bytes.fromhex(words[3]), executed))
    weighted.sort(key=lambda block: block[0], reverse=True)
    blocks = [(code, executed) for _, code, executed in weighted]
    return Counts(blocks=blocks, peak_rss_bytes=peak_rss_bytes, stdout=stdout, **totals)


def plugin() -> Path:
    """Return the compiled counter; compiles it where it is missing or older than its source.

    Raises
    ------
    InputError
        No compiler, or it refuses the source.
    """
    digest = hashlib.sha256(SOURCE.read_bytes() + " ".join(_FLAGS).encode()).hexdigest()[:16]
    path = userland.home() / "native" / f"count-{digest}.so"
    if path.is_file():
        return path
    compiler = shutil.which("gcc")
    if compiler is None:
        raise InputError("program is not installed", where="gcc", todo="Run `make setup`.")
    with atomic_path(path) as part:
        command = [compiler, *_FLAGS, "-o", str(part), str(SOURCE)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError("the counter does not compile", where=SOURCE, value=done.stderr[-500:])
    return path


def _plugin_option(board_id: str, out: Path, caches: bool) -> str:
    board = board_files.board(board_id)
    settings = {
        "out": out,
        "caches": int(caches),
        "l1": board.l1_kb,
        "l2": board.l2_kb,
        "l3": board.l3_kb,
        "l1_ways": board.l1_ways,
        "guest_end": hex(emulate.GUEST_END),
    }
    return ",".join(
        [str(plugin().absolute()), *(f"{key}={value}" for key, value in settings.items())]
    )
