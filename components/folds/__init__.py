"""Assign the examples to folds, and audit the folds for leaks."""
