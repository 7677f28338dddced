"""Inputs of an export: a run folder, a braindecode model, a module of the user's, an ONNX file."""

from __future__ import annotations

from export.sources.base import Source

__all__ = ["Source"]
