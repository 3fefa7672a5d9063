import dataclasses
import itertools
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from trainer.artifacts import tables
from trainer.artifacts.manifest import read_manifest
from trainer.config.augment import Augment
from trainer.errors import IntegrityError, TrainingError
from trainer.input import shards
from trainer.input.batches import Batch, BatchPlan, steps_per_epoch, training_batches, view
from trainer.input.labels import Labels
from trainer.input.shards import Images, load
from trainer.input.workers import Workers, prefetch


def images_of(records: Path, split: str = "train") -> Images:
    examples = tables.read_examples(records)
    return load(records, examples[examples["split"] == split], read_manifest(records), size=8)


def pixels_of(jpeg: bytes) -> np.ndarray:
    return simplejpeg.decode_jpeg(jpeg, colorspace="GRAY")


def labels_of(records: Path) -> Labels:
    targets = tables.read_examples(records).query("split == 'train'")["target"].to_numpy()
    return Labels(targets, np.ones(120, np.float32), np.zeros((120, 0), np.float32), 10)


@pytest.mark.parametrize("held", [True, False])
def test_images_come_in_the_order_of_the_table(
    records_folder: Path, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "HELD_BYTES", 10**6 if held else 0)
    examples = (
        tables.read_examples(records_folder)
        .query("split == 'train'")
        .sample(frac=1, random_state=1)
    )
    images = load(records_folder, examples, read_manifest(records_folder), size=8)
    assert (images.decoded is not None) == held
    assert [len(images.encoded[row]) for row in range(120)] == examples["bytes_8"].tolist()
    rows = np.array([5, 0, 119, 7, 7])
    workers = Workers(2)
    found = workers.decoded(images, rows)
    workers.close()
    # TensorFlow's default inverse DCT would differ here by one level.
    np.testing.assert_array_equal(found, np.stack([pixels_of(images.encoded[row]) for row in rows]))
    np.testing.assert_allclose(found.mean(axis=(1, 2)), images.means[rows], atol=2)


def test_a_table_that_names_another_record_is_an_error(records_folder: Path) -> None:
    examples = tables.read_examples(records_folder).query("split == 'train'").copy()
    examples.loc[examples.index[3], "id"] = "somebody"
    with pytest.raises(
        IntegrityError, match="record 3 is '4', but the examples table has 'somebody'"
    ):
        load(records_folder, examples, read_manifest(records_folder), size=8)
    examples = tables.read_examples(records_folder).query("split == 'train'").copy()
    examples.loc[examples.index[-1], "row_8"] = 999
    with pytest.raises(IntegrityError, match="no record 999"):
        load(records_folder, examples, read_manifest(records_folder), size=8)


def all_batches(
    records: Path, rows: np.ndarray, augment: Augment, **more: Any
) -> list[tuple[int, int, Batch]]:
    options: dict[str, Any] = {"batch_size": 16, "epochs": 2, "seed": 5, **more}
    workers = Workers(options.pop("threads", 2))
    try:
        return list(
            training_batches(
                images_of(records),
                labels_of(records),
                rows,
                BatchPlan(augment, **options),
                workers,
            )
        )
    finally:
        workers.close()


def test_an_epoch_shows_each_image_at_most_once_and_only_training_rows(
    records_folder: Path,
) -> None:
    images, rows = images_of(records_folder), np.arange(10, 90)
    batches = all_batches(records_folder, rows, Augment())
    assert [(epoch, step) for epoch, step, _ in batches] == list(
        itertools.product(range(2), range(5))
    )
    label_of = {pixels_of(images.encoded[row]).tobytes(): row for row in rows}
    targets = labels_of(records_folder).targets_of(np.arange(120))
    for epoch in range(2):
        seen = [
            (pixels.tobytes(), label)
            for number, _, batch in batches
            if number == epoch
            for pixels, label in zip(batch.pixels, batch.targets, strict=True)
        ]
        assert len({pixels for pixels, _ in seen}) == 80
        for pixels, label in seen:
            np.testing.assert_array_equal(label, targets[label_of[pixels]])
    assert not np.array_equal(batches[0][2].pixels, batches[5][2].pixels)


MIXING = Augment(rotation=30, shear=10, zoom=0.2, shift=0.1, cutmix=0.5, mixup=0.5)


