"""What the training jobs of classifiers and of GANs have in common."""
