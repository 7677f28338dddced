"""Decode a stream of samples with an artefact, hop by hop, and tell what the decoding cost."""
