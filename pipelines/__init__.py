"""Wiring and launching: the only place that knows where tasks run."""
