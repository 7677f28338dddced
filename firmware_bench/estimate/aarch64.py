"""AArch64 words as text that llvm-mca reads, and the class that each belongs to.

A word is decoded once, however many blocks hold it. What llvm-mca cannot place in a pipeline (jumps
out of the block, barriers, reads relative to the program counter) becomes ``nop``: a slot of issue
without a latency.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable

from firmware_bench.estimate.counts import Block

LLVM_MC = "llvm-mc-19"
TRIPLE = "aarch64"
#: Extensions that the runtimes' kernels may use on these cores.
ATTRIBUTES = "-mattr=+fullfp16,+dotprod,+crc,+lse,+rdm,+v8.2a"
#: Loads and stores of core (`load`, `store`) and vector registers, fused multiplies in floating
#: point, integer multiplies and dot products of vectors, other vector, integer, branches.
CLASSES = (
    "load", "load_vector", "store", "store_vector", "fma", "multiply", "dot", "vector", "integer",
    "branch", "unknown",
)  # fmt: skip

_VECTOR = re.compile(r"\bv\d+\.|\b[qdshb]\d+\b")
_UNDECODED = re.compile(r"^<stdin>:(\d+):", re.MULTILINE)
#: Class, whether an operand must be a vector register, mnemonics; tried in this order.
_KINDS = (
    ("load_vector", True, re.compile(r"ld|prf")),
    ("load", False, re.compile(r"ld|prf")),
    ("store_vector", True, re.compile(r"st")),
    ("store", False, re.compile(r"st")),
    ("fma", False, re.compile(r"(?:fml[as]|fn?m(?:add|sub)|fmul)$")),
    ("dot", False, re.compile(r"[su]dot$")),
    ("multiply", True, re.compile(r"[su]ml[as]l|[su]mull|sqdmull|sqr?dmulh|ml[as]|mul")),
    ("branch", False, re.compile(r"b$|bl$|b\.|br$|blr$|ret|cbn?z|tbn?z")),
)
_NOP = re.compile(
    r"(?:b|bl|br|blr|ret|svc|brk|hlt|udf|dmb|dsb|isb|sys|dc|ic|at|tlbi)$"  # leaves or orders
)


def available() -> bool:
    """Whether words can be decoded."""
    return shutil.which(LLVM_MC) is not None


def decode(blocks: Iterable[Block]) -> dict[bytes, str | None]:
    """Text of each distinct word of `blocks`, None for one that LLVM does not know."""
    words = sorted({word for block in blocks for word in split(block.code)})
    lines = "\n".join(" ".join(f"0x{byte:02x}" for byte in word) for word in words)
    answer = subprocess.run(
        [LLVM_MC, "--disassemble", f"-triple={TRIPLE}", ATTRIBUTES],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
    )
    unknown = {int(line) - 1 for line in _UNDECODED.findall(answer.stderr)}
    text = (line.strip() for line in answer.stdout.splitlines())
    known = iter([line for line in text if line and not line.startswith(".")])
    return {word: None if i in unknown else next(known, None) for i, word in enumerate(words)}


def split(code: bytes) -> list[bytes]:
    """Split `code` into its words of four bytes."""
    return [code[i : i + 4] for i in range(0, len(code) - 3, 4)]


def standalone(text: str) -> str:
    """Rewrite one instruction so that it stands without its surroundings."""
    mnemonic, _, operands = text.partition("\t")
    if _NOP.match(mnemonic) or (mnemonic.startswith("ldr") and ", #" in operands.split("[")[0]):
        return "nop"
    if mnemonic.startswith(("b.", "cb")):
        return f"{mnemonic} {operands.rpartition(',')[0]}, .Lx".replace(" , ", " ")
    if mnemonic.startswith("tb") and mnemonic not in {"tbl", "tbx"}:
        return f"{mnemonic} {operands.rpartition(',')[0]}, .Lx"
    if mnemonic in ("adr", "adrp"):
        return f"{mnemonic} {operands.partition(',')[0]}, .Lx"
    return text


def classify(text: str | None) -> str:
    """One of :data:`CLASSES`."""
    if text is None:
        return "unknown"
    mnemonic, _, operands = text.partition("\t")
    vector = _VECTOR.search(operands) is not None
    for kind, needs_vector, pattern in _KINDS:
        if pattern.match(mnemonic) and (vector or not needs_vector):
            return kind
    return "vector" if vector else "integer"


def class_counts(blocks: Iterable[Block], texts: dict[bytes, str | None]) -> dict[str, int]:
    """Executed instructions by class; the values add up to all of them."""
    found: Counter[str] = Counter(dict.fromkeys(CLASSES, 0))
    kinds = {word: classify(text) for word, text in texts.items()}
    for block in blocks:
        for word in split(block.code):
            found[kinds[word]] += block.executions
    return dict(found)
