"""A student becomes a verified artefact folder: ONNX, TFLite, C, manifest."""
