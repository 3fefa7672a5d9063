"""Benchmark a GAN's training step and its complete pipeline, and estimate the step on a TPU.

    python benchmarks/adversarial.py

The step is one graph of both phases. It is compared with two graphs called in turn, and with one
graph whose loss is a weighted sum of both losses.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trainer.gan.losses import discriminator_loss, generator_loss

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import numpy as np

import pipelines.competitions
from pipelines.remote.estimate import PEAKS
from trainer.backends import devices
from trainer.backends.program import compile_program
from trainer.config.gan import GanRecipe
from trainer.gan import step
from trainer.gan.state import GanState

GAN = GanRecipe(steps=1000, width=32, average=0.0)
SIDE, CHANNELS, CLASSES = 32, 3, 10
STEPS, ROUNDS = 10, 7
# Memory bandwidth of each chip in 10⁹ bytes per second, from the same pages as PEAKS.
BANDWIDTH = {"v2": 700, "v3": 900, "v5e": 819, "v6e": 1600}
# Targets: how many times as long as the fused step each alternative takes, at least.
ASKED = {"two graphs in turn": 1.0, "both losses weighted": 1.6}
# Targets for digits_gan.toml, with the packages and the data in place: minutes at most, and shares
# at least.
MINUTES, JUDGE, OF_CLASS = 10.0, 0.98, 0.9
# The networks and the batch size of cifar10_gan.toml, for the estimate on a TPU.
LARGE = GanRecipe(
    steps=50_000,
    batch_size=256,
    width=64,
    loss="hinge",
    spectral_norm=True,
    diffaugment=["color", "translation", "cutout"],
    precision="mixed_bfloat16",
)


def networks() -> GanState:
    return GanState(GAN, side=SIDE, channels=CHANNELS, classes=CLASSES, seed=1)


def arrays(gan: GanRecipe = GAN) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "pixels": random.integers(0, 256, (gan.batch_size, SIDE, SIDE, CHANNELS), dtype=np.uint8),
        "labels": random.integers(0, CLASSES, gan.batch_size, dtype=np.int32),
        **step.draw(gan, seed=1, step=0, side=SIDE, classes=CLASSES),
    }


def parts(state: GanState) -> tuple[Any, Any]:
    """Return a function for each phase, the discriminator's first.

    Each takes the arrays of a step, and returns the phase's loss and gradients.
    """
    import tensorflow as tf

    generator, discriminator = state.networks["generator"], state.networks["discriminator"]

    def generate(inputs: Any) -> Any:
        return generator(inputs, training=True)

    def discriminate(inputs: Any) -> Any:
        return discriminator(inputs, training=True)

    def discriminator_phase(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            loss, *_ = discriminator_loss(GAN, generate, discriminate, batch)
        return loss, tape.gradient(loss, discriminator.trainable_variables)

    def generator_phase(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = generator_loss(GAN, generate, discriminate, batch)
        return loss, tape.gradient(loss, generator.trainable_variables)

    return discriminator_phase, generator_phase


def fused() -> Callable[[], Any]:
    """Return Foldline's step: both phases in one graph."""
    program = compile_program(step.define(networks()), "tensorflow")
    batch = step.stacked([arrays()])
    return lambda: np.asarray(program.step(batch))


def two_graphs() -> Callable[[], Any]:
    """Return a step that calls one compiled function for each phase."""
    import tensorflow as tf

    state = networks()
    discriminator_phase, generator_phase = parts(state)
    for name, optimizer in state.optimizers.items():
        optimizer.build(state.networks[name].trainable_variables)

    @tf.function(jit_compile=True)
    def train_discriminator(batch: Any) -> Any:
        loss, gradients = discriminator_phase(batch)
        weights = state.networks["discriminator"].trainable_variables
        state.optimizers["discriminator"].apply(gradients, weights)
        return loss

    @tf.function(jit_compile=True)
    def train_generator(batch: Any) -> Any:
        loss, gradients = generator_phase(batch)
        weights = state.networks["generator"].trainable_variables
        state.optimizers["generator"].apply(gradients, weights)
        return loss

    batch = arrays()

    def both_phases() -> Any:
        tensors = {name: tf.convert_to_tensor(values) for name, values in batch.items()}
        return float(train_discriminator(tensors)), float(train_generator(tensors))

    return both_phases


