"""MODEL_CARD.md and its plots: what the model is for, how good it is on whom, what was checked."""

from __future__ import annotations

from pathlib import Path

from export.card.facts import CardFacts, Training
from export.card.plots import draw
from export.card.text import text

__all__ = ["CARD", "CardFacts", "Training", "write"]

CARD = "MODEL_CARD.md"


def write(folder: Path, facts: CardFacts) -> None:
    """Write MODEL_CARD.md and ``plots/*.png`` into an artefact under construction.

    Sizes are those of the model files that stand in `folder`, so the card comes after them. What
    does not apply to a model, because there are no labels, say, is left out.
    """
    plots = draw(facts, folder / "plots")
    (folder / CARD).write_text(text(facts, folder, plots), encoding="utf-8")
