"""Test the fused step of a GAN.

It equals two separate calls in turn, compiles once, and gives the same result on any backend and
number of devices.
"""

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
from trainer.backends.program import get_state
from trainer.config.gan import GanRecipe
from trainer.config.schema import parse
from trainer.errors import TrainingError
from trainer.gan import step as gan_step
from trainer.gan.losses import discriminator_loss, generator_loss

# Each recipe uses a different part of the step.
RECIPES: dict[str, dict[str, Any]] = {
    # 0.2 leaves the average's warm-up early; with 0.9, so few steps would show the warm-up alone.
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


@pytest.fixture(
    params=[
        pytest.param(RECIPES["two time scales"], id="two time scales"),
        pytest.param(
            RECIPES["unconditional, hinge, bounded, augmented"],
            id="unconditional, hinge, bounded, augmented",
            marks=pytest.mark.acceptance,
        ),
    ]
)
def gan(request: pytest.FixtureRequest) -> GanRecipe:
    return recipe(**request.param)


@pytest.fixture(autouse=True)
def float_policy() -> Iterator[None]:
    yield
    assert keras.config.dtype_policy().name == "float32"


class Line(keras.optimizers.schedules.LearningRateSchedule):
    """Falls linearly from a rate to `decay` times that rate over all steps."""

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


def in_turn(gan: GanRecipe) -> tuple[dict[str, list[np.ndarray]], np.ndarray]:
    """Train the reference: one function for the discriminator and one for the generator, in turn.

    Returns:
        All variables at the end, and what each step reports.
    """
    import tensorflow as tf

    networks = gans.networks(gan).networks
    generator, discriminator = networks["generator"], networks["discriminator"]
    optimizers = {
        "generator": adam(gan.generator_rate, gan, generator.trainable_variables),
        "discriminator": adam(gan.discriminator_rate, gan, discriminator.trainable_variables),
    }

    def generate(inputs: Any) -> Any:
        return generator(inputs, training=True)

    def discriminate(inputs: Any) -> Any:
        return discriminator(inputs, training=True)

    @tf.function
    def first(arrays: Any) -> Any:
        with tf.GradientTape() as tape:
            loss, real, generated = discriminator_loss(gan, generate, discriminate, arrays)
        weights = discriminator.trainable_variables
        optimizers["discriminator"].apply(tape.gradient(loss, weights), weights)
        return loss, real, generated

    @tf.function
    def second(arrays: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = generator_loss(gan, generate, discriminate, arrays)
        weights = generator.trainable_variables
        optimizers["generator"].apply(tape.gradient(loss, weights), weights)
        return loss

    reported = []
    for step in range(gan.steps):
        arrays = {name: tf.constant(values) for name, values in gans.arrays(gan, step).items()}
        reported.append([float(value) for value in (*first(arrays), second(arrays))])
        kept = min(gan.average, (1 + step) / (10 + step))
        averaged = networks["averaged"].variables
        for average, variable in zip(averaged, generator.variables, strict=True):
            average.assign(kept * average + (1 - kept) * variable)
    variables = {name: network.variables for name, network in networks.items()}
    variables |= {f"{name}_optimizer": one.variables for name, one in optimizers.items()}
    arrays_of = {name: [np.array(one) for one in group] for name, group in variables.items()}
    return arrays_of, np.array(reported)


def assert_moved_alike(
    start: dict[str, list[np.ndarray]],
    found: dict[str, list[np.ndarray]],
    wanted: dict[str, list[np.ndarray]],
    share: float = 0.05,
) -> None:
    """Check that each group of variables moved as it should, up to a small share of the movement.

    Sums are in another order, which Adam amplifies where a gradient is close to zero.
    """
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
    wanted, reported = in_turn(gan)
    program = gans.program(gans.networks(gan), xla=True)
    start = get_state(program)
    np.testing.assert_allclose(gans.trained(program, gan), reported, rtol=2e-3, atol=2e-4)
    assert program.compilations == 1
    assert_moved_alike(start, get_state(program), wanted)


def test_the_generator_steps_before_the_discriminator_as_it_has_become() -> None:
    """Its loss uses the updated discriminator; simultaneous steps would give another value."""
    gan = recipe(discriminator_rate=0.05, steps=1, average=0.0)
    before = gans.networks(gan).networks
    state = gans.networks(gan)
    program, networks = gans.program(state), state.networks
    arrays = gans.arrays(gan, 0)

    def loss(discriminator: Any) -> float:
        value = generator_loss(
            gan,
            lambda inputs: before["generator"](inputs, training=True),
            lambda inputs: discriminator(inputs, training=True),
            {name: ops.convert_to_tensor(values) for name, values in arrays.items()},
        )
        return float(value)

    simultaneous = loss(before["discriminator"])
    (values,) = np.asarray(program.step(gan_step.stacked([arrays])))
    generator_loss_of_step = values[gan_step.REPORTED.index("generator_loss")]
    assert generator_loss_of_step == pytest.approx(loss(networks["discriminator"]), rel=1e-3)
    assert abs(generator_loss_of_step - simultaneous) > 0.05
    # Without an average, samples come from the generator itself.
    for average, variable in zip(
        networks["averaged"].variables, networks["generator"].variables, strict=True
    ):
        assert np.array_equal(np.array(average), np.array(variable))


@pytest.mark.acceptance
def test_several_steps_at_a_call_are_the_same_steps() -> None:
    gan = recipe(**RECIPES["unconditional, hinge, bounded, augmented"])
    one, some = (gans.program(gans.networks(gan), xla=True) for _ in range(2))
    np.testing.assert_allclose(
        gans.trained(some, gan, together=4), gans.trained(one, gan), rtol=2e-3, atol=2e-4
    )
    assert some.compilations == 1


def test_what_is_drawn_depends_on_the_seed_and_the_step_alone() -> None:
    gan = recipe(diffaugment=["color", "translation", "cutout"])
    one, same = (gan_step.draw(gan, seed=3, step=9, side=32, classes=10) for _ in range(2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    for seed, step in ((4, 9), (3, 10)):
        other = gan_step.draw(gan, seed=seed, step=step, side=32, classes=10)
        assert not any(np.array_equal(one[name], other[name]) for name in one)
    # Each phase has its own latent vectors, and each call of the discriminator its own
    # augmentation.
    assert not np.array_equal(one["latent_first"], one["latent_second"])
    assert not np.array_equal(one["cutout_first"], one["cutout_real"])


class Echo:
    """A program that predicts the images it was given."""

    def __init__(self, images: list[float]) -> None:
        self.images = np.array(images)

    def predict(self, arrays: Any) -> np.ndarray:
        return self.images


def test_samples_are_rounded_and_not_a_number_is_divergence() -> None:
    nothing = np.zeros(0)
    np.testing.assert_array_equal(
        gan_step.sample(Echo([-1.0, 0.0, 1.0, 1.5]), nothing, nothing),  # type: ignore[arg-type]
        np.array([0, 128, 255, 255], np.uint8),
    )
    with pytest.raises(
        TrainingError,
        match=r"divergence: generated images contain NaN or infinity: lower gan\.generator_rate",
    ):
        gan_step.sample(Echo([0.0, np.nan]), nothing, nothing)  # type: ignore[arg-type]


@pytest.mark.acceptance
def test_mixed_precision_keeps_its_weights_and_losses_in_single() -> None:
    gan = recipe(precision="mixed_bfloat16", steps=2)
    state = gans.networks(gan)
    generator = state.networks["generator"]
    assert generator.get_layer("up1").compute_dtype == "bfloat16"
    reported = gans.trained(gans.program(state), gan)
    assert reported.dtype == np.float32
    assert np.isfinite(reported).all()
    assert {np.array(one).dtype for one in generator.variables} == {np.dtype("float32")}


def on_jax(
    gan: GanRecipe, folder: Path, *, devices: int, together: int = 1
) -> dict[str, np.ndarray]:
    """Run the recipe on JAX in a separate process, from the same initial weights as TensorFlow."""
    start = get_state(gans.program(gans.networks(gan)))
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


@pytest.mark.acceptance
def test_jax_does_the_same_on_one_device_and_on_several(tmp_path: Path) -> None:
    # Batch normalisation in the generator uses the complete batch, on any number of devices; the
    # discriminator has spectral normalisation, and the rates fall.
    gan = recipe(
        loss="hinge",
        spectral_norm=True,
        diffaugment=["color", "translation"],
        decay=0.1,
        average=0.2,
        steps=6,
    )
    program = gans.program(gans.networks(gan))
    start = get_state(program)
    reported = gans.trained(program, gan)
    one, four = (
        on_jax(gan, tmp_path, devices=devices, together=together)
        for devices, together in ((1, 1), (4, 2))
    )
    assert (int(one["devices"]), int(four["devices"])) == (1, 4)
    assert (int(one["compilations"]), int(four["compilations"])) == (1, 1)
    for found in (one, four):
        np.testing.assert_allclose(found["reported"], reported, rtol=5e-3, atol=5e-4)
        state = {
            name: [found[f"{name}/{n}"] for n in range(len(group))] for name, group in start.items()
        }
        # Another backend's order of sums, six steps of Adam, and a hinge loss: the measured share
        # is 0.07.
        assert_moved_alike(start, state, get_state(program), share=0.2)
    assert np.abs(one["samples"].astype(int) - four["samples"].astype(int)).max() <= 2