def same(first: Batch, second: Batch) -> bool:
    names = ("pixels", "targets", "weights", "tabular")
    return all(np.array_equal(getattr(first, name), getattr(second, name)) for name in names)


def test_the_same_seed_gives_the_same_batches_on_any_number_of_threads(
    records_folder: Path,
) -> None:
    first, again = (
        all_batches(records_folder, np.arange(50), MIXING, threads=threads) for threads in (1, 3)
    )
    assert all(same(batch, other) for (*_, batch), (*_, other) in zip(first, again, strict=True))
    other = all_batches(records_folder, np.arange(50), MIXING, seed=6)
    assert not same(first[0][2], other[0][2])


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("start", [(0, 1), (1, 0), (1, 2)])
def test_it_begins_anywhere(records_folder: Path, start: tuple[int, int], balanced: bool) -> None:
    whole = all_batches(records_folder, np.arange(50), MIXING, balanced=balanced)
    later = all_batches(records_folder, np.arange(50), MIXING, balanced=balanced, start=start)
    expected = [entry for entry in whole if entry[:2] >= start]
    assert [entry[:2] for entry in later] == [entry[:2] for entry in expected]
    assert all(same(batch, other) for (*_, batch), (*_, other) in zip(later, expected, strict=True))


def test_an_epoch_shows_as_many_images_of_each_class(records_folder: Path) -> None:
    codes = labels_of(records_folder).targets
    # None of the other classes.
    rows = np.concatenate(
        [np.flatnonzero(codes == code)[:count] for code, count in enumerate((12, 9, 3))]
    )
    images = images_of(records_folder)
    row_of = {pixels_of(images.encoded[row]).tobytes(): row for row in rows}
    for epoch, step, batch in all_batches(
        records_folder, rows, Augment(), batch_size=24, epochs=5, balanced=True
    ):
        assert step == 0
        shown = [row_of[pixels.tobytes()] for pixels in batch.pixels]
        counts = np.bincount(codes[shown], minlength=10)
        assert counts.tolist() == [8, 8, 8, *[0] * 7], epoch
        np.testing.assert_array_equal(batch.targets.argmax(axis=1), codes[shown])
        # No image comes again before the others of its class have.
        times = {
            code: np.unique([r for r in shown if codes[r] == code], return_counts=True)[1]
            for code in range(3)
        }
        assert times[0].tolist() == [1] * 8
        assert times[1].tolist() == [1] * 8
        assert sorted(times[2].tolist()) == [2, 3, 3]


def test_an_image_that_comes_again_is_augmented_differently(records_folder: Path) -> None:
    codes = labels_of(records_folder).targets
    rows = np.concatenate([np.flatnonzero(codes == 0)[:1], np.flatnonzero(codes == 1)[:9]])
    ((_, _, batch),) = all_batches(
        records_folder, rows, Augment(rotation=40), batch_size=10, epochs=1, balanced=True
    )
    of_one = batch.pixels[batch.targets[:, 0] == 1]
    assert len(of_one) == 5
    assert len({pixels.tobytes() for pixels in of_one}) == 5


def test_the_last_epochs_mix_no_images(records_folder: Path) -> None:
    augment = dataclasses.replace(MIXING, cutmix=1.0)
    options = {"rows": np.arange(50), "epochs": 3}
    mixed = all_batches(records_folder, augment=augment, **options)
    off = dataclasses.replace(augment, off_last=2)
    for (epoch, _, batch), (*_, other) in zip(
        all_batches(records_folder, augment=off, **options), mixed, strict=True
    ):
        if epoch == 0:
            assert same(batch, other)
        else:
            # Of one image each, which is turned and shifted as before.
            assert set(np.unique(batch.targets)) == {0, 1}
            assert not same(batch, other)
    (*_, on_device) = all_batches(records_folder, augment=off, on_device=True, **options)[-1]
    assert on_device.drawn is not None
    assert not on_device.drawn.mixes
    assert np.abs(on_device.drawn.affine[:, 1]).max() > 0


def test_processes_share_a_batch(records_folder: Path) -> None:
    for on_device in (False, True):
        whole = all_batches(records_folder, np.arange(50), MIXING, on_device=on_device)
        parts = [
            all_batches(
                records_folder, np.arange(50), MIXING, on_device=on_device, part=(number, 2)
            )
            for number in range(2)
        ]
        for (*_, batch), (*_, first), (*_, second) in zip(whole, *parts, strict=True):
            for name in ("pixels", "targets", "weights"):
                joined = np.concatenate([getattr(first, name), getattr(second, name)])
                np.testing.assert_array_equal(joined, getattr(batch, name))
            if batch.drawn is not None and first.drawn is not None:
                np.testing.assert_array_equal(first.drawn.partner, batch.drawn.partner[:8])


