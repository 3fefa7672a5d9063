import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.folds.make_folds import write_folds
from components.statistics.card import write_card
from components.statistics.summary import description, figures, kept, statistics, summary
from tests.support.tiny import Links, digits
from trainer.artifacts import tables
from trainer.config.preparation import ALWAYS_TRAINS, LEFT_OUT, Folds

CLASSES = ["<i>0</i>", *"123456789"]


@pytest.fixture(scope="module")
def found(
    records_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, object], Path]:
    folder = tmp_path_factory.mktemp("statistics")
    written = {"out": folder / "folds.csv", "audit_out": folder / "audit.json"}
    write_folds(records_folder, Folds(count=3), seed=1, classes=CLASSES, **written)
    out = folder / "statistics.json"
    made = statistics(
        records_folder, folder / "folds.csv", folder / "audit.json", classes=CLASSES, out=out
    )
    assert json.loads(out.read_text()) == made
    write_card(made, records_folder, folder / "folds.csv", out=folder / "card.html")
    return made, folder


def test_what_it_says_is_so(found, records_folder: Path) -> None:  # type: ignore[no-untyped-def]
    made, folder = found
    images, labels = digits(150)
    train = images[:120].astype(np.float64)
    assert made["pixels"]["8"]["splits"]["train"]["mean"] == [
        pytest.approx(train.mean(), rel=1e-12)
    ]
    assert made["pixels"]["8"]["splits"]["train"]["std"] == [pytest.approx(train.std(), rel=1e-12)]
    fold = tables.read_folds(folder / "folds.csv")["fold"].to_numpy()
    for held_out in range(3):
        inside = train[fold != held_out]
        assert made["pixels"]["8"]["folds"][str(held_out)]["std"] == [
            pytest.approx(inside.std(), rel=1e-12)
        ]
    counts = np.bincount(labels[:120], minlength=10)
    assert [entry["images"] for entry in made["classes"].values()] == counts.tolist()
    brightness = images[:120].reshape(120, -1).mean(axis=1)
    assert made["distributions"]["train"]["brightness"]["median"] == pytest.approx(
        np.median(brightness)
    )
    assert made["common_sizes"]["test"] == [[8, 8, 30]]
    assert {entry["column"] for entry in made["drift"]} == {
        "width",
        "height",
        "aspect",
        "bytes",
        "brightness",
        "contrast",
    }
    assert figures(made)["train_images"] == 120


def test_brightness_and_contrast_of_colours() -> None:
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    pixels[0, :, :, 1] = 200
    pixels[1, :2] = 100
    wide = pixels.astype(np.int64)
    table = pd.DataFrame(
        {
            "width": [8, 4],
            "height": [4, 4],
            "bytes": [10, 20],
            "sum_c_4": list(wide.sum(axis=(1, 2))),
            "sumsq_c_4": list((wide**2).sum(axis=(1, 2))),
        }
    )
    made = description(table, {"sizes": [4]})
    assert made["brightness"].tolist() == pytest.approx([0.587 * 200, 50])
    assert made["contrast"].tolist() == pytest.approx([pixels[0].std(), pixels[1].std()])
    assert made["aspect"].tolist() == [2, 1]


def test_what_is_left_out_is_not_described(records_folder: Path) -> None:
    table = tables.read_examples(records_folder)
    table.loc[100:119, "external"] = "train"
    fold = np.arange(120) % 3
    fold[90:110] = LEFT_OUT
    fold[110:] = ALWAYS_TRAINS
    splits = kept(table, fold)
    assert {split: int(rows.sum()) for split, rows in splits.items()} == {
        "train": 90,
        "external": 10,
        "test": 30,
    }
    table.loc[100:119, "width"] = 4000
    about = {"sizes": [8], "numeric": [], "categorical": [], "task": "multiclass"}
    made = summary(table, fold, about, CLASSES)
    # External images may have any size, so drift compares test with the competition's own images
    # only.
    assert {entry["verdict"] for entry in made["drift"] if entry["column"] == "width"} == {"alike"}
    assert made["distributions"]["external"]["width"]["max"] == 4000
    assert made["pixels"]["8"]["splits"]["train"]["images"] == 100
    assert sum(entry["images"] for entry in made["classes"].values()) == 100


def test_the_card_needs_nothing_else(found) -> None:  # type: ignore[no-untyped-def]
    text = (found[1] / "card.html").read_text()
    tags = Links()
    tags.feed(text)
    assert all(load.startswith(("data:", "#")) for load in tags.loads)
    assert tags.tags.count("svg") == 2
    assert "120 + 30 images" in text
    assert "<i>0</i>" not in text
    assert "Kolmogorov-Smirnov" in text
