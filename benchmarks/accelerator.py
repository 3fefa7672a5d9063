"""Try a GPU or TPU: is what it computes right, and does the host feed it fast enough?

    python benchmarks/accelerator.py [--json FILE] [--minutes 5]

Needs no network and no data. Without an accelerator it says so and ends. For each network, size and
precision it compares training from JPEGs, with the real input pipeline on all cores, with training
on one batch that stays on the device: the difference is the time in which the device waits.
"""

import argparse
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from trainer.artifacts.objective import Objective
from trainer.backends import devices, hardware
from trainer.config.augment import Augment
from trainer.config.member import Member
from trainer.config.network import Cnn, Head
from trainer.input.batches import BatchPlan, training_batches, view
from trainer.input.labels import Labels
from trainer.input.workers import Workers, prefetch

NETWORKS = ("EfficientNetB0", "ConvNeXtTiny", "EfficientNetB3")
SIZES = (224, 384)
PRECISIONS = ("mixed_bfloat16", "float32")
CLASSES = 10
# Images in a batch of one device, by size.
BATCH = {224: 64, 384: 32}
# Images that repeat in an epoch, and seconds of each measurement.
IMAGES, SECONDS = 512, 6.0
# The largest difference of two probabilities, here and on the CPU. GPUs multiply float32 with 10 to
# 13 bits of mantissa unless told otherwise.
TOLERANCE = {"float32": 0.01, "mixed_bfloat16": 0.05}
# The smallest case, to try this script without an accelerator.
QUICK = ("cnn", 32)


class Case(NamedTuple):
    """A network to train."""

    backbone: str
    size: int
    precision: str


class Speed(NamedTuple):
    """The speed of a case.

    Attributes:
        case: the network.
        fed: images a second, from JPEGs.
        resident: images a second, of a batch that is on the device.
        compile: seconds until the first step was done.
    """

    case: Case
    fed: float
    resident: float
    compile: float

    @property
    def waiting(self) -> float:
        """The share of the time in which the device waits for the host."""
        return max(0.0, 1 - self.fed / self.resident)


def recipe(case: Case, batch: int) -> Member:
    """Return the member that trains a case."""
    return Member(
        name="m",
        backbone=case.backbone,
        size=case.size,
        epochs=1,
        batch_size=batch,
        cnn=Cnn(filters=[8, 16], strides=[2, 2]),
        head=Head(dropout=0.0),
        precision=case.precision,  # type: ignore[arg-type]  # one of its values
        augment=Augment(rotation=15, flip_horizontal=0.5, brightness=0.1),
    )


def program(case: Case, batch: int) -> Any:
    """Return the compiled program of a case, as a training job makes it."""
    from trainer.backends.program import compile_program
    from trainer.models import classifier
    from trainer.models.optimizers import optimizer
    from trainer.training import classifier_program

    member = recipe(case, batch)
    inputs = classifier.Inputs(case.size, 3, mean=np.full(3, 110.0), std=np.full(3, 60.0))
    network = classifier.build(member, inputs, outputs=CLASSES, seed=1)
    definition = classifier_program.define(
        member,
        network,
        optimizer(member, head_only=False),
        task="multiclass",
        augment_on_device=True,
    )
    return compile_program(definition, "jax")


def speed(case: Case, count: int, workers: Workers) -> Speed:
    """Measure a case.

    Args:
        case: the network.
        count: the number of devices.
        workers: the threads that decode.
    """
    import jax
    from training import pictures

    from trainer.training.classifier_program import training_arrays

    batch = BATCH.get(case.size, 32) * count
    images = pictures(max(IMAGES, 2 * batch), case.size)
    targets = np.eye(CLASSES, dtype=np.float32)[np.arange(len(images)) % CLASSES]
    no_columns = np.zeros((len(images), 0), np.float32)
    labels = Labels(targets, np.ones(len(images), np.float32), no_columns)
    ours = program(case, batch)
    augment = recipe(case, batch).augment
    plan = BatchPlan(augment, batch_size=batch, seed=1, epochs=10_000, on_device=True)
    batches = training_batches(images, labels, np.arange(len(images)), plan, workers)
    stream = prefetch(batches)
    started = time.perf_counter()
    first = training_arrays(next(stream)[2])
    jax.block_until_ready(ours.step(first, 1e-4))
    compiled = time.perf_counter() - started

    def rate(arrays_of: Any) -> float:
        """Images a second; three steps first, so that queues are full."""
        for _ in range(3):
            last = ours.step(arrays_of(), 1e-4)
        jax.block_until_ready(last)
        begun, steps = time.perf_counter(), 0
        while time.perf_counter() - begun < SECONDS:
            for _ in range(4):
                last = ours.step(arrays_of(), 1e-4)
            jax.block_until_ready(last)
            steps += 4
        return steps * batch / (time.perf_counter() - begun)

    fed = rate(lambda: training_arrays(next(stream)[2]))
    stream.close()
    resident = ours.place(first)
    return Speed(case, fed, rate(lambda: resident), compiled)


def probabilities(case: Case) -> np.ndarray:
    """Return (16, CLASSES) probabilities of a network with fixed weights."""
    from training import pictures

    from trainer.training.classifier_program import augment_arrays

    ours = program(case, 16)
    network = ours.definition.networks["model"]
    generator = np.random.default_rng(3)
    for variable in network.trainable_variables:
        # Not as they are at the start: a head of zeros would hide any difference.
        scale = 0.5 / np.sqrt(max(1, int(np.prod(variable.shape[:-1]))))
        noise = generator.normal(size=variable.shape) * scale
        variable.assign(np.asarray(variable) + noise.astype(np.float32))
    ours.push()
    images = pictures(16, case.size)
    rows = np.arange(16)
    unchanged = view(images, rows, recipe(case, 16).augment, number=0, seed=1)
    arrays = {
        "pixels": Workers(1).decoded(images, rows),
        "tabular": np.zeros((16, 0), np.float32),
        **augment_arrays(unchanged),
    }
    logits = ours.predict(arrays)
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: np.ndarray = exponentials / exponentials.sum(axis=1, keepdims=True)
    return found


