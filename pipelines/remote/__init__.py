"""Runs on Vertex AI or on a Kubeflow Pipelines server."""
