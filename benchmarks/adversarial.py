"""A GAN's step in one graph, against two graphs in turn and against one graph of both losses
weighted; what a TPU would do; and the whole pipeline's time.

python benchmarks/adversarial.py
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
# 10⁹ bytes a second of the memory of a chip, of the same pages as its peak.
BANDWIDTH = {"v2": 700, "v3": 900, "v5e": 819, "v6e": 1600}
# How many times as long as the fused step each other way takes at least.
ASKED = {"two graphs in turn": 1.0, "both losses weighted": 1.6}
# Of digits_gan.toml, with the installation and the data there: minutes at most, and shares at
# least.
MINUTES, JUDGE, OF_CLASS = 10.0, 0.98, 0.9
# For a TPU: cifar10_gan.toml's networks and batch.
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


def parts(made: GanState) -> tuple[Any, Any]:
    """Functions that return the loss of each phase with its gradients."""
    import tensorflow as tf

    generator, discriminator = made.networks["generator"], made.networks["discriminator"]

    def generate(inputs: Any) -> Any:
        return generator(inputs, training=True)

    def discriminate(inputs: Any) -> Any:
        return discriminator(inputs, training=True)

    def first(given: Any) -> Any:
        with tf.GradientTape() as tape:
            loss, *_ = discriminator_loss(GAN, generate, discriminate, given)
        return loss, tape.gradient(loss, discriminator.trainable_variables)

    def second(given: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = generator_loss(GAN, generate, discriminate, given)
        return loss, tape.gradient(loss, generator.trainable_variables)

    return first, second


def fused() -> Callable[[], Any]:
    """This project's: both phases in one graph."""
    program = compile_program(step.define(networks()), "tensorflow")
    given = step.stacked([arrays()])
    return lambda: np.asarray(program.step(given))


def two_graphs() -> Callable[[], Any]:
    """The same phases, a compiled function each."""
    import tensorflow as tf

    made = networks()
    first, second = parts(made)
    for name, optimizer in made.optimizers.items():
        optimizer.build(made.networks[name].trainable_variables)

    @tf.function(jit_compile=True)
    def one(given: Any) -> Any:
        loss, gradients = first(given)
        weights = made.networks["discriminator"].trainable_variables
        made.optimizers["discriminator"].apply(gradients, weights)
        return loss

    @tf.function(jit_compile=True)
    def other(given: Any) -> Any:
        loss, gradients = second(given)
        weights = made.networks["generator"].trainable_variables
        made.optimizers["generator"].apply(gradients, weights)
        return loss

    given = arrays()

    def both_phases() -> Any:
        tensors = {name: tf.convert_to_tensor(values) for name, values in given.items()}
        return float(one(tensors)), float(other(tensors))

    return both_phases


def weighted() -> tuple[Callable[[], Any], Callable[[], float]]:
    """One graph whose loss is g_w times the generator's and d_w times the discriminator's, called
    with (0, 1), then (1, 0); and how far a call with (0, 1) moves the generator."""
    import keras
    import tensorflow as tf

    made = networks()
    first, second = parts(made)
    generator = made.networks["generator"]
    variables = [
        *made.networks["discriminator"].trainable_variables,
        *generator.trainable_variables,
    ]
    optimizer = keras.optimizers.Adam(GAN.generator_rate, beta_1=GAN.momentum, beta_2=0.999)
    optimizer.build(variables)

    @tf.function(jit_compile=True)
    def both(given: Any, g_w: Any, d_w: Any) -> Any:
        of_first, first_gradients = first(given)
        of_second, second_gradients = second(given)
        gradients = [d_w * gradient for gradient in first_gradients] + [
            g_w * gradient for gradient in second_gradients
        ]
        optimizer.apply(gradients, variables)
        return g_w * of_second + d_w * of_first

    given = arrays()
    none, whole = tf.constant(0.0), tf.constant(1.0)

    def both_phases() -> Any:
        tensors = {name: tf.convert_to_tensor(values) for name, values in given.items()}
        return float(both(tensors, none, whole)), float(both(tensors, whole, none))

    def moved() -> float:
        before = [np.array(variable) for variable in generator.trainable_variables]
        both(given, none, whole)
        after = [np.array(variable) for variable in generator.trainable_variables]
        return float(
            max(np.abs(one - other).max() for one, other in zip(before, after, strict=True))
        )

    return both_phases, moved