def weighted() -> tuple[Callable[[], Any], Callable[[], float]]:
    """Build one graph whose loss is g_w · generator loss + d_w · discriminator loss.

    Returns:
        A step that calls the graph with (g_w, d_w) = (0, 1), then (1, 0), and a function that calls
        it with (0, 1) and returns the largest change of a weight of the generator.
    """
    import keras
    import tensorflow as tf

    state = networks()
    discriminator_phase, generator_phase = parts(state)
    generator = state.networks["generator"]
    variables = [
        *state.networks["discriminator"].trainable_variables,
        *generator.trainable_variables,
    ]
    optimizer = keras.optimizers.Adam(GAN.generator_rate, beta_1=GAN.momentum, beta_2=0.999)
    optimizer.build(variables)

    @tf.function(jit_compile=True)
    def weighted_step(batch: Any, g_w: Any, d_w: Any) -> Any:
        d_loss, d_gradients = discriminator_phase(batch)
        g_loss, g_gradients = generator_phase(batch)
        gradients = [d_w * gradient for gradient in d_gradients] + [
            g_w * gradient for gradient in g_gradients
        ]
        optimizer.apply(gradients, variables)
        return g_w * g_loss + d_w * d_loss

    batch = arrays()
    zero, one = tf.constant(0.0), tf.constant(1.0)

    def both_phases() -> Any:
        tensors = {name: tf.convert_to_tensor(values) for name, values in batch.items()}
        return float(weighted_step(tensors, zero, one)), float(weighted_step(tensors, one, zero))

    def generator_change() -> float:
        before = [np.array(variable) for variable in generator.trainable_variables]
        weighted_step(batch, zero, one)
        after = [np.array(variable) for variable in generator.trainable_variables]
        return float(max(np.abs(new - old).max() for old, new in zip(before, after, strict=True)))

    return both_phases, generator_change


def speed() -> None:
    """Print the speed of the fused step and of both alternatives."""
    weighted_step, generator_change = weighted()
    steps = {
        "fused": fused(),
        "two graphs in turn": two_graphs(),
        "both losses weighted": weighted_step,
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for run_step in steps.values():
        run_step()
    for _ in range(ROUNDS):
        # Time all of them in every round, because the machine's speed varies.
        for name, run_step in steps.items():
            started = time.perf_counter()
            for _ in range(STEPS):
                run_step()
            seconds[name].append((time.perf_counter() - started) / STEPS)
    print("\n## A GAN's step on a CPU: one graph of both phases\n")
    print(
        f"DCGAN of {SIDE} × {SIDE} × {CHANNELS}, width {GAN.width}, batches of {GAN.batch_size},"
        f" all compiled by XLA. Medians of {ROUNDS} rounds of {STEPS} steps; every round times all"
        " three.\n"
    )
    print("| | steps per second | time / fused time | target |\n| --- | ---: | ---: | --- |")
    for name, rounds in seconds.items():
        ratio = statistics.median(
            own / base for own, base in zip(rounds, seconds["fused"], strict=True)
        )
        target = ASKED.get(name)
        verdict = (
            "" if target is None else f"at least {target}: {'met' if ratio >= target else 'missed'}"
        )
        print(f"| {name} | {1 / statistics.median(rounds):.2f} | {ratio:.2f} | {verdict} |")
    print(
        "\nWhen the weighted graph trains the discriminator alone, it still moves the generator's"
        f" weights by up to {generator_change():.1e}, because Adam's momentum continues (learning"
        f" rate {GAN.generator_rate:.0e}). The fused step does not move them."
    )


def counted() -> None:
    """Print XLA's count of the operations and bytes of LARGE's compiled step, and JAX's version.

    Run this in a separate process, on the JAX backend.
    """
    import jax

    state = GanState(LARGE, side=SIDE, channels=CHANNELS, classes=CLASSES, seed=1)
    program: Any = compile_program(step.define(state), "jax")
    stacked = step.stacked([arrays(LARGE)])
    batch = {name: jax.numpy.asarray(values) for name, values in stacked.items()}
    cost = program._step.lower(program._state, batch, None).compile().cost_analysis()
    print(cost["flops"], cost["bytes accessed"], jax.__version__)


def tpu() -> None:
    """Print an estimate of the step on each TPU chip."""
    process = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "counted"],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    flops, accessed, version = process.stdout.split()[-3:]
    xla_operations, xla_bytes = float(flops), float(accessed)
    operations = LARGE.operations(SIDE, CHANNELS)
    print("\n## The same step on a TPU: an estimate, not a measurement\n")
    print(
        f"DCGAN of pipelines/competitions/cifar10_gan.toml, batches of {LARGE.batch_size}:"
        f" {operations / 1e9:.0f} · 10⁹ operations per step summed over the layers,"
        f" {xla_operations / 1e9:.0f} by XLA's count, and {xla_bytes / 1e9:.2f} · 10⁹ bytes (JAX"
        f" {version}, compiled for a CPU, whose compiler fuses fewer operations than a TPU's). The"
        " time of a step is its operations at the chip's peak in half precision, or its bytes at"
        " the chip's memory bandwidth, whichever is longer. Networks this small reach a tenth to a"
        " half of that speed.\n"
    )
    print(
        "| chip | by operations, ms | by bytes, ms | steps per second at most | 50,000 steps,"
        " minutes at least |"
    )
    print("| --- | ---: | ---: | ---: | ---: |")
    for chip, bandwidth in BANDWIDTH.items():
        times = operations / (PEAKS[chip] * 1e12), xla_bytes / (bandwidth * 1e9)
        longest = max(times)
        print(
            f"| {chip} | {times[0] * 1e3:.2f} | {times[1] * 1e3:.2f} | {1 / longest:,.0f} |"
            f" {50_000 * longest / 60:.1f} |"
        )


