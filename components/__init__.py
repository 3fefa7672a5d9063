"""The pipeline steps, one folder each.

`component.py` is a step's kfp component; the modules next to it hold the code and do not use
kfp."""

# Container images with the package installed. A local run uses the interpreter that started it
# instead.
LIGHT_IMAGE = "foldline:0.1.0"
TRAINING_IMAGE = "foldline-training:0.1.0"