def speed() -> None:
    trick, moved = weighted()
    ways = {"fused": fused(), "two graphs in turn": two_graphs(), "both losses weighted": trick}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(ROUNDS):
        # Side by side in each round: this machine is not always as fast.
        for name, way in ways.items():
            started = time.perf_counter()
            for _ in range(STEPS):
                way()
            seconds[name].append((time.perf_counter() - started) / STEPS)
    print("\n## A GAN's step on a CPU: one graph of both phases\n")
    print(
        f"DCGAN of {SIDE} × {SIDE} × {CHANNELS}, width {GAN.width}, batches of {GAN.batch_size},"
        f" all compiled by XLA. Medians of {ROUNDS} rounds of {STEPS} steps, each way in every"
        " round.\n"
    )
    print("| | steps a second | times as long as fused | asked for |\n| --- | ---: | ---: | --- |")
    for name, taken in seconds.items():
        ratio = statistics.median(
            own / base for own, base in zip(taken, seconds["fused"], strict=True)
        )
        asked = ASKED.get(name)
        held = "" if asked is None else f"{asked}: {'held' if ratio >= asked else 'missed'}"
        print(f"| {name} | {1 / statistics.median(taken):.2f} | {ratio:.2f} | {held} |")
    print(
        "\nIn a call that is meant for the discriminator alone, the weighted way moves the"
        f" generator's weights by up to {moved():.1e}: Adam's momentum goes on (the learning rate"
        f" is {GAN.generator_rate:.0e}). Fused, nothing moves them."
    )


def counted() -> None:
    """In a process of its own: operations and bytes of the compiled step of LARGE, as XLA counts
    them."""
    import jax

    state = GanState(LARGE, side=SIDE, channels=CHANNELS, classes=CLASSES, seed=1)
    program: Any = compile_program(step.define(state), "jax")
    stacked = step.stacked([arrays(LARGE)])
    given = {name: jax.numpy.asarray(values) for name, values in stacked.items()}
    cost = program._step.lower(program._state, given, None).compile().cost_analysis()
    print(cost["flops"], cost["bytes accessed"], jax.__version__)


def tpu() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, "counted"],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=True,
    )
    operations, moved, version = done.stdout.split()[-3:]
    flops, size = float(operations), float(moved)
    by_hand = LARGE.operations(SIDE, CHANNELS)
    print("\n## The same on a TPU: an estimate, nothing was measured\n")
    print(
        f"DCGAN of pipelines/competitions/cifar10_gan.toml, batches of {LARGE.batch_size}:"
        f" {by_hand / 1e9:.0f} · 10⁹ operations a step by the layers, {flops / 1e9:.0f} as XLA"
        f" counts them, and {size / 1e9:.2f} · 10⁹ bytes (JAX {version}, compiled for a CPU, whose"
        " compiler joins fewer operations than a TPU's). A step takes as long as its operations at"
        " the chip's peak of half precision, or as its bytes at the bandwidth of its memory,"
        " whichever is longer; networks this small reach a tenth to a half of that.\n"
    )
    print(
        "| chip | by operations, ms | by bytes, ms | steps a second at most | 50,000 steps, minutes"
        " at least |"
    )
    print("| --- | ---: | ---: | ---: | ---: |")
    for chip, bandwidth in BANDWIDTH.items():
        times = by_hand / (PEAKS[chip] * 1e12), size / (bandwidth * 1e9)
        longest = max(times)
        print(
            f"| {chip} | {times[0] * 1e3:.2f} | {times[1] * 1e3:.2f} | {1 / longest:,.0f} |"
            f" {50_000 * longest / 60:.1f} |"
        )


def digits() -> None:
    """The whole of a GAN's pipeline on the demo's digits, from their file to the page, by the
    command that a user types."""
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
        found = json.loads((Path(folder) / "out" / "metrics.json").read_text(encoding="utf-8"))
    of_class = found["samples"]["class_accuracy"]
    rows = [
        ("minutes", f"{minutes:.1f}", f"{MINUTES:g} at most", minutes <= MINUTES),
        ("samples of their class", f"{of_class:.1%}", f"{OF_CLASS:.0%}", of_class >= OF_CLASS),
        (
            "samples of the worst class",
            f"{min(found['class_accuracy']):.0%}",
            "all there",
            min(found["class_accuracy"]) > 0.5,
        ),
        (
            "real digits the judge knows",
            f"{found['judge_accuracy']:.1%}",
            f"{JUDGE:.0%}",
            found["judge_accuracy"] >= JUDGE,
        ),
    ]
    print("\n## A GAN's whole pipeline on a CPU: pipelines/competitions/digits_gan.toml\n")
    print(
        f"{os.cpu_count()} cores; {found['judged']} samples.\n\n| | | asked for |\n| --- | ---: |"
        " --- |"
    )
    for name, value, asked, held in rows:
        print(f"| {name} | {value} | {asked}: {'held' if held else 'missed'} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["counted"]:
        counted()
    else:
        devices.prepare("tensorflow")
        speed()
        tpu()
        digits()
