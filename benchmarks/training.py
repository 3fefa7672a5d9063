"""Benchmark training steps, predictions and the start of a job against a bare Keras loop.

    python benchmarks/training.py

Predictions are by several models and views. The start lasts until the first training step.
"""

import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import simplejpeg
from sklearn.datasets import load_sample_image

from trainer.artifacts.objective import Objective
from trainer.backends import devices
from trainer.backends.devices import Device
from trainer.config.augment import Augment
from trainer.config.member import Member, Optimizer
from trainer.config.network import Head
from trainer.input.batches import BatchPlan, training_batches
from trainer.input.labels import Labels
from trainer.input.shards import Images
from trainer.input.workers import Workers, prefetch
from trainer.training.predict import Predictor

BATCH = 32
STEPS = 6
ROUNDS = 5
FOLDS, VIEWS = 3, 2
# Test images by size. A round takes seconds; with thousands of images, the cost per model would not
# show.
TESTS = {64: 512, 128: 96}
CLASSES = 10


def pictures(count: int, size: int) -> Images:
    """Return different crops of a photograph as JPEGs in memory."""
    generator = np.random.default_rng(0)
    photograph = np.asarray(load_sample_image("flower.jpg"))
    jpegs = []
    for _ in range(count):
        top, left = generator.integers(0, 427 - size), generator.integers(0, 640 - size)
        pixels = np.ascontiguousarray(photograph[top : top + size, left : left + size])
        jpegs.append(bytes(simplejpeg.encode_jpeg(pixels, quality=90, colorsubsampling="420")))
    return Images(jpegs, np.full((count, 3), 110.0), size, 3)


def member(size: int, backbone: str = "EfficientNetB0") -> Member:
    return Member(
        name="m",
        backbone=backbone,
        size=size,
        epochs=1,
        batch_size=BATCH,
        head=Head(dropout=0.0),
        optimizer=Optimizer(kind="adam", learning_rate=1e-3),
        augment=Augment(rotation=15, flip_horizontal=0.5, brightness=0.1),
    )


def network(size: int, backbone: str = "EfficientNetB0") -> Any:
    from trainer.models import classifier

    inputs = classifier.Inputs(size, 3, mean=np.full(3, 110.0), std=np.full(3, 60.0))
    return classifier.build(member(size, backbone), inputs, outputs=CLASSES, seed=1)


def compiled_program(size: int, backbone: str = "EfficientNetB0") -> Any:
    """Return the program as a training job compiles it."""
    from trainer.backends.program import compile_program
    from trainer.models.optimizers import optimizer
    from trainer.training import classifier_program

    recipe = member(size, backbone)
    definition = classifier_program.define(
        recipe,
        network(size, backbone),
        optimizer(recipe, head_only=False),
        task="multiclass",
        augment_on_device=False,
    )
    return compile_program(definition, "tensorflow")


