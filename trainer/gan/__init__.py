"""The training of a GAN."""
