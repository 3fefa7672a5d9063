"""From records to batches: encoded images are held, decoded images pass through.

What is held in memory is the JPEG bytes of the images in use (a 30,000-image set at 384 pixels: under 1 GB) and, for a
training run, an order and an affine map for each image and epoch: 36 bytes each.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from trainer.augment import affine_maps, epoch_generator
from trainer.competition import Augment
from trainer.errors import IntegrityError, TrainingError
from trainer.records import check_id, decode_example, read_shard


@dataclass(frozen=True)
class Images:
    """Images of one split, encoded, with what is needed to decode and label them.

    encoded: JPEG bytes, one an image.
    targets: (n,) class indices, -1 where there is no label.
    classes: how many there are.
    size, channels: of every image.
    """

    encoded: list[bytes]
    targets: np.ndarray
    classes: int
    size: int
    channels: int


def load(root: str | Path, examples: pd.DataFrame, about: Mapping[str, Any], *, classes: int, size: int) -> Images:
    """The images of each row of `examples` in one size, in their order. A shard is read once, from start to end.

    Args:
        root: the folder that the shards lie below.
        examples: rows of the examples table.
        about: of the records' manifest.

    Raises:
        IntegrityError: a shard is damaged, or its record is not the one that the table names.
    """
    encoded: list[bytes] = [b""] * len(examples)
    places = examples.reset_index(drop=True)
    for shard, rows in places.groupby(f"shard_{size}", sort=True):
        place_of = dict(zip(rows[f"row_{size}"], rows.index, strict=True))
        ids, lengths = rows["id"].to_dict(), rows[f"bytes_{size}"].to_dict()
        for number, payload in enumerate(read_shard(Path(root) / str(shard))):
            place = place_of.pop(number, None)
            if place is None:
                continue
            features = decode_example(payload)
            check_id(features, about, ids[place], f"{shard}: record {number}")
            encoded[place] = features[about["image_feature"]]  # type: ignore[assignment]  # bytes, by the record schema
            if len(encoded[place]) != lengths[place]:
                raise IntegrityError(f"{shard}: record {number} is not the image that the examples table describes")
        if place_of:
            raise IntegrityError(f"{shard}: the examples table names record {min(place_of)}, which the shard lacks")
    return Images(encoded, places["target"].to_numpy(), classes, size, int(about["channels"]))


def steps_per_epoch(images: int, batch_size: int) -> int:
    """Whole batches in an epoch; the rest of the images waits for an epoch whose order brings it forward.

    Raises:
        TrainingError: there is not one whole batch.
    """
    if images < batch_size:
        raise TrainingError(f"batch_size = {batch_size} is larger than the {images} training images of a fold: lower it")
    return images // batch_size


def training_batches(
    images: Images, rows: np.ndarray, *, augment: Augment, batch_size: int, epochs: int, seed: int, threads: int
) -> tf.data.Dataset:
    """All batches of a training run: shuffled anew and augmented in each epoch, `steps_per_epoch` batches an epoch.

    The order and the maps are computed ahead, in numpy. A generator inside tf.data would be the obvious way, but once a
    process has run a Python function from TensorFlow, its convolutions take twice as long (TensorFlow 2.21 on a CPU).

    Args:
        images: the data set.
        rows: (n,) which of its images train.

    Returns:
        batches of (batch, size, size, channels) float32 pixels in 0 to 255, and (batch, classes) float32 one-hot labels.
    """
    used = steps_per_epoch(len(rows), batch_size) * batch_size
    orders, maps = [], []
    for epoch in range(epochs):
        order = epoch_generator(seed, epoch, stream=0).permutation(rows)[:used]
        orders.append(order)
        maps.append(affine_maps(augment, seed=seed, epoch=epoch, rows=order, size=images.size))
    encoded = tf.constant(images.encoded)
    targets = tf.constant(images.targets, tf.int32)
    shape = (batch_size, images.size, images.size, images.channels)

    def read(row: tf.Tensor, affine: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return _decode(encoded[row], images), tf.one_hot(targets[row], images.classes), affine

    def warp(batch: tf.Tensor, labels: tf.Tensor, affine: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        warped = tf.raw_ops.ImageProjectiveTransformV3(
            images=tf.cast(batch, tf.float32),
            transforms=affine,
            output_shape=[images.size, images.size],
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )
        return tf.ensure_shape(warped, shape), labels

    dataset = tf.data.Dataset.from_tensor_slices((np.concatenate(orders), np.concatenate(maps)))
    dataset = dataset.map(read, num_parallel_calls=threads, deterministic=True)
    dataset = dataset.batch(batch_size, drop_remainder=True).map(warp)
    return _with_threads(dataset.prefetch(2), threads)


def plain_batches(images: Images, rows: np.ndarray, *, batch_size: int, threads: int) -> tf.data.Dataset:
    """The images of `rows` as they are, in order, the last batch as short as it comes: never augmented.

    Returns:
        batches of pixels and labels as `training_batches` gives them; the label of an unlabelled image is all zeros.
    """
    dataset = tf.data.Dataset.from_tensor_slices(
        (tf.constant([images.encoded[row] for row in rows]), tf.constant(images.targets[rows], tf.int32))
    )
    dataset = dataset.map(
        lambda jpeg, target: (_decode(jpeg, images), tf.one_hot(target, images.classes)),
        num_parallel_calls=threads,
        deterministic=True,
    )
    dataset = dataset.batch(batch_size).map(lambda batch, labels: (tf.cast(batch, tf.float32), labels))
    return _with_threads(dataset.prefetch(2), threads)


def _decode(jpeg: tf.Tensor, images: Images) -> tf.Tensor:
    # TensorFlow's default inverse DCT is off by a level or more; the accurate one equals libjpeg's at the same cost.
    image = tf.io.decode_jpeg(jpeg, channels=images.channels, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(image, (images.size, images.size, images.channels))


def _with_threads(dataset: tf.data.Dataset, threads: int) -> tf.data.Dataset:
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.autotune.enabled = False
    return dataset.with_options(options)
