"""Collects the results of a finished run."""
