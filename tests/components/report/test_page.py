import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Links

from components.folds.deal import write_folds
from components.report import plots
from components.report.page import write_report
from components.statistics.summary import statistics
from trainer import tables
from trainer.data import Folds
from trainer.manifest import write_json, write_manifest

CLASSES = ["<i>0</i>", *"123456789"]


@pytest.fixture(scope="module")
def page(records_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    written = {"out": folder / "f.csv", "audit_out": folder / "a.json"}
    write_folds(records_folder, Folds(count=3), seed=1, classes=CLASSES, **written)
    statistics(records_folder, folder / "f.csv", folder / "a.json", classes=CLASSES, out=folder / "s.json")
    examples = tables.read_examples(records_folder).query("split == 'train'")
    oof = examples[["id", "target"]].merge(tables.read_folds(folder / "f.csv"), on="id")
    predicted = oof["target"].to_numpy().copy()
    predicted[[3, 50]] = (predicted[[3, 50]] + 1) % 10
    oof[CLASSES] = (np.eye(10)[predicted] * 0.9 + 0.01).astype(np.float32)
    blended = folder / "blended"
    tables.write_parquet(blended / tables.OOF, oof)
    history = [
        {
            "member": "m",
            "fold": fold,
            "epoch": epoch,
            "loss": 2 / epoch,
            "val_loss": 1.5 / epoch,
            "val_accuracy": 0.9,
            "learning_rate": 0.1,
        }
        for fold in range(3)
        for epoch in (1, 2, 3)
    ]
    tables.write_csv(blended / tables.HISTORY, pd.DataFrame(history))
    scores = {"oof": 118 / 120, "folds": [0.975, 1.0, 0.975]}
    metrics = {
        "metric": "accuracy",
        "blend": {"method": "mean", "weights": {"m": 1.0}, "naive": 0.99, **scores},
        "members": {"m": scores},
        "methods": {"mean": scores},
    }
    write_json(blended / tables.METRICS, metrics)
    write_manifest(blended, {"classes": CLASSES, "task": "multiclass"})
    write_report(
        name="tiny & small",
        blended=blended,
        records=records_folder,
        root=records_folder,
        statistics=folder / "s.json",
        audit=folder / "a.json",
        classes=CLASSES,
        metric="accuracy",
        seed=1,
        out=folder / "report.html",
    )
    return (folder / "report.html").read_text()


def test_the_page_needs_nothing_else(page: str) -> None:
    links = Links()
    links.feed(page)
    assert links.loads
    # Clip paths and markers point into the page itself.
    assert all(value.startswith(("data:", "#")) for value in links.loads)
    assert not re.search(r"url\((?!#)|@import|<script", page)


def test_it_says_what_the_run_found(page: str) -> None:
    assert "0.9833" in page
    assert "2</b><span>of 120 images wrong" in page
    assert page.count('class="no">NO') == 2 + page.split("drawn at random")[1].count('class="no">NO')
    assert len(re.findall(r"data:image/jpeg;base64,/9j/", page)) == 2 + 24


def test_names_are_escaped(page: str) -> None:
    assert "tiny &amp; small" in page
    assert "<i>0</i>" not in page
    assert "&lt;i&gt;0" in page


def test_plots_take_their_ink_from_the_page(page: str) -> None:
    assert page.count("<svg") == 2
    assert "currentColor" in page
    assert "#010203" not in page
    # Text without a colour of its own is black, which a dark page hides.
    texts = re.findall(r"<text [^>]*>", page)
    assert texts
    assert all("fill:" in text for text in texts)


def test_a_confusion_matrix_counts() -> None:
    svg = plots.confusion_matrix(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 1]), ["cat$^$", "$dog"])
    assert "cat$^$" in svg
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert [text for text in texts if text.isdigit()] == ["1", "1", "3"]


def test_plots_are_the_same_every_time() -> None:
    history = pd.DataFrame(
        {"member": "m", "fold": 0, "epoch": [1, 2], "loss": [2.0, 1.0], "val_loss": [2.0, 1.0], "val_accuracy": [0.5, 0.6]}
    )
    history["learning_rate"] = [0.1, 0.01]
    assert plots.learning_curves(history, "accuracy") == plots.learning_curves(history, "accuracy")
