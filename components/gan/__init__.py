"""The face of a GAN's training: its file checked, the judge planned, the training, and the page
about it."""
