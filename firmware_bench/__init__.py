"""Artefact x target -> measurement -> verdict."""
