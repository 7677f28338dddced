"""From what a layer gives to tokens on the grid electrodes x patches.

Every architecture lays its tokens out in its own way. The form says how, in words and never by
guessing from sizes; the reduction to the patch grid is an average over time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

# Axes of a tapped output, slowest first; brackets join axes that the model has flattened into one.
Axes = Literal[
    "batch (chans steps) d",
    "batch (steps chans) d",
    "batch steps d",
    "batch chans steps d",
    "batch steps chans d",
    "(batch steps) chans d",
    "(batch chans) steps d",
    "batch d steps",
    "batch d chans steps",
    "batch d steps chans",
]
GRID = "batch chans steps d"


@dataclass(frozen=True)
class TokenForm:
    """How a layer's output becomes tokens.

    Attributes
    ----------
    axes : what its axes are. Without "chans" there is one virtual channel.
    cls_tokens, end_tokens : entries in front and at the end of the second axis that are no patch
        of the signal (class and summary tokens), dropped.
    frame, hop : length of a step and distance between two, in patches, where steps overlap (a
        short-time spectrum without padding). None: the steps part the window evenly.
    """

    axes: Axes
    cls_tokens: int = 0
    end_tokens: int = 0
    frame: float | None = None
    hop: float | None = None

    @property
    def joined_chans(self) -> bool:
        """Whether the number of channels cannot be read from the tensor and must be given."""
        return "(chans steps)" in self.axes or "(steps chans)" in self.axes

    @property
    def width_axis(self) -> int:
        """Which axis of a tapped output is d."""
        return re.sub(r"\(.*?\)", "joined", self.axes).split().index("d")

    def tokens(self, x: Any, batch: int, n_chans: int, n_patches: int) -> Tensor:
        """Tokens (batch, chans, n_patches, d) of a layer's output.

        Parameters
        ----------
        x : the output; None where the layer did not run.
        n_chans : channels, for forms that join them with the steps.

        Raises
        ------
        ValueError
            No output, no tensor, other axes than the form says, too few steps in time.
        """
        if not isinstance(x, Tensor):
            raise ValueError(
                "takes no part in the model's forward" if x is None else
                f"gives {type(x).__name__}, not a tensor"
            )  # fmt: skip
        grid = self.grid(x, batch, n_chans)
        weights = patch_weights(grid.shape[2], n_patches, self)
        return grid if weights is None else torch.einsum("ps,bcsd->bcpd", weights.to(grid), grid)

    def grid(self, x: Tensor, batch: int, n_chans: int) -> Tensor:
        """Tokens (batch, chans, steps, d) of a tapped output.

        Raises
        ------
        ValueError
            The output has other axes than the form says.
        """
        from einops import EinopsError, rearrange

        wanted, dropped = _rank(self.axes), self.cls_tokens + self.end_tokens
        if x.ndim != wanted:
            raise ValueError(f"has shape {tuple(x.shape)}, but {self.axes!r} has {wanted} axes")
        kept = x[:, self.cls_tokens : x.shape[1] - self.end_tokens]
        sizes = {"chans": n_chans} if self.joined_chans else {}
        if self.axes.startswith("("):
            sizes["batch"] = batch
        target = GRID if "chans" in self.axes else GRID.replace("chans", "1")
        try:
            return rearrange(kept, f"{self.axes} -> {target}", **sizes)
        except EinopsError:
            raise ValueError(
                f"has shape {tuple(x.shape)}, which is not {self.axes!r} for a batch of {batch}"
                + (f" and {n_chans} channels" if self.joined_chans else "")
                + (f" with {dropped} further tokens" if dropped else "")
            ) from None


def _rank(axes: str) -> int:
    """Number of axes, a bracket counting as one."""
    inner = axes[axes.find("(") : axes.find(")") + 1]
    return len(axes.replace(inner, "joined").split()) if inner else len(axes.split())


def patch_weights(n_steps: int, n_patches: int, form: TokenForm) -> Tensor | None:
    """Weights (n_patches, n_steps) that average steps to patches; None where they are the same.

    A step counts for a patch by the time that both cover; each row sums to 1.

    Raises
    ------
    ValueError
        Fewer steps than patches: the layer has no such resolution in time.
    """
    if form.frame is None and n_steps == n_patches:
        return None
    frame = form.frame or n_patches / n_steps
    hop = form.hop or frame
    if n_steps < n_patches and form.frame is None:
        raise ValueError(f"has {n_steps} steps in time, fewer than the {n_patches} patches")
    start = torch.arange(n_steps, dtype=torch.float64)[None] * hop
    patch = torch.arange(n_patches, dtype=torch.float64)[:, None]
    overlap = torch.minimum(start + frame, patch + 1) - torch.maximum(start, patch)
    weights = overlap.clamp_min(0)
    return (weights / weights.sum(dim=1, keepdim=True)).float()
