"""The memory that a training task takes, by how many images of 384 × 384 it has.

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
# What is held of an image besides its pixels: its place, mean, label and id, and what is drawn for
# it in an epoch.
BYTES_AN_IMAGE = 2000
TASK = """
import sys
from pathlib import Path
from trainer.config.member import Augment, Cnn, Member
from trainer.config.objective import Artifacts, Objective
from trainer.jobs.context import RunContext
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
    """The most memory of its own that a task ever had (pages of files are the system's), and its
    seconds; megabytes."""
    with tempfile.TemporaryDirectory() as folder:
        write_set(Path(folder), images, SIZE)
        started, most = time.perf_counter(), 0
        with subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", TASK, folder], stdout=subprocess.DEVNULL
        ) as task:
            while task.poll() is None:
                try:
                    status = Path(f"/proc/{task.pid}/status").read_text()
                except OSError:
                    break
                anonymous = [
                    line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")
                ]
                most = max(most, *(int(value) for value in anonymous), 0)
                time.sleep(0.02)
        if task.returncode:
            raise RuntimeError(f"the task with {images} images failed")
        return most / 1024, time.perf_counter() - started


def main() -> None:
    """Print the table."""
    print(f"\n## Memory of a training task, images of {SIZE} × {SIZE}, batches of {BATCH}\n")
    print("| images | peak, MB | seconds | decoded all at once it would be, MB |")
    print("| ---: | ---: | ---: | ---: |")
    found = {images: peak(images) for images in SETS}
    for images, (most, seconds) in found.items():
        print(
            f"| {images:,} | {most:,.0f} | {seconds:.0f} |"
            f" {images * SIZE * SIZE * 3 / 2**20:,.0f} |"
        )
    few, many = (found[images][0] for images in SETS)
    chunks = 3 * CHUNK_BYTES / 2**20
    bound = few + chunks + (SETS[1] - SETS[0]) * BYTES_AN_IMAGE / 2**20
    print(
        f"\nThe bound: what a task of {SETS[0]:,} images takes, {BYTES_AN_IMAGE:,} bytes for each"
        f" more, and three runs of {CHUNK_BYTES / 2**20:.0f} MB that are predicted at once:"
        f" {bound:,.0f} MB. Measured: {many:,.0f} MB. A set whose decoded pixels take less than"
        f" {HELD_BYTES / 2**20:.0f} MB is held decoded, which adds as much at most."
    )


if __name__ == "__main__":
    sys.exit(main())
