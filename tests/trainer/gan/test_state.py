"""The fused step: equal to two separate calls in turn, compiled once, the same on any backend and
number of devices."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from tests.support import gans
from tests.support.paths import ROOT
from trainer.config.gan import GanRecipe
from trainer.config.schema import parse
from trainer.errors import TrainingError
from trainer.gan import networks as dcgan
from trainer.gan import state as pair

# In each a different part of the recipe is tried.
RECIPES: dict[str, dict[str, Any]] = {
    # The average is long reached: with 0.9 its short beginning alone would be seen in so few steps.
    "two time scales": {"generator_rate": 1e-3, "decay": 0.1, "momentum": 0.3, "average": 0.2},
    "unconditional, hinge, bounded, augmented": {
        "conditional": False,
        "loss": "hinge",
        "spectral_norm": True,
        "diffaugment": ["color", "translation", "cutout"],
    },
}


def recipe(**changed: Any) -> GanRecipe:
    return parse(GanRecipe, {**gans.SMALL, **changed}, "gan")


@pytest.fixture(params=RECIPES.values(), ids=RECIPES.keys())
def gan(request: pytest.FixtureRequest) -> GanRecipe:
    return recipe(**request.param)


@pytest.fixture(autouse=True)
def float_policy() -> Iterator[None]:
    yield
    assert keras.config.dtype_policy().name == "float32"


class Line(keras.optimizers.schedules.LearningRateSchedule):
    """From a rate to its share `decay`, in all steps."""

    def __init__(self, rate: float, gan: GanRecipe) -> None:
        self.rate, self.gan = rate, gan

    def __call__(self, step: Any) -> Any:
        done = ops.cast(step, "float32") / self.gan.steps
        return self.rate * (1 - done + done * self.gan.decay)


def adam(rate: float, gan: GanRecipe, trained: list[Any]) -> keras.optimizers.Adam:
    optimizer = keras.optimizers.Adam(
        rate if gan.decay == 1 else Line(rate, gan), beta_1=gan.momentum
    )
    optimizer.build(trained)
    return optimizer


def in_turn(gan: GanRecipe) -> tuple[pair.GanState, np.ndarray]:
    """The reference: a function that trains the discriminator and one that trains the generator,
    each called by itself."""
    import tensorflow as tf

    networks = gans.networks(gan)
    generator, discriminator = networks.generator, networks.discriminator
    of_generator = adam(gan.generator_rate, gan, generator.trainable_variables)
    of_discriminator = adam(gan.discriminator_rate, gan, discriminator.trainable_variables)
    networks.optimizers = [of_generator, of_discriminator]

    def generate(latent: Any, labels: Any) -> Any:
        return generator([latent, labels], training=True)

    def discriminate(images: Any, labels: Any) -> Any:
        return discriminator([images, labels], training=True)

    @tf.function
    def first(arrays: Any) -> Any:
        with tf.GradientTape() as tape:
            loss, right = dcgan.discriminator_loss(gan, generate, discriminate, arrays)
        of_discriminator.apply(
            tape.gradient(loss, discriminator.trainable_variables),
            discriminator.trainable_variables,
        )
        return loss, right["real"], right["generated"]

    @tf.function
    def second(arrays: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = dcgan.generator_loss(gan, generate, discriminate, arrays)
        of_generator.apply(
            tape.gradient(loss, generator.trainable_variables), generator.trainable_variables
        )
        return loss

    told = []
    for step in range(gan.steps):
        arrays = {name: tf.constant(values) for name, values in gans.arrays(gan, step).items()}
        loss, real, generated = first(arrays)
        told.append([float(value) for value in (loss, second(arrays), real, generated)])
        kept = min(gan.average, (1 + step) / (10 + step))
        for average, variable in zip(networks.averaged.variables, generator.variables, strict=True):
            average.assign(kept * average + (1 - kept) * variable)
    return networks, np.array(told)


def assert_moved_alike(
    start: dict[str, list[np.ndarray]],
    found: dict[str, list[np.ndarray]],
    wanted: dict[str, list[np.ndarray]],
    share: float = 0.05,
) -> None:
    """Each group of variables has moved as it should, but for a small share of the way: sums are in
    another order, of which Adam makes much where a gradient is next to nothing."""
    for name, arrays in wanted.items():
        before, should, does = (
            np.concatenate([array.ravel() for array in group])
            for group in (start[name], arrays, found[name])
        )
        assert np.abs(does - should).mean() <= share * np.abs(should - before).mean(), name
    assert all(
        np.abs(array - before).mean() > 1e-5
        for array, before in zip(wanted["generator"], start["generator"], strict=True)
    )


def test_one_graph_does_what_two_calls_in_turn_do(gan: GanRecipe) -> None:
    expected, told = in_turn(gan)
    made = pair.make(gans.device("tensorflow"), gans.networks(gan))
    start = pair.state(made)
    np.testing.assert_allclose(gans.trained(made, gan), told, rtol=2e-3, atol=2e-4)
    assert made.compilations == 1
    wanted = {
        name: [np.array(variable) for variable in group]
        for name, group in expected.groups().items()
    }
    assert_moved_alike(start, pair.state(made), wanted)


def test_the_generator_steps_before_the_discriminator_as_it_has_become() -> None:
    """Its loss is that of the updated discriminator, which simultaneous steps would not give."""
    gan = recipe(discriminator_rate=0.05, steps=1, average=0.0)
    networks = gans.networks(gan)
    made = pair.make(gans.device("tensorflow"), networks)
    arrays = gans.arrays(gan, 0)
    before = gans.networks(gan)

    def loss(discriminator: Any) -> float:
        value = dcgan.generator_loss(
            gan,
            lambda latent, labels: before.generator([latent, labels], training=True),
            lambda images, labels: discriminator([images, labels], training=True),
            {name: ops.convert_to_tensor(values) for name, values in arrays.items()},
        )
        return float(value)

    simultaneous = loss(before.discriminator)
    (told,) = np.asarray(made.steps(pair.stacked([arrays])))
    assert told[1] == pytest.approx(loss(networks.discriminator), rel=1e-3)
    assert abs(told[1] - simultaneous) > 0.05
    # And without an average, samples are the generator's own.
    for average, variable in zip(
        networks.averaged.variables, networks.generator.variables, strict=True
    ):
        assert np.array_equal(np.array(average), np.array(variable))


def test_several_steps_at_a_call_are_the_same_steps() -> None:
    gan = recipe(**RECIPES["unconditional, hinge, bounded, augmented"])
    one, some = (pair.make(gans.device("tensorflow"), gans.networks(gan)) for _ in range(2))
    np.testing.assert_allclose(
        gans.trained(some, gan, together=4), gans.trained(one, gan), rtol=2e-3, atol=2e-4
    )
    assert some.compilations == 1


def test_what_is_drawn_depends_on_the_seed_and_the_step_alone() -> None:
    gan = recipe(diffaugment=["color", "translation", "cutout"])
    one, same = (pair.draw(gan, seed=3, step=9, side=32, classes=10) for _ in range(2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    for seed, step in ((4, 9), (3, 10)):
        other = pair.draw(gan, seed=seed, step=step, side=32, classes=10)
        assert not any(np.array_equal(one[name], other[name]) for name in one)
    # Each phase has its own latent vectors, each showing its own augmentation.
    assert not np.array_equal(one["latent_first"], one["latent_second"])
    assert not np.array_equal(one["cutout_first"], one["cutout_real"])


def test_pixels_that_are_no_numbers_are_divergence() -> None:
    np.testing.assert_array_equal(
        pair.pixels(np.array([-1.0, 0.0, 1.0, 1.5])), np.array([0, 128, 255, 255], np.uint8)
    )
    with pytest.raises(
        TrainingError,
        match=r"divergence: the generator's images are no numbers: lower gan\.generator_rate",
    ):
        pair.pixels(np.array([0.0, np.nan]))


def test_mixed_precision_keeps_its_weights_and_losses_in_single() -> None:
    gan = recipe(precision="mixed_bfloat16", steps=2)
    made = pair.make(gans.device("tensorflow"), gans.networks(gan))
    assert made.networks.generator.get_layer("up1").compute_dtype == "bfloat16"
    told = gans.trained(made, gan)
    assert told.dtype == np.float32
    assert np.isfinite(told).all()
    assert {np.array(variable).dtype for variable in made.networks.generator.variables} == {
        np.dtype("float32")
    }


def on_jax(
    gan: GanRecipe, folder: Path, *, devices: int, together: int = 1
) -> dict[str, np.ndarray]:
    """The recipe by JAX in a process of its own, beginning with the weights that TensorFlow begins
    with."""
    start = pair.state(pair.make(gans.device("tensorflow"), gans.networks(gan)))
    np.savez(
        folder / "start.npz",
        **{
            f"{name}/{index}": array
            for name, group in start.items()
            for index, array in enumerate(group)
        },
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment["KERAS_BACKEND"] = "jax"
    environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    out = folder / f"{devices}-{together}.npz"
    text = json.dumps(dataclasses.asdict(gan))
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.gan_on_devices",
            text,
            str(together),
            str(folder / "start.npz"),
            str(out),
        ],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(out) as held:
        return {name: held[name] for name in held.files}


@pytest.mark.parametrize(
    "changed",
    [
        {"loss": "hinge", "spectral_norm": True, "diffaugment": ["color", "translation"]},
        # Batch normalisation in both networks: that of the whole batch, on any number of devices.
        {"decay": 0.1, "average": 0.2},
    ],
    ids=["hinge, bounded", "as without any key"],
)
def test_jax_does_the_same_on_one_device_and_on_several(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    gan = recipe(**changed, steps=6)
    made = pair.make(gans.device("tensorflow"), gans.networks(gan))
    start = pair.state(made)
    told = gans.trained(made, gan)
    one, four = (
        on_jax(gan, tmp_path, devices=devices, together=together)
        for devices, together in ((1, 1), (4, 2))
    )
    assert (int(one["devices"]), int(four["devices"])) == (1, 4)
    assert (int(one["compilations"]), int(four["compilations"])) == (1, 1)
    for found in (one, four):
        np.testing.assert_allclose(found["told"], told, rtol=5e-3, atol=5e-4)
        state = {
            name: [found[f"{name}/{n}"] for n in range(len(group))] for name, group in start.items()
        }
        # Another backend's sums, six steps of Adam, and a hinge: measured 0.07.
        assert_moved_alike(start, state, pair.state(made), share=0.2)
    assert np.abs(one["samples"].astype(int) - four["samples"].astype(int)).max() <= 2
