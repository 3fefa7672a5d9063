import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from components.records.sources import cifar10
from components.records.types import Item, Subset
from trainer.config.data import Data
from trainer.errors import DataError


def images(count: int, seed: int = 0) -> tuple[np.ndarray, list[int]]:
    """Return (count, 32, 32, 3) uint8 images and their labels, 0 to 9."""
    generator = np.random.default_rng(seed)
    return (
        generator.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8),
        generator.integers(0, 10, count).tolist(),
    )


def planes(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(0, 3, 1, 2).reshape(len(pixels), 3072)


def python_batch(path: Path, pixels: np.ndarray, labels: list[int]) -> None:
    """Write a batch like the public ones: pickle protocol 2, keys as bytes."""
    batch = {
        b"batch_label": b"training batch 1 of 5",
        b"labels": labels,
        b"data": planes(pixels),
        b"filenames": [b"x.png"] * len(labels),
    }
    path.write_bytes(pickle.dumps(batch, protocol=2))


def binary_batch(path: Path, pixels: np.ndarray, labels: list[int]) -> None:
    np.concatenate([np.array(labels, np.uint8)[:, None], planes(pixels)], axis=1).tofile(path)


def read(
    root: Path, pattern: str, split: str = "train", first: int = 0, count: int = 1000
) -> list[Item]:
    data = Data(
        source="cifar10", root=str(root), train=f"{root}/{pattern}", test=f"{root}/{pattern}"
    )
    return list(cifar10.reader(Subset(data, split, "", "")).items(first, count))


@pytest.mark.parametrize(("write", "ending"), [(python_batch, ""), (binary_batch, ".bin")])
def test_batches_in_order(tmp_path: Path, write, ending: str) -> None:  # type: ignore[no-untyped-def]
    pixels, labels = images(25)
    for number, (start, stop) in enumerate([(0, 10), (10, 20), (20, 25)], start=1):
        write(tmp_path / f"data_batch_{number}{ending}", pixels[start:stop], labels[start:stop])
    found = read(tmp_path, f"data_batch_*{ending}")
    assert [item.row.id for item in found] == [str(number) for number in range(1, 26)]
    assert [item.row.label for item in found] == labels
    np.testing.assert_array_equal(np.stack([item.load() for item in found]), pixels)
    # A slice across two batches.
    part = read(tmp_path, f"data_batch_*{ending}", first=8, count=5)
    assert [item.row.id for item in part] == ["9", "10", "11", "12", "13"]
    np.testing.assert_array_equal(np.stack([item.load() for item in part]), pixels[8:13])
    assert {item.row.label for item in read(tmp_path, f"data_batch_*{ending}", split="test")} == {
        ""
    }


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/foldline-was-here",)


@pytest.mark.parametrize("gadget", [Malicious(), eval, np.load, np.lib.format.read_array])
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, gadget: object) -> None:
    (tmp_path / "data_batch_1").write_bytes(
        pickle.dumps({b"data": gadget, b"labels": []}, protocol=2)
    )
    with pytest.raises(DataError, match="not a python batch of CIFAR-10: .*which no batch needs"):
        read(tmp_path, "data_batch_*")
    assert not Path("/tmp/foldline-was-here").exists()


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1"
    python_batch(path, *images(5))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="data_batch_1: not a python batch"):
        read(tmp_path, "data_batch_*")
    for other in (
        {b"data": 1},
        [1, 2],
        {b"data": np.zeros((2, 5), np.uint8), b"labels": [1, 2]},
        {b"data": np.zeros(0), b"labels": []},
    ):
        path.write_bytes(pickle.dumps(other, protocol=2))
        with pytest.raises(DataError, match=r"data_batch_1: (not a python batch|`data` is)"):
            read(tmp_path, "data_batch_*")
    (tmp_path / "x.bin").write_bytes(b"x" * 3074)
    with pytest.raises(
        DataError, match="x.bin: 3074 bytes are not a whole number of 3073-byte records"
    ):
        read(tmp_path, "x.bin")
    with pytest.raises(DataError, match="no file matches 'none_"):
        read(tmp_path, "none_*")


def test_a_pickle_that_asks_for_more_memory_than_there_is(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return np.empty(0).__reduce__()[0], (np.ndarray, (10**14,), b"b")  # type: ignore[return-value]

    (tmp_path / "data_batch_1").write_bytes(
        pickle.dumps({b"data": Bomb(), b"labels": []}, protocol=2)
    )
    with pytest.raises(DataError, match="not a python batch of CIFAR-10: .*MemoryError"):
        read(tmp_path, "data_batch_*")
