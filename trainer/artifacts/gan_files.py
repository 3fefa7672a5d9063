"""Names of the files that a GAN's training leaves in its folder."""

# The generator of averaged weights, and the figures about its samples.
GENERATOR, EVALUATION = "generator.keras", "evaluation.json"
# Folders: a grid of samples for each evaluation, and samples as records.
FRAMES, SAMPLES = "grids", "samples"
GRID, STRIP, COPIES, GIF = PICTURES = (
    "grid.png",
    "interpolation.png",
    "nearest.png",
    "training.gif",
)
