"""A second-order section as a state-variable filter: the form that float32 can hold.

A high-pass at 0.5 Hz, sampled at 500 Hz, has its poles within 1 % of z = 1. The direct forms then
keep small results as differences of large states, and float32 coefficients move the corner. The
trapezoidal state-variable filter (Zavalishin, "The Art of VA Filter Design", 2012, chapter 4) has
the same transfer function, with states as large as the signal and coefficients that say how far the
poles are *from* z = 1.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.preprocess.definition import Section

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Svf:
    """One section. With input x and states s1, s2 (zero at the start), at each sample:

    d = q (x - s2 - r s1), v1 = s1 + d, e = g v1, v2 = s2 + e, s1 += 2 d, s2 += 2 e, and the output
    is high (x - v2 - k v1) + band v1 + low v2.
    """

    q: float
    r: float
    g: float
    k: float
    high: float
    band: float
    low: float

    @classmethod
    def of(cls, section: Section) -> Svf:
        """The same transfer function as (b0, b1, b2, 1, a1, a2), by z = (1 + s) / (1 - s)."""
        b0, b1, b2, _, a1, a2 = section
        top = 1 - a1 + a2
        g = math.sqrt((1 + a1 + a2) / top)
        k = 2 * (1 - a2) / top / g
        q = g / (1 + g * (g + k))
        return cls(
            q=q, r=g + k, g=g, k=k, high=(b0 - b1 + b2) / top,
            band=2 * (b0 - b2) / top / g, low=(b0 + b1 + b2) / top / g**2,
        )  # fmt: skip

    def step(self, x: Any, s1: Any, s2: Any) -> tuple[Any, Any, Any]:
        """One sample: output and the two new states; numbers or arrays of one type."""
        d = self.q * (x - s2 - self.r * s1)
        v1 = s1 + d
        e = self.g * v1
        v2 = s2 + e
        y = self.high * (x - v2 - self.k * v1) + self.band * v1 + self.low * v2
        return y, s1 + 2 * d, s2 + 2 * e

    def numbers(self) -> tuple[float, ...]:
        """q, r, g, k, high, band, low."""
        return astuple(self)


@dataclass(frozen=True, eq=False)
class Blocked:
    """A section over `size` samples at once: rows are vectors, as in MatMul.

    y (size) = x @ through + s @ out, and the next s (2) = x @ into + s @ on.
    """

    through: Floats
    out: Floats
    into: Floats
    on: Floats

    @classmethod
    def of(cls, section: Section, size: int) -> Blocked:
        """Matrices of one section, found by running it on unit vectors."""
        svf = Svf.of(section)
        # Rows: a sample of 1 at each place, then each state of 1.
        x = np.concatenate([np.eye(size), np.zeros((2, size))])
        s1, s2 = np.zeros(size + 2), np.zeros(size + 2)
        s1[size], s2[size + 1] = 1.0, 1.0
        y = np.empty((size + 2, size))
        for t in range(size):
            y[:, t], s1, s2 = svf.step(x[:, t], s1, s2)
        after = np.stack([s1, s2], axis=1)
        return cls(y[:size], y[size:], after[:size], after[size:])

    def starts(self, blocks: int) -> Floats:
        """(2 + 2 blocks, 2 blocks + 2): first state and blocks' own -> states before each block.

        The last two columns are the state behind all blocks.
        """
        powers = [np.eye(2)]
        for _ in range(blocks):
            powers.append(powers[-1] @ self.on)
        made = np.zeros((2 + 2 * blocks, 2 * blocks + 2))
        for column in range(blocks + 1):
            made[:2, 2 * column : 2 * column + 2] = powers[column]
            for row in range(column):
                place = slice(2 + 2 * row, 4 + 2 * row)
                made[place, 2 * column : 2 * column + 2] = powers[column - 1 - row]
        return made
