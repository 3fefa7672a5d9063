"""Where a pipeline runs, and the resources that each of its steps requests there."""
