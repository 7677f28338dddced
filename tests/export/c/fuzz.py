"""Feeds damaged models to the generator: each is generated, or refused with one clear error.

    python tests/export/c/fuzz.py --count 10000 --seed 1

Anything else is a finding: another exception, more than two seconds of CPU time, more than 500 MB,
or a library that does not compile or that the address and undefined-behaviour sanitizers object to.
Mutant i of a seed is the same on every run: ``--first i --count 1`` repeats it.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[3])]

from mutate import mutant, reference_models, small_models  # noqa: E402

from export.c.generate import GeneratedLibrary, generate  # noqa: E402
from targets.errors import InputError  # noqa: E402

SECONDS, BYTES = 2.0, 500 * 2**20
LARGEST_RUN = 2**24  # bytes and multiply-accumulates that are still run under the sanitizers
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
REFERENCE_SHARE = 0.1
# Exact allocations, so that one byte too far is seen.
_DRIVER = """
#include <stdlib.h>
#include "model.h"
int main(void)
{
    uint8_t *input = malloc(DLINK_MODEL_INPUT_BYTES);
    void *output = malloc(DLINK_MODEL_OUTPUT_BYTES), *arena = malloc(DLINK_MODEL_ARENA_BYTES);
    uint32_t state = 1;
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < DLINK_MODEL_INPUT_BYTES; i++) {
            state = state * 1664525u + 1013904223u;
            input[i] = round == 0 ? 0x80 : round == 1 ? 0x7F : (uint8_t)(state >> 24);
        }
        if (dlink_model_invoke((void *)input, output, arena, DLINK_MODEL_ARENA_BYTES)) {
            return 1;
        }
    }
    free(input);
    free(output);
    free(arena);
    return 0;
}
"""


class TooSlow(BaseException):
    """Raised by the alarm; not an Exception, so that no handler takes it for an error."""


@dataclass
class Summary:
    """What became of the mutants."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    mutations: Counter[str] = field(default_factory=Counter)
    sanitized: int = 0
    slowest: float = 0.0
    findings: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        refused = sum(self.refused.values())
        lines = [
            f"{self.accepted + refused + len(self.findings)} mutants: {self.accepted} accepted "
            f"({self.sanitized} of them run under sanitizers), {refused} refused, "
            f"{len(self.findings)} findings; slowest {self.slowest:.2f} s"
        ]
        lines += [f"{count:7d}  {reason}" for reason, count in self.refused.most_common()]
        return "\n".join([*lines, *self.findings])


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """Two seconds of this process's time, and 500 MB more than now."""

    def stop(_number: int, _frame: object) -> None:
        raise TooSlow

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    old = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, old)


def reason(error: InputError) -> str:
    """The error without what differs from model to model."""
    text = re.sub(r"^\w[\w ]*: (node \d+ )?", "", error.what)
    return re.sub(r"-?\d[\d.e+-]*|\bnan\b|\binf\b", "N", text)


def sanitize(folder: Path) -> str:
    """Compile and run the library in `folder`; the complaint, or nothing."""
    (folder / "main.c").write_text(_DRIVER, encoding="ascii")
    sources = sorted(map(str, folder.glob("*.c")))
    command = ["cc", "-std=c99", "-O1", *SANITIZERS, *sources, "-o", str(folder / "run")]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        return f"does not compile: {built.stderr[:500]}"
    try:
        done = subprocess.run(
            [folder / "run"], capture_output=True, text=True, check=False, timeout=60
        )
    except subprocess.TimeoutExpired:
        return "runs for more than a minute"
    return f"sanitizer: {done.stderr[:800]}" if done.returncode else ""


def _runs_quickly(library: GeneratedLibrary) -> bool:
    header = (library.out_dir / "model.h").read_text()
    sizes = [int(n) for n in re.findall(r"#define DLINK_MODEL_\w+_BYTES (\d+)", header)]
    return max(*sizes, library.macs) <= LARGEST_RUN


def run(count: int, seed: int, *, first: int = 0, sanitize_each: int = 50) -> Summary:
    """Try mutants first..first+count-1; one accepted mutant of `sanitize_each` is also run."""
    small, large = list(small_models().values()), list(reference_models().values())
    summary = Summary()
    with tempfile.TemporaryDirectory(prefix="dlink-fuzz-") as folder:
        out = Path(folder) / "c"
        for number in range(first, first + count):
            rng = random.Random(f"{seed}/{number}")
            source = rng.choice(large if large and rng.random() < REFERENCE_SHARE else small)
            kind, model = mutant(rng, source)
            summary.mutations[kind] += 1
            try:
                finding = _try(model, out, summary, sanitize_each)
            except (Exception, TooSlow) as err:  # whatever it is, it is a finding
                finding = f"{type(err).__name__}: {err}"
            if finding:
                summary.findings.append(f"mutant {number} of seed {seed} ({kind}): {finding}")
    return summary


def _try(model: bytes, out: Path, summary: Summary, sanitize_each: int) -> str:
    """Generate from one mutant and count what became of it; returns what is wrong with that."""
    start = time.process_time()
    try:
        with limits():
            library = generate(model, out)
    except InputError as error:
        summary.refused[reason(error)] += 1
        return ""
    finally:
        summary.slowest = max(summary.slowest, time.process_time() - start)
    if summary.accepted % sanitize_each == 0 and _runs_quickly(library):
        if complaint := sanitize(out):
            return complaint
        summary.sanitized += 1
    summary.accepted += 1
    return ""


def main() -> int:
    """The command; exits with 1 if there are findings."""
    parser = argparse.ArgumentParser(description="Fuzz the C generator with damaged models.")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--sanitize-each", type=int, default=50, metavar="N")
    args = parser.parse_args()
    summary = run(args.count, args.seed, first=args.first, sanitize_each=args.sanitize_each)
    print(summary)
    return 1 if summary.findings else 0


if __name__ == "__main__":
    sys.exit(main())
