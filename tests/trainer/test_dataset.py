from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from trainer import dataset, tables
from trainer.competition import Augment
from trainer.errors import IntegrityError, TrainingError


def images_of(records: Path, split: str = "train") -> dataset.Images:
    examples = tables.read_examples(records)
    return dataset.load(records, examples[examples["split"] == split], classes=10, size=8, channels=1)


def decoded(jpeg: bytes) -> np.ndarray:
    return simplejpeg.decode_jpeg(jpeg, colorspace="GRAY").astype(np.float32)


def test_images_come_in_the_order_of_the_table(records_folder: Path) -> None:
    examples = tables.read_examples(records_folder).query("split == 'train'").sample(frac=1, random_state=1)
    images = dataset.load(records_folder, examples, classes=10, size=8, channels=1)
    np.testing.assert_array_equal(images.targets, examples["target"])
    assert [len(jpeg) for jpeg in images.encoded] == examples["bytes"].tolist()


def test_a_table_that_names_another_record_is_an_error(records_folder: Path) -> None:
    examples = tables.read_examples(records_folder).query("split == 'train'").copy()
    examples.loc[examples.index[3], "id"] = "somebody"
    with pytest.raises(IntegrityError, match="record 3 is b'4', the examples table says 'somebody'"):
        dataset.load(records_folder, examples, classes=10, size=8, channels=1)
    examples = tables.read_examples(records_folder).query("split == 'train'").copy()
    examples.loc[examples.index[-1], "row"] = 999
    with pytest.raises(IntegrityError, match="names record 999"):
        dataset.load(records_folder, examples, classes=10, size=8, channels=1)


def test_plain_batches_are_the_images_bit_for_bit_and_in_order(records_folder: Path) -> None:
    images = images_of(records_folder)
    rows = np.array([5, 0, 119, 7, 7])
    batches = list(dataset.plain_batches(images, rows, batch_size=2, threads=2))
    assert [len(labels) for _, labels in batches] == [2, 2, 1]
    pixels = np.concatenate([batch.numpy() for batch, _ in batches])
    # TensorFlow's default inverse DCT would differ here by a level.
    np.testing.assert_array_equal(pixels, np.stack([decoded(images.encoded[row]) for row in rows]))
    labels = np.concatenate([labels.numpy() for _, labels in batches])
    np.testing.assert_array_equal(labels.argmax(axis=1), images.targets[rows])


def test_unlabelled_images_have_labels_of_noughts(records_folder: Path) -> None:
    images = images_of(records_folder, "test")
    ((_, labels),) = dataset.plain_batches(images, np.arange(3), batch_size=8, threads=1)
    assert labels.numpy().sum() == 0


def all_batches(images: dataset.Images, rows: np.ndarray, augment: Augment, epochs: int = 2, seed: int = 5, threads: int = 2):
    made = dataset.training_batches(images, rows, augment=augment, batch_size=16, epochs=epochs, seed=seed, threads=threads)
    return [(pixels.numpy(), labels.numpy()) for pixels, labels in made]


def test_an_epoch_shows_each_image_at_most_once_and_only_training_rows(records_folder: Path) -> None:
    images = images_of(records_folder)
    rows = np.arange(10, 90)
    batches = all_batches(images, rows, Augment())
    assert len(batches) == 2 * 5
    for epoch in (batches[:5], batches[5:]):
        seen = {pixels.tobytes() for batch, _ in epoch for pixels in batch}
        allowed = {decoded(images.encoded[row]).tobytes() for row in rows}
        assert len(seen) == 80
        assert seen <= allowed
    assert not np.array_equal(batches[0][0], batches[5][0])


def test_the_same_seed_gives_the_same_batches_on_any_number_of_threads(records_folder: Path) -> None:
    images = images_of(records_folder)
    augment = Augment(rotation=30, shear=10, zoom=0.2, shift=0.1)
    first, again = (all_batches(images, np.arange(50), augment, threads=threads) for threads in (1, 3))
    other = all_batches(images, np.arange(50), augment, seed=6)
    for (pixels, labels), (pixels_again, labels_again) in zip(first, again, strict=True):
        np.testing.assert_array_equal(pixels, pixels_again)
        np.testing.assert_array_equal(labels, labels_again)
    assert not np.array_equal(first[0][0], other[0][0])


def test_a_shift_by_a_whole_pixel_is_exact(records_folder: Path) -> None:
    import tensorflow as tf

    image = decoded(images_of(records_folder).encoded[0])[None]
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=image,
        transforms=np.array([[1, 0, 1, 0, 1, 0, 0, 0]], np.float32),
        output_shape=[8, 8],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    ).numpy()
    np.testing.assert_array_equal(moved[0, :, :-1], image[0, :, 1:])
    assert not moved[0, :, -1].any()


def test_a_batch_larger_than_the_data_is_named() -> None:
    assert dataset.steps_per_epoch(33, 16) == 2
    with pytest.raises(TrainingError, match="batch_size = 64 is larger than the 10 training images"):
        dataset.steps_per_epoch(10, 64)
