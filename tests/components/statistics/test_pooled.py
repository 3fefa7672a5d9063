import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from components.statistics.pooled import pooled, statistics
from trainer import tables
from trainer.records import decode_example, read_shard


def table(images: list[np.ndarray]) -> pd.DataFrame:
    """The columns that the statistics read, of images of any sizes."""
    return pd.DataFrame(
        {
            "width": [image.shape[1] for image in images],
            "height": [image.shape[0] for image in images],
            "sum_c": [image.astype(np.int64).sum(axis=(0, 1)).tolist() for image in images],
            "sumsq_c": [(image.astype(np.int64) ** 2).sum(axis=(0, 1)).tolist() for image in images],
        }
    )


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=6), st.integers(0, 2**31))
def test_it_is_the_deviation_of_all_pixels_together(sizes: list[tuple[int, int]], seed: int) -> None:
    generator = np.random.default_rng(seed)
    images = [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    found = pooled(table(images))
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float64)
    np.testing.assert_allclose(found["mean"], pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found["std"], pixels.std(axis=0), rtol=1e-9, atol=1e-9)
    assert (found["images"], found["pixels"]) == (len(images), len(pixels))


def test_sums_are_exact_where_floats_are_not() -> None:
    # 2**32 pixels of 255 and one of 254: the squares' sum is past 2**48, and a float's n Σx² - (Σx)² loses the deviation.
    many = pd.DataFrame(
        {
            "width": [2**16, 1],
            "height": [2**16, 1],
            "sum_c": [[255 * 2**32], [254]],
            "sumsq_c": [[255**2 * 2**32], [254**2]],
        }
    )
    n = 2**32 + 1
    assert pooled(many)["std"] == [pytest.approx(np.sqrt(n - 1) / n, rel=1e-12)]


def test_the_notebooks_mean_of_deviations_is_not_what_we_compute() -> None:
    images = [np.full((4, 4, 1), 0, np.uint8), np.full((4, 4, 1), 200, np.uint8)]
    assert np.mean([image.std() for image in images]) == 0
    assert pooled(table(images))["std"] == [100.0]


def test_no_images_have_no_statistics() -> None:
    assert pooled(table([])) == {"images": 0, "pixels": 0, "mean": None, "std": None}


def test_a_fold_is_left_out_of_its_own_statistics(records_folder: Path, tmp_path: Path) -> None:
    examples = tables.read_examples(records_folder)
    images = np.stack(
        [
            simplejpeg.decode_jpeg(decode_example(payload)["image"], colorspace="GRAY")
            for shard in examples["shard"].unique()
            for payload in read_shard(records_folder / shard)
        ]
    )
    fold = np.arange(120) % 3
    tables.write_csv(tmp_path / "folds.csv", pd.DataFrame({"id": [str(row) for row in range(1, 121)], "fold": fold}))
    found = statistics(records_folder, tmp_path / "folds.csv", out=tmp_path / "s.json")
    assert found == json.loads((tmp_path / "s.json").read_text())
    for left_out in range(3):
        inside = images[:120][fold != left_out].astype(np.float64)
        assert found["folds"][str(left_out)]["mean"] == [pytest.approx(inside.mean(), rel=1e-12)]
        assert found["folds"][str(left_out)]["std"] == [pytest.approx(inside.std(), rel=1e-12)]
    assert found["splits"]["test"]["mean"] == [pytest.approx(images[120:].mean(), rel=1e-12)]
