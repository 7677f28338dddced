"""`python -m distill.teachers`: the built-in teachers counted, as a Markdown table.

At 22 electrodes x 4 s and 4 classes (BCI Competition IV 2a), by :func:`distill.counts.count`. The
Fourier transforms of BIOT's and CBraMod's stems are not counted: they are no matrix products.
"""

from __future__ import annotations

import torch

from distill.counts import count
from distill.signal import SignalSpec
from distill.teachers.registry import ARCHITECTURES, build_teacher

CH_NAMES = ("Fz", "FC3", "FC1", "FCz", "FC2", "FC4", "C5", "C3", "C1", "Cz", "C2", "C4", "C6",
            "CP3", "CP1", "CPz", "CP2", "CP4", "P1", "Pz", "P2", "POz")  # fmt: skip
SECONDS, N_OUTPUTS = 4, 4


def table() -> str:
    """One row a teacher: parameters, of which the head's, multiply-accumulates, token grid."""
    rows = [
        "| teacher | parameters | of which head (`key prefix`) | GMAC | layers x tokens x width |",
        "|---|---|---|---|---|",
    ]
    for name, arch in ARCHITECTURES.items():
        needs = arch.needs
        signal = SignalSpec(
            ch_names=CH_NAMES, sfreq=needs.sfreq, n_times=round(SECONDS * needs.sfreq),
            unit=needs.unit, scale=needs.scale,
        )  # fmt: skip
        teacher = build_teacher(name, signal, N_OUTPUTS)
        example = torch.zeros(1, signal.n_chans, signal.n_times)
        counts = count(teacher, example, f"model.{teacher.head_prefix}")
        lay = teacher.layout
        rows.append(
            f"| {name} | {counts.params:,} | {counts.params_head:,} (`{teacher.head_prefix}`) | "
            f"{counts.macs / 1e9:.3f} | {len(teacher.layers)} x {lay.n_chans} x {lay.n_patches} "
            f"x {lay.d} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
