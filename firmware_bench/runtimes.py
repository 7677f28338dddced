"""The seam over the runtimes, as the device package has it: this machine runs the board's code."""

from __future__ import annotations

from firmware_bench.device.packages import TFLITE_PACKAGES
from firmware_bench.device.runtimes import RUNTIMES, OnnxModel, TfliteModel, quantise

__all__ = ["RUNTIMES", "TFLITE_PACKAGES", "OnnxModel", "TfliteModel", "quantise"]
