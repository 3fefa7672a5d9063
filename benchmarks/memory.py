"""Benchmark the peak memory of a training job by its number of images of 384 × 384.

python benchmarks/memory.py
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sets import write_set

from trainer.input.shards import HELD_BYTES
from trainer.training.predict import CHUNK_BYTES

SIZE, BATCH = 384, 32
SETS = (1000, 30_000)
# Memory for each image in addition to its pixels: its position, mean, label and id, and the random
# draws of an epoch.
BYTES_AN_IMAGE = 2000
TASK = """
import sys
from pathlib import Path
from trainer.config.member import Augment, Cnn, Member
from trainer.artifacts.objective import Artifacts, Objective
from trainer.training.jobs.context import RunContext
from trainer.training.fit import train_folds
folder = Path(sys.argv[1])
statistics = folder / "statistics.json"
inputs = Artifacts(folder / "records", folder / "records", folder / "folds.csv", statistics)
member = Member(
    name="m",
    epochs=1,
    batch_size=32,
    cnn=Cnn(filters=[8, 16], strides=[4, 4]),
    augment=Augment(rotation=20, cutmix=0.5),
)
goal = Objective("multiclass", [str(n) for n in range(10)], "accuracy", 1)
train_folds(member, [0], inputs, goal, RunContext(out=folder / "out"))
"""


def peak(images: int) -> tuple[float, float]:
    """Run a training job and measure its memory.

    Returns:
        The peak of its anonymous memory in MB (mapped files count as the system's), and its
        seconds.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_set(Path(folder), images, SIZE)
        started, kilobytes = time.perf_counter(), 0
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", TASK, folder], stdout=subprocess.DEVNULL
        ) as process:
            while process.poll() is None:
                try:
                    status = Path(f"/proc/{process.pid}/status").read_text()
                except OSError:
                    break
                anonymous = [
                    line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")
                ]
                kilobytes = max(kilobytes, *(int(value) for value in anonymous), 0)
                time.sleep(0.02)
        if process.returncode:
            raise RuntimeError(f"the training job with {images} images failed")
        return kilobytes / 1024, time.perf_counter() - started


def main() -> None:
    """Print the table."""
    print(f"\n## Memory of a training job, images of {SIZE} × {SIZE}, batches of {BATCH}\n")
    print("| images | peak, MB | seconds | all images decoded, MB |")
    print("| ---: | ---: | ---: | ---: |")
    peaks = {images: peak(images) for images in SETS}
    for images, (megabytes, seconds) in peaks.items():
        print(
            f"| {images:,} | {megabytes:,.0f} | {seconds:.0f} |"
            f" {images * SIZE * SIZE * 3 / 2**20:,.0f} |"
        )
    few, many = (peaks[images][0] for images in SETS)
    chunks = 3 * CHUNK_BYTES / 2**20
    bound = few + chunks + (SETS[1] - SETS[0]) * BYTES_AN_IMAGE / 2**20
    print(
        f"\nThe bound: the peak of a job with {SETS[0]:,} images, {BYTES_AN_IMAGE:,} bytes for each"
        f" additional image, and three chunks of {CHUNK_BYTES / 2**20:.0f} MB in memory during"
        f" prediction: {bound:,.0f} MB. Measured: {many:,.0f} MB. A set whose decoded pixels take"
        f" less than {HELD_BYTES / 2**20:.0f} MB is kept decoded, which adds at most that much."
    )


if __name__ == "__main__":
    sys.exit(main())