def steps(
    size: int, workers: Workers, backbone: str = "EfficientNetB0"
) -> list[tuple[float, float]]:
    """Time STEPS training steps: a bare fit on decoded tensors, and our program from JPEGs.

    Returns:
        (bare, ours) seconds for each round.
    """
    import keras
    import tensorflow as tf

    images = pictures(BATCH * STEPS, size)
    targets = np.eye(CLASSES, dtype=np.float32)[np.arange(len(images)) % CLASSES]
    labels = Labels(
        targets, np.ones(len(images), np.float32), np.zeros((len(images), 0), np.float32)
    )
    decoded = tf.constant(workers.decoded(images, np.arange(len(images))).astype(np.float32))
    bare = network(size, backbone)
    bare.compile(
        keras.optimizers.Adam(1e-3),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    ours = compiled_program(size, backbone)

    def fit() -> None:
        bare.fit(decoded, targets, batch_size=BATCH, epochs=1, verbose=0, shuffle=False)

    def train(epoch: int) -> None:
        from trainer.training.classifier_program import training_arrays

        augment, start = member(size).augment, (epoch, 0)
        plan = BatchPlan(augment, batch_size=BATCH, seed=1, epochs=epoch + 1, start=start)
        batches = training_batches(images, labels, np.arange(len(images)), plan, workers)
        losses = [ours.step(training_arrays(batch), 1e-3) for _, _, batch in prefetch(batches)]
        if not np.isfinite([float(loss[0]) for loss in losses]).all():
            raise RuntimeError("the loss is not finite")

    fit()
    train(0)
    return [(seconds(fit), seconds(partial(train, number))) for number in range(ROUNDS)]


def predictions(size: int, workers: Workers) -> list[tuple[float, float]]:
    """Time one decode and FOLDS × VIEWS forward passes: bare, and by our predictor.

    Our predictor also augments the views.

    Returns:
        (bare, ours) seconds for each round.
    """
    import tensorflow as tf

    images = pictures(TESTS[size], size)
    ours = compiled_program(size)
    model = ours.definition.networks["model"]
    weights = [[np.array(variable) for variable in model.variables] for _ in range(FOLDS)]
    recipe = dataclasses.replace(member(size), tta=VIEWS)
    objective = Objective("multiclass", [str(n) for n in range(CLASSES)], "accuracy", 1)
    device = Device("CPU", "tensorflow", 1, 0, 1, 1, False)
    predictor = Predictor(workers, recipe, objective, device, BATCH)
    rows, no_columns = np.arange(len(images)), np.zeros((len(images), 0), np.float32)
    bare = network(size)

    @tf.function(jit_compile=False)
    def forward(pixels: Any) -> Any:
        return bare(pixels, training=False)

    def predict_bare() -> None:
        decoded = workers.decoded(images, rows)
        for _ in range(FOLDS * VIEWS):
            for start in range(0, len(rows), BATCH):
                forward(tf.constant(decoded[start : start + BATCH].astype(np.float32))).numpy()

    def program_of_fold(fold: int) -> Any:
        from trainer.backends import program

        def with_weights() -> Any:
            program.assign(model.variables, weights[fold])
            return ours

        return with_weights

    def predict_ours() -> None:
        programs = [program_of_fold(fold) for fold in range(FOLDS)]
        predictor.probabilities(programs, images, [no_columns] * FOLDS, rows)

    predict_bare()
    predict_ours()
    return [(seconds(predict_bare), seconds(predict_ours)) for _ in range(ROUNDS)]


def seconds(function: Any) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


BARE_START = """
import os
os.environ["KERAS_BACKEND"] = "tensorflow"
import tensorflow as tf, keras, numpy as np
pixels = keras.Input((64, 64, 3))
inner = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(64, 64, 3))
pooled = keras.layers.GlobalAveragePooling2D()(inner(pixels))
model = keras.Model(pixels, keras.layers.Dense(10)(pooled))
optimizer = keras.optimizers.Adam(1e-3)
optimizer.build(model.trainable_variables)
model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True), jit_compile=False)
x, y = np.zeros((32, 64, 64, 3), np.float32), np.eye(10, dtype=np.float32)[np.zeros(32, int)]
model.fit(x, y, batch_size=32, epochs=1, verbose=0)
"""
OUR_START = """
import os, sys
from pathlib import Path
from trainer.backends import devices
from trainer.backends.devices import Device
from trainer.artifacts.objective import Artifacts, Objective
from trainer.training.jobs.context import RunContext
from trainer.training.fit import train_folds
devices.prepare(own_process=True)
from trainer.backends.tensorflow import TensorFlowProgram
first = TensorFlowProgram.step
def step(self, arrays, learning_rate):
    float(first(self, arrays, learning_rate)[0])
    os._exit(0)
TensorFlowProgram.step = step
sys.path.insert(0, "benchmarks")
from training import member
folder = Path(sys.argv[1])
statistics = folder / "statistics.json"
inputs = Artifacts(folder / "records", folder / "records", folder / "folds.csv", statistics)
goal = Objective("multiclass", [str(n) for n in range(10)], "accuracy", 1)
train_folds(member(64), [0], inputs, goal, RunContext(out=folder / "out"))
"""


def starts() -> list[tuple[float, float]]:
    """Time a process up to its first training step: a bare script, and a training job.

    The job has 2,000 images of 64 × 64.

    Returns:
        (script, job) seconds for each of three rounds.
    """
    from sets import write_set

    with tempfile.TemporaryDirectory() as folder:
        write_set(Path(folder), 2000, 64)

        def run(code: str) -> None:
            subprocess.run(
                [sys.executable, "-W", "ignore", "-c", code, folder],
                check=True,
                stdout=subprocess.DEVNULL,
            )

        return [
            (seconds(lambda: run(BARE_START)), seconds(lambda: run(OUR_START))) for _ in range(3)
        ]


def main() -> None:
    """Print the tables."""
    device = devices.prepare()
    workers = Workers(device.threads)
    print("\n## Networks on a CPU: Foldline against a bare Keras loop\n")
    print(
        f"Batches of {BATCH}. In training, Foldline decodes and augments JPEGs; the bare loop reads"
        " decoded tensors."
    )
    print(
        f"Medians of {ROUNDS} rounds of {STEPS} steps, or of {FOLDS} models and {VIEWS} views of"
        f" {TESTS[64]} and {TESTS[128]} images; of three rounds for the start.\n"
    )
    print("| | bare, seconds | Foldline, seconds | Foldline / bare |")
    print("| --- | ---: | ---: | ---: |")
    rows = {f"EfficientNetB0, training at {size}": steps(size, workers) for size in (64, 128)}
    rows |= {
        f"EfficientNetB0, predicting at {size}": predictions(size, workers) for size in (64, 128)
    }
    rows |= {
        f"{name}, training at 64": steps(64, workers, name) for name in ("DenseNet121", "ResNet50")
    }
    rows["EfficientNetB0, start to the first step, 64, 2,000 images"] = starts()
    for name, rounds in rows.items():
        bare, ours = (statistics.median(pair[column] for pair in rounds) for column in (0, 1))
        print(
            f"| {name} | {bare:.2f} | {ours:.2f} |"
            f" {statistics.median(b / a for a, b in rounds):.3f} |"
        )
    workers.close()


if __name__ == "__main__":
    sys.exit(main())
