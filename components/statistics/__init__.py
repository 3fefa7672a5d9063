"""Compute exact pooled pixel statistics from the examples and folds tables."""
