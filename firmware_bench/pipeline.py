"""Cycles of executed blocks on the dual-issue cores, by LLVM's pipeline models (llvm-mca).

Cortex-M7 and Cortex-M55 issue two instructions at once or overlap vector beats: no sum over single
instructions describes them. llvm-mca simulates each distinct block :data:`ITERATIONS` times in a
row; the cost of the block is the total divided by that, its steady state. Which is right for inner
loops, where the time goes, and a little optimistic or pessimistic for code that runs once.

Left out: mispredicted and taken branches (the M7 predicts, the M55 loops by ``le`` for nothing),
caches and wait states. LLVM has no schedule for calls and for the loop instructions of the M55: a
call and the start of a loop count one cycle, its end none.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence

from firmware_bench.disassembly import Instruction
from targets.errors import InputError

MCA = "llvm-mca-19"
#: Core -> target triple of LLVM.
TRIPLES = {"cortex-m7": "thumbv7em", "cortex-m55": "thumbv8.1m.main"}
ITERATIONS = 64
MISSING = "llvm-mca 19 is not installed (Debian package llvm-19)"

_ADDRESS = re.compile(r"#?-?(?:0x)?[0-9a-f]+ <[^>]*>")
_NO_SCHEDULE = {"le": 0, "letp": 0, "dls": 1, "wls": 1, "dlstp": 1, "wlstp": 1, "lctp": 1, "bl": 1}
_CONDITIONS = ("eq ne", "hs lo", "mi pl", "vs vc", "hi ls", "ge lt", "gt le")
_INVERSE = {a: b for pair in _CONDITIONS for a, b in (pair.split(), pair.split()[::-1])}
_ERROR_LINE = re.compile(r"^<stdin>:(\d+):\d+: error:", re.MULTILINE)


def available() -> bool:
    """Whether the pipeline models can be asked."""
    return shutil.which(MCA) is not None


def block_cycles(core: str, blocks: Sequence[Sequence[Instruction]]) -> list[float]:
    """Steady-state cycles of one pass through each block.

    Parameters
    ----------
    core : str
        A key of :data:`TRIPLES`.
    blocks : sequence of blocks of instructions, disassembled by llvm-objdump

    A block that LLVM cannot read (it begins inside an IT block, say) costs a cycle an instruction.
    """
    texts = [_assembly(block) for block in blocks]
    distinct = list(dict.fromkeys(text for text in texts if text))
    machine = (f"-mtriple={TRIPLES[core]}", f"-mcpu={core}", f"-iterations={ITERATIONS}")
    cycles = dict(zip(distinct, simulate(machine, distinct), strict=True))
    found = []
    for block, text in zip(blocks, texts, strict=True):
        simulated = cycles[text] if text else 0.0
        found.append(float(len(block)) if simulated is None else simulated + _apart(block))
    return found


def simulate(machine: Sequence[str], texts: Sequence[str]) -> list[float | None]:
    """Cycles of one pass through each text of assembly source; None where LLVM refuses it.

    `machine` are llvm-mca's options for processor and iterations. It is asked for all texts at
    once; those with an error are left out and asked no more.
    """
    refused: set[int] = set()
    while len(refused) < len(texts):
        lines, owners = _regions(texts, refused)
        answer = subprocess.run(
            [
                *(MCA, *machine),
                *("-json", "-instruction-info=false", "-resource-pressure=false"),
                *("-skip-unsupported-instructions=lack-sched", "-"),
            ],
            input="\n".join(lines) + "\n",
            check=False,
            capture_output=True,
            text=True,
        )
        if answer.returncode == 0:
            return _read(answer.stdout, len(texts))
        wrong = {owners[int(line) - 1] for line in _ERROR_LINE.findall(answer.stderr)}
        if not wrong - refused:
            last = (answer.stderr.strip() or "no word").splitlines()[0]
            raise InputError(f"the pipeline model failed: {last}", where=MCA)
        refused |= wrong
    return [None] * len(texts)


def _regions(texts: Sequence[str], refused: set[int]) -> tuple[list[str], list[int]]:
    """Lines of the input, and the region that each of them belongs to."""
    lines: list[str] = []
    owners: list[int] = []
    for index, text in enumerate(texts):
        if index not in refused:
            part = [f"# LLVM-MCA-BEGIN {index}", *text.splitlines(), f"# LLVM-MCA-END {index}"]
            lines += part
            owners += [index] * len(part)
    return lines, owners


def _read(text: str, count: int) -> list[float | None]:
    found: list[float | None] = [None] * count
    for region in json.loads(text)["CodeRegions"]:
        view = region["SummaryView"]
        found[int(region["Name"])] = view["TotalCycles"] / view["Iterations"]
    return found


def _apart(block: Sequence[Instruction]) -> int:
    """Cycles of the instructions that LLVM has no schedule for."""
    return sum(_NO_SCHEDULE.get(_plain(one), 0) for one in block)


def _assembly(block: Sequence[Instruction]) -> str:
    """Write a block as assembly source that stands alone.

    Addresses become a label; widths (``.w``) go, because llvm-mca crashes on some of the wide forms
    that it reads as aliases; an IT block cut off by the block's end is filled up.
    """
    lines: list[str] = []
    pending: list[str] = []  # conditions that the open IT block still waits for
    for one in block:
        if _plain(one) in _NO_SCHEDULE:
            continue
        mnemonic = re.sub(r"\.[nw]$", "", one.mnemonic)
        if re.fullmatch(r"it[te]*", mnemonic):
            condition = one.operands.strip()
            pending = [_INVERSE[condition] if c == "e" else condition for c in mnemonic[1:]]
        elif pending:
            pending.pop(0)
        lines.append(f"{mnemonic} {_ADDRESS.sub('.Lelsewhere', one.operands)}".rstrip())
    return "\n".join([*lines, *(f"nop{condition}" for condition in pending)])


def _plain(one: Instruction) -> str:
    """Mnemonic without width and element size."""
    return one.mnemonic.partition(".")[0]
