"""The examples table -> the folds table and its leak audit."""