def digits() -> None:
    """Run a GAN's complete pipeline on the demo's digits with `foldline run`; print its results.

    The time is from the file of digits to the finished page.
    """
    competitions = Path(pipelines.competitions.__file__).parent
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-m", "pipelines.competitions.digits", f"{folder}/data"],
            check=True,
            capture_output=True,
        )
        file = Path(folder) / "digits_gan.toml"
        text = (competitions / "digits_gan.toml").read_text(encoding="utf-8")
        file.write_text(
            text.replace('root = "../../data/digits"', 'root = "data"'), encoding="utf-8"
        )
        started = time.perf_counter()
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pipelines.cli.main",
                "run",
                str(file),
                "--out",
                f"{folder}/out",
            ],
            check=True,
            capture_output=True,
        )
        minutes = (time.perf_counter() - started) / 60
        metrics = json.loads((Path(folder) / "out" / "metrics.json").read_text(encoding="utf-8"))
    class_accuracy = metrics["samples"]["class_accuracy"]
    rows = [
        ("minutes", f"{minutes:.1f}", f"at most {MINUTES:g}", minutes <= MINUTES),
        (
            "class accuracy of the samples",
            f"{class_accuracy:.1%}",
            f"at least {OF_CLASS:.0%}",
            class_accuracy >= OF_CLASS,
        ),
        (
            "class accuracy of the worst class",
            f"{min(metrics['class_accuracy']):.0%}",
            "more than 50%",
            min(metrics["class_accuracy"]) > 0.5,
        ),
        (
            "accuracy of the judge on real digits",
            f"{metrics['judge_accuracy']:.1%}",
            f"at least {JUDGE:.0%}",
            metrics["judge_accuracy"] >= JUDGE,
        ),
    ]
    print("\n## A GAN's complete pipeline on a CPU: pipelines/competitions/digits_gan.toml\n")
    print(
        f"{os.cpu_count()} cores; {metrics['judged']} samples.\n\n| | | target |\n| --- | ---: |"
        " --- |"
    )
    for name, value, target, met in rows:
        print(f"| {name} | {value} | {target}: {'met' if met else 'missed'} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["counted"]:
        counted()
    else:
        devices.prepare("tensorflow")
        speed()
        tpu()
        digits()
