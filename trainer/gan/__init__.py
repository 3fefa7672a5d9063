"""The training of a GAN, and what its samples are worth."""
