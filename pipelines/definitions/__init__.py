"""The two pipelines, wiring only."""
