"""Spectral normalisation as a layer.

Keras's own layer overwrites the weights on one backend and not on the other.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("foldline")
class Bounded(keras.layers.Wrapper):
    """A convolution or dense layer whose kernel is divided by its largest singular value.

    After Miyato et al., arXiv:1802.05957, equations 7 and 8. Each training call improves the
    estimate by one step of power iteration. The gradient passes through the division, with both
    singular vectors held constant (equation 10).
    """

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        self.right = self.add_weight(
            shape=(1, self.layer.kernel.shape[-1]),
            initializer=keras.initializers.RandomNormal(seed=0),
            trainable=False,
            dtype="float32",
            name="right",
        )

    def kernel(self, *, training: bool) -> Any:
        """Return the normalised kernel, float32.

        Args:
            training: whether to update the estimate of the singular vector.
        """
        kernel = ops.cast(self.layer.kernel, "float32")
        flat = ops.reshape(kernel, (-1, kernel.shape[-1]))
        left = _unit(ops.matmul(self.right, ops.transpose(flat)))
        right = _unit(ops.matmul(left, flat))
        left, right = ops.stop_gradient(left), ops.stop_gradient(right)
        if training:
            self.right.assign(right)
        return kernel / ops.sum(ops.matmul(left, flat) * right)

    def call(self, inputs: Any, training: bool = False) -> Any:
        layer = self.layer
        kernel = ops.cast(self.kernel(training=training), layer.compute_dtype)
        inputs = ops.cast(inputs, layer.compute_dtype)
        if isinstance(layer, keras.layers.Conv2D):
            outputs = ops.conv(inputs, kernel, strides=list(layer.strides), padding=layer.padding)
        else:
            outputs = ops.matmul(inputs, kernel)
        return (
            outputs if layer.bias is None else outputs + ops.cast(layer.bias, layer.compute_dtype)
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        return self.layer.compute_output_shape(input_shape)


def _unit(vector: Any) -> Any:
    return vector / (ops.norm(vector) + 1e-12)
