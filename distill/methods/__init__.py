"""Distillation methods: one file each, one interface."""
