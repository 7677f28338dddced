"""The Cortex-M cores that the bench knows: how to compile for one, and which machine emulates it.

A further core is one more row of :data:`CORES`; start-up code and linker script serve them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from targets.errors import InputError


@dataclass(frozen=True)
class Core:
    """One core and the QEMU machine that runs its code.

    Parameters
    ----------
    name : str
        The compiler's name of the core, as in ``-mcpu``.
    flags : tuple of str
        Compiler flags that choose the instruction set and the floating-point ABI.
    machine : str
        QEMU machine. Its wall time means nothing; its instructions are the core's own.
    code_origin, code_bytes, ram_origin, ram_bytes : int
        Where the machine has memory for code and for data (QEMU 7.2, ``info mtree``). The first
        word of the code is the vector table. The stack lies at the bottom of the RAM, which starts
        at a multiple of 1 MiB: what is below faults (startup.c).
    """

    name: str
    flags: tuple[str, ...]
    machine: str
    code_origin: int
    code_bytes: int
    ram_origin: int
    ram_bytes: int


_MIB = 1 << 20

CORES = {
    core.name: core
    for core in (
        # QEMU has no M0+ model. The M4 runs ARMv6-M code unchanged, instruction for instruction.
        Core(
            "cortex-m0plus",
            ("-mcpu=cortex-m0plus",),
            *("mps2-an386", 0x0000_0000, 4 * _MIB, 0x2000_0000, 4 * _MIB),
        ),
        Core(
            "cortex-m4",
            ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
            *("mps2-an386", 0x0000_0000, 4 * _MIB, 0x2000_0000, 4 * _MIB),
        ),
        Core(
            "cortex-m7",
            ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
            *("mps2-an500", 0x0000_0000, 4 * _MIB, 0x2000_0000, 4 * _MIB),
        ),
        # Both machines with TrustZone start in the secure state: the secure aliases are used.
        Core(
            "cortex-m33",
            ("-mcpu=cortex-m33", "-mfloat-abi=hard", "-mfpu=fpv5-sp-d16"),
            *("mps2-an505", 0x1000_0000, 4 * _MIB, 0x3800_0000, 4 * _MIB),
        ),
        Core(
            "cortex-m55",
            ("-mcpu=cortex-m55", "-mfloat-abi=hard"),
            *("mps3-an547", 0x1000_0000, _MIB // 2, 0x3100_0000, 4 * _MIB),
        ),
    )
}


def find_core(name: str) -> Core:
    """Return the core called `name`; an unknown one is an :class:`InputError` that lists all."""
    try:
        return CORES[name]
    except KeyError:
        raise InputError(
            "core is not known", where="core", value=name, limit=", ".join(CORES)
        ) from None
