"""TensorFlow's fused kernels for what Keras computes operation by operation.

The layers and optimizers stay Keras's own, and so do the files of a network: one of their functions
is replaced, and computes the same up to rounding.
"""

import types
from typing import Any

import keras
import tensorflow as tf


def fuse_network(network: keras.Model) -> None:
    """Let the batch normalisations of a network use one kernel each, also in networks inside it.

    Args:
        network: a Keras model; normalisations over another axis than the last, of several devices
            together, or renormalised (`renorm`) stay as they are.
    """
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            fuse_network(layer)
        elif type(layer) is keras.layers.BatchNormalization and _has_kernel(layer):
            layer.call = types.MethodType(_normalise, layer)


def _has_kernel(layer: keras.layers.BatchNormalization) -> bool:
    plain = not layer.synchronized and not layer.renorm and layer.axis in (-1, 3)
    # A model of the user's may have layers that it never calls.
    return plain and layer.built and layer.moving_mean.dtype == "float32"


def _normalise(
    layer: keras.layers.BatchNormalization, inputs: Any, training: Any = None, mask: Any = None
) -> Any:
    """Compute what `keras.layers.BatchNormalization.call` does."""
    if mask is not None or len(inputs.shape) != 4:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    learns = bool(training) and layer.trainable
    moving = (layer.moving_mean, layer.moving_variance)
    mean, variance = ([], []) if learns else map(tf.convert_to_tensor, moving)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        # As Keras does: half precision overflows.
        x=tf.cast(inputs, tf.float32),
        scale=layer.gamma if layer.scale else tf.ones(moving[0].shape),
        offset=layer.beta if layer.center else tf.zeros(moving[0].shape),
        mean=mean,
        variance=variance,
        epsilon=layer.epsilon,
        is_training=learns,
    )
    if learns:
        # The kernel's variance is a sample's, divided by n - 1; Keras divides by n.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
        variance *= tf.maximum(count - 1.0, 1.0) / count
        for variable, value in zip(moving, (mean, variance), strict=True):
            variable.assign(variable * layer.momentum + value * (1.0 - layer.momentum))
    return tf.cast(outputs, layer.compute_dtype)


def fuse_optimizer(optimizer: keras.optimizers.Optimizer) -> None:
    """Let Adam or AdamW update each variable by one kernel; others stay as they are."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    kinds = (keras.optimizers.Adam, keras.optimizers.AdamW)
    if type(optimizer) in kinds and not optimizer.amsgrad:
        optimizer.update_step = _AdamKernel(optimizer)


class _AdamKernel:
    """Stands in for `keras.optimizers.Adam.update_step`: the same formula (Kingma and Ba,
    arXiv:1412.6980, end of section 2), in one kernel in place of a dozen operations. It rounds
    1 - beta_2 to single precision, which changes a step by 2e-5 of itself."""

    def __init__(self, optimizer: keras.optimizers.Adam) -> None:
        self.optimizer = optimizer
        # The numbers that all variables share, by the graph that computes them.
        self.shared: dict[Any, dict[str, Any]] = {}

    def __call__(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        optimizer = self.optimizer
        index = optimizer._get_variable_index(variable)
        slots = (optimizer._momentums[index], optimizer._velocities[index])
        if isinstance(variable, keras.Variable):
            variable = variable.value
        if variable.dtype != tf.float32:
            type(optimizer).update_step(optimizer, gradient, variable, learning_rate)
            return
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=slots[0].value.handle,
            v=slots[1].value.handle,
            lr=tf.cast(learning_rate, tf.float32),
            grad=tf.cast(gradient, tf.float32),
            **self._numbers(),
        )

    def _numbers(self) -> dict[str, Any]:
        optimizer, graph = self.optimizer, tf.compat.v1.get_default_graph()
        numbers = self.shared.get(graph)
        if numbers is None or tf.executing_eagerly():
            # A variable, or where gradients are accumulated a quotient.
            step = tf.cast(tf.convert_to_tensor(optimizer.iterations) + 1, tf.float32)
            beta1, beta2 = tf.constant(optimizer.beta_1), tf.constant(optimizer.beta_2)
            numbers = {
                "beta1": beta1,
                "beta2": beta2,
                "beta1_power": tf.pow(beta1, step),
                "beta2_power": tf.pow(beta2, step),
                "epsilon": tf.constant(optimizer.epsilon),
            }
            self.shared[graph] = numbers
        return numbers
