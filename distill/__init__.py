"""A fine-tuned EEG foundation model becomes a compact MiC student (DLink)."""
