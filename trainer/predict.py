"""Predictions of one model for rows of images."""

import keras
import numpy as np
import tensorflow as tf

BATCH = 256


def probabilities(model: keras.Model, batches: tf.data.Dataset) -> np.ndarray:
    """Softmax of the model's logits, float32 (n, classes), rows in the order of `batches`."""
    logits = model.predict(batches, verbose=0).astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits)
    return (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
