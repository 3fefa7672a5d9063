"""Runs a training step on GKE as a JobSet.

A task's own pod cannot train on a TPU: since Kubeflow Pipelines 2.16 its container has no
capabilities and cannot be privileged, and a TPU needs locked memory and device files that belong to
root. `launch` runs in the task's pod, `pod` in each pod of the JobSet.
"""
