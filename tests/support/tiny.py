"""Real digits at 8 × 8, which scikit-learn ships, laid out as a small competition; and what tests
share around them."""

import csv
import fcntl
import functools
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from components.storage.client import blob
from trainer.artifacts.objective import Artifacts
from trainer.config.competition import Competition
from trainer.config.preparation import Folds

SIDE = 8


@dataclass(frozen=True)
class Tiny:
    """A competition on disk: its TOML and its files."""

    folder: Path
    toml: Path
    train: Path
    test: Path
    sample: Path
    answers: Path


def digits(images: int) -> tuple[np.ndarray, np.ndarray]:
    """The first digits of scikit-learn's set: (images, 8, 8, 1) uint8 spread over 0 to 255, and
    (images,) labels."""
    pixels, labels = _digits()
    return pixels[:images].copy(), labels[:images].copy()


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return (data.images[..., None] * 15.9375).astype(np.uint8), data.target


def write_pixels(path: Path, images: np.ndarray, labels: np.ndarray | None = None) -> None:
    """A pixel CSV."""
    header = [f"pixel{index}" for index in range(images[0].size)]
    with open(path, "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header if labels is None else ["label", *header])
        for index, image in enumerate(images):
            writer.writerow(([] if labels is None else [labels[index]]) + image.ravel().tolist())


def write_competition(
    folder: Path,
    *,
    train: int = 120,
    test: int = 30,
    members: int = 2,
    epochs: int = 12,
    linear: bool = False,
) -> Tiny:
    """Write a competition of small digits with 3 folds and `members` tiny networks, or as many
    linear members, which train in a second."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = digits(train + test)
    tiny = Tiny(
        folder,
        *(
            folder / name
            for name in ("tiny.toml", "train.csv", "test.csv", "sample.csv", "answers.csv")
        ),
    )
    write_pixels(tiny.train, images[:train], labels[:train])
    write_pixels(tiny.test, images[train:])
    tiny.sample.write_text("ImageId,Label\n" + "".join(f"{row},0\n" for row in range(1, test + 1)))
    tiny.answers.write_text(
        "ImageId,Label\n"
        + "".join(f"{row},{label}\n" for row, label in enumerate(labels[train:], 1))
    )
    recipe = (
        "cnn = { filters = [8, 16], strides = [2, 1] }\nhead = { pooling = 'flatten'"
        f" }}\noptimizer = {{ learning_rate = 0.01 }}\nepochs = {epochs}\nschedule = {{"
        " warmup_epochs = 0.5 }\nbatch_size = 16\n"
    )
    tiny.toml.write_text(
        f"""name = "tiny"
task = "multiclass"
metric = "accuracy"
classes = {[str(digit) for digit in range(10)]}
seed = 7

[data]
source = "pixels"
train = "train.csv"
test = "test.csv"
target = "label"

[records]
sizes = [{SIDE}]
shard_images = 50

[folds]
count = 3

[train]
folds_per_task = 3

[blend]
method = "weights"

[submission]
sample = "sample.csv"

[leaderboard]
answers = "answers.csv"
"""
        + "".join(
            f'\n[[members]]\nname = "m{index}"\n'
            + (
                f'backbone = "linear"\nlinear = {{ strength = {0.1 + index} }}\n'
                if linear
                else f"{recipe}augment = {{ rotation = {5 * index}, shift = 0.1 }}\n"
            )
            for index in range(members)
        )
    )
    return tiny


def write_gan(folder: Path, *, train: int = 200, steps: int = 48) -> Path:
    """The file of a GAN of small digits, enlarged to 32 pixels, and its data."""
    folder.mkdir(parents=True, exist_ok=True)
    write_pixels(folder / "train.csv", *digits(train))
    path = folder / "tiny_gan.toml"
    path.write_text(f"""name = "tiny_gan"
classes = {[str(digit) for digit in range(10)]}
seed = 7

[data]
source = "pixels"
train = "train.csv"
target = "label"

[records]
sizes = [32]

[folds]
count = 3

[judge]
name = "judge"
epochs = 6
batch_size = 16
cnn = {{ filters = [8, 16], strides = [2, 2] }}
head = {{ pooling = "flatten", hidden = [16] }}

[gan]
steps = {steps}
batch_size = 16
latent = 8
width = 4
evaluate_every = 24
samples = 40
""")
    return path


def as_files(tiny: Tiny) -> Tiny:
    """The same competition with its images as PNG files, named by two CSVs."""
    from PIL import Image

    names = {"train": "img-{:03}", "test": "t{}"}
    lines = {"train": ["name,label"], "test": ["name"]}
    for split, path in (("train", tiny.train), ("test", tiny.test)):
        (tiny.folder / split).mkdir()
        with open(path, newline="") as stream:
            for number, row in enumerate(csv.DictReader(stream), start=1):
                name, label = names[split].format(number), row.pop("label", None)
                pixels = np.array(list(row.values()), dtype=np.uint8).reshape(SIDE, SIDE)
                Image.fromarray(np.repeat(pixels[:, :, None], 3, axis=2)).save(
                    tiny.folder / split / f"{name}.png"
                )
                lines[split].append(name if label is None else f"{name},{label}")
        path.write_text("\n".join(lines[split]) + "\n")
    for path in (tiny.sample, tiny.answers):
        header, *rows = path.read_text().splitlines()
        path.write_text("\n".join([header, *(f"t{row}" for row in rows)]) + "\n")
    source = (
        'source = "files"\nid = "name"\nimages = "train/{id}.png"\ntest_images = "test/**/{id}.*"'
    )
    tiny.toml.write_text(tiny.toml.read_text().replace('source = "pixels"', source))
    return tiny


def converted(competition: Competition, out: Path) -> Path:
    """The records folder of a competition, by all its parts."""
    from components.records.convert import convert
    from components.records.merge import join

    parts = [out.with_name(f"{out.name}-part{part}") for part in range(competition.records.parts)]
    for number, part in enumerate(parts):
        convert(
            competition.data,
            competition.records,
            classes=competition.classes,
            part=number,
            out=part,
        )
    join(parts, competition.data, competition.records, classes=competition.classes, out=out)
    return out


def upload(folder: Path, uri: str) -> None:
    """Every file of a folder as an object below `uri`."""

    for path in sorted(folder.rglob("*")):
        if path.is_file():
            blob(f"{uri}/{path.relative_to(folder).as_posix()}").upload_from_filename(path)


def in_bucket(tiny: Tiny, bucket: str) -> Tiny:
    """The same competition with its data at `{bucket}/data`; the answers stay here."""

    for path in (tiny.train, tiny.test, tiny.sample):
        blob(f"{bucket}/data/{path.name}").upload_from_filename(path)
    text = tiny.toml.read_text().replace(
        'source = "pixels"', f'source = "pixels"\nroot = "{bucket}/data"'
    )
    tiny.toml.write_text(
        text.replace('answers = "answers.csv"', f"answers = {str(tiny.answers)!r}")
    )
    return tiny


class Links(HTMLParser):
    """What the page would load, and the tags it opens."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action")
        ]


def finished(factory: pytest.TempPathFactory, name: str, write: Callable[[Path], Path]) -> Path:
    """The folder that a local run leaves, beside what it said: made by the first of pytest's
    processes that wants it.

    Args:
        write: makes the data and its file in a folder, and gives the file.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    folder = shared / name
    with open(shared / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "said.txt").exists():
            done = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "pipelines.cli.main",
                    "run",
                    str(write(folder / "data")),
                    "--out",
                    str(folder / "out"),
                ],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / "said.txt").write_text(done.stdout)
    return folder / "out"


def dealt(records: Path, folder: Path, *, classes: list[str], count: int = 3) -> Artifacts:
    """Folds and statistics of a records folder."""
    from components.folds.make_folds import write_folds
    from components.statistics.summary import statistics

    folds, audit, found = (folder / name for name in ("folds.csv", "audit.json", "statistics.json"))
    write_folds(records, Folds(count=count), seed=1, classes=classes, out=folds, audit_out=audit)
    statistics(records, folds, audit, classes=classes, out=found)
    return Artifacts(records=records, root=records, folds_table=folds, statistics=found)