def compared(case: Case) -> float:
    """Return the largest difference between the device's probabilities and the CPU's, in float32.

    Another process computes the CPU's: a process keeps its devices.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cpu.npy"
        exact = case._replace(precision="float32")
        command = [sys.executable, __file__, "--cpu-probabilities", str(path), *map(str, exact)]
        subprocess.run(command, check=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
        return float(np.abs(np.load(path) - probabilities(case)).max())


def resumed() -> bool:
    """Return whether a training that was killed goes on from its checkpoint."""
    from sets import write_set

    with tempfile.TemporaryDirectory() as folder:
        write_set(Path(folder), 1000, 32)
        command = [sys.executable, __file__, "--train", folder]
        work = Path(folder) / ".out.work"
        first = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while first.poll() is None and not list(work.rglob("*.checkpoint")):
            time.sleep(0.05)
        first.send_signal(signal.SIGKILL)
        was_killed = first.wait() == -signal.SIGKILL
        second = subprocess.run(command, check=True, capture_output=True, text=True)
        return was_killed and "resuming from epoch" in second.stdout


def train(folder: Path) -> None:
    """Train a small network on a folder that `write_set` filled, with many checkpoints."""
    from trainer.artifacts.objective import Artifacts
    from trainer.config.machine import Train
    from trainer.training.fit import train_folds
    from trainer.training.jobs.context import RunContext

    files = (folder / "records", folder / "records", folder / "folds.csv")
    goal = Objective("multiclass", [str(number) for number in range(CLASSES)], "accuracy", 1)
    member = dataclasses.replace(recipe(Case("cnn", 32, "float32"), 32), epochs=3)
    context = RunContext(out=folder / "out", settings=Train(checkpoint_seconds=0.2, backend="jax"))
    train_folds(member, [0], Artifacts(*files, folder / "statistics.json"), goal, context)


def cases(quick: bool) -> list[Case]:
    """Return the cases, those that matter most first."""
    if quick:
        return [Case(*QUICK, "float32")]
    return [Case(n, size, p) for p in PRECISIONS for size in SIZES for n in NETWORKS]


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = [f"\n## {result['device']}\n"]
    for name, precision, difference in result["differences"]:
        good = difference <= TOLERANCE[precision]
        lines.append(
            f"- {name} in {precision}: probabilities differ from the CPU's by at most"
            f" {difference:.4f}: {'right' if good else 'WRONG'}."
        )
    lines.append(f"- A killed training resumes: {'yes' if result['resumed'] else 'NO'}.\n")
    lines.append("| network | side | precision | from JPEGs, images/s | on the device | waits |")
    lines.append("| --- | ---: | --- | ---: | ---: | ---: |")
    lines += [
        f"| {row['backbone']} | {row['size']} | {row['precision']} | {row['fed']:.0f} |"
        f" {row['resident']:.0f} | {row['waiting']:.0%} |"
        for row in result["speeds"]
    ]
    if result["left_out"]:
        lines.append(f"\nLeft out, because the time was over: {', '.join(result['left_out'])}.")
    return "\n".join(lines)


def main() -> int:
    """Measure, print the tables, and return 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--minutes", type=float, default=5.0, metavar="N", help="default: 5")
    parser.add_argument("--quick", action="store_true", help="one small network, on any device")
    parser.add_argument("--cpu-probabilities", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    started = time.monotonic()
    if options.train:
        train(options.train)
        return 0
    there = hardware.found()
    if options.cpu_probabilities:
        path, backbone, size, precision = options.cpu_probabilities
        devices.prepare("jax", hardware=hardware.Hardware())
        np.save(path, probabilities(Case(backbone, int(size), precision)))
        return 0
    if there.kind == "cpu" and not options.quick:
        print("[no GPU or TPU is found here: nothing to measure; --quick tries the CPU]")
        return 0
    # Before this process takes the device.
    goes_on = resumed()
    device = devices.prepare("jax", hardware=there)
    workers = Workers(device.threads)
    first = cases(options.quick)[0]
    checked = [first] if options.quick else [first, first._replace(precision="float32")]
    differences = [(c.backbone, c.precision, compared(c)) for c in checked]
    speeds: list[Speed] = []
    left_out = []
    for case in cases(options.quick):
        # A case takes as long as the slowest so far; the compiler needs most of that.
        longest = max((s.compile for s in speeds), default=0.0) + 3 * SECONDS
        if speeds and time.monotonic() - started + longest > options.minutes * 60:
            left_out.append(f"{case.backbone} at {case.size} in {case.precision}")
            continue
        speeds.append(speed(case, device.devices, workers))
    workers.close()
    result = {
        "device": str(device),
        "libraries": device.libraries(),
        "differences": differences,
        "resumed": goes_on,
        "speeds": [
            {**s.case._asdict(), **s._asdict(), "waiting": s.waiting, "case": None} for s in speeds
        ],
        "left_out": left_out,
    }
    print(report(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    wrong = any(difference > TOLERANCE[precision] for _, precision, difference in differences)
    return int(wrong or not goes_on)


if __name__ == "__main__":
    sys.exit(main())
