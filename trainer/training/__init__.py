"""The training of a member on some folds."""
