"""Where a pipeline runs: what each of its tasks asks for there."""
