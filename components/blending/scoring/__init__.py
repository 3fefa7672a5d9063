"""Scores of rows with repeat counts, and their bootstrap intervals."""
