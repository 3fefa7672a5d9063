"""The face of the trainer: which member trains which folds in which task."""
