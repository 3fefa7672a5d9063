"""All members' predictions on the same rows, whether a training job or another tool made them."""
