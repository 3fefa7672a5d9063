"""The two pipelines, k-fold and GAN: wiring only."""
