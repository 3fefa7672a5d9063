"""Competition files to start from: `foldline init`."""

import csv
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from pipelines.reference.write import COMPETITIONS, SCHEMAS
from trainer.artifacts.manifest import atomic_write
from trainer.config.competition import Competition
from trainer.errors import CompetitionError

# What each template is for, by its name.
TEMPLATES: Mapping[str, str] = {
    "example": "scikit-learn's handwritten digits, ready to run",
    "folders": "image files, one folder a class",
    "table": "image files, and a CSV of their labels",
    "pixels": "CSVs of pixel values, one image a row",
    "tfrecords": "TFRecords with JPEGs",
}
# Digits of the example whose labels are withheld, as those of a competition's test set are.
_WITHHELD = 360


def write(file: Path, kind: str) -> list[Path]:
    """Write a competition file, and next to it the schema for editors; for the example also data.

    Args:
        file: the file to write; its name becomes the competition's.
        kind: one of `TEMPLATES`.

    Returns:
        the paths of what was written.

    Raises:
        CompetitionError: the file is there already, or cannot be written.
    """
    if file.suffix != ".toml":
        raise CompetitionError(f"{file}: must end with .toml, such as {file}.toml")
    name = re.sub("[^a-z0-9_-]", "-", file.stem.lower()).lstrip("-0123456789_") or "competition"
    text = Path(__file__).with_name(f"{kind}.toml").read_text(encoding="utf-8")
    schema = file.parent / SCHEMAS[Competition]
    data = file.parent / f"{name}-data"
    # An existing file is never overwritten: it may hold an afternoon's work.
    for path in (file, data) if kind == "example" else (file,):
        if path.exists():
            raise CompetitionError(f"{path}: is there already: name another file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(COMPETITIONS / schema.name, schema)
        written = [*_write_digits(data), schema] if kind == "example" else [schema]
        with atomic_write(file) as partial:
            partial.write_text(text.replace("NAME", name), encoding="utf-8")
    except OSError as error:
        raise CompetitionError(f"{file}: cannot be written: {error.strerror}") from None
    return [file, *written]


def _write_digits(folder: Path) -> list[Path]:
    import numpy as np
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    # Shuffled: the last digits are of other writers than the first.
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = images[order], labels[order]
    # Grey levels of 0 to 16 become bytes.
    rows = (images * 255 / 16).round().astype(int).tolist()
    cut = len(rows) - _WITHHELD
    pixels = [f"pixel{number}" for number in range(len(rows[0]))]
    ids = range(1, _WITHHELD + 1)
    tables = {
        "train.csv": [
            ["label", *pixels],
            *([label, *row] for label, row in zip(labels[:cut].tolist(), rows, strict=False)),
        ],
        "test.csv": [pixels, *rows[cut:]],
        "sample_submission.csv": [["ImageId", "Label"], *([id_, 0] for id_ in ids)],
        "answers.csv": [["ImageId", "Label"], *zip(ids, labels[cut:].tolist(), strict=True)],
    }
    folder.mkdir()
    for name, table in tables.items():
        with atomic_write(folder / name) as partial, open(partial, "w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows(table)
    return [folder / name for name in tables]
