"""Final predictions -> a submission file, checked against the sample submission."""
