"""Scores of rows that count any number of times, and their intervals."""
