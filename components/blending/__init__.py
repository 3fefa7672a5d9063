"""Out-of-fold tables -> weights, one final prediction per image, nested scores."""
