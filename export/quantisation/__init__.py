"""How a graph becomes int8 without losing its decisions: docs/quantisation.md."""
