"""The fused kernels against Keras's own operations, inside a graph as training runs them."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainer.backends.kernels import fuse_network, fuse_optimizer

SHAPE = (8, 6, 5, 4)


def normalised(
    options: dict[str, Any], *, fused: bool, training: bool, frozen: bool = False, dtype: str
) -> list[np.ndarray]:
    """Apply a normalisation twice; return its outputs, its gradients, and its statistics."""
    generator = np.random.default_rng(0)
    layer = keras.layers.BatchNormalization(dtype=dtype, **options)
    network = keras.Sequential([keras.Input(SHAPE[1:]), layer])
    layer.trainable = not frozen
    # Statistics as those of a network that has learnt something.
    network.set_weights(
        [
            generator.uniform(0.5, 1.5, value.shape).astype(np.float32)
            for value in network.get_weights()
        ]
    )
    if fused:
        fuse_network(network)
        assert "call" in vars(layer)
    inputs = tf.constant(generator.normal(3, 2, SHAPE).astype(np.float32))
    slopes = tf.constant(generator.normal(size=SHAPE).astype(np.float32))

    @tf.function(autograph=False)
    def step() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = tf.cast(network(inputs, training=training), tf.float32)
            total = tf.reduce_sum(outputs * slopes)
        variables = [variable.value for variable in network.trainable_variables]
        return outputs, tape.gradient(total, [inputs, *variables])

    step()
    outputs, gradients = step()
    return [np.asarray(value) for value in (outputs, *gradients, *network.get_weights())]


@pytest.mark.parametrize(
    ("training", "frozen"), [(True, False), (False, False), (True, True)], ids=str
)
@pytest.mark.parametrize(
    "options",
    [{}, {"center": False, "scale": False}, {"momentum": 0.7, "epsilon": 1e-5}],
    ids=["plain", "no centre, no scale", "own numbers"],
)
def test_normalisation_is_keras_s(options: dict[str, Any], training: bool, frozen: bool) -> None:
    theirs, ours = (
        normalised(options, fused=fused, training=training, frozen=frozen, dtype="float32")
        for fused in (False, True)
    )
    assert len(ours) == len(theirs)
    for found, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def test_normalisation_in_half_precision_is_computed_in_single() -> None:
    theirs, ours = (
        normalised({}, fused=fused, training=True, dtype="mixed_bfloat16")
        for fused in (False, True)
    )
    for found, wanted in zip(ours, theirs, strict=True):
        # Rounded to bfloat16 (8 bits) at the same places.
        np.testing.assert_allclose(found, wanted, rtol=1e-2, atol=1e-2)


def test_the_statistics_of_a_single_value_a_channel() -> None:
    """A sample of one has no variance; that of the value is 0."""
    layer = keras.layers.BatchNormalization(momentum=0.5)
    network = keras.Sequential([keras.Input((1, 1, 2)), layer])
    fuse_network(network)
    network(np.array([[[[3.0, 5.0]]]], np.float32), training=True)
    np.testing.assert_allclose(np.asarray(layer.moving_mean), [1.5, 2.5])
    np.testing.assert_allclose(np.asarray(layer.moving_variance), [0.5, 0.5])


def test_other_normalisations_stay_keras_s() -> None:
    class Own(keras.layers.BatchNormalization):
        pass

    layers = [
        keras.layers.BatchNormalization(axis=1),
        keras.layers.BatchNormalization(renorm=True),
        keras.layers.BatchNormalization(synchronized=True),
        Own(),
    ]
    network = keras.Sequential([keras.Input(SHAPE[1:]), *layers])
    inside = keras.layers.BatchNormalization()
    whole = keras.Sequential([network, keras.Sequential([keras.Input(SHAPE[1:]), inside])])
    fuse_network(whole)
    assert [layer for layer in layers if "call" in vars(layer)] == []
    assert "call" in vars(inside)
    # Rows without an image axis, for instance of a table, are not for the kernel.
    rows = keras.Sequential([keras.Input((3,)), keras.layers.BatchNormalization()])
    fuse_network(rows)
    values = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    np.testing.assert_allclose(np.asarray(rows(values, training=True)).std(axis=0), 1, atol=1e-2)


def test_a_layer_that_is_never_called_is_left_alone() -> None:
    class Branches(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = (keras.layers.BatchNormalization() for _ in range(2))

        def build(self, shape: Any) -> None:
            self.used.build(shape)

        def call(self, inputs: Any, training: Any = None) -> Any:
            return self.used(inputs, training=training)

    network = Branches()
    network(np.zeros(SHAPE, np.float32))
    fuse_network(network)
    assert "call" in vars(network.used)
    assert "call" not in vars(network.unused)


def test_programs_that_share_a_network_see_which_of_its_layers_learn() -> None:
    """As the head alone, then everything, then the head alone again."""
    layer = keras.layers.BatchNormalization(momentum=0.5)
    network = keras.Sequential([keras.Input(SHAPE[1:]), layer])
    fuse_network(network)
    values = tf.constant(np.random.default_rng(0).normal(3, 2, SHAPE).astype(np.float32))
    steps = {}
    for learns in (False, True):
        layer.trainable = learns
        steps[learns] = tf.function(lambda: network(values, training=True), autograph=False)
        steps[learns]()
    moved = np.asarray(layer.moving_mean)
    assert np.abs(moved).min() > 0.5
    np.testing.assert_allclose(
        np.asarray(steps[False]()),
        (np.asarray(values) - moved) / np.sqrt(np.asarray(layer.moving_variance) + 1e-3),
        atol=1e-5,
    )
    np.testing.assert_array_equal(np.asarray(layer.moving_mean), moved)


def test_a_fused_network_is_saved_as_keras_s(tmp_path: Any) -> None:
    network = keras.Sequential([keras.Input(SHAPE[1:]), keras.layers.BatchNormalization()])
    fuse_network(network)
    network.save(tmp_path / "network.keras")
    again = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    values = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    np.testing.assert_allclose(np.asarray(network(values)), np.asarray(again(values)), atol=1e-5)


def updated(
    optimizer: keras.optimizers.Optimizer, *, fused: bool, steps: int = 9
) -> list[np.ndarray]:
    """Take steps down a bowl; return the variables and all that the optimizer holds."""
    generator = np.random.default_rng(1)
    variables = [
        keras.Variable(generator.normal(size=shape).astype(np.float32), name=name)
        for name, shape in (("kernel", (3, 4)), ("bias", (4,)))
    ]
    optimizer.build(variables)
    if fused:
        fuse_optimizer(optimizer)

    @tf.function(autograph=False)
    def step(rate: Any) -> None:
        getattr(optimizer, "inner_optimizer", optimizer).learning_rate.assign(rate)
        with tf.GradientTape() as tape:
            loss = tf.add_n([tf.reduce_sum(tf.sin(one.value) ** 2) for one in variables])
            scaled = optimizer.scale_loss(loss)
        optimizer.apply(tape.gradient(scaled, [one.value for one in variables]), variables)

    for number in range(steps):
        step(tf.constant(0.1 / (1 + number)))
    return [np.asarray(one) for one in (*variables, *optimizer.variables)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.optimizers.Adam(0.1),
        lambda: keras.optimizers.AdamW(0.1, weight_decay=0.05, beta_1=0.8, epsilon=1e-5),
        lambda: keras.optimizers.AdamW(0.1, global_clipnorm=0.5),
        lambda: keras.optimizers.Adam(0.1, gradient_accumulation_steps=3),
        lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam(0.1)),
    ],
    ids=["adam", "adamw", "clipped", "accumulated", "scaled"],
)
def test_adam_is_keras_s(make: Any) -> None:
    theirs, ours = (updated(make(), fused=fused) for fused in (False, True))
    for found, wanted in zip(ours, theirs, strict=True):
        # The kernel rounds 1 - 0.999 to single precision: its steps differ by 2e-5 of themselves.
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_what_is_not_adam_stays_keras_s() -> None:
    for optimizer in (
        keras.optimizers.SGD(0.1, momentum=0.9),
        keras.optimizers.Adam(0.1, amsgrad=True),
        keras.optimizers.Nadam(0.1),
    ):
        fuse_optimizer(optimizer)
        assert "update_step" not in vars(optimizer)
