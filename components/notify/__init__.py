"""The step that tells a webhook that a run failed."""
