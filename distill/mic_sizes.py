"""The named sizes of MiC: what `size = "mic-s"` in a recipe stands for.

Figures at 19 x 800 and 22 x 800, and the boards that hold each, are in docs/students.md;
``python -m distill.students`` prints them. All three have the default's strides, so that one
recipe's windows and patches suit them all.
"""

from __future__ import annotations

from typing import Literal, get_args

from distill.mic import MiCConfig

SizeName = Literal["mic-xs", "mic-s", "mic-m"]
NAMES: tuple[SizeName, ...] = get_args(SizeName)

SIZES: dict[SizeName, MiCConfig] = {
    # Cortex-M0+ and M4: half the default's first map, which is what its arena consists of; the
    # multiply-accumulates that this saves pay for one residual block.
    "mic-xs": MiCConfig(spatial=8, expand=4, width=32, blocks=1),
    # Cortex-M7 and M33: a few million multiply-accumulates, tens of kilobytes.
    "mic-s": MiCConfig(spatial=16, expand=4, width=64, blocks=3, compress=32),
    # Raspberry Pi: tens of millions; memory is no matter there.
    "mic-m": MiCConfig(spatial=32, expand=4, width=192, blocks=6, compress=64),
}
