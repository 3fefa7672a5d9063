"""Devices, and one compiled program on TensorFlow or on JAX."""
