"""Runs on this machine."""

from pathlib import Path

# The folder of all results, below the current one; each run has a folder in it.
RUNS = Path("runs")
