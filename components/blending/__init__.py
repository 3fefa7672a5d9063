"""Out-of-fold tables -> weights, one final prediction an image, honest scores."""
