"""The training steps: plan which job trains which member on which folds, and run a job."""
