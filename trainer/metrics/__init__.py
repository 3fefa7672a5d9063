"""Scores: which there are, how they are computed, and of which classes of an image they know."""
