"""The signal contract on the device: one causal chain as Python, ONNX and C."""