def test_labels_weights_and_columns_are_mixed_by_share(records_folder: Path) -> None:
    images = images_of(records_folder)
    labels = Labels(
        np.arange(120, dtype=np.float32)[:, None],
        np.arange(120, dtype=np.float32),
        np.arange(120, dtype=np.float32)[:, None],
    )
    workers = Workers(1)
    made = training_batches(
        images,
        labels,
        np.arange(120),
        BatchPlan(MIXING, batch_size=16, seed=5, epochs=1, on_device=True),
        workers,
    )
    for _, _, batch in made:
        assert batch.drawn is not None
        place = {pixels_of(images.encoded[row]).tobytes(): row for row in range(120)}
        rows = np.array([place[pixels.tobytes()] for pixels in batch.pixels])
        expected = batch.drawn.share * rows + (1 - batch.drawn.share) * rows[batch.drawn.partner]
        for found in (batch.weights, batch.tabular[:, 0]):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
        # The loss is linear in the labels: what counts is weight times label, the sum of both
        # images' own.
        share, partners = batch.drawn.share, rows[batch.drawn.partner]
        counted = share * rows * rows + (1 - share) * partners * partners
        np.testing.assert_allclose(
            batch.weights * batch.targets[:, 0], counted, rtol=1e-4, atol=1e-2
        )
    workers.close()


def test_a_view_is_the_image_itself_and_then_others_never_mixed(records_folder: Path) -> None:
    images = images_of(records_folder)
    rows = np.array([3, 100, 4])
    augment = Augment(rotation=30, cutmix=1.0, mixup=1.0)
    plain, first, second = (
        view(images, rows, augment, number=number, seed=1) for number in range(3)
    )
    np.testing.assert_array_equal(plain.affine, np.tile([1, 0, 0, 0, 1, 0], (3, 1)))
    assert not np.allclose(first.affine, second.affine)
    assert not first.mixes
    alone = view(images, rows[1:2], augment, number=1, seed=1)
    np.testing.assert_array_equal(alone.affine[0], first.affine[1])


def test_a_batch_larger_than_the_data_is_named() -> None:
    assert steps_per_epoch(33, 16) == 2
    with pytest.raises(
        TrainingError, match="batch_size = 64 is larger than the 10 training images"
    ):
        steps_per_epoch(10, 64)


def test_colours_are_decoded_as_the_statistics_saw_them() -> None:
    smooth = np.linspace(0, 255, 16 * 16 * 3).reshape(16, 16, 3)
    noise = np.random.default_rng(0).normal(0, 20, (16, 16, 3))
    image = np.clip(smooth + noise, 0, 255).astype(np.uint8)
    jpeg = simplejpeg.encode_jpeg(image, quality=95, colorspace="RGB", colorsubsampling="420")
    images = Images([jpeg], np.zeros((1, 3)), size=16, channels=3)
    out = np.empty((16, 16, 3), np.uint8)
    images.decode(0, out)
    expected = simplejpeg.decode_jpeg(jpeg, colorspace="RGB", fastdct=False, fastupsample=False)
    np.testing.assert_array_equal(out, expected)


def test_a_thread_works_ahead_and_ends_with_its_reader() -> None:
    made = []

    def items():  # type: ignore[no-untyped-def]
        for number in range(100):
            made.append(number)
            yield number

    before = threading.active_count()
    reader = prefetch(items(), ahead=2)
    assert [next(reader) for _ in range(3)] == [0, 1, 2]
    for _ in range(200):
        if len(made) == 6:
            break
        time.sleep(0.01)
    # Three are taken, two are queued, and the thread holds one.
    assert len(made) == 6
    reader.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
    assert list(prefetch(iter(range(5)))) == list(range(5))


def test_an_error_of_the_thread_comes_where_the_items_are_taken() -> None:
    def items():  # type: ignore[no-untyped-def]
        yield 1
        raise IntegrityError("broken")

    reader = prefetch(items())
    assert next(reader) == 1
    with pytest.raises(IntegrityError, match="broken"):
        next(reader)
