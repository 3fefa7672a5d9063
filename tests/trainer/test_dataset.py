from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from trainer import dataset, tables
from trainer.competition import Augment
from trainer.errors import IntegrityError, TrainingError
from trainer.manifest import read_manifest


def images_of(records: Path, split: str = "train") -> dataset.Images:
    examples = tables.read_examples(records)
    return dataset.load(records, examples[examples["split"] == split], read_manifest(records), classes=10, size=8)


def decoded(jpeg: bytes) -> np.ndarray:
    return simplejpeg.decode_jpeg(jpeg, colorspace="GRAY").astype(np.float32)


def test_images_come_in_the_order_of_the_table(records_folder: Path) -> None:
    examples = tables.read_examples(records_folder).query("split == 'train'").sample(frac=1, random_state=1)
    images = dataset.load(records_folder, examples, read_manifest(records_folder), classes=10, size=8)
    np.testing.assert_array_equal(images.targets, examples["target"])
    assert [len(jpeg) for jpeg in images.encoded] == examples["bytes_8"].tolist()


def test_a_table_that_names_another_record_is_an_error(records_folder: Path) -> None:
    examples = tables.read_examples(records_folder).query("split == 'train'").copy()
    examples.loc[examples.index[3], "id"] = "somebody"
    with pytest.raises(IntegrityError, match="record 3 is '4', the examples table says 'somebody'"):
        dataset.load(records_folder, examples, read_manifest(records_folder), classes=10, size=8)
    examples = tables.read_examples(records_folder).query("split == 'train'").copy()
    examples.loc[examples.index[-1], "row_8"] = 999
    with pytest.raises(IntegrityError, match="names record 999"):
        dataset.load(records_folder, examples, read_manifest(records_folder), classes=10, size=8)


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


def test_a_map_says_where_a_pixel_comes_from(records_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(augment: Augment, *, seed: int, epoch: int, rows: np.ndarray, size: int) -> np.ndarray:
        # One pixel along x in the first epoch, two along y in the second.
        affine = [1, 0, 1, 0, 1, 0, 0, 0] if epoch == 0 else [1, 0, 0, 0, 1, 2, 0, 0]
        return np.tile(np.array(affine, np.float32), (len(rows), 1))

    monkeypatch.setattr(dataset, "affine_maps", shifted)
    images = images_of(records_folder)
    batches = all_batches(images, np.arange(16), Augment(shift=0.5))
    for epoch, (pixels, _) in enumerate(batches):
        found = set()
        for image in pixels:
            back = np.zeros_like(image)
            if epoch == 0:
                back[:, 1:] = image[:, :-1]
                assert not image[:, -1].any()
            else:
                back[2:] = image[:-2]
                assert not image[-2:].any()
            found.add(back.tobytes())
        # All but what was shifted out.
        cut = (slice(None), slice(1, None)) if epoch == 0 else (slice(2, None), slice(None))
        expected = set()
        for jpeg in images.encoded[:16]:
            kept = np.zeros((8, 8, 1), np.float32)
            kept[cut] = decoded(jpeg)[cut]
            expected.add(kept.tobytes())
        assert found == expected
        assert len(found) == 16


def test_a_batch_larger_than_the_data_is_named() -> None:
    assert dataset.steps_per_epoch(33, 16) == 2
    with pytest.raises(TrainingError, match="batch_size = 64 is larger than the 10 training images"):
        dataset.steps_per_epoch(10, 64)


def test_colours_are_decoded_as_the_statistics_saw_them() -> None:
    smooth = np.linspace(0, 255, 16 * 16 * 3).reshape(16, 16, 3)
    noise = np.random.default_rng(0).normal(0, 20, (16, 16, 3))
    image = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    jpeg = simplejpeg.encode_jpeg(image, quality=95, colorspace="RGB", colorsubsampling="420")
    images = dataset.Images([jpeg], np.array([0]), classes=2, size=16, channels=3)
    ((pixels, _),) = dataset.plain_batches(images, np.array([0]), batch_size=1, threads=1)
    expected = simplejpeg.decode_jpeg(jpeg, colorspace="RGB", fastdct=False, fastupsample=False)
    np.testing.assert_array_equal(pixels.numpy()[0], expected)
