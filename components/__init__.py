"""The steps, a folder each. `component.py` is a step's kfp face; the modules beside it hold the
code and know no kfp."""

# The container images that carry the installed package; a local run uses the interpreter that
# started it.
LIGHT_IMAGE = "foldline:0.1.0"
TRAINING_IMAGE = "foldline-training:0.1.0"
