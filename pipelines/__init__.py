"""Wires the pipelines and launches them: the only package that knows where steps run."""
