"""How good the samples of a GAN are."""
