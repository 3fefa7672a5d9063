"""Files of a run that are useful elsewhere: models and records."""

import glob
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from trainer.errors import CompetitionError


def load_model(path: str | Path) -> Any:
    """Load a member's network with its preprocessing.

    It takes pixels as they are in a picture, and gives logits: apply softmax for a multiclass
    competition, sigmoid for a binary or multilabel one.

        >>> import numpy as np
        >>> network = fl.load_model("runs/digits/models/cnn/fold0.keras")
        >>> pixels = np.zeros((3, 8, 8, 1), np.uint8)
        >>> network.predict(pixels, verbose=0).shape
        (3, 10)

    Args:
        path: `models/<member>/fold<k>.keras` in the results of a run.

    Returns:
        a Keras model: (n, side, side, channels) pixels from 0 to 255 to (n, classes) logits. A
        member with tabular columns takes a list of the pixels and the (n, columns) encoded columns.

    Raises:
        CompetitionError: there is no such file, or it is the model of a linear member.
    """
    path = Path(path)
    if path.suffix == ".npz":
        raise CompetitionError(
            f"{path}: is the model of a linear member, which is no network:"
            " numpy.load reads its weights"
        )
    if not path.is_file():
        raise CompetitionError(f"{path}: no such file; a run's models are in its folder models/")
    import keras

    # Register the layers of this project under the names that model files have.
    import trainer.gan.spectral_norm
    import trainer.models.classifier  # noqa: F401

    return keras.saving.load_model(path, compile=False)


def read_records(pattern: str | Path) -> Iterator[dict[str, bytes | int | float]]:
    """Yield the features of each record of TFRecords, without TensorFlow.

        >>> record = next(fl.read_records("records/train*.tfrec"))
        >>> sorted(record)
        ['image', 'image_name', 'target']

    Args:
        pattern: a file, or a pattern such as `runs/digits_gan/samples/*.tfrec`.

    Yields:
        the first value of each feature by its name: bytes (a JPEG, or text), int or float.

    Raises:
        CompetitionError: no file matches the pattern.
        IntegrityError: a record is truncated or damaged; the text has the file and the byte.
    """
    from trainer.artifacts.records import decode_example, read_shard

    # Not Path.glob: it takes no absolute pattern.
    paths = sorted(glob.glob(str(pattern), recursive=True))  # noqa: PTH207
    if not paths:
        raise CompetitionError(f"{pattern}: no file matches")
    for path in paths:
        for payload in read_shard(path):
            yield decode_example(payload)
